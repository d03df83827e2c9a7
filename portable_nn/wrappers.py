"""Optimizers around optimizers: what happens to gradients before an update, to parameters after.

``ClippedNorm(AdamW(1e-3), 1.0)``. They nest: the outermost is the first to see the gradients and
the last to see the parameters. *Weights* are the parameters with two axes or more; only these decay
or have a largest norm, unless told otherwise, and not biases or what normalisation layers learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from portable_nn import kernels
from portable_nn.errors import NetworkError
from portable_nn.initializers import zeros
from portable_nn.optimizers import Optimizer, as_optimizer, is_weight
from portable_nn.plan import PlanBuilder, matches
from portable_nn.schedules import (
    Rate,
    check_values,
    flag,
    hyperparameter,
    positive,
    value_at,
    values_at,
)


@runtime_checkable
class Transform(Protocol):
    """What an optimizer has that changes the gradients before the updates."""

    def transform(
        self, builder: PlanBuilder, gradients: Mapping[str, str], hyper: Sequence[str]
    ) -> Mapping[str, str]:
        """Write the calls that change the gradients; the new ones by parameter."""


def transformed(
    optimizer: Optimizer, builder: PlanBuilder, gradients: Mapping[str, str], hyper: Sequence[str]
) -> Mapping[str, str]:
    """The gradients by parameter, as the updates of an optimizer take them."""
    if isinstance(optimizer, Transform):
        return optimizer.transform(builder, gradients, hyper)
    return gradients


@dataclass(frozen=True)
class Wrapper:
    """Base of an optimizer that changes what another one, its first field, does.

    A subclass says which hyper-parameters it adds (``own``: its ``hyperparameter`` fields, unless
    told otherwise), and what it writes into the plan: before the updates, for each gradient
    (``gradient``) or for all at once (``gradients``), or after each update (``after``).
    """

    optimizer: Optimizer

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimizer", in_step_form(self.optimizer, self))
        check_values(self)

    def own(self, step: int, epoch: float) -> Mapping[str, float]:
        """The hyper-parameters that come before those of ``optimizer``."""
        name = type(self).__name__.lower()
        return {f"{name}_{field}": value for field, value in values_at(self, epoch).items()}

    def gradient(self, builder: PlanBuilder, parameter: str, grad: str, own: Sequence[str]) -> str:
        """Write what happens to one gradient; the name of the new one."""
        return grad

    def gradients(
        self, builder: PlanBuilder, gradients: Mapping[str, str], own: Sequence[str]
    ) -> Mapping[str, str]:
        """Write what happens to all gradients; the new ones by parameter."""
        return {p: self.gradient(builder, p, grad, own) for p, grad in gradients.items()}

    def after(self, builder: PlanBuilder, parameter: str, own: Sequence[str]) -> None:
        """Write what happens to a parameter after its update."""

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        own, inner = self.own(step, epoch), self.optimizer.hyperparameters(step, epoch)
        twice = own.keys() & inner.keys()
        if twice:
            raise NetworkError(f"{type(self).__name__} is around itself; {min(twice)} comes twice.")
        return {**own, **inner}

    def transform(
        self, builder: PlanBuilder, gradients: Mapping[str, str], hyper: Sequence[str]
    ) -> Mapping[str, str]:
        """The gradients as this wrapper, then what it is around, changes them."""
        count = len(self.own(1, 0.0))
        gradients = self.gradients(builder, gradients, hyper[:count])
        return transformed(self.optimizer, builder, gradients, hyper[count:])

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        count = len(self.own(1, 0.0))
        self.optimizer.update(builder, parameter, grad, hyper[count:])
        self.after(builder, parameter, hyper[:count])


# -- gradients -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ClippedNorm(Wrapper):
    """All gradients together, as one vector, no longer than ``limit``: ``g * min(1, limit/|g|)``.

    The direction stays. Source: Pascanu et al. 2013, section 3.2. PyTorch's ``clip_grad_norm_``
    adds 1e-6 to the length; in Keras it is ``global_clipnorm``.
    """

    limit: Rate = hyperparameter(1.0)

    def gradients(
        self, builder: PlanBuilder, gradients: Mapping[str, str], own: Sequence[str]
    ) -> Mapping[str, str]:
        factor = builder.call(kernels.clip_factor, *gradients.values(), *own)
        return super().gradients(builder, gradients, [factor])

    def gradient(self, builder: PlanBuilder, parameter: str, grad: str, own: Sequence[str]) -> str:
        return builder.emit(kernels.scaled, grad, *own, names=[f"clipped_{grad}"])[0]


@dataclass(frozen=True)
class ClippedValue(Wrapper):
    """Every number of a gradient between ``-limit`` and ``limit``.

    As PyTorch's ``clip_grad_value_`` and Keras' ``clipvalue``.
    """

    limit: Rate = hyperparameter(1.0)

    def gradient(self, builder: PlanBuilder, parameter: str, grad: str, own: Sequence[str]) -> str:
        return builder.emit(kernels.clipped, grad, *own, names=[f"clipped_{grad}"])[0]


@dataclass(frozen=True)
class Penalized(Wrapper):
    """The gradient of ``l2/2 |p|^2 + l1 |p|`` beside that of the loss: weights drawn to 0.

    ``l2`` is PyTorch's ``weight_decay`` outside AdamW; scikit-learn's ``alpha`` is ``l2`` times the
    rows of a batch; Keras' ``L2`` has no 1/2. The loss that is shown has no penalty in it. Weights
    only, unless ``decay_all_parameters``.
    """

    l2: Rate = hyperparameter(0.0, zero=True)
    l1: Rate = hyperparameter(0.0, zero=True)
    decay_all_parameters: bool = flag()

    def gradient(self, builder: PlanBuilder, parameter: str, grad: str, own: Sequence[str]) -> str:
        if not (self.decay_all_parameters or is_weight(builder, parameter)):
            return grad
        names = [f"penalized_{grad}"]
        return builder.emit(kernels.penalized, grad, parameter, *own, names=names)[0]


# -- parameters ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Decayed(Wrapper):
    """Decoupled weight decay: ``learning_rate * weight_decay * p`` taken off beside the update.

    Source: Loshchilov and Hutter 2019, with the decay times the learning rate, as in PyTorch's
    AdamW; ``AdamW`` and ``Lion`` have it built in, and faster. Weights only, unless
    ``decay_all_parameters``.
    """

    weight_decay: Rate = hyperparameter(0.01, zero=True)
    decay_all_parameters: bool = flag()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self._inner(), "learning_rate"):
            name = type(self._inner()).__name__
            raise NetworkError(f"Decayed takes an optimizer with a learning_rate; {name} has none.")

    def _inner(self) -> Any:
        inner: Any = self.optimizer
        while isinstance(inner, Wrapper):
            inner = inner.optimizer
        return inner

    def own(self, step: int, epoch: float) -> Mapping[str, float]:
        rate = value_at(self._inner().learning_rate, epoch)
        return {"decoupled_decay": rate * values_at(self, epoch)["weight_decay"]}

    def after(self, builder: PlanBuilder, parameter: str, own: Sequence[str]) -> None:
        if self.decay_all_parameters or is_weight(builder, parameter):
            new = builder.carried(parameter)
            builder.assign([parameter], kernels.decayed, new, parameter, *own)


@dataclass(frozen=True)
class MaxNorm(Wrapper):
    """Weights of which no column is longer than ``limit`` after an update.

    A column of a weight (in, out) is what goes into one unit. Source: Srivastava et al. 2014,
    appendix B; as Keras' ``MaxNorm(limit)`` on axis 0.
    """

    limit: Rate = hyperparameter(3.0)

    def after(self, builder: PlanBuilder, parameter: str, own: Sequence[str]) -> None:
        if is_weight(builder, parameter):
            builder.assign([parameter], kernels.max_norm, builder.carried(parameter), *own)


def _average(builder: PlanBuilder, parameter: str) -> str:
    """State for an average that is to stand for a parameter at the end."""
    name = f"average.{parameter}"
    builder.replace_at_end(parameter, name)
    return builder.state(name, builder.shape(parameter), zeros)


@dataclass(frozen=True)
class ExponentialMovingAverage(Wrapper):
    """After the training, the mean of the parameters of all updates, the last counting most.

    ``a <- decay a + (1 - decay) p``, divided by ``1 - decay^t`` (here in the rate), so that the
    first values have no part in it. Each validation measures the averages. Source: Polyak and
    Juditsky 1992 for the mean; TensorFlow's starts from the first values, unless told otherwise.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        positive(self, "decay", below=1.0)
        super().__post_init__()

    def own(self, step: int, epoch: float) -> Mapping[str, float]:
        rate = (1.0 - self.decay) / (1.0 - self.decay**step)
        return {"average_rest": 1.0 - rate, "average_rate": rate}

    def after(self, builder: PlanBuilder, parameter: str, own: Sequence[str]) -> None:
        mean = _average(builder, parameter)
        builder.assign([mean], kernels.average, mean, builder.carried(parameter), *own)


