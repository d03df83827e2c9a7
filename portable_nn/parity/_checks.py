"""Checks of code of your own: a kernel, a layer, a loss, an optimizer, on every backend here.

A kernel is run alone, as a plan of one call, on sample inputs and on an edge sweep of them. The
other three are trained in the smallest network that has them; then the kernels that they call go
through the same sweep, with inputs seen there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy
import numpy as np

from portable_nn import checks
from portable_nn.activations import Tanh
from portable_nn.arrays import brief
from portable_nn.backend import Backend, Step, Where, backend_names, get_backend
from portable_nn.errors import BackendError, DataError, NetworkError
from portable_nn.kernels import Call, Kernel, elementwise
from portable_nn.layers import Dense, Layer
from portable_nn.losses import HalfSquaredError, Loss, as_loss
from portable_nn.network import Network
from portable_nn.optimizers import SGD, Optimizer, as_optimizer
from portable_nn.parity._edges import edges, row_axis, with_rows
from portable_nn.parity._measure import WIDER, Formulas, cast, meaning
from portable_nn.parity._recorder import Finding, Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._training import check_training
from portable_nn.plan import Plan, PlanBuilder
from portable_nn.runner import Reference, Watch, as_declared
from portable_nn.targets import Binary
from portable_nn.typing import Array, Namespace

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

SAMPLE = "sample inputs"
ROWS, BATCH = 16, 8
HOST: Any = array_api_compat.numpy


# -- reports ---------------------------------------------------------------------------------


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

    @property
    def ok(self) -> bool:
        """Whether something was checked, and all of it is within its limit."""
        return len(self) > 0 and all(report.ok for report in self)

    @property
    def verdict(self) -> str:
        """One line for each backend and dtype."""
        return "\n".join(report.verdict for report in self)

    def __str__(self) -> str:
        left = [f"not checked: {name}: {why}" for name, why in self.missing.items()]
        return "\n\n".join([str(report) for report in self] + ["\n".join(left)] * bool(left))


@dataclass(frozen=True)
class _Place:
    """A backend and a dtype that it has, and what is found there."""

    backend: Backend
    dtype: str
    recorder: Recorder

    def fault(self, check: str, name: str, kernel: str, text: str) -> None:
        self.recorder.note(Finding(check, 0, name, kernel, math.inf, text=text))

    def report(self, training: Report | None = None) -> Report:
        """Of all that was recorded, after a training if there was one."""
        own, name = self.recorder, self.backend.name
        before = training or Report(
            name, self.dtype, 0, [], 0, 0, [], [], reference=str(Formulas(self.dtype))
        )
        found: dict[str, Any] = {
            "calls": before.calls + own.calls,
            "numbers": before.numbers + own.numbers,
            "faults": [*before.faults, *own.faults.values()],
            "worst": [*before.worst, *own.worst.values()],
        }
        return replace(before, **found)


def _places(
    backend: Where, dtype: str | None, optimizer: Optimizer | None = None
) -> tuple[list[_Place], dict[str, str]]:
    """Every backend and dtype that is asked for and usable here; why the others are not."""
    if dtype is not None and dtype not in WIDER:
        raise NetworkError(f"dtype is one of {', '.join(WIDER)}; got {dtype!r:.60}.")
    found, missing = [], {}
    for name in backend_names() if backend is None else [get_backend(backend)]:
        for kind in WIDER if dtype is None else [dtype]:
            try:
                place = get_backend(name)
                place.asarray([0.5], kind)
            except BackendError as error:
                if backend is not None and dtype is not None:
                    raise
                missing[f"{getattr(name, 'name', name)} {kind}"] = str(error)
                continue
            found.append(_Place(place, kind, Recorder(optimizer or SGD())))
    return found, missing


def _said(error: Exception) -> str:
    return f"it fails with {type(error).__name__}: {error}".splitlines()[0][:300]


# -- one call --------------------------------------------------------------------------------


@elementwise(donates=())
def copy(xp: Namespace, x: Array) -> Array:
    """``x * 1``: a value that a call has written, whose memory the next may take over."""
    return x * 1


def _plain(backend: Backend, array: HostArray, dtype: str) -> Any:
    return backend.asarray(array, dtype)


def _strided(backend: Backend, array: HostArray, dtype: str) -> Any:
    """Every second number of an array whose others are wrong."""
    if array.ndim == 0:
        return backend.asarray(array, dtype)
    wide = np.repeat(array, 2, axis=-1)
    wide[..., 1::2] = np.nan if array.dtype.kind == "f" else 0
    return backend.asarray(wide, dtype)[..., ::2]


def _transposed(backend: Backend, array: HostArray, dtype: str) -> Any:
    """The transpose of an array in which columns and rows have changed places."""
    if array.ndim < 2:
        return backend.asarray(array, dtype)
    turned = np.ascontiguousarray(np.swapaxes(array, -1, -2))
    return backend.xp.matrix_transpose(backend.asarray(turned, dtype))


Layout = Callable[[Backend, "HostArray", str], Any]
LAYOUTS: Mapping[str, Layout] = {
    "memory that is not contiguous": _strided,
    "memory in the order of columns": _transposed,
}


@dataclass(frozen=True, eq=False)
class _Sample:
    """A kernel with sample inputs on the host, and the plans of one call of it."""

    kernel: Kernel
    inputs: Sequence[HostArray]
    attributes: Mapping[str, Any]
    plans: dict[tuple[Any, ...], Plan] = field(default_factory=dict)

    @cached_property
    def call(self) -> Call:
        """By itself, on the host."""
        shapes = [value.shape for value in self.inputs]
        outputs = self.kernel.shapes(*shapes, **self.attributes)
        names = [
            tuple(f"{what} {k}" for k in range(len(values)))
            for what, values in (("input", shapes), ("output", outputs))
        ]
        return Call(self.kernel, names[0], names[1], "gradient", self.attributes)

    @cached_property
    def rows(self) -> list[int]:
        """Which inputs have the rows of the batch."""
        return with_rows(self.call, self.inputs)

    def plan(self, inputs: Sequence[HostArray], dtype: str, donated: bool = False) -> Plan:
        """The call on inputs as state, or, if it may donate them, as values written before."""
        key = (dtype, donated, *[value.shape for value in inputs])
        if key not in self.plans:
            builder, names = PlanBuilder("evaluate", dtype), []
            given = {source for _, source in self.kernel.donates} if donated else set()
            for k, value in enumerate(inputs):
                kind = "float" if value.dtype.kind == "f" else "index"
                name = builder.buffer(f"input {k}", value.shape, "state", dtype=kind)
                names.append(builder.call(copy, name) if k in given else name)
            outputs = builder.emit(self.kernel, *names, **self.attributes)
            builder.outputs.update((f"output {k}", name) for k, name in enumerate(outputs))
            self.plans[key] = builder.build()
        return self.plans[key]

    def on_host(self) -> Iterator[Finding]:
        """What can be said without a backend: of the gradient rule, and of shapes."""
        try:
            yield from _slopes(self)
            yield from _named_rows(self)
        except Exception as error:  # whatever the kernel's own code raises
            yield Finding("gradient", 0, "backward", self.kernel.name, math.inf, text=_said(error))


def _sweep(place: _Place, sample: _Sample, least_rows: int = 1) -> None:
    """Compare a kernel with its formula on sample inputs, and on edges of them if that works."""
    if not _compare(place, sample, SAMPLE, sample.inputs):
        return
    for finding in sample.on_host():
        place.recorder.note(finding)
    for name, inputs in edges(sample.inputs, sample.rows):
        if name != "one row" or least_rows == 1:
            _compare(place, sample, f"edge: {name}", inputs)
    for name, layout in LAYOUTS.items():
        _compare(place, sample, f"edge: {name}", sample.inputs, layout)


def _compare(
    place: _Place,
    sample: _Sample,
    check: str,
    inputs: Sequence[HostArray],
    layout: Layout = _plain,
) -> bool:
    """Run a kernel, and note what is wrong; whether there is nothing."""
    before = len(place.recorder.faults)
    try:
        with np.errstate(all="ignore"):
            _run_and_note(place, sample, check, cast(inputs, np.dtype(place.dtype)), layout)
    except Exception as error:  # the kernel's own, or the library's
        place.fault(check, "outputs", sample.kernel.name, _said(error))
    return len(place.recorder.faults) == before


def _run_and_note(
    place: _Place, sample: _Sample, check: str, inputs: Sequence[HostArray], layout: Layout
) -> None:
    kernel, to_host = sample.kernel.name, place.backend.to_host
    plan = sample.plan(inputs, place.dtype)
    step, arrays = _outputs(place, plan, inputs, layout)
    for role, array in arrays.items():
        if wrong := _undeclared(place, plan, role, array):
            place.fault(check, role, kernel, wrong)
            return
    found = {role: to_host(array) for role, array in arrays.items()}
    for k, value in enumerate(inputs):
        if not np.array_equal(to_host(step.read(f"input {k}")), value, equal_nan=True):
            place.fault(check, f"input {k}", kernel, f"input {k} is not what it was before")
    outputs = list(found.values())
    call = plan.calls[-1]
    place.recorder.measured(call, list(found), inputs, outputs, place.dtype, check=check)
    if layout is not _plain:  # in another order of memory, sums have another order, too
        return
    giving = sample.plan(inputs, place.dtype, donated=True)
    for role, array in _outputs(place, giving, inputs, layout)[1].items() if giving.donated else ():
        if not np.array_equal(to_host(array), found[role], equal_nan=True):
            given = ", ".join(giving.donated)
            place.fault(check, role, kernel, f"it changes where {given} may overwrite an input")


def _outputs(
    place: _Place, plan: Plan, inputs: Sequence[HostArray], layout: Layout
) -> tuple[Step, dict[str, Any]]:
    """The step after a run, and its outputs by role, on the backend."""
    kinds = {"f": place.dtype}
    state = {
        f"input {k}": layout(place.backend, value, kinds.get(value.dtype.kind, "index"))
        for k, value in enumerate(inputs)
    }
    step = place.backend.start(plan, state, max((len(v) for v in inputs if v.ndim), default=1))
    step.run({})
    return step, {role: step.read(name) for role, name in plan.outputs.items()}


def _undeclared(place: _Place, plan: Plan, role: str, array: Any) -> str:
    """What is wrong with dtype, shape or device of an output, or ""."""
    buffer, backend = plan.buffers[plan.outputs[role]], place.backend
    like = backend.asarray(0, place.dtype if buffer.dtype == "float" else "index")
    if tuple(array.shape) != buffer.shape or array.dtype != like.dtype:
        return str(as_declared(plan.calls[-1].kernel.name, array, str(like.dtype), buffer.shape))
    here, there = (getattr(one, "device", None) for one in (like, array))
    return "" if here == there else f"it is on {there}, its inputs are on {here}"


# -- gradients -------------------------------------------------------------------------------


def _off(
    function: Callable[[HostArray], Any], point: HostArray, gradient: HostArray
) -> tuple[float, str]:
    """How far a gradient is from central differences in a random direction: share of a limit.

    Numbers move in proportion to their size, so that none changes its sign. The limit is what
    three widths disagree by, and what rounding explains.
    """
    if gradient.shape != point.shape:
        return math.inf, f"the gradient is {gradient.shape}, what it is of {point.shape}"
    steps = np.minimum(np.abs(point), 1.0) if np.any(point) else np.ones_like(point)
    direction = steps * np.random.default_rng(0).uniform(-1.0, 1.0, point.shape)
    epsilon = float(np.finfo(point.dtype).eps)
    width = epsilon ** (1.0 / 3.0)
    slopes = []
    for h in (width, 2.0 * width, 3.0 * width):
        ends = [function(point + sign * h * direction) for sign in (1.0, -1.0)]
        slopes.append((ends[0] - ends[1]) / (2.0 * h))
    if not np.isfinite(slopes).all():
        return 0.0, ""
    terms = gradient * direction
    noise = 64.0 * epsilon / width * abs(function(point))
    limit = 1e-6 * np.sum(np.abs(terms)) + 8.0 * np.ptp(slopes) + noise + 1e-300
    error = float(abs(np.sum(terms) - slopes[0]) / limit)
    share = error if math.isfinite(error) else math.inf
    claimed = f"{float(np.sum(terms)):.6g}, central differences say {slopes[0]:.6g}"
    return share, f"in one direction the gradient says {claimed}"


def _slopes(sample: _Sample) -> Iterator[Finding]:
    """The gradient rule of a kernel, output by output, on the host in a wider type."""
    if sample.kernel.backward is None:
        return
    wide = cast(sample.inputs, np.longdouble)
    with np.errstate(all="ignore"):
        exact = meaning(sample.call, wide)
        for k in range(len(exact)):
            given, ruled = _ruled(sample.call, wide, exact, k)
            for position, gradient in ruled.items():

                def total(moved: HostArray, at: int = position, k: int = k, by: Any = given) -> Any:
                    values = [moved if j == at else value for j, value in enumerate(wide)]
                    return np.sum(meaning(sample.call, values)[k] * by)

                share, text = _off(total, wide[position], gradient)
                text = text if share > 1.0 else ""
                name = f"gradient of input {position}"
                yield Finding("gradient", 0, name, sample.kernel.name, share, text=text)


def _ruled(
    call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray], k: int
) -> tuple[HostArray, dict[int, HostArray]]:
    """A gradient of output k, and what ``backward`` makes of it: nothing if it needs others.

    A loss brings its own gradient, where that of the output is 1.
    """
    assert call.kernel.backward is not None
    grad, grads = f"grad {k}", [f"grad {j}" if j == k else None for j in range(len(outputs))]
    try:
        rule = call.kernel.backward(call, grads)
    except Exception:  # it may ask for the gradient of another output as well
        if k == 0:
            raise
        rule = []
    names = {name for gradient in rule for name in gradient.inputs}
    is_loss = names <= set(call.outputs) and all(gradient.kernel is None for gradient in rule)
    if None in names or (k > 0 and grad not in names):
        rule = []
    random = np.random.default_rng(k).uniform(-1.0, 1.0, outputs[k].shape)
    given: HostArray = np.asarray(np.ones_like(random) if is_loss else random, np.longdouble)
    arrays: dict[str, HostArray] = dict(
        zip(call.inputs + call.outputs, [*inputs, *outputs], strict=True)
    )
    arrays[grad] = given
    totals: dict[int, HostArray] = {}
    for gradient in rule:
        values: list[HostArray] = [arrays[name] for name in gradient.inputs]
        if gradient.kernel is not None:
            inner = Call(gradient.kernel, gradient.inputs, (), "gradient", gradient.attributes)
            values = meaning(inner, values)
        for position, value in zip(gradient.of, values, strict=True):
            totals[position] = totals[position] + value if position in totals else value
    return given, totals


def _named_rows(sample: _Sample) -> Iterator[Finding]:
    """Whether ``shapes`` takes a number of rows that is not known yet, as the plans have it."""
    shapes = [value.shape for value in sample.inputs]
    named: list[Any] = [list(shape) for shape in shapes]
    for k in sample.rows:
        axis = row_axis(sample.inputs[k])
        n, named[k][axis] = named[k][axis], "n"
    if not sample.rows:
        return
    try:
        open_ = sample.kernel.shapes(*map(tuple, named), **sample.attributes)
        bound = tuple(tuple(n if d == "n" else d for d in shape) for shape in open_)
        known = tuple(map(tuple, sample.kernel.shapes(*shapes, **sample.attributes)))
        text = "" if bound == known else f"for n rows shapes says {open_}, for {n} {known}"
    except Exception as error:  # the kernel's own
        text = f"where the number of rows is a name, {_said(error)}"
    share = math.inf if text else 0.0
    yield Finding("shapes", 0, "shapes", sample.kernel.name, share, text=text)


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
    differences (without a ``backward`` there is nothing to compare).

    Parameters
    ----------
    kernel
        What is checked, with how the backends run it.
    inputs
        Ordinary inputs of a call: arrays, lists or numbers. What is not a whole number is rounded
        to the dtype; whole numbers are an index.
    backend, dtype
        Where; None means every backend that is usable here, and float32 and float64.
    attributes
        Those of the call.

    Raises
    ------
    NetworkError
        If these are no inputs of a call, or the dtype is neither.
    BackendError
        If a backend or dtype is named that is not usable here.
    """
    if not isinstance(kernel, Kernel):
        raise NetworkError(f"check_kernel takes a Kernel, not {brief(kernel)}.")
    arrays = [np.asarray(value) for value in inputs]
    if not arrays or any(value.dtype.kind not in "iuf" for value in arrays):
        kinds = ", ".join(str(value.dtype) for value in arrays) or "none"
        raise NetworkError(f"the inputs of a call are arrays of numbers; got {kinds}.")
    sample = _Sample(kernel, cast(arrays, np.float64), attributes)
    places, missing = _places(backend, dtype)
    for place in places:
        _sweep(place, sample)
    return Reports([place.report() for place in places], missing)


