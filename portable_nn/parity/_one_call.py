"""A kernel alone on a backend: a plan of one call, on sample inputs and an edge sweep of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy
import numpy as np

from portable_nn.arrays import brief
from portable_nn.backend import Backend
from portable_nn.kernels import Call, Kernel, elementwise
from portable_nn.parity._edges import SIZES, edges, row_axis, with_rows
from portable_nn.parity._measure import cast, meaning
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._slopes import kernel_slopes
from portable_nn.plan import Buffer, Plan, PlanBuilder
from portable_nn.runner import as_declared
from portable_nn.typing import Array, Namespace

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


SAMPLE = "sample inputs"
XP: Any = array_api_compat.numpy


@dataclass(frozen=True)
class Place:
    """A backend and a dtype that it has, and what is found there."""

    backend: Backend
    dtype: str
    recorder: Recorder

    def asarray(self, array: HostArray) -> Any:
        """On the backend; whole numbers are an index."""
        return self.backend.asarray(array, self.dtype if array.dtype.kind == "f" else "index")

    @contextmanager
    def failing(self, check: str, name: str, kernel: str) -> Iterator[None]:
        """What fails here, in code that is checked, is a fault that is found."""
        try:
            yield
        except Exception as error:
            self.recorder.checked(check, name, kernel, f"it fails with {_said(error)}")

    def report(self, training: Report | None = None) -> Report:
        """Of all that was recorded, after a training if there was one."""
        own, name, formulas = self.recorder, self.backend.name, str(self.recorder.formulas)
        before = training or Report(name, self.dtype, 0, [], 0, 0, [], [], reference=formulas)
        return replace(
            before,
            calls=before.calls + own.calls,
            numbers=before.numbers + own.numbers,
            faults=[*before.faults, *own.faults.values()],
            worst=[*before.worst, *own.worst.values()],
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """A kernel with sample inputs on the host, and the plans of one call of it."""

    kernel: Kernel
    inputs: Sequence[HostArray]
    attributes: Mapping[str, Any]
    plans: dict[tuple[Any, ...], Plan] = field(default_factory=dict)

    @cached_property
    def call(self) -> Call:
        """By itself, on the host."""
        return self.plan(self.inputs, "float64").calls[-1]

    @cached_property
    def rows(self) -> list[int]:
        """Which inputs have the rows of the batch."""
        return with_rows(self.call, self.inputs)

    @cached_property
    def refusal(self) -> str:
        """Why no call of the kernel can be checked with these inputs, or ""."""
        name, shapes = self.kernel.name, [value.shape for value in self.inputs]
        part = "formula"
        try:
            with np.errstate(all="ignore"):
                outputs = meaning(Call(self.kernel, (), (), "", self.attributes), self.inputs)
                part = "shapes function"
                self.kernel.shapes(*shapes, **self.attributes)
                part = "magnitude function"
                wrong = self._wrong_sizes(len(outputs))
        except Exception as error:  # the kernel's own
            return f"the {part} of {name} refuses these inputs: {_said(error)}"
        needed = f"one size for each of its {len(outputs)} outputs is needed"
        return f"the magnitude of {name} gives {wrong}, {needed}." if wrong else ""

    def _wrong_sizes(self, outputs: int) -> str:
        """What the magnitude gives, if that is not one size an output, or ""."""
        if self.kernel.magnitude is None:
            return ""
        sizes: Any = self.kernel.magnitude(XP, *self.inputs, **self.attributes)
        if not isinstance(sizes, tuple | list):
            return f"no tuple but {brief(sizes)}"
        return "" if len(sizes) == outputs else f"{len(sizes)} sizes"

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


@elementwise(donates=())
def copy(xp: Namespace, x: Array) -> Array:
    """``x * 1``: a value that a call has written, whose memory the next may take over."""
    return x * 1


def sweep(place: Place, sample: Sample, least_rows: int = 1) -> None:
    """Compare a kernel with its formula on sample inputs, and on edges of them if that works."""
    recorder, kernel, one = place.recorder, sample.kernel.name, _OneCall(place, sample)
    before = len(recorder.faults)
    one.compare(SAMPLE, sample.inputs)
    if len(recorder.faults) > before:
        return
    with place.failing("gradient", "backward", kernel):
        for finding in kernel_slopes(sample.call, sample.inputs):
            recorder.note(finding)
        if sample.rows:
            recorder.checked("shapes", "shapes", kernel, _with_named_rows(sample))
    for edge, inputs in edges(sample.inputs, sample.rows):
        if edge != "one row" or max(least_rows, sample.kernel.least_rows) == 1:
            one.compare(f"edge: {edge}", inputs)
    for edge, layout in LAYOUTS.items():
        one.compare(f"edge: {edge}", sample.inputs, layout)


def _strided(place: Place, array: HostArray) -> Any:
    """Every second number of an array whose others are wrong."""
    if array.ndim == 0:
        return place.asarray(array)
    wide = np.repeat(array, 2, axis=-1)
    wide[..., 1::2] = np.nan if array.dtype.kind == "f" else 0
    return place.asarray(wide)[..., ::2]


def _transposed(place: Place, array: HostArray) -> Any:
    """The transpose of an array in which columns and rows have changed places."""
    if array.ndim < 2:
        return place.asarray(array)
    turned = np.ascontiguousarray(np.swapaxes(array, -1, -2))
    return place.backend.xp.matrix_transpose(place.asarray(turned))


Layout = Callable[[Place, "HostArray"], Any]
LAYOUTS: Mapping[str, Layout] = {
    "memory that is not contiguous": _strided,
    "memory in the order of columns": _transposed,
}


@dataclass(frozen=True)
class _OneCall:
    """Runs a kernel at a place, and notes there what is wrong."""

    place: Place
    sample: Sample

    def compare(
        self, check: str, inputs: Sequence[HostArray], layout: Layout = Place.asarray
    ) -> None:
        """Compare what a run on these inputs gives, and what it leaves of them."""
        place, kernel, to_host = self.place, self.sample.kernel.name, self.place.backend.to_host
        with place.failing(check, "outputs", kernel), np.errstate(all="ignore"):
            inputs = cast(inputs, np.dtype(place.dtype))
            plan = self.sample.plan(inputs, place.dtype)
            arrays = self._run(plan, inputs, layout)
            for role, name in plan.outputs.items():
                if wrong := self._undeclared(plan.buffers[name], arrays[role]):
                    place.recorder.checked(check, role, kernel, wrong)
                    return
            found = {role: to_host(array) for role, array in arrays.items()}
            for name, value in zip(plan.calls[-1].inputs, inputs, strict=True):
                if not np.array_equal(found[name], value, equal_nan=True):
                    wrong = f"{name} is not what it was before"
                    place.recorder.checked(check, name, kernel, wrong)
            if check == SAMPLE or any(size in check for size in SIZES):
                self._check_formula(check, plan, inputs)
            outputs = [found[role] for role in plan.outputs]
            place.recorder.measured(
                plan.calls[-1], list(plan.outputs), inputs, outputs, place.dtype, check
            )
            if layout is Place.asarray:  # elsewhere sums may have another order
                self._compare_donated(check, inputs, found)

    def _check_formula(self, check: str, plan: Plan, inputs: Sequence[HostArray]) -> None:
        """Note where the formula overflows in the dtype, although its result is one of it."""
        if any(value.dtype.kind == "f" and not np.isfinite(value).all() for value in inputs):
            return
        call, dtype, recorder = plan.calls[-1], self.place.dtype, self.place.recorder
        when = "" if check == SAMPLE else f" ({check})"
        pairs = zip(meaning(call, inputs), meaning(call, cast(inputs, np.longdouble)), strict=True)
        for role, (found, exact) in zip(plan.outputs, pairs, strict=True):
            # Near the largest number a mean may come too late, which says nothing of a formula.
            held = np.abs(exact) <= 2.0**-10 * float(np.finfo(dtype).max)
            for k in np.flatnonzero(held & ~np.isfinite(found))[:1]:
                it = f"it is {found.flat[k]:.3g} where it should be {float(exact.flat[k]):.3g}"
                wrong = f"the formula itself overflows in {dtype}: {it}{when}"
                recorder.checked("formula", role, call.kernel.name, wrong)

    def _compare_donated(
        self, check: str, inputs: Sequence[HostArray], found: Mapping[str, HostArray]
    ) -> None:
        """Run where inputs may be overwritten: the outputs have to be those found before."""
        plan = self.sample.plan(inputs, self.place.dtype, donated=True)
        if not plan.donated:
            return
        arrays = self._run(plan, inputs)
        for role in plan.outputs:
            again = self.place.backend.to_host(arrays[role])
            if not np.array_equal(again, found[role], equal_nan=True):
                wrong = f"it changes where {', '.join(plan.donated)} may overwrite an input"
                self.place.recorder.checked(check, role, self.sample.kernel.name, wrong)

    def _run(
        self, plan: Plan, inputs: Sequence[HostArray], layout: Layout = Place.asarray
    ) -> dict[str, Any]:
        """The inputs after a run, and the outputs, on the backend."""
        state = {f"input {k}": layout(self.place, value) for k, value in enumerate(inputs)}
        names = {**{name: name for name in state}, **plan.outputs}
        rows = max((len(value) for value in inputs if value.ndim), default=1)
        step = self.place.backend.start(plan, state, rows)
        step.run({})
        return {role: step.read(name) for role, name in names.items()}

    def _undeclared(self, buffer: Buffer, array: Any) -> str:
        """What is wrong with dtype, shape or device of an output, or ""."""
        like = self.place.asarray(np.zeros((), float if buffer.dtype == "float" else int))
        if tuple(array.shape) != buffer.shape or array.dtype != like.dtype:
            kernel, dtype = self.sample.kernel.name, str(like.dtype)
            return str(as_declared(kernel, array, dtype, buffer.shape))
        here, there = (getattr(one, "device", None) for one in (like, array))
        return "" if here == there else f"it is on {there}, its inputs are on {here}"


def _with_named_rows(sample: Sample) -> str:
    """What is wrong with ``shapes`` of a number of rows that is not known yet, or ""."""
    shapes = [value.shape for value in sample.inputs]
    named: list[list[Any]] = [list(shape) for shape in shapes]
    for k in sample.rows:
        axis = row_axis(sample.inputs[k])
        n, named[k][axis] = named[k][axis], "n"
    try:
        open_ = sample.kernel.shapes(*map(tuple, named), **sample.attributes)
        bound = [tuple(n if d == "n" else d for d in shape) for shape in open_]
        known = [*map(tuple, sample.kernel.shapes(*shapes, **sample.attributes))]
    except Exception as error:  # the kernel's own
        return f"where the number of rows is a name, it fails with {_said(error)}"
    return "" if bound == known else f"for n rows shapes says {open_}, for {n} {tuple(known)}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