@dataclass(frozen=True)
class StochasticWeightAveraging(Wrapper):
    """After the training, the plain mean of the parameters of all updates from epoch ``start`` on.

    Each validation measures the means. Source: Izmailov et al. 2018, algorithm 1, with every update
    as a point (there the last of each epoch or cycle, as in PyTorch's ``AveragedModel`` when it is
    updated once an epoch). The running statistics of ``BatchNorm`` are those of the training. Where
    the training ends before ``start``, its last parameters stay.
    """

    start: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "start", zero=True)
        super().__post_init__()

    def own(self, step: int, epoch: float) -> Mapping[str, float]:
        return {"averaging": float(epoch >= self.start)}

    def after(self, builder: PlanBuilder, parameter: str, own: Sequence[str]) -> None:
        mean, new = _average(builder, parameter), builder.carried(parameter)
        count = builder.state(f"averaged.{parameter}", (), zeros)
        builder.assign([mean], kernels.average_equally, mean, new, count)
        builder.assign([count], kernels.add, count, *own)


@dataclass(frozen=True)
class ParameterGroups:
    """One optimizer for some parameters, others for the rest.

    Parameters
    ----------
    optimizer
        Of the parameters that no group names.
    groups
        ``{"dense1": SGD(0.1), "*.bias": Adam()}``: by the name of a layer, or of a parameter, with
        ``*`` and ``?``. Of two that name a parameter the first counts.
    """

    optimizer: Optimizer
    groups: Mapping[str, Optimizer]

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimizer", in_step_form(self.optimizer, self))
        texts = isinstance(self.groups, Mapping) and all(isinstance(g, str) for g in self.groups)
        if not texts or not self.groups:
            raise NetworkError(
                f"ParameterGroups takes the optimizer of the rest, then groups such as "
                f"{{'dense1': SGD(0.1)}}; got {self.groups!r:.60}."
            )
        chosen = {name: in_step_form(group, self) for name, group in self.groups.items()}
        object.__setattr__(self, "groups", chosen)

    def _members(self) -> list[tuple[str, Optimizer]]:
        """Pattern and optimizer of each group; the rest is last."""
        return [*self.groups.items(), ("*", self.optimizer)]

    def hyperparameters(self, step: int, epoch: float) -> Mapping[str, float]:
        return {
            f"group{k}.{name}": value
            for k, (_, optimizer) in enumerate(self._members(), 1)
            for name, value in optimizer.hyperparameters(step, epoch).items()
        }

    def _parts(self, hyper: Sequence[str]) -> list[tuple[str, Optimizer, list[str]]]:
        """Pattern and optimizer of each group, and its hyper-parameters of all of them."""
        left = iter(hyper)
        return [
            (pattern, optimizer, list(islice(left, len(optimizer.hyperparameters(1, 0.0)))))
            for pattern, optimizer in self._members()
        ]

    def transform(
        self, builder: PlanBuilder, gradients: Mapping[str, str], hyper: Sequence[str]
    ) -> Mapping[str, str]:
        """The gradients of each group as its optimizer changes them."""
        found: dict[str, str] = {}
        for k, (pattern, optimizer, own) in enumerate(self._parts(hyper), 1):
            left = {p: grad for p, grad in gradients.items() if p not in found}
            members = {p: grad for p, grad in left.items() if matches(pattern, p)}
            frozen = (p for p in builder.parameters() if p not in gradients)
            if not (members or any(matches(pattern, p) for p in frozen)) and k <= len(self.groups):
                raise NetworkError(
                    f"the group {pattern!r:.60} names no parameter that is trained and that "
                    f"groups before it leave: {', '.join(left) or 'none is left'}."
                )
            found |= transformed(optimizer, builder, members, own) if members else {}
        return {parameter: found[parameter] for parameter in gradients}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        parts = [part for part in self._parts(hyper) if matches(part[0], parameter)]
        _, optimizer, own = parts[0]
        optimizer.update(builder, parameter, grad, own)


def in_step_form(given: Any, owner: object) -> Optimizer:
    """An optimizer, or the one a name stands for, of which every update can be changed."""
    optimizer = as_optimizer(given)
    if not isinstance(optimizer, Optimizer):
        raise NetworkError(
            f"{type(owner).__name__} changes the updates of another optimizer; "
            f"{type(optimizer).__name__} has none that could be changed."
        )
    return optimizer