# -- a layer, a loss, an optimizer -----------------------------------------------------------


class _Seen(Reference):
    """The formulas on NumPy; the inputs of the last call of each kernel are kept."""

    def __init__(self) -> None:
        super().__init__("numpy", HOST)
        self.samples: dict[tuple[Kernel, str], _Sample] = {}

    def start(self, plan: Plan, state: Any, n: int, watch: Watch | None = None) -> Any:
        return super().start(plan, state, n, watch=self)

    def before(self, calls: Sequence[Call], inputs: Sequence[Any]) -> None:
        (call,) = calls
        key = call.kernel, repr(call.attributes)
        self.samples[key] = _Sample(call.kernel, list(map(np.array, inputs)), call.attributes)

    def after(self, calls: Sequence[Call], outputs: Sequence[Any]) -> None: ...


@dataclass(frozen=True, eq=False)
class _Subject:
    """The smallest network that has what is checked, and data for it.

    ``rows`` are those of its shortest batch: x has so many more than make full batches.
    """

    layers: Sequence[Layer]
    loss: Loss
    optimizer: Optimizer
    x: HostArray
    y: HostArray
    seed: int
    steps: int
    rows: int = 1

    def plan(self, mode: str = "train", **fields: Any) -> Plan:
        other = replace(self, **fields)
        network = Network(other.layers, dtype="float64")
        return network.plan(other.loss, other.optimizer, features=self.x.shape[1], mode=mode)

    def fit(self, backend: Where, dtype: str) -> Network:
        """Two full batches, and an evaluation."""
        x, y = self.x[: -self.rows], self.y[: -self.rows]
        return Network(self.layers, dtype=dtype).fit(
            x, y, loss=self.loss, optimizer=self.optimizer, epochs=2, batch_size=BATCH,
            validation=(x, y), seed=self.seed, backend=backend, progress=False,
        )  # fmt: skip

    def samples(self, kernels: Collection[Kernel]) -> list[_Sample]:
        """Of these kernels, with what they were given in training and in prediction."""
        seen = _Seen()
        self.fit(seen, "float64").predict(self.x[: -self.rows])
        return [one for one in seen.samples.values() if one.kernel in kernels]

    def slopes(self) -> Iterator[Finding]:
        """The gradient of every parameter against central differences of the loss in float64."""
        network, place = Network(self.layers, dtype="float64"), Reference("numpy", HOST)
        training = network.start(
            loss=self.loss, optimizer=SGD(0.1), batch_size=ROWS, seed=self.seed, backend=place
        )
        (batch,) = training.batches(self.x[:ROWS], self.y[:ROWS], epoch=0)
        training.step(batch)
        plan, read = training.plan, training.read
        start: dict[str, Any] = {b.name: read(b.name) for b in plan.of_kind("parameter", "state")}
        training.gradient(batch)  # what it carries is put back before each of the others
        gradients: dict[str, Any] = {k: read(g) for k, g in plan.gradients.items()}
        for name, gradient in gradients.items():

            def loss(moved: HostArray, name: str = name) -> float:
                for key, value in (start | {name: moved}).items():
                    training.write(key, value)
                return float(np.asarray(training.gradient(batch)))

            share, text = _off(loss, start[name], gradient)
            writer = next(c.kernel.name for c in plan.calls if plan.gradients[name] in c.outputs)
            name, text = f"gradient of {name}", text if share > 1.0 else ""
            yield Finding("gradient", 0, name, writer, share, text=text)

    def train(self, place: _Place) -> Report:
        return check_training(
            self.layers, self.x, self.y, loss=self.loss, optimizer=self.optimizer,
            backend=place.backend, dtype=place.dtype, steps=self.steps, batch_size=BATCH,
            seed=self.seed, watch=range(1, self.steps + 1),
        )  # fmt: skip

    def predict(self, place: _Place) -> None:
        """Note whether rows predicted one by one are those predicted together."""
        network, rows = self.fit(place.backend, place.dtype), self.x[:4]
        whole = network.outputs(self.x)[: len(rows)]
        single = np.concatenate([network.outputs(row[np.newaxis]) for row in rows])
        limit = 2.0**10 * float(np.finfo(place.dtype).eps) * float(np.max(np.abs(whole)))
        error = float(np.max(np.abs(whole - single)))
        share = 0.0 if np.array_equal(whole, single, equal_nan=True) else error / limit
        share = share if math.isfinite(share) else math.inf
        text = f"rows predicted one by one differ from all at once by {error:.3g}"
        last = network.plan(mode="predict").calls[-1].kernel.name
        text = text if share > 1.0 else ""
        place.recorder.note(Finding("prediction", 0, "output", last, share, text=text))


