"""Several steps as one run: their batches are gathered at once, each step is bound to its slice.

So what a small step costs is its own calls; no call looks up what it is fed with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.kernels import Call, take_rows
from portable_nn.plan import Plan
from portable_nn.runner import same_shape
from portable_nn_numpy.binding import Binding
from portable_nn_numpy.lowering import Op
from portable_nn_numpy.memory import Memory

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

GATHERED, STEPS = 2**18, 16
"""Bytes that are gathered at once, and steps, at most; one step may be more."""


class Window:
    """What ``NumPyStep.repeat`` runs: places for what some steps are fed with, and their calls.

    ``done`` is how many steps of the last run have ended.
    """

    def __init__(
        self, plan: Plan, memory: Memory, fed: Mapping[str, HostArray], binding: Binding
    ) -> None:
        self._memory, self._binding, self._single = memory, binding, fed
        gathers = [call for call in plan.calls if _gathers(call, fed)]
        gathered = {call.outputs[0]: memory.arrays[call.outputs[0]] for call in gathers}
        each = sum(array.nbytes for array in gathered.values())
        self._size = min(max(GATHERED // max(each, 1), 1), STEPS)
        loss = plan.outputs["loss"]
        self._fed = {name: self._places(array) for name, array in fed.items()}
        self._others = {name: self._places(array) for name, array in gathered.items()}
        self._others[loss] = self._losses = self._places(memory.arrays[loss])
        self._kept = [name for name in self._others if name in plan.kept]
        self._gathers = [self._gather(call) for call in gathers]
        self._sections, self._skipped = plan.sections, frozenset(gathers)
        self._steps = list[list[Op]]()
        self.done = 0

    def _places(self, array: HostArray) -> HostArray:
        return np.zeros((self._size, *array.shape), array.dtype)

    def _gather(self, call: Call) -> tuple[Callable[..., Any], HostArray, HostArray]:
        """What takes rows, which, step by step, and where to."""
        out = self._others[call.outputs[0]]
        return self._memory.arrays[call.inputs[0]].take, self._fed[call.inputs[1]], out

    def _bound(self, step: int) -> list[Op]:
        """The calls of one of the steps, but the gathers, on its own places."""
        others = {name: place[step, ...] for name, place in {**self._fed, **self._others}.items()}
        arrays = self._memory.with_others(others)
        ops = (self._binding.ops(name, arrays, self._skipped) for name in self._sections)
        return list(chain.from_iterable(ops))

    def run(self, fed: Mapping[str, Any]) -> HostArray:
        """Run all sections once for each entry of the fed arrays; the losses (k,)."""
        for name, single in self._single.items():
            same_shape(name, single, fed[name][0])
        total = len(fed[next(iter(self._single))])
        losses = np.empty(total, self._losses.dtype)
        for first in range(0, total, self._size):
            stop = min(first + self._size, total)
            self._run(stop - first, {name: fed[name][first:stop] for name in self._fed})
            losses[first:stop] = self._losses[: stop - first]
        for name in self._kept:
            np.copyto(self._memory.arrays[name], self._others[name][stop - first - 1])
        return losses

    def _run(self, count: int, fed: Mapping[str, HostArray]) -> None:
        while len(self._steps) < count:
            self._steps.append(self._bound(len(self._steps)))
        for name, values in fed.items():
            np.copyto(self._fed[name][:count], values)
        for take, index, out in self._gathers:
            rows = out[:count].reshape(-1, *out.shape[2:])
            take(index[:count].reshape(-1), 0, rows, "clip")
        for ops in self._steps[:count]:
            for function, arguments in ops:
                function(*arguments)
            self.done += 1


def _gathers(call: Call, fed: Mapping[str, Any]) -> bool:
    """Whether a call takes the rows of a batch, from data that stays."""
    return call.kernel is take_rows and call.inputs[1] in fed and call.inputs[0] not in fed
