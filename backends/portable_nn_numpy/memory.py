"""Where each buffer of a plan lives: flat arrays for what is updated, one arena for the rest.

The parameters that equal update calls share lie side by side in one flat array, and so do
their gradients and moments: an update is then one call over flat arrays. Values live in one
arena, in which a buffer's bytes serve again as soon as nobody reads it any more.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.kernels import Call, Kernel, linear, linear_grad_input
from portable_nn.plan import Buffer, Plan

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

DTYPES = {"float32": np.float32, "float64": np.float64, "index": np.int64}
ALIGNMENT = 64  # bytes: one cache line
NARROW, BY_COLUMN = 32, {linear, linear_grad_input}
"""Up to so many columns these write column after column: then sums of rows are faster."""


@dataclass(frozen=True)
class BoundCall:
    """A kernel on arrays: the inputs, then the outputs it writes; and which calls this runs."""

    kernel: Kernel
    inputs: Sequence[HostArray]
    outputs: Sequence[HostArray]
    attributes: dict[str, Any]
    calls: Sequence[Call] = ()


class Memory:
    """The array of every buffer, for ``n`` rows a step.

    Parameters and state that take part in a merged update are moved into flat arrays, and
    ``state`` then holds views of them; a later plan on the same ``state`` finds them there.
    """

    def __init__(self, plan: Plan, state: MutableMapping[str, Any], n: int) -> None:
        self._plan, self._state, self._sizes = plan, state, {"n": n}
        self._dtypes = {
            "float": np.dtype(DTYPES[plan.dtype]),
            "index": np.dtype(DTYPES["index"]),
        }
        self.arrays: dict[str, HostArray] = {}
        self._roots: dict[str, str] = {}
        self._groups = _groups(plan)
        self._flat = {id(group[-1]): self._lay_out(group) for group in self._groups}
        for buffer in plan.of_kind("parameter", "state", "fed"):
            self.arrays.setdefault(buffer.name, self._held(buffer))
        self._share_arena()

    def with_others(self, others: Mapping[str, HostArray]) -> dict[str, HostArray]:
        """All arrays, with others in the place of some, and of what takes over their memory."""
        taken = {name: others[root] for name, root in self._roots.items() if root in others}
        return {**self.arrays, **taken, **others}

    def merged(self, section: str, arrays: Mapping[str, HostArray]) -> Iterable[BoundCall]:
        """The calls of a section on these arrays, each group of equal updates as one.

        It runs in the place of its last call, when all that it reads is there.
        """
        groups = {id(call): group for group in self._groups for call in group}
        for call in self._plan.section(section):
            if id(call) in self._flat:
                flat = self._flat[id(call)]
                inputs = [flat.get(name, arrays[name]) for name in call.inputs]
                outputs = [flat[self._plan.donated[name]] for name in call.outputs]
                group = groups[id(call)]
                yield BoundCall(call.kernel, inputs, outputs, dict(call.attributes), group)
            elif id(call) not in groups:
                inputs = [arrays[name] for name in call.inputs]
                outputs = [arrays[name] for name in call.outputs]
                yield BoundCall(call.kernel, inputs, outputs, dict(call.attributes), [call])

    def _held(self, buffer: Buffer) -> HostArray:
        """What ``state`` holds under this name, else new memory."""
        if buffer.name in self._state:
            held: HostArray = self._state[buffer.name]
            return held
        return np.empty(buffer.bound(self._sizes), self._dtypes[buffer.dtype])

    def _lay_out(self, group: Sequence[Call]) -> dict[str, HostArray]:
        """By input of its last call, one flat array of what the calls do not share."""
        flat, scalars = {}, _scalars(self._plan, group[0])
        for names in zip(*[call.inputs for call in group], strict=True):
            if names[0] not in scalars:
                flat[names[-1]] = self._side_by_side([self._plan.buffers[name] for name in names])
        for call in group:
            for name in call.outputs:
                self.arrays[name] = self.arrays[self._plan.donated[name]]
        return flat

    def _side_by_side(self, buffers: Sequence[Buffer]) -> HostArray:
        """A flat array of these buffers in order; what is in ``state`` keeps its values."""
        names = [buffer.name for buffer in buffers]
        held = [self._held(buffer) for buffer in buffers]
        flat = _adjacent(held)
        if flat is None:
            flat = np.concatenate([array.reshape(-1) for array in held])
            ends = np.cumsum([array.size for array in held])
            parts = zip(np.split(flat, ends[:-1]), held, strict=True)
            held = [part.reshape(array.shape) for part, array in parts]
        self.arrays.update(zip(names, held, strict=True))
        self._state.update((name, self.arrays[name]) for name in names if name in self._state)
        return flat

    def _share_arena(self) -> None:
        """Give every value left its place: its donor's, or a stretch of the arena."""
        plan, spans = self._plan, dict[str, Span]()
        written = {name: k for k, call in enumerate(plan.calls) for name in call.outputs}
        roots = self._roots
        for name, index in written.items():
            if name in self.arrays:
                continue
            donor = plan.donated.get(name)
            root = roots[name] = name if donor is None else roots.get(donor, donor)
            if donor is None:
                size = math.prod(plan.buffers[name].bound(self._sizes))
                spans[name] = Span(
                    index, index, size * self._dtypes[plan.buffers[name].dtype].itemsize
                )
            if root in spans:
                spans[root].last = max(spans[root].last, plan.last_read.get(name, index))
        memory = _aligned(_place(list(spans.values())))
        products = {call.outputs[0] for call in plan.calls if call.kernel in BY_COLUMN}
        for name, root in roots.items():
            if root in spans:
                buffer, span = plan.buffers[name], spans[root]
                raw = memory[span.offset : span.offset + span.size]
                shape = buffer.bound(self._sizes)
                by_column = root in products and shape[-1] <= NARROW
                self.arrays[name] = _shaped(raw.view(self._dtypes[buffer.dtype]), shape, by_column)
            else:
                self.arrays[name] = self.arrays[root]


