"""Checks of code of your own: a kernel, a layer, a loss, an optimizer, on every backend here.

A kernel is run alone, as a plan of one call, on sample inputs and on an edge sweep of them. The
other three are trained in the smallest network that has them; then the kernels that they call go
through the same sweep, with inputs seen there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import checks
from portable_nn.activations import Tanh
from portable_nn.arrays import brief
from portable_nn.backend import Where, backend_names, get_backend
from portable_nn.errors import BackendError, DataError, NetworkError
from portable_nn.kernels import Kernel
from portable_nn.layers import Dense, Layer
from portable_nn.losses import HalfSquaredError, Loss, as_loss
from portable_nn.network import Network
from portable_nn.optimizers import SGD, Optimizer, as_optimizer
from portable_nn.parity._measure import WIDER, Formulas, cast
from portable_nn.parity._one_call import Place, Sample, sweep
from portable_nn.parity._recorder import Finding, Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._small_network import BATCH, SmallNetwork, targets
from portable_nn.plan import Plan
from portable_nn.training import neediest

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

ROWS = 2 * BATCH


class Reports(tuple[Report, ...]):
    """A ``Report`` for each backend and dtype that a check ran on; ``print`` them.

    Attributes
    ----------
    missing
        ``{backend and dtype, or what of them: why it was not checked}``.
    """

    missing: Mapping[str, str]

    def __new__(cls, reports: Sequence[Report], missing: Mapping[str, str]) -> Reports:
        made = super().__new__(cls, reports)
        made.missing = dict(missing)
        return made

    def __getnewargs__(self) -> tuple[tuple[Report, ...], Mapping[str, str]]:
        return tuple(self), self.missing  # to be copied and pickled

    @property
    def ok(self) -> bool:
        """Whether something was checked, and all of it is within its limit."""
        return len(self) > 0 and all(report.ok for report in self)

    @property
    def verdict(self) -> str:
        """One line for each backend and dtype, and for each that was not checked."""
        return "\n".join([*[report.verdict for report in self], *self._left()])

    def __str__(self) -> str:
        left = self._left()
        return "\n\n".join([str(report) for report in self] + ["\n".join(left)] * bool(left))

    def _left(self) -> list[str]:
        return [f"not checked: {name}: {why}" for name, why in self.missing.items()]


def check_kernel(
    kernel: Kernel,
    *inputs: Any,
    backend: Where = None,
    dtype: str | None = None,
    **attributes: Any,
) -> Reports:
    """Check one kernel: run alone on sample inputs and on an edge sweep of them.

    Compared are: every output with the formula, evaluated in a wider type; shape, dtype and
    device of outputs with what is declared; inputs with what they were before; the outputs with
    those where donated memory is taken over; and the gradients that ``backward`` gives with central
    differences (without a ``backward`` there is nothing to compare). A formula that overflows in
    the dtype itself, where its result would not, is a fault too.

    Parameters
    ----------
    kernel
        What is checked, with how the backends run it.
    inputs
        Ordinary inputs of a call: arrays, lists or numbers. Arrays of floats are rounded to the
        dtype; beside them, whole numbers are an index. If all are whole numbers they become floats,
        unless the formula takes them as they are only.
    backend, dtype
        Where; None means every backend that is usable here, and float32 and float64.
    attributes
        Those of the call.

    Raises
    ------
    NetworkError
        If these are no inputs of a call, or the dtype is neither; if the magnitude of the kernel
        gives no size for each output.
    BackendError
        If a backend or dtype is named that is not usable here.
    """
    if not isinstance(kernel, Kernel):
        raise NetworkError(f"check_kernel takes a Kernel, not {brief(kernel)}.")
    if not inputs:
        raise NetworkError("the inputs of a call are arrays of numbers; got none.")
    sample = _sample(kernel, [_numbers(value) for value in inputs], attributes)
    places, missing = _places(backend, dtype)
    for place in places:
        sweep(place, sample)
    return Reports([place.report() for place in places], missing)


def check_layer(
    layer: Layer,
    *,
    features: int = 8,
    least_rows: int = 1,
    backend: Where = None,
    dtype: str | None = None,
    seed: int = 0,
) -> Reports:
    """Check a layer, between two ``Dense`` ones, trained for some steps on random numbers.

    Compared are: every kernel call and buffer of every step, as ``check_training`` does, with
    batches of 8 rows and of one; the gradient of every parameter, before and in the layer, with
    central differences in float64; predictions of all rows at once with those row by row; and
    every kernel that the layer calls in any mode, as ``check_kernel`` does, on what it was given.

    Parameters
    ----------
    layer
        What is checked.
    features
        Size of its input.
    least_rows
        The fewest rows of a batch that it is made for, if none of its kernels says so: 2 if it
        needs a variance over the batch.
    backend, dtype
        Where; None means every backend that is usable here, and float32 and float64.
    seed
        Of the data and the first values.

    Raises
    ------
    NetworkError, DataError
        If no network can be made of the layer.
    BackendError
        If a backend or dtype is named that is not usable here.
    """
    features, rows = checks.count(features, "features"), checks.count(least_rows, "least_rows")
    loss, plain = HalfSquaredError(), [Dense(features), Dense(3)]
    layers: list[Layer] = [plain[0], layer, plain[1]]
    rows = max(rows, neediest(Network(layers).plan(loss, features=features)).kernel.least_rows)
    y = targets(loss, ROWS + rows, 3, seed)
    small = SmallNetwork(layers, loss, SGD(0.01), y, seed, 6, features, rows)
    kernels = [
        _kernels(small.plan(mode), small.plan(mode, layers=plain)) for mode in ("train", "predict")
    ]
    return _check(small, set().union(*kernels), backend, dtype)


def check_loss(
    loss: Loss | str,
    *,
    outputs: int = 4,
    y: Any = None,
    backend: Where = None,
    dtype: str | None = None,
    seed: int = 0,
) -> Reports:
    """Check a loss as ``check_layer`` checks a layer: after a network with so many outputs.

    ``y`` are 17 targets or more, where those drawn will not do: normal numbers, all classes in
    turn, or yes and no, as the loss's ``targets`` say. Options and errors otherwise as there.
    """
    chosen, outputs = as_loss(loss), checks.count(outputs, "outputs")
    given = targets(chosen, ROWS + 1, outputs, seed) if y is None else np.asarray(y)
    if len(given) < ROWS + 1:
        raise DataError(f"y needs {ROWS + 1} rows or more; got {len(given)}.")
    layers: list[Layer] = [Dense(4), Tanh(), Dense(outputs)]
    small = SmallNetwork(layers, chosen, SGD(0.01), given[: ROWS + 1], seed, steps=6)
    kernels = _kernels(small.plan("evaluate"), small.plan("predict"))
    if type(chosen) is not HalfSquaredError:
        kernels |= _kernels(small.plan(), small.plan(loss=HalfSquaredError()))
    return _check(small, kernels, backend, dtype)


def check_optimizer(
    optimizer: Optimizer | str,
    *,
    backend: Where = None,
    dtype: str | None = None,
    seed: int = 0,
) -> Reports:
    """Check an optimizer as ``check_layer`` checks a layer: in 20 updates of a small network.

    Its hyper-parameters have to arrive at every update as they are for that step and epoch.
    """
    loss, chosen = HalfSquaredError(), as_optimizer(optimizer)
    if not isinstance(chosen, Optimizer):
        raise NetworkError(
            f"check_optimizer looks at the calls of updates, and {type(chosen).__name__} has none; "
            f"check_training follows it."
        )
    y = targets(loss, ROWS + 1, 3, seed)
    small = SmallNetwork([Dense(4), Tanh(), Dense(3)], loss, chosen, y, seed, steps=20)
    return _check(small, {c.kernel for c in small.plan().section("update")}, backend, dtype)


def _numbers(value: Any) -> HostArray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise NetworkError(f"the inputs of a call are arrays of numbers: {error}") from error
    if array.dtype.kind not in "iuf":
        raise NetworkError(f"the inputs of a call are arrays of numbers; got {array.dtype}.")
    return array


def _sample(kernel: Kernel, arrays: Sequence[HostArray], attributes: Mapping[str, Any]) -> Sample:
    """The kernel on these inputs, which it has to take."""
    sample = Sample(kernel, cast(arrays, np.float64), attributes)
    if all(value.dtype.kind in "iu" for value in arrays):
        floats = Sample(kernel, [value.astype(np.float64) for value in arrays], attributes)
        sample = floats if sample.refusal or not floats.refusal else sample
    return _taken(sample)


def _taken(sample: Sample) -> Sample:
    if sample.refusal:
        raise NetworkError(sample.refusal)
    return sample


def _places(backend: Where, dtype: str | None) -> tuple[list[Place], dict[str, str]]:
    """Every backend and dtype that is asked for and usable here; why the others are not."""
    found, missing = [], {}
    names = backend_names()
    backends: Sequence[Where] = names if backend is None else [get_backend(backend)]
    for name, kind in product(backends, WIDER if dtype is None else [dtype]):
        recorder = Recorder(formulas=Formulas(kind))
        try:
            place = Place(get_backend(name), kind, recorder)
            place.asarray(np.zeros(1))
        except BackendError as error:
            if backend is not None and dtype is not None:
                raise
            missing[f"{getattr(name, 'name', name)} {kind}"] = str(error)
            continue
        recorder.roundoffs = getattr(place.backend, "roundoffs", {})
        found.append(place)
    return found, missing


def _check(
    network: SmallNetwork, kernels: Collection[Kernel], backend: Where, dtype: str | None
) -> Reports:
    """Sweep these kernels, differentiate, train and predict, on every backend and dtype."""
    places, missing = _places(backend, dtype)
    samples = [_taken(sample) for sample in network.samples(kernels)]
    slopes, reports = list(network.slopes()), []
    suspects = [c.kernel.name for c in network.plan().section("gradient") if c.kernel in kernels]
    for place in places:
        for sample in samples:
            sweep(place, sample, network.rows)
        _note_slopes(place, slopes, suspects)
        training = None
        with place.failing("training", "a step", "the plan"):
            training = network.train(place)
            if training.opaque:
                missing[f"{place.backend.name} {place.dtype}, call by call"] = training.opaque
        with place.failing("prediction", "output", "the plan"):
            network.predict(place)
        reports.append(place.report(training))
    return Reports(reports, missing)


def _note_slopes(place: Place, slopes: Sequence[Finding], suspects: Sequence[str]) -> None:
    """Of a network; a wrong one is the fault of kernels whose own are wrong, or of a suspect.

    The kernel that writes the gradient of a parameter only passes on what those made.
    """
    faults = place.recorder.faults.values()
    guilty = [one.kernel for one in faults if one.check == "gradient"] or suspects
    names = " or ".join(dict.fromkeys(guilty))
    for finding in slopes:
        blamed = names if finding.share > 1.0 and names else finding.kernel
        place.recorder.note(replace(finding, kernel=blamed))


def _kernels(plan: Plan, without: Plan) -> set[Kernel]:
    """Those that a plan calls more often than another, updates apart."""
    counts = [Counter(call.kernel for call in one.section("gradient")) for one in (plan, without)]
    return set(counts[0] - counts[1])