def _check(
    subject: _Subject, kernels: Collection[Kernel], backend: Where, dtype: str | None
) -> Reports:
    """Train, predict, differentiate, and sweep these kernels, on every backend and dtype."""
    places, missing = _places(backend, dtype, subject.optimizer)
    samples, slopes, reports = subject.samples(kernels), list(subject.slopes()), []
    for place in places:
        for finding in slopes:
            place.recorder.note(finding)
        training = None
        try:
            training = subject.train(place)
            if training.opaque:
                missing[f"{place.backend.name} {place.dtype}, call by call"] = training.opaque
        except Exception as error:  # the code that is checked fails, say for one row
            place.fault("training", "a step", "the plan", _said(error))
        try:
            subject.predict(place)
        except Exception as error:
            place.fault("prediction", "output", "the plan", _said(error))
        for sample in samples:
            _sweep(place, sample, subject.rows)
        reports.append(place.report(training))
    return Reports(reports, missing)


def _kernels(plan: Plan, without: Plan) -> set[Kernel]:
    """Those that a plan calls more often than another, updates apart."""
    counts = [Counter(call.kernel for call in one.section("gradient")) for one in (plan, without)]
    return set(counts[0] - counts[1])


def _numbers(seed: int, *shape: int) -> HostArray:
    return np.random.default_rng(seed).normal(size=shape)


