"""Looking on while a backend trains: each call measured, each buffer followed.

Three checks of one watched step:

- *kernel*: every call against its formula on its own inputs (``measure``);
- *data flow*: every buffer still holds, where it is used, what was produced, and what a step
  keeps or carries is what its last call wrote;
- *schedule*: the hyper-parameters that arrive at an update are those of the step, rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.backend import Backend, Step
from portable_nn.errors import BackendError
from portable_nn.kernels import Call
from portable_nn.optimizers import Optimizer
from portable_nn.parity._causes import cause
from portable_nn.parity._measure import Measured, measure
from portable_nn.plan import Plan, Schedule

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: where, and by what share of its limit it is off.

    ``share`` above 1 is a fault; ``text`` then says what it looks like.
    """

    check: str
    step: int
    name: str
    kernel: str
    share: float
    measured: Measured | None = None
    text: str = ""


@dataclass
class Recorder:
    """What watched steps showed.

    ``active`` while a step is watched; ``numbers`` counts what was compared. Kept are the first
    fault of each buffer, check and step, and the worst finding of each kernel and check.
    """

    optimizer: Optimizer
    active: bool = False
    step: int = 0
    epoch: float = 0.0
    calls: int = 0
    numbers: int = 0
    faults: dict[tuple[str, str, str, int], Finding] = field(default_factory=dict)
    worst: dict[tuple[str, str], Finding] = field(default_factory=dict)

    def begin(self, step: int, epoch: float) -> None:
        """Watch this update, the first being 1, at this place of the epochs."""
        self.active, self.step, self.epoch = True, step, epoch

    def measured(
        self,
        call: Call,
        names: Sequence[str],
        inputs: Sequence[HostArray],
        outputs: Sequence[HostArray],
        dtype: str,
        check: str = "kernel",
    ) -> None:
        """Measure the outputs of a call, called by these names, and keep what is found."""
        self.calls += 1
        self.numbers += sum(output.size for output in outputs)
        kernel = call.kernel.name
        for k, one in enumerate(measure(call, inputs, outputs, dtype)):
            text = cause(call, inputs, outputs, k, dtype) if one.share > 1.0 else ""
            self.note(Finding(check, self.step, names[k], kernel, one.share, one, text))

    def note(self, finding: Finding) -> None:
        """Keep a finding, if it is a fault or worse than the others of its kind."""
        key = (finding.kernel, finding.check)
        if finding.share > 1.0:
            self.faults.setdefault((*key, finding.name, finding.step), finding)
        if key not in self.worst or finding.share > self.worst[key].share:
            self.worst[key] = finding


class Watched:
    """A backend whose steps a recorder looks on at, and that is otherwise the one it wraps."""

    def __init__(self, backend: Backend, recorder: Recorder) -> None:
        self.name, self.xp, self.device = backend.name, backend.xp, backend.device
        self.asarray, self.to_host = backend.asarray, backend.to_host
        self.synchronize = backend.synchronize
        self._backend, self._recorder = backend, recorder

    def start(self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Any = None) -> Step:
        """The step of the backend, and beside it, on the same state, one that is looked on at."""
        look = _Look(self._backend, self._recorder, plan, n)
        plain = self._backend.start(plan, state, n)
        return _Either(plain, self._backend.start(plan, state, n, watch=look), look)

    def __repr__(self) -> str:
        return f"{self._backend!r}, watched"


class _Either:
    """Runs the plain step or the watched one; what is read comes from the one that ran last."""

    def __init__(self, plain: Step, watched: Step, look: _Look) -> None:
        self._plain, self._watched, self._look = plain, watched, look
        self._last = plain

    def run(self, fed: Mapping[str, Any], section: str | None = None) -> None:
        if not self._look.recorder.active:
            self._last = self._plain
            self._plain.run(fed, section)
            return
        self._look.begin(fed, self._last)
        self._last = self._watched
        self._watched.run(fed, section)
        self._look.finish(self._watched)

    def read(self, name: str) -> Any:
        return self._last.read(name)

    def write(self, name: str, value: Any) -> None:
        self._last.write(name, value)


class _Look:
    """The watch of one step: copies what goes by, and has it checked."""

    def __init__(self, backend: Backend, recorder: Recorder, plan: Plan, n: int) -> None:
        self.recorder, self._plan, self._backend = recorder, plan, backend
        self._n = n
        self._held: dict[str, HostArray] = {}
        self._inputs: list[list[HostArray]] = []
        self._seen: set[Call] = set()

    def begin(self, fed: Mapping[str, Any], last: Step) -> None:
        """Know what a step begins with: what it is fed, and what the last one left."""
        to_host = self._backend.to_host
        held = [buffer.name for buffer in self._plan.of_kind("parameter", "state")]
        self._held = {name: to_host(last.read(name)) for name in held}
        self._held |= {name: to_host(array) for name, array in fed.items()}
        self._seen = set()

    def before(self, calls: Sequence[Call], inputs: Sequence[Any]) -> None:
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
        if len(calls) == 1:
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

    def _used(self, call: Call, name: str, array: HostArray) -> None:
        """Check what a call reads: as it was produced, or the hyper-parameter of this step."""
        source, recorder = self._plan.buffers[name].source, self.recorder
        if isinstance(source, Schedule):
            exact = recorder.optimizer.hyperparameters(recorder.step, recorder.epoch)[source.name]
            wanted = np.asarray(exact, array.dtype)
            text = f"{name} is {array.item():.9g}, in this step it should be {wanted.item():.9g}"
            self._note("schedule", call, 0.0 if array == wanted else math.inf, text)
            return
        held = self._held.setdefault(name, array)
        same = np.array_equal(held, array, equal_nan=array.dtype.kind == "f")
        fed = self._plan.buffers[name].kind == "fed"
        what = "is not what the step was given" if fed else "has changed since it was produced"
        text = f"{name} {what}, when {call.kernel.name} reads it for {call.outputs[0]}"
        self._note("data flow", call, 0.0 if same else math.inf, text)

    def _called(self, call: Call, name: str) -> str:
        """The parameter or state that a value becomes, else its own name."""
        carry = self._plan.carry.get(call.section, {})
        return next((state for state, value in carry.items() if value == name), name)

    def _note(self, check: str, call: Call, share: float, text: str, name: str = "") -> None:
        name, kernel = name or self._called(call, call.outputs[0]), call.kernel.name
        text = text if share > 1.0 else ""
        self.recorder.note(Finding(check, self.recorder.step, name, kernel, share, text=text))

    def finish(self, step: Step) -> None:
        """Check that all calls were seen, and what the step keeps and carries."""
        plan, writers = self._plan, {n: c for c in self._plan.calls for n in c.outputs}
        if len(self._seen) < len(plan.calls):
            raise BackendError(
                f"{self._backend!r} showed {len(self._seen)} of the {len(plan.calls)} kernel calls "
                f"of a step: it cannot be judged."
            )
        ends = {name: name for name in plan.kept} | {
            state: value for carry in plan.carry.values() for state, value in carry.items()
        }
        for name, value in ends.items():
            if value in self._held and not (name == value and value in plan.donated.values()):
                found = self._backend.to_host(step.read(name))
                same = np.array_equal(found, self._held[value], equal_nan=True)
                text = f"after the step {name} is not what was computed for it"
                self._note("data flow", writers[value], 0.0 if same else math.inf, text, name)
