"""The finished plan: calls in order, and what backends ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from portable_nn.kernels import Call
from portable_nn.plan._buffers import Buffer, Kind
from portable_nn.plan._table import table

SECTIONS = ("gradient", "update")
Columns = tuple[int, int]
"""Of the table ``x``: from the first, up to, not with, the second."""


@dataclass(frozen=True, eq=False)
class Plan:
    """One step of one network: kernel calls in order, over buffers.

    Attributes
    ----------
    mode
        ``"train"``, ``"evaluate"`` (loss, nothing changes) or ``"predict"``.
    dtype
        Name of the floating dtype, ``"float32"`` or ``"float64"``.
    buffers, calls
        By name; in order.
    carry
        By section: ``{parameter or state: value}``, what changes at the section's end.
    outputs
        By role: ``"loss"``, ``"output"``.
    gradients
        ``{parameter: its gradient}``.
    codes
        ``{(start, stop): categories}``: columns of ``x`` that hold whole numbers from 0 on.
    flattened
        Columns ``(start, stop)`` of ``x`` whose rows may be given in any shape.
    row_shape
        Of a row of ``y`` and of the outputs, if it is not ``(outputs,)``.
    replaced
        ``{parameter: state}``: what stands for a parameter when the training ends, an average.
    """

    mode: str
    dtype: str
    buffers: Mapping[str, Buffer]
    calls: Sequence[Call]
    carry: Mapping[str, Mapping[str, str]]
    outputs: Mapping[str, str]
    gradients: Mapping[str, str]
    codes: Mapping[Columns, int] = field(default_factory=dict)
    flattened: frozenset[Columns] = frozenset()
    row_shape: tuple[int, ...] | None = None
    replaced: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.kept  # now: torch.compile cannot trace the lock of a cached_property

    def section(self, name: str) -> list[Call]:
        """The calls of one section, in order."""
        return [call for call in self.calls if call.section == name]

    @cached_property
    def sections(self) -> tuple[str, ...]:
        """The sections that have calls: ``gradient``, then ``update`` in a training plan."""
        return tuple(name for name in SECTIONS if self.section(name))

    def of_kind(self, *kinds: Kind) -> list[Buffer]:
        """The buffers of these kinds, in order."""
        return [buffer for buffer in self.buffers.values() if buffer.kind in kinds]

    def reads(self, section: str) -> list[str]:
        """What a section reads and does not write itself, in order of first use."""
        calls = self.section(section)
        written = {name for call in calls for name in call.outputs}
        return list(dict.fromkeys(i for call in calls for i in call.inputs if i not in written))

    @cached_property
    def kept(self) -> frozenset[str]:
        """Values somebody wants after their section: outputs, gradients, what is carried.

        And what a later section reads.
        """
        carried = [value for carry in self.carry.values() for value in carry.values()]
        wanted = [*self.outputs.values(), *self.gradients.values(), *carried]
        crossing = [name for section in self.sections for name in self.reads(section)]
        return frozenset(n for n in wanted + crossing if self.buffers[n].kind == "value")

    @cached_property
    def last_read(self) -> Mapping[str, int]:
        """By buffer, the index of the last call that reads it (kept values: past the end)."""
        last = {name: index for index, call in enumerate(self.calls) for name in call.inputs}
        return last | dict.fromkeys(self.kept, len(self.calls))

    @cached_property
    def donated(self) -> Mapping[str, str]:
        """Liveness: ``{output: input whose memory it takes over}``.

        A kernel's ``donates`` only permits it. It happens where the input is a value that
        nobody reads later, or a parameter or state whose new value this output is.
        """
        taken: dict[str, str] = {}
        for index, call in enumerate(self.calls):
            carry = self.carry.get(call.section, {})
            for position, source in call.kernel.donates:
                output, name = call.outputs[position], call.inputs[source]
                buffer = self.buffers[name]
                dead = self.last_read[name] == index and call.inputs.count(name) == 1
                mine = buffer.kind == "value" or carry.get(name) == output
                into = self.buffers[output]
                alike = (buffer.shape, buffer.dtype) == (into.shape, into.dtype)
                free = output not in taken and name not in taken.values()
                if dead and mine and alike and free:
                    taken[output] = name
        return taken

    def cost(self, n: int) -> int:
        """Floating point operations of one step on ``n`` rows, matrix products counted as 2."""
        sizes = {"n": n, "rows": 0}
        return sum(
            call.kernel.cost(*[self.buffers[name].bound(sizes) for name in call.inputs])
            for call in self.calls
        )

    def __str__(self) -> str:
        return table(self)
