"""Training steps that no correct backend rounds: right bit for bit, or wrong.

Every number of these small networks is an integer times a power of two, and so few bits long
that every product, every sum in whatever order and every update is a number of the dtype. So
there are no tolerances. Some numbers are long on purpose: products of shortened inputs (TF32, or
float32 where float64 is asked for) differ. The long parts of outputs and targets cancel, since
the loss squares what is left.

A kernel with an exponential, a logarithm, a root or a division always rounds: those of
``INEXACT`` cannot be checked like this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import array_api_compat.numpy
import numpy as np

from portable_nn import kernels
from portable_nn.activations import HardTanh, LeakyReLU, ReLU
from portable_nn.backend import Where, get_backend
from portable_nn.layers import (
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Layer,
    Maxout,
    PReLU,
    Residual,
)
from portable_nn.losses import Hinge, Huber, Loss, MeanAbsoluteError, Quantile
from portable_nn.network import Network
from portable_nn.optimizers import SGD, Optimizer
from portable_nn.parity._origins import suspects, writer
from portable_nn.plan import Initializer, Plan, PlanBuilder
from portable_nn.runner import Reference, same_shape
from portable_nn.training import Training
from portable_nn.typing import Namespace
from portable_nn.wrappers import (
    ClippedNorm,
    ClippedValue,
    Decayed,
    MaxNorm,
    Penalized,
    StochasticWeightAveraging,
)

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

INEXACT = (
    kernels.adam, kernels.adamw, kernels.amsgrad, kernels.divide_by_root, kernels.lion,
    kernels.average, kernels.radam, kernels.rmsprop,
    kernels.binary_cross_entropy, kernels.cross_entropy,
    kernels.sigmoid, kernels.sigmoid_backward, kernels.softmax, kernels.softmax_backward,
    kernels.tanh, kernels.tanh_backward, kernels.exp, kernels.exp_backward, kernels.log_cosh,
    kernels.standardize_batch, kernels.standardize_batch_backward, kernels.standardize_by,
    kernels.standardize_features, kernels.standardize_features_backward,
    kernels.divide_by_rms, kernels.divide_by_rms_backward,
    kernels.alpha_dropout, kernels.alpha_dropout_backward,
    kernels.tweedie_deviance, kernels.gaussian_nll, kernels.celu, kernels.celu_backward,
    kernels.elu, kernels.elu_backward, kernels.gelu, kernels.gelu_backward, kernels.gelu_tanh,
    kernels.gelu_tanh_backward, kernels.hard_sigmoid, kernels.hard_sigmoid_backward,
    kernels.hard_swish, kernels.hard_swish_backward, kernels.glu, kernels.glu_backward,
    kernels.log_sigmoid, kernels.log_sigmoid_backward, kernels.mish, kernels.mish_backward,
    kernels.selu, kernels.selu_backward, kernels.silu, kernels.silu_backward, kernels.softplus,
    kernels.softplus_backward, kernels.softsign, kernels.softsign_backward, kernels.swiglu,
    kernels.swiglu_backward, kernels.log_softmax, kernels.log_softmax_backward,
)  # fmt: skip
DIGITS = {"float32": 9, "float64": 17}
"""Decimal digits that tell any two numbers apart."""
BITS = {"float32": 24, "float64": 48}
"""How long numbers may be: the second a little below 53, where a rounded one would be longer."""
STEPS = 2


# -- the networks --------------------------------------------------------------------------


@dataclass(frozen=True)
class Exchanged:
    """The first feature goes behind the others."""

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        parts = (1, builder.features(x)), (0, 1)
        taken = [builder.call(kernels.take_features, x, start=a, stop=b) for a, b in parts]
        return builder.call(kernels.concatenate, *taken)


class Squares(Loss):
    """``mean_k (t_k - a_k)^2`` a row, of several calls."""

    def forward(self, builder: PlanBuilder, z: str) -> str:
        error = builder.call(kernels.subtract, self.expected(builder, z), z)
        return self.total(builder, builder.call(kernels.multiply, error, error))


@dataclass(frozen=True)
class Scaled:
    """Every feature by a factor of its own, and a number added."""

    scale: HostArray
    shift: HostArray

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        given = {"scale": self.scale, "shift": self.shift}
        rows = [builder.parameter(name, v.shape, _given(v)) for name, v in given.items()]
        return builder.call(kernels.scale_shift, x, *rows)


@dataclass(frozen=True)
class Case:
    """A network, how it is trained, and its data, which make two batches."""

    name: str
    layers: Sequence[Layer]
    loss: Loss | str
    optimizer: Optimizer
    x: HostArray
    y: HostArray
    weight: HostArray | None = None
    batch_size: int = 4
    shuffle: bool = False


def networks(dtype: str) -> list[Case]:
    """The networks for a dtype, which says how long the long numbers are."""
    low = {"float32": 2.0**-12, "float64": 2.0**-36}[dtype]
    every = (
        _long_inputs, _long_weights, _residual, _features, _embedding, _dropout, _pieces, _wrapped
    )  # fmt: skip
    return [*[network(low) for network in every], *_losses(low)]


def _cycle(shape: tuple[int, ...], *values: float) -> HostArray:
    return np.resize(np.asarray(values, np.float64), shape)


def _given(values: HostArray) -> Initializer:
    return lambda draws, shape: values


def _dense(weight: HostArray, bias: HostArray | None = None) -> Dense:
    first = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    initializers = {name: _given(values) for name, values in first.items()}
    return Dense(weight.shape[1], use_bias=bias is not None, **initializers)


def _long_inputs(low: float) -> Case:
    """Larger matrices of odd sizes, mostly zeros; the last batch is short."""
    x = _cycle((66, 67), 1, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0)
    x[:, 0] = np.where(np.arange(66) % 4 == 0, 1 + low, 0)
    x[64:, 0] = 0  # after the update the weights of this column are long
    weight = _cycle((67, 37), 1, -1, 0, 2, 0, -1, 0)
    bias = _cycle((37,), 1, 0, -1) + low
    error = _cycle((66, 37), 1, 0, -1, 0, 0, 0, 2, 0, -1, 0, 0)
    y = x @ weight + bias - error
    layers: list[Layer] = [_dense(weight, bias)]
    return Case("long inputs", layers, "half_squared_error", SGD(8.0), x, y, batch_size=64)


def _long_weights(low: float) -> Case:
    """Hidden unit 0 has long weights, and is off in the second batch."""
    x = _cycle((8, 3), 1, 2, 0, -1, 1, 1, 2)
    x[:, 0] = np.repeat([1, -8], 4)
    first = _cycle((3, 5), 1, 0, -1, 1, 1, -1, 0, 1)
    first[:, 0] = [4, 0, 0]
    second = _cycle((5, 2), 1, -1, 0, 1, 1, 0, -1)
    second[0] += low
    error = _cycle((8, 2), 1, 0, -1, -1, 2)
    y = np.maximum(x @ first, 0) @ second - error
    layers: list[Layer] = [_dense(first, np.zeros(5)), ReLU(), _dense(second)]
    return Case("long weights", layers, "half_squared_error", SGD(0.5), x, y)


def _residual(low: float) -> Case:
    """Two branches, rows with weights, and a momentum."""
    x = _cycle((8, 3), 1, 0, -1, 0, 1)
    first, second = _cycle((3, 5), 1, 0, -1, 0), _cycle((5, 5), 1, 0, 0, -1, 0, 0)
    last, bias = _cycle((5, 2), 1, -1, 0), _cycle((2,), 1, -1) + low
    hidden = x @ first
    y = (hidden + np.maximum(hidden @ second, 0)) @ last + bias - _cycle((8, 2), 1, 0, 0, -1, 0)
    inner = Residual([_dense(second), ReLU()])
    layers: list[Layer] = [_dense(first), inner, _dense(last, bias)]
    weight, by = _cycle((8,), 1, 2, 1, 0, 0, 2, 1, 1), SGD(2.0, momentum=0.5)
    return Case("residual", layers, "mean_squared_error", by, x, y, weight)


def _features(low: float) -> Case:
    """Features side by side, some of them the inputs, that change places and are scaled."""
    x = _cycle((8, 3), 1, 0, -1, 0, 1)
    first, last, bias = _cycle((3, 5), 1, 0, -1, 0), _cycle((8, 2), 1, -1, 0), _cycle((2,), 1, low)
    scale, shift = _cycle((8,), 1, -2, 0.5), _cycle((8,), 0, 1)
    side = np.concatenate([np.maximum(x @ first, 0), x], axis=1)
    moved = np.roll(side, -1, axis=1) * scale + shift
    y = moved @ last + bias - _cycle((8, 2), 1, 0, 0, -1, 0)
    beside = Concatenate([[_dense(first), ReLU()], []])
    layers: list[Layer] = [beside, Exchanged(), Scaled(scale, shift), _dense(last, bias)]
    return Case("features", layers, "half_squared_error", SGD(0.5), x, y)


def _embedding(low: float) -> Case:
    """Two codes a row, other ones in the second batch, and gradients that are long."""
    x = _cycle((8, 2), 0, 1, 1, 1, 0) + np.repeat([[0], [2]], 4, axis=0)
    table, last = _cycle((4, 2), 1, 0, -1, 2), _cycle((4, 2), 1, -1, 0)
    last[0] += low
    y = table[x.astype(int)].reshape(8, 4) @ last - _cycle((8, 2), 1, 0, 0, -1, 0)
    layers: list[Layer] = [Embedding(4, 2, _given(table)), _dense(last)]
    return Case("embedding", layers, "half_squared_error", SGD(0.5), x, y)


def _pieces(low: float) -> Case:
    """Activations of straight pieces, with slopes that are powers of two."""
    x = _cycle((8, 3), 1, 0, 2, -1, 1, -2, 0)
    first, last = _cycle((3, 6), 1, -1, 2, 0, 1, -1, 2), _cycle((3, 2), 1, -1, 1, 2)
    hidden = x @ first
    bent = np.clip(np.where(hidden > 0, hidden, hidden / 4), -2, 2)
    y = np.maximum(bent[:, ::2], bent[:, 1::2]) @ last - _cycle((8, 2), 0, 1, 0, 0, -1)
    bends: list[Layer] = [LeakyReLU(0.5), PReLU(0.5), HardTanh(-2.0, 2.0), Maxout()]
    layers = [_dense(first), *bends, _dense(last)]
    return Case("pieces", layers, "half_squared_error", SGD(1.0), x, y)


def _wrapped(low: float) -> Case:
    """Gradients and parameters changed around the update, within limits and beyond them."""
    x, error = _cycle((8, 3), 1, 0, -1, 0, 1), _cycle((8, 2), 4, 0, -4, 0, 1)
    weight, bias = _cycle((3, 2), 1, -2, 0, 2), _cycle((2,), 1, 0)
    by = MaxNorm(Decayed(Penalized(SGD(0.5), l2=0.25, l1=0.5), weight_decay=0.25), limit=64.0)
    around = StochasticWeightAveraging(ClippedValue(ClippedNorm(by, limit=64.0), limit=0.5))
    y = x @ weight + bias - error
    layers: list[Layer] = [_dense(weight, bias)]
    return Case("wrapped", layers, "half_squared_error", around, x, y)


def _dropout(low: float) -> Case:
    """Masks of 0 and 2, and a Nesterov momentum."""
    x = _cycle((8, 3), 1, 0, 1, -1, 0, 2, 1)
    first = _dense(_cycle((3, 5), 1, 0, -1, 1, 2, 0, 1, -1), _cycle((5,), 0, 1))
    last = _dense(_cycle((5, 2), 1, -1, 1), _cycle((2,), low))
    layers: list[Layer] = [first, ReLU(), Dropout(0.5), last]
    y, by = _cycle((8, 2), 1, 0, -1) + low, SGD(0.5, momentum=0.5, nesterov=True)
    return Case("dropout", layers, "half_squared_error", by, x, y, shuffle=True)


def _losses(low: float) -> Iterator[Case]:
    """The residual network with losses that have kinks, errors on both sides of them."""
    case = _residual(low)
    yes = _cycle(case.y.shape, 1, 0, 0)
    for loss in (MeanAbsoluteError(), Huber(), Quantile(0.25), Hinge(), Squares()):
        y = yes if isinstance(loss, Hinge) else case.y
        yield replace(case, name=type(loss).__name__, loss=loss, y=y)


# -- what is found -------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong:
    """The first number that is not what it must be.

    ``name`` is its buffer, ``what`` that is, in words; ``kernel`` wrote it. ``after`` are the
    kernels before that contribute to it and to nothing that was found right in this step:
    the fault is most likely in one of all these. ``index`` is () for a single number.
    """

    network: str
    step: int
    name: str
    what: str
    kernel: str
    after: tuple[str, ...]
    index: tuple[int, ...]
    got: float
    wanted: float


@dataclass(frozen=True)
class ExactResult:
    """Whether exact steps are exact on one backend; ``print`` it.

    ``checked`` is how many numbers were compared, ``first`` the first wrong one, if any.
    """

    backend: str
    dtype: str
    equal: bool
    checked: int
    first: Wrong | None = None

    def __str__(self) -> str:
        who = f"{self.backend} {self.dtype}"
        if self.first is None:
            return (
                f"{who}: {self.checked:,} numbers of {STEPS} exact training steps are bit for bit "
                f"what they must be."
            )
        bad, digits = self.first, DIGITS[self.dtype]
        after = f" after {', '.join(bad.after)}" if bad.after else ""
        place = f"{list(bad.index)}" if bad.index else "it"
        return (
            f"{who}: {bad.what}, written by {bad.kernel}{after}, is wrong in step {bad.step} of "
            f"the network {bad.network!r}: {place} is {bad.got:.{digits}g} and must be "
            f"{bad.wanted:.{digits}g}."
        )


def exact_network(backend: Where = None, dtype: str = "float32") -> ExactResult:
    """Run two exact training steps of a few networks and compare every number that can be read.

    Those are loss and gradients, then parameters and the optimizer's state, of each step, in the
    order in which a step writes them. The sign of a zero does not count: it depends on the order
    of a sum.

    Parameters
    ----------
    backend
        As for ``Network.fit``.
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    BackendError
        If there is no such backend, or it does not have the dtype.
    AssertionError
        If what the numbers must be is not exact: the fault is on the host, in NumPy.
    """
    chosen, dtype, checked = get_backend(backend), Network((), dtype).dtype, 0
    for case in networks(dtype):
        pairs = zip(steps(case, chosen, dtype), reference(case, dtype), strict=True)
        for step, ((plan, found), (_, exact)) in enumerate(pairs, 1):
            right: list[str] = []
            for name, wanted in exact.items():
                checked += wanted.size
                same_shape(name, wanted, found[name])
                if not np.array_equal(found[name], wanted):
                    first = _wrong(case.name, step, plan, name, right, found[name], wanted)
                    return ExactResult(chosen.name, dtype, False, checked, first)
                right.append(name)
    return ExactResult(chosen.name, dtype, True, checked)


def _wrong(
    network: str,
    step: int,
    plan: Plan,
    name: str,
    right: Sequence[str],
    got: HostArray,
    wanted: HostArray,
) -> Wrong:
    index = tuple(np.argwhere(got != wanted)[0].tolist())
    trained = {grad: f"the gradient of {parameter}" for parameter, grad in plan.gradients.items()}
    what = {plan.outputs["loss"]: "the loss"} | trained
    kernel = plan.calls[writer(plan, name)].kernel.name
    where = (network, step, name, what.get(name, name), kernel, suspects(plan, name, right))
    return Wrong(*where, index, float(got[index]), float(wanted[index]))


# -- running -------------------------------------------------------------------------------

StepRead = tuple[Plan, dict[str, "HostArray"]]


def steps(case: Case, backend: Where, dtype: str, bits: int | None = None) -> Iterator[StepRead]:
    """Train; of each step, what can be read of it, in the order in which the plan writes it.

    With ``bits``, a number of any buffer that is longer raises ``AssertionError``.
    """
    training = Network(case.layers, dtype).start(
        loss=case.loss, optimizer=case.optimizer, batch_size=case.batch_size, backend=backend
    )
    weight, shuffle = case.weight, case.shuffle
    for batch in training.batches(case.x, case.y, 0, sample_weight=weight, shuffle=shuffle):
        traced = {} if bits is None else training.trace(batch)
        training.gradient(batch)
        plan = training.plan
        found = _read(training, [plan.outputs["loss"], *plan.gradients.values()])
        training.update()
        found |= _read(training, [one.name for one in plan.of_kind("parameter", "state")])
        if bits is not None:
            _check_bits(case.name, traced | found, bits)
        yield plan, {name: found[name] for name in sorted(found, key=lambda n: writer(plan, n))}


def reference(case: Case, dtype: str) -> Iterator[StepRead]:
    """What every number must be: the formulas in float64, where they are exact."""
    meanings = Reference("numpy", cast("Namespace", array_api_compat.numpy))
    return steps(case, meanings, "float64", BITS[dtype])


def _read(training: Training, names: Iterable[str]) -> dict[str, HostArray]:
    to_host = training.session.backend.to_host
    return {name: to_host(training.read(name)) for name in names}


def _check_bits(network: str, arrays: Mapping[str, HostArray], limit: int) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all() or significant_bits(array) > limit:
            raise AssertionError(f"{name} of the network {network!r} is not exact in float64.")


def significant_bits(array: HostArray) -> int:
    """Of the numbers of an array, the most bits from a number's first 1 to its last."""
    whole = np.ldexp(np.abs(np.frexp(array)[0]), 53).astype(np.int64)
    whole = whole[whole > 0]
    last = np.frexp((whole & -whole).astype(np.float64))[1]
    return int(np.max(54 - last, initial=0))
