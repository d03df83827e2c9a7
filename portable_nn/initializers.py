"""Values of parameters before the first step, in float64 on the host, rounded once after.

An initializer is ``(draws, shape) -> host array``; the same seed gives the same bits on every
backend and every machine. For a weight (in, out), fan_in is ``in`` and fan_out is ``out``.
``Dense`` draws its weight with ``glorot_uniform``, as Keras does; PyTorch's ``Linear`` draws
weight and bias uniformly in +-1/sqrt(fan_in).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.errors import NetworkError
from portable_nn.plan import Initializer
from portable_nn.random import Draws, normal_quantile
from portable_nn.schedules import positive, real

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """fan_in and fan_out of a weight."""
    if len(shape) < 2:
        raise NetworkError(
            f"this initializer is for weights (in, out); got {shape}. A "
            f"bias takes zeros, ones, Constant, Normal or Uniform."
        )
    return shape[-2], shape[-1]


def check_initializer(given: object, owner: str, name: str) -> None:
    """Something to call, not a class."""
    if not callable(given) or isinstance(given, type):
        raise NetworkError(
            f"{owner} takes an initializer as {name}, such as Normal(0.1), or a function "
            f"(draws, shape) -> array; got {given!r:.60}.{_meant(given)}"
        )


def _meant(given: object) -> str:
    """The function of this name, if that is what was given."""
    found = globals().get(given) if isinstance(given, str) else None
    known = getattr(found, "__module__", None) == __name__
    return f" Did you mean pnn.initializers.{given}, without quotes?" if known else ""


def zeros(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """All 0: biases, optimizer moments."""
    return np.zeros(shape)


def ones(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """All 1."""
    return np.ones(shape)


def glorot_uniform(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio 2010, eq. 16."""
    return (2.0 * draws.uniform(shape) - 1.0) * math.sqrt(6.0 / sum(_fans(shape)))


