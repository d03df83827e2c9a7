"""The calls of a plan as functions with their arguments, on arrays of whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.kernels import Call
from portable_nn.plan import Plan
from portable_nn.runner import Watch
from portable_nn_numpy.lowering import Op, Scratch, lower
from portable_nn_numpy.memory import BoundCall, Memory

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


class Binding:
    """Of one plan in its memory; what calls need on the way, they share."""

    def __init__(self, plan: Plan, memory: Memory, watch: Watch | None) -> None:
        self._plan, self._memory, self._watch = plan, memory, watch
        self._scratch = Scratch()

    def ops(
        self, section: str, arrays: Mapping[str, HostArray], but: frozenset[Call] = frozenset()
    ) -> list[Op]:
        """The calls of a section, but some, then what it carries to other memory."""
        ops: list[Op] = []
        for call in self._memory.merged(section, arrays):
            if but.isdisjoint(call.calls):
                ops += self._shown(call, lower(call, self._scratch))
        for name, value in self._plan.carry.get(section, {}).items():
            if not np.may_share_memory(arrays[name], arrays[value]):
                ops.append((np.copyto, (arrays[name], arrays[value])))
        return ops

    def _shown(self, call: BoundCall, bound: list[Op]) -> list[Op]:
        """The same functions, and before and after them the watch, if there is one."""
        if self._watch is None:
            return bound
        look = (self._watch.before, (call.calls, call.inputs))
        return [look, *bound, (self._watch.after, (call.calls, call.outputs))]
