"""Optimizers: each writes only its own update; where its state lives is the plan's affair.

``hyperparameters(step, epoch)`` gives the numbers of update ``step`` (1, 2, ...), in float64 on
the host; they reach the update kernel as 0-d arrays. ``update`` writes one parameter's call.
A learning rate is a number or a function of the epoch: see ``schedules.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from portable_nn import kernels
from portable_nn.checks import named
from portable_nn.drivers import LBFGS, Driver
from portable_nn.errors import NetworkError
from portable_nn.initializers import zeros
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import Rate, check_rate, positive, rate_at, real


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


@dataclass(frozen=True)
class SGD:
    """Gradient descent, ``p <- p - learning_rate * g``, if wanted with a velocity v.

    Batch, mini-batch or per sample, as the batch size says. With ``momentum``,
    ``v <- momentum v + learning_rate g``, ``p <- p - v``; with ``nesterov`` too,
    ``p <- p - (momentum v + learning_rate g)``.
    Source: Polyak 1964, and Sutskever et al. 2013, eq. 1 to 4, where p is, with ``nesterov``,
    the point they look ahead to and take the gradient at (as in Keras).

    The rate stands inside the velocity, as there. PyTorch gathers gradients alone,
    ``v <- momentum v + g``, and takes ``learning_rate v`` off: the same as long as the rate
    stays; when it changes, there it changes what has been gathered too, here only what is
    added from then on.
    """

    learning_rate: Rate = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_rate(self, "learning_rate")
        if not isinstance(self.nesterov, bool):
            raise NetworkError(f"SGD takes nesterov=True or False; got {self.nesterov!r:.60}.")
        if real(self.momentum) != 0.0:
            positive(self, "momentum", below=1.0)
        elif self.nesterov:
            raise NetworkError("SGD(nesterov=True) takes a momentum too, such as 0.9; got 0.")

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        rate = {"learning_rate": rate_at(self.learning_rate, epoch)}
        return {"momentum": self.momentum, **rate} if self.momentum else rate

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        if not self.momentum:
            builder.assign([parameter], kernels.sgd, parameter, grad, *hyper)
            return
        kernel = kernels.nesterov if self.nesterov else kernels.momentum
        v = builder.state(f"velocity.{parameter}", builder.shape(parameter), zeros)
        builder.assign([parameter, v], kernel, parameter, grad, v, *hyper)


@dataclass(frozen=True)
class RMSProp:
    """A step along the gradient, divided by the root of a running mean s of its square.

    ``s <- beta s + (1 - beta) g^2``, ``p <- p - learning_rate * g / sqrt(s + epsilon)``.
    Source: Hinton 2012, lecture 6e; epsilon inside the root, as in Keras and optax. PyTorch adds
    it outside, to the root, and takes 0.99 as beta and 0.01 as learning rate unless told
    otherwise; there, ``eps=1e-4`` is as large as ``epsilon=1e-8`` is here.
    """

    learning_rate: Rate = 0.001
    beta: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_rate(self, "learning_rate")
        positive(self, "beta", below=1.0)
        positive(self, "epsilon")

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        return {
            "beta": self.beta,
            "rest": 1.0 - self.beta,
            "learning_rate": rate_at(self.learning_rate, epoch),
            "epsilon": self.epsilon,
        }

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        s = builder.state(f"mean_square.{parameter}", builder.shape(parameter), zeros)
        builder.assign([parameter, s], kernels.rmsprop, parameter, grad, s, *hyper)


@dataclass(frozen=True)
class Adam:
    """Adaptive moments: a step along the mean gradient, divided by its root mean square.

    ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``,
    ``p <- p - learning_rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)``.
    Source: Kingma and Ba 2015, algorithm 1; epsilon as there, outside the root and after the
    correction of v (PyTorch and optax alike; Keras and scikit-learn add it before).
    """

    learning_rate: Rate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_rate(self, "learning_rate")
        positive(self, "beta1", below=1.0)
        positive(self, "beta2", below=1.0)
        positive(self, "epsilon")

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        root = math.sqrt(1.0 - self.beta2**step)
        return {
            "beta1": self.beta1,
            "rest1": 1.0 - self.beta1,
            "beta2": self.beta2,
            "rest2": 1.0 - self.beta2,
            "step_size": rate_at(self.learning_rate, epoch) * root / (1.0 - self.beta1**step),
            "epsilon": self.epsilon * root,
        }

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        shape = builder.shape(parameter)
        m, v = [builder.state(f"{name}.{parameter}", shape, zeros) for name in ("m", "v")]
        builder.assign([parameter, m, v], kernels.adam, parameter, grad, m, v, *hyper)


OPTIMIZERS: dict[str, Callable[[], Optimizer | Driver]] = {
    "adam": Adam,
    "lbfgs": LBFGS,
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
    optimizer: Optimizer | Driver, dtype: str, epochs: int, batches: int
) -> None:
    """Ask an optimizer for the numbers to come, before the first step, where they cost nothing.

    Of a learning rate that is a schedule at each batch of the first epoch and at the beginning
    of the others, a thousand at most.
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
    if callable(getattr(optimizer, "learning_rate", None)):
        for position in [*(k / batches for k in range(batches)), *range(1, min(epochs, 1000))]:
            optimizer.hyperparameters(1, float(position))