def _targets(loss: Loss, rows: int, outputs: int, seed: int) -> HostArray:
    """Of the kind that a loss learns from."""
    if loss.targets.dtype == "index":
        return np.arange(rows) % outputs
    numbers = _numbers(seed + 1, rows, outputs)
    return (numbers > 0.0).astype(np.int64) if issubclass(loss.targets, Binary) else numbers


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
        The fewest rows of a batch that it is made for; 2 if it needs a variance over the batch.
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
    x, loss = _numbers(seed, ROWS + rows, features), HalfSquaredError()
    y = _targets(loss, len(x), 3, seed)
    layers = [Dense(features), layer, Dense(3)]
    subject = _Subject(layers, loss, SGD(0.01), x, y, seed, steps=6, rows=rows)
    plain = [layers[0], layers[2]]
    kernels = [
        _kernels(subject.plan(mode), subject.plan(mode, layers=plain))
        for mode in ("train", "predict")
    ]
    return _check(subject, set().union(*kernels), backend, dtype)


def check_loss(
    loss: Loss | str,
    *,
    outputs: int = 3,
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
    given = _targets(chosen, ROWS + 1, outputs, seed) if y is None else np.asarray(y)
    if len(given) < ROWS + 1:
        raise DataError(f"y needs {ROWS + 1} rows or more; got {len(given)}.")
    subject = _small(chosen, SGD(0.01), given[: ROWS + 1], outputs, seed, steps=6)
    kernels = _kernels(subject.plan("evaluate"), subject.plan("predict"))
    if type(chosen) is not HalfSquaredError:
        kernels |= _kernels(subject.plan(), subject.plan(loss=HalfSquaredError()))
    return _check(subject, kernels, backend, dtype)


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
    y = _targets(loss, ROWS + 1, 3, seed)
    subject = _small(loss, chosen, y, 3, seed, steps=20)
    return _check(subject, {c.kernel for c in subject.plan().section("update")}, backend, dtype)


def _small(
    loss: Loss, optimizer: Optimizer, y: HostArray, outputs: int, seed: int, steps: int
) -> _Subject:
    layers: list[Layer] = [Dense(4), Tanh(), Dense(outputs)]
    return _Subject(layers, loss, optimizer, _numbers(seed, len(y), 5), y, seed, steps)
