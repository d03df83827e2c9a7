"""Looking on while a backend runs a step: each call measured, each buffer followed.

Three checks of one watched step:

- *kernel*: every call against its formula on its own inputs (``measure``);
- *data flow*: every buffer still holds, where it is used, what was produced, and what a step
  keeps or carries is what its last call wrote;
- *schedule*: the hyper-parameters that arrive at an update are those of the step, rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.backend import Backend, Step
from portable_nn.errors import BackendError
from portable_nn.kernels import Call
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._walk import lasting
from portable_nn.plan import Plan, Schedule

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


class Look:
    """The watch of one step: copies what goes by, and has it checked."""

    def __init__(self, backend: Backend, recorder: Recorder, plan: Plan, n: int) -> None:
        self.recorder, self._plan, self._backend = recorder, plan, backend
        self._n = n
        self._held: dict[str, HostArray] = {}
        self._inputs: list[list[HostArray]] = []
        self._seen: set[Call] = set()
        self.running = ""

    def begin(self, held: Mapping[str, HostArray]) -> None:
        """Know what a step begins with: what it is fed, and what the last one left."""
        self._held, self._seen, self.running = dict(held), set(), ""

    def before(self, calls: Sequence[Call], inputs: Sequence[Any]) -> None:
        self.running = calls[0].outputs[0]
        copies = [self._backend.to_host(array) for array in inputs]
        self._inputs = []
        for call, arrays in self._split(calls, [c.inputs for c in calls], copies):
            for name, array in zip(call.inputs, arrays, strict=True):
                self._used(call, name, array)
            self._inputs.append(arrays)

    def after(self, calls: Sequence[Call], outputs: Sequence[Any]) -> None:
        self._seen.update(calls)
        copies = [self._backend.to_host(array) for array in outputs]
        split = self._split(calls, [c.outputs for c in calls], copies)
        for (call, arrays), inputs in zip(split, self._inputs, strict=True):
            self._held.update(zip(call.outputs, arrays, strict=True))
            names = [self._called(call, name) for name in call.outputs]
            self.recorder.measured(call, names, inputs, arrays, self._plan.dtype)

    def _split(
        self, calls: Sequence[Call], names: Sequence[Sequence[str]], arrays: Sequence[HostArray]
    ) -> Iterator[tuple[Call, list[HostArray]]]:
        """Each call with its own arrays, out of the flat ones that several may share."""
        if len(calls) == 1 and not self._flat(names[0], arrays):
            yield calls[0], list(arrays)
            return
        places = [0] * len(arrays)
        for call, own in zip(calls, names, strict=True):
            mine = []
            for k, (name, array) in enumerate(zip(own, arrays, strict=True)):
                shape = self._plan.buffers[name].bound({"n": self._n})
                size = math.prod(shape)
                if array.shape != ():
                    array = array.reshape(-1)[places[k] : places[k] + size].reshape(shape)
                    places[k] += size
                mine.append(array)
            yield call, mine

    def _flat(self, names: Sequence[str], arrays: Sequence[HostArray]) -> bool:
        shapes = [self._plan.buffers[name].shape for name in names]
        return any(a.ndim == 1 != len(shape) for a, shape in zip(arrays, shapes, strict=True))

    def _used(self, call: Call, name: str, array: HostArray) -> None:
        """Check what a call reads: as it was produced, or the hyper-parameter of this step."""
        source, reader = self._plan.buffers[name].source, self._called(call, call.outputs[0])
        if isinstance(source, Schedule) and not self.recorder.check_schedule(
            source.name, array, reader, call.kernel.name
        ):
            return
        held = self._held.setdefault(name, array)
        same = np.array_equal(held, array, equal_nan=array.dtype.kind == "f")
        fed = self._plan.buffers[name].kind == "fed"
        what = "is not what the step was given" if fed else "has changed since it was produced"
        text = f"{name} {what}, when {call.kernel.name} reads it for {call.outputs[0]}"
        self.recorder.checked("data flow", reader, call.kernel.name, "" if same else text)

    def _called(self, call: Call, name: str) -> str:
        """The parameter or state that a value becomes, else its own name."""
        carry = self._plan.carry.get(call.section, {})
        return next((state for state, value in carry.items() if value == name), name)

    def finish(self, step: Step, sections: Sequence[str]) -> None:
        """Check that all calls were seen, and what the step keeps and carries."""
        plan = self._plan
        calls = [call for name in sections for call in plan.section(name)]
        if not self._seen.issuperset(calls):
            raise BackendError(
                f"{self._backend!r} showed {len(self._seen)} of the {len(calls)} kernel calls "
                f"of a step: it cannot be judged."
            )
        written = {name: call for call in calls for name in call.outputs}
        for name, value in lasting(plan, sections).items():
            if name != value or value not in plan.donated.values():
                found = self._backend.to_host(step.read(name))
                same = np.array_equal(found, self._held[value], equal_nan=True)
                text = "" if same else f"after the step {name} is not what was computed for it"
                self.recorder.checked("data flow", name, written[value].kernel.name, text)