def glorot_normal(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Normal with the deviation of ``glorot_uniform``, sqrt(2 / (fan_in + fan_out)).

    Source: Glorot and Bengio 2010, eq. 12. Keras cuts its tails off at two deviations.
    """
    return draws.normal(shape) * math.sqrt(2.0 / sum(_fans(shape)))


def he_uniform(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Uniform with the deviation of ``he_normal``: in +-sqrt(6 / fan_in)."""
    return (2.0 * draws.uniform(shape) - 1.0) * math.sqrt(6.0 / _fans(shape)[0])


def he_normal(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Normal with deviation sqrt(2 / fan_in), for ReLU. Source: He et al. 2015, eq. 10.

    Keras cuts its tails off at two deviations.
    """
    return draws.normal(shape) * math.sqrt(2.0 / _fans(shape)[0])


def lecun_uniform(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Uniform with the deviation of ``lecun_normal``: in +-sqrt(3 / fan_in)."""
    return (2.0 * draws.uniform(shape) - 1.0) * math.sqrt(3.0 / _fans(shape)[0])


def lecun_normal(draws: Draws, shape: tuple[int, ...]) -> HostArray:
    """Normal with deviation sqrt(1 / fan_in), for SELU and tanh.

    Source: LeCun et al. 1998, eq. 16. Keras and JAX cut its tails off at two deviations.
    """
    return draws.normal(shape) * math.sqrt(1.0 / _fans(shape)[0])


@dataclass(frozen=True, eq=False)
class Constant:
    """``value`` everywhere; or an array, the parameter itself.

    ``Dense(16, weight=Constant(trained.parameters["dense1.weight"]))`` begins where another
    network ended.
    """

    value: Any

    def __post_init__(self) -> None:
        try:
            value = np.array(self.value)
        except Exception as error:  # whatever another library says of its arrays
            raise self._refusal() from error
        if value.dtype.kind not in "iuf" or not np.isfinite(value).all():
            raise self._refusal()
        object.__setattr__(self, "value", value if value.ndim else self.value)

    def _refusal(self) -> NetworkError:
        return NetworkError(
            f"Constant takes a finite number, or an array of them; got {self.value!r:.60}."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and np.array_equal(self.value, other.value)

    def __hash__(self) -> int:
        return hash(np.asarray(self.value, np.float64).tobytes())

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        value = np.asarray(self.value, np.float64)
        if value.shape not in ((), shape):
            raise NetworkError(f"Constant has the shape {value.shape}; {shape} is needed.")
        return np.array(np.broadcast_to(value, shape))


@dataclass(frozen=True)
class Normal:
    """Normal with mean 0 and deviation ``scale``, whatever the shape."""

    scale: float

    def __post_init__(self) -> None:
        positive(self, "scale")

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        return draws.normal(shape) * self.scale


@dataclass(frozen=True)
class Uniform:
    """Uniform between ``low`` and ``high``, whatever the shape."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < real(self.low) < real(self.high) < math.inf:
            raise NetworkError(
                f"Uniform takes two numbers, low below high; got {self.low!r} and {self.high!r}."
            )

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        return self.low + draws.uniform(shape) * (self.high - self.low)


_BELOW = 0.022750131948179207
"""The share of a standard normal distribution below -2."""


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal with mean 0 and deviation ``scale``, without what lies beyond two deviations.

    ``scale`` is the deviation before the cut; after it, it is 0.8796 ``scale``. Keras's and JAX's
    of this name mean the same (they say ``stddev``); Keras's ``GlorotNormal``, ``HeNormal`` and
    ``LecunNormal`` divide by 0.8796 first. PyTorch's ``trunc_normal_`` cuts at numbers, -2 and 2
    unless told otherwise, whatever the deviation.
    """

    scale: float

    def __post_init__(self) -> None:
        positive(self, "scale")

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        within = normal_quantile(_BELOW + draws.uniform(shape) * (1.0 - 2.0 * _BELOW))
        return np.clip(within, -2.0, 2.0) * self.scale  # a rounding may lie outside


@dataclass(frozen=True)
class Orthogonal:
    """A matrix with orthonormal columns, or rows if it is wider than tall, times ``gain``.

    Drawn evenly from all such matrices. A shape (..., out) is that of a matrix (rest, out), as in
    Keras; PyTorch, whose weights are (out, in, ...), takes (out, rest).
    Sources: Saxe et al. 2014; how it is drawn: Stewart 1980, section 3. NumPy's ``qr``, which
    others use, gives other bits on other machines.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "gain")

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        _fans(shape)
        rest, out = math.prod(shape[:-1]), shape[-1]
        long, short = max(rest, out), min(rest, out)
        normal, matrix = draws.normal((long, short)), np.eye(long, short)
        for k in reversed(range(short)):
            # The reflection that takes a random direction of the last long - k axes to the first.
            mirror = normal[k:, k : k + 1].copy()
            sign = math.copysign(1.0, mirror[0, 0])
            mirror[0] += sign * np.sqrt(_total(mirror * mirror))
            block = matrix[k:, k:]
            block -= mirror * (_total(mirror * block) * (2.0 / _total(mirror * mirror)))
            block *= -sign
        return np.ascontiguousarray(matrix if rest >= out else matrix.T).reshape(shape) * self.gain


def _total(rows: HostArray) -> HostArray:
    """The sum of rows, always in the same order; overwrites them."""
    while (count := len(rows)) > 1:
        half = (count + 1) // 2
        rows[: count - half] += rows[half:]
        rows = rows[:half]
    total: HostArray = rows[0]
    return total


@dataclass(frozen=True)
class Scaled:
    """What another initializer gives, times ``gain``: ``Scaled(glorot_uniform, gain("tanh"))``.

    A gain makes up for what an activation takes off the deviation of its inputs. Those of
    ``pnn.gain`` go with Glorot's, LeCun's and ``Orthogonal``; He's have that of ReLU in them.
    """

    initializer: Initializer
    gain: float

    def __post_init__(self) -> None:
        check_initializer(self.initializer, "Scaled", "initializer")
        positive(self, "gain", hint=' pnn.gain("relu") is that of an activation.')

    def __call__(self, draws: Draws, shape: tuple[int, ...]) -> HostArray:
        return self.initializer(draws, shape) * self.gain
