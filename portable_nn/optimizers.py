"""Optimizers: each writes only its own update; where its state lives is the plan's affair.

``hyperparameters(step, epoch)`` gives the numbers of update ``step`` (1, 2, ...), in float64 on
the host; they reach the update kernel as 0-d arrays. ``update`` writes one parameter's call.
Every field made by ``hyperparameter`` is a number or a function of the epoch: see
``schedules/``. Bias corrections are those of the beta of now, ``1 - beta^step``, also where it
has been another one before (as in PyTorch, where ``OneCycleLR`` changes it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from portable_nn import kernels
from portable_nn.drivers import LBFGS, Driver
from portable_nn.errors import NetworkError
from portable_nn.initializers import ones, zeros
from portable_nn.naming import named
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import (
    Rate,
    check_values,
    choice,
    flag,
    following,
    hyperparameter,
    positive,
    values_at,
)


@runtime_checkable
class Optimizer(Protocol):
    """An optimizer in step form: one call a parameter and update."""

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        """The 0-d inputs of update ``step`` (1, 2, ...), by name; always the same names.

        ``epoch`` counts the passes over the data before the batch whose gradient is used,
        fractions included.
        """

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        """Write the call that updates one parameter."""


# -- aids ----------------------------------------------------------------------------------


def is_weight(builder: PlanBuilder, parameter: str) -> bool:
    """Whether a parameter has two axes or more, unlike biases and scales."""
    return len(builder.shape(parameter)) >= 2


def _states(builder: PlanBuilder, parameter: str, *names: str) -> list[str]:
    """States shaped as a parameter, 0 before the first update."""
    shape = builder.shape(parameter)
    return [builder.state(f"{name}.{parameter}", shape, zeros) for name in names]


def _descend(builder: PlanBuilder, parameter: str, direction: str, hyper: Sequence[str]) -> None:
    """A step against a direction; hyper is the learning rate, with a momentum before it or not."""
    if len(hyper) == 1:
        builder.assign([parameter], kernels.sgd, parameter, direction, *hyper)
        return
    (v,) = _states(builder, parameter, "velocity")
    builder.assign([parameter, v], kernels.momentum, parameter, direction, v, *hyper)


def _renewed(
    builder: PlanBuilder, kernel: kernels.Kernel, state: str, name: str, *inputs: str
) -> str:
    """Write a call that gives ``name``, which is returned, and the new value of a state."""
    found, new = builder.emit(kernel, *inputs, names=[name, f"new_{state}"])
    builder.carry(state, new)
    return found


def _divided(builder: PlanBuilder, grad: str, deviation: str, s: str, hyper: Sequence[str]) -> str:
    """The gradient over the root of a mean or sum s of squares, which is renewed."""
    inputs = (grad, deviation, s, *hyper)
    return _renewed(builder, kernels.divide_by_root, s, f"scaled_{grad}", *inputs)


def _velocity(owner: SGD | RMSProp, value: Mapping[str, float], rate: float) -> dict[str, float]:
    """What ``_descend`` takes."""
    momentum = {"momentum": value["momentum"]} if owner.momentum else {}
    return {**momentum, "learning_rate": rate}


def _decays(value: Mapping[str, float]) -> dict[str, float]:
    """What two running means keep, and what they take in."""
    beta1, beta2 = value["beta1"], value["beta2"]
    return {"beta1": beta1, "rest1": 1.0 - beta1, "beta2": beta2, "rest2": 1.0 - beta2}


def _adam_numbers(value: Mapping[str, float], step: int) -> dict[str, float]:
    """What ``kernels.adam`` takes, with the bias corrections in step_size and epsilon."""
    root = math.sqrt(1.0 - value["beta2"] ** step)
    step_size = value["learning_rate"] * root / (1.0 - value["beta1"] ** step)
    return {**_decays(value), "step_size": step_size, "epsilon": value["epsilon"] * root}


# -- along the gradient --------------------------------------------------------------------


@dataclass(frozen=True)
class SGD:
    """Gradient descent, ``p <- p - learning_rate * g``, if wanted with a velocity v.

    Batch, mini-batch or per sample, as the batch size says. With ``momentum``,
    ``v <- momentum v + learning_rate g``, ``p <- p - v``; with ``nesterov`` too,
    ``p <- p - (momentum v + learning_rate g)``. With ``dampening`` (PyTorch's) every gradient but
    the first enters the velocity as ``(1 - dampening) g``: a running mean of gradients where it
    equals the momentum.
    Source: Polyak 1964, and Sutskever et al. 2013, eq. 1 to 4, where p is, with ``nesterov``,
    the point they look ahead to and take the gradient at (as in Keras).

    The rate stands inside the velocity, as there. PyTorch gathers gradients alone,
    ``v <- momentum v + g``, and takes ``learning_rate v`` off: the same as long as the rate
    stays; when it changes, there it changes what has been gathered too, here only what is
    added from then on.
    """

    learning_rate: Rate = hyperparameter(0.01)
    momentum: Rate = hyperparameter(0.0, below=1.0, zero=True)
    nesterov: bool = flag()
    dampening: Rate = hyperparameter(0.0, below=1.0, zero=True)

    def __post_init__(self) -> None:
        check_values(self)
        if self.nesterov and self.momentum == 0.0:
            raise NetworkError("SGD(nesterov=True) takes a momentum too, such as 0.9; got 0.")
        if self.dampening != 0.0 and (self.nesterov or self.momentum == 0.0):
            raise NetworkError(
                "SGD's dampening goes with a momentum, such as 0.9, and without nesterov; got "
                f"momentum={self.momentum!r:.60}, nesterov={self.nesterov}."
            )

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        taken = 1.0 - value["dampening"] if step > 1 else 1.0
        return _velocity(self, value, value["learning_rate"] * taken)

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        if not self.nesterov:
            _descend(builder, parameter, grad, hyper)
            return
        (v,) = _states(builder, parameter, "velocity")
        builder.assign([parameter, v], kernels.nesterov, parameter, grad, v, *hyper)


@dataclass(frozen=True)
class Lion:
    """Steps of one size, along the sign of a mean gradient: evolved sign momentum.

    ``p <- p - learning_rate * (sign(beta1 m + (1 - beta1) g) + weight_decay * p)``,
    ``m <- beta2 m + (1 - beta2) g``.
    Source: Chen et al. 2023, algorithm 2: rates a third to a tenth of Adam's, and as much more
    decay. The sign of 0 is 0. With ``weight_decay`` weights decay, or all parameters: see
    ``AdamW``. Keras and the paper are alike; optax decays by 0.001 unless told otherwise.
    """

    learning_rate: Rate = hyperparameter(0.0001)
    weight_decay: Rate = hyperparameter(0.0, zero=True)
    beta1: Rate = hyperparameter(0.9, below=1.0, zero=True)
    beta2: Rate = hyperparameter(0.99, below=1.0, zero=True)
    decay_all_parameters: bool = flag()

    def __post_init__(self) -> None:
        check_values(self)

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        numbers = {**_decays(value), "learning_rate": value["learning_rate"]}
        decay = {"decay": value["learning_rate"] * value["weight_decay"]}
        return {**numbers, **(decay if self.weight_decay else {})}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        (m,), moved = _states(builder, parameter, "m"), parameter
        if self.weight_decay and (self.decay_all_parameters or is_weight(builder, parameter)):
            inputs, names = (parameter, parameter, hyper[-1]), [f"decayed_{parameter}"]
            (moved,) = builder.emit(kernels.decayed, *inputs, names=names)
        builder.assign([parameter, m], kernels.lion, moved, grad, m, *hyper[:5])


# -- divided by the size of gradients ------------------------------------------------------


@dataclass(frozen=True)
class Adagrad:
    """A step along the gradient, divided by the root of the sum s of all its squares.

    ``s <- s + g^2``, ``p <- p - learning_rate * g / (sqrt(s) + epsilon)``, where s begins with
    ``initial_accumulator``.
    Source: Duchi et al. 2011, figure 1, with a diagonal matrix; epsilon outside the root, as in
    PyTorch. Keras and optax add it inside, and begin with 0.1.
    """

    learning_rate: Rate = hyperparameter(0.01)
    epsilon: Rate = hyperparameter(1e-10, zero=False)
    initial_accumulator: float = 0.0

    def __post_init__(self) -> None:
        check_values(self)
        positive(self, "initial_accumulator", zero=True)

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        sums = {"kept": 1.0, "added": 1.0, "inside": 0.0, "epsilon": value["epsilon"]}
        return {**sums, "learning_rate": value["learning_rate"]}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        first, shape = float(self.initial_accumulator), builder.shape(parameter)
        s = builder.state(f"sum_square.{parameter}", shape, lambda *given: ones(*given) * first)
        scaled = _divided(builder, grad, grad, s, hyper[:4])
        _descend(builder, parameter, scaled, hyper[4:])


@dataclass(frozen=True)
class RMSProp:
    """A step along the gradient, divided by the root of a running mean s of its square.

    ``s <- beta s + (1 - beta) g^2``, ``p <- p - learning_rate * g / sqrt(s + epsilon)``.
    With ``momentum``, what is taken off enters a velocity, as in ``SGD``. With ``centered``, s is
    the variance of the gradient, the mean square less the squared mean (Graves 2013, eq. 38 to
    41), which is gathered as ``s <- beta (s + (1 - beta) (g - mean)^2)``: the same without the
    difference, that may become negative by rounding (and, in PyTorch, not a number).
    Source: Hinton 2012, lecture 6e; epsilon inside the root, as in Keras and optax, unless
    ``epsilon_place="outside"``: added to the root, as in PyTorch, where ``eps=1e-4`` is as large
    as ``epsilon=1e-8`` is inside. PyTorch takes 0.99 as beta and 0.01 as learning rate unless told
    otherwise, and has the rate outside the velocity.
    """

    learning_rate: Rate = hyperparameter(0.001)
    beta: Rate = hyperparameter(0.9, below=1.0, zero=True)
    epsilon: Rate = hyperparameter(1e-8, zero=False)
    momentum: Rate = hyperparameter(0.0, below=1.0, zero=True)
    centered: bool = flag()
    epsilon_place: str = choice("inside", "outside")

    def __post_init__(self) -> None:
        check_values(self)

    def _plain(self) -> bool:
        return not (self.centered or self.momentum or self.epsilon_place == "outside")

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        beta, epsilon, rate = value["beta"], value["epsilon"], value["learning_rate"]
        if self._plain():
            return {"beta": beta, "rest": 1.0 - beta, "learning_rate": rate, "epsilon": epsilon}
        # Squared are deviations from the new mean, beta times those from the old one.
        squared = (1.0 - beta) / (beta or 1.0) if self.centered else 1.0 - beta
        places = {"inside": 0.0, "outside": 0.0, self.epsilon_place: epsilon}
        return {
            "rest": 1.0 - beta,
            "beta": beta,
            "squared": squared,
            **places,
            **_velocity(self, value, rate),
        }

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        (s,) = _states(builder, parameter, "mean_square")
        if self._plain():
            builder.assign([parameter, s], kernels.rmsprop, parameter, grad, s, *hyper)
            return
        (rest, beta), deviation = hyper[:2], grad
        if self.centered:
            (mean,) = _states(builder, parameter, "mean")
            inputs = (grad, grad, mean, beta, rest)
            deviation = _renewed(builder, kernels.momentum, mean, f"deviation_{grad}", *inputs)
        scaled = _divided(builder, grad, deviation, s, hyper[1:5])
        _descend(builder, parameter, scaled, hyper[5:])


# -- along a mean gradient -----------------------------------------------------------------


@dataclass(frozen=True)
class Adam:
    """Adaptive moments: a step along the mean gradient, divided by its root mean square.

    ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``,
    ``p <- p - learning_rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)``.
    Source: Kingma and Ba 2015, algorithm 1; epsilon as there, outside the root and after the
    correction of v, as in PyTorch and optax. With ``epsilon_place="before"`` it is added to
    ``sqrt(v)``, before the correction, as in Keras and scikit-learn (their end of section 2,
    "epsilon hat"). With ``amsgrad``, the largest v so far stands for v in the step (Reddi et al.
    2018), corrected as v is, as in PyTorch and Keras; optax takes the largest corrected v.
    """

    learning_rate: Rate = hyperparameter(0.001)
    beta1: Rate = hyperparameter(0.9, below=1.0, zero=True)
    beta2: Rate = hyperparameter(0.999, below=1.0, zero=True)
    epsilon: Rate = hyperparameter(1e-8, zero=False)
    amsgrad: bool = flag()
    epsilon_place: str = choice("after", "before")

    def __post_init__(self) -> None:
        check_values(self)

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        numbers = _adam_numbers(value, step)
        as_given = {"epsilon": value["epsilon"]} if self.epsilon_place == "before" else {}
        return {**numbers, **as_given}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        states = _states(builder, parameter, "m", "v", *["most"] * self.amsgrad)
        kernel = kernels.amsgrad if self.amsgrad else kernels.adam
        builder.assign([parameter, *states], kernel, parameter, grad, *states, *hyper)


@dataclass(frozen=True)
class AdamW:
    """``Adam`` with decoupled weight decay: ``p <- p - learning_rate * weight_decay * p`` before.

    Source: Loshchilov and Hutter 2019, algorithm 2, with the decay times the learning rate, as in
    PyTorch, Keras and optax. Only what has two or more axes decays: weights, but no biases, nor
    scales, shifts and slopes of other layers. With ``decay_all_parameters`` those do too, as in
    the three unless told otherwise.
    """

    learning_rate: Rate = hyperparameter(0.001)
    weight_decay: Rate = hyperparameter(0.01, zero=True)
    beta1: Rate = hyperparameter(0.9, below=1.0, zero=True)
    beta2: Rate = hyperparameter(0.999, below=1.0, zero=True)
    epsilon: Rate = hyperparameter(1e-8, zero=False)
    decay_all_parameters: bool = flag()

    def __post_init__(self) -> None:
        check_values(self)

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        decay = value["learning_rate"] * value["weight_decay"]
        return {**_adam_numbers(value, step), "decay": decay}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        states = _states(builder, parameter, "m", "v")
        if self.decay_all_parameters or is_weight(builder, parameter):
            builder.assign([parameter, *states], kernels.adamw, parameter, grad, *states, *hyper)
        else:
            inputs = (parameter, grad, *states, *hyper[:-1])
            builder.assign([parameter, *states], kernels.adam, *inputs)


@dataclass(frozen=True)
class RAdam:
    """``Adam``, rectified: shorter steps at first, as long as the mean square varies much.

    With ``rho = 2 / (1 - beta2) - 1``, ``rho_t = rho - 2 t beta2^t / (1 - beta2^t)``: Adam's step
    times ``sqrt((rho_t-4) (rho_t-2) rho / ((rho-4) (rho-2) rho_t))``; where rho_t is 5 or
    less, ``p <- p - learning_rate * m / (1 - beta1^t)``.
    Source: Liu et al. 2020, algorithm 2, which divides from 4 on; 5 is the authors' program's,
    PyTorch's and optax's. Epsilon is added before the correction of v, as there (optax: after).
    """

    learning_rate: Rate = hyperparameter(0.001)
    beta1: Rate = hyperparameter(0.9, below=1.0, zero=True)
    beta2: Rate = hyperparameter(0.999, below=1.0, zero=True)
    epsilon: Rate = hyperparameter(1e-8, zero=False)

    def __post_init__(self) -> None:
        check_values(self)

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        value = values_at(self, epoch)
        power, most = value["beta2"] ** step, 2.0 / (1.0 - value["beta2"]) - 1.0
        rho = most - 2.0 * step * power / (1.0 - power)
        size, rectified = value["learning_rate"] / (1.0 - value["beta1"] ** step), rho > 5.0
        if rectified:
            share = (rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho)
            size *= math.sqrt(share * (1.0 - power))
        epsilon = value["epsilon"] if rectified else 1.0
        last = {"step_size": size, "rectified": float(rectified), "epsilon": epsilon}
        return {**_decays(value), **last}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        states = _states(builder, parameter, "m", "v")
        builder.assign([parameter, *states], kernels.radam, parameter, grad, *states, *hyper)


OPTIMIZERS: dict[str, Callable[[], Optimizer | Driver]] = {
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
    "lbfgs": LBFGS,
    "lion": Lion,
    "radam": RAdam,
    "rmsprop": RMSProp,
    "sgd": SGD,
}
"""The names accepted where an optimizer is asked for."""


def as_optimizer(given: Optimizer | Driver | str) -> Optimizer | Driver:
    """The optimizer given, or the one a name stands for."""
    if isinstance(given, Optimizer | Driver) and not isinstance(given, type):
        return given
    return named(given, OPTIMIZERS, "optimizer")


LIMITS = {"float32": (1e-37, 3e38), "float64": (1e-307, 1e308)}
"""The least and the largest hyper-parameter above 0 that a dtype holds."""


def check_hyperparameters(
    optimizer: Optimizer | Driver,
    dtype: str,
    epochs: int,
    batches: int,
    history: Sequence[str] = (),
) -> None:
    """Ask an optimizer for the numbers to come, before the first step, where they cost nothing.

    At the batches of the first epoch and at the beginning of the others, a thousand of each at
    most: whatever is scheduled has to give a value there. And after an epoch that leaves these
    entries in the history.
    """
    if isinstance(optimizer, Driver):
        return
    least, most = LIMITS[dtype]
    for name, value in optimizer.hyperparameters(1, 0.0).items():
        if not (value == 0.0 or least <= abs(value) <= most):
            raise NetworkError(
                f"{type(optimizer).__name__} gives {value:g} as {name} in the first update, which "
                f"{dtype} does not hold."
            )
    within = range(0, batches, -(-batches // 1000))
    for position in [*(k / batches for k in within), *range(1, min(epochs, 1000))]:
        optimizer.hyperparameters(1, float(position))
    bound = following(optimizer, dict.fromkeys(history, (1.0,)))
    if bound is not optimizer:
        bound.hyperparameters(1, 1.0)
