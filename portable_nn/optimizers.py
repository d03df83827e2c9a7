"""Optimizers: each writes only its own update; where its state lives is the plan's affair.

``hyperparameters(step)`` gives the numbers of update ``step`` (1, 2, ...), in float64 on the
host; they reach the update kernel as 0-d arrays. ``update`` writes one parameter's call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol, runtime_checkable

from portable_nn import kernels
from portable_nn.checks import named
from portable_nn.errors import NetworkError
from portable_nn.initializers import zeros
from portable_nn.plan import PlanBuilder


@runtime_checkable
class Optimizer(Protocol):
    """An optimizer in step form: one call a parameter and update."""

    def hyperparameters(self, step: int) -> Mapping[str, float]:
        """The 0-d inputs of update ``step``, by name; always the same names."""

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        """Write the call that updates one parameter."""


def _positive(optimizer: object, name: str, below: float = math.inf) -> None:
    value = getattr(optimizer, name)
    if not (isinstance(value, Real) and 0.0 < float(value) < below):
        wanted = "a number above 0" if below == math.inf else f"a number between 0 and {below}"
        raise NetworkError(f"{type(optimizer).__name__} takes {wanted} as {name}; got {value!r}.")


@dataclass(frozen=True)
class SGD:
    """Gradient descent, ``p <- p - learning_rate * grad``.

    Batch, mini-batch or per sample, as the batch size says.
    """

    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _positive(self, "learning_rate")

    def hyperparameters(self, step: int) -> Mapping[str, float]:
        return {"learning_rate": self.learning_rate}

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        builder.assign([parameter], kernels.sgd, parameter, grad, *hyper)


@dataclass(frozen=True)
class Adam:
    """Adaptive moments: a step along the mean gradient, divided by its root mean square.

    ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``,
    ``p <- p - learning_rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)``.
    Source: Kingma and Ba 2015, algorithm 1; epsilon as there, outside the root and after the
    correction of v (PyTorch and optax alike; Keras and scikit-learn add it before).
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _positive(self, "learning_rate")
        _positive(self, "beta1", below=1.0)
        _positive(self, "beta2", below=1.0)
        _positive(self, "epsilon")

    def hyperparameters(self, step: int) -> Mapping[str, float]:
        root = math.sqrt(1.0 - self.beta2**step)
        return {
            "beta1": self.beta1,
            "rest1": 1.0 - self.beta1,
            "beta2": self.beta2,
            "rest2": 1.0 - self.beta2,
            "step_size": self.learning_rate * root / (1.0 - self.beta1**step),
            "epsilon": self.epsilon * root,
        }

    def update(self, builder: PlanBuilder, parameter: str, grad: str, hyper: Sequence[str]) -> None:
        shape = builder.shape(parameter)
        m, v = [builder.state(f"{name}.{parameter}", shape, zeros) for name in ("m", "v")]
        builder.assign([parameter, m, v], kernels.adam, parameter, grad, m, v, *hyper)


OPTIMIZERS = {"adam": Adam, "sgd": SGD}
"""The names accepted where an optimizer is asked for."""


def as_optimizer(given: Optimizer | str) -> Optimizer:
    """The optimizer given, or the one a name stands for."""
    if isinstance(given, Optimizer) and not isinstance(given, type):
        return given
    optimizer: Optimizer = named(given, OPTIMIZERS, "optimizer")
    return optimizer