@dataclass
class Span:
    """Bytes needed from the call that writes them to the last that reads them."""

    first: int
    last: int
    size: int
    offset: int = 0


def _place(spans: Sequence[Span]) -> int:
    """Choose offsets, largest first, each at the lowest place free all its time; the total."""
    placed: list[Span] = []
    for span in sorted(spans, key=lambda span: -span.size):
        for other in sorted(placed, key=lambda span: span.offset):
            if other.first <= span.last and span.first <= other.last:
                if span.offset + span.size <= other.offset:
                    break
                end = other.offset + other.size
                span.offset = max(span.offset, -(-end // ALIGNMENT) * ALIGNMENT)
        placed.append(span)
    return max((span.offset + span.size for span in placed), default=0)


def _aligned(size: int) -> HostArray:
    """Uninitialised bytes that start on a cache line."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size]


def _shaped(flat: HostArray, shape: tuple[int, ...], by_column: bool) -> HostArray:
    return flat.reshape(shape[::-1]).T if by_column else flat.reshape(shape)


def _groups(plan: Plan) -> list[list[Call]]:
    """Update calls that may run as one: elementwise, in place, alike in all but the arrays.

    Each array must belong to one call only; a gradient two parameters share stays apart. And
    nobody may read the new values within the section, as the calls move to where the last is.
    """
    used = [name for call in plan.section("update") for name in call.inputs]
    groups = defaultdict(list)
    for call in plan.section("update"):
        scalars = _scalars(plan, call)
        arrays = [name for name in call.inputs if name not in scalars]
        own = all(used.count(name) == 1 for name in arrays)
        fed = any(plan.buffers[name].kind == "fed" for name in arrays)
        in_place = all(name in plan.donated and name not in used for name in call.outputs)
        sized = all(plan.buffers[name].shape != () for name in call.outputs)
        if call.kernel.elementwise and own and in_place and sized and not fed:
            groups[call.kernel, scalars, repr(call.attributes)].append(call)
    return list(groups.values())


def _scalars(plan: Plan, call: Call) -> tuple[str, ...]:
    """The 0-d inputs of a call: in an update, what all parameters share."""
    return tuple(name for name in call.inputs if plan.buffers[name].shape == ())


def _adjacent(arrays: Sequence[HostArray]) -> HostArray | None:
    """The flat array that these already are consecutive views of, if they are."""
    base = arrays[0].base
    if base is None or base.ndim != 1 or any(a.base is not base for a in arrays):
        return None
    places = [(a.ctypes.data - base.ctypes.data) // base.itemsize for a in arrays]
    ends = [place + a.size for place, a in zip(places, arrays, strict=True)]
    return base[places[0] : ends[-1]] if places[1:] == ends[:-1] else None
