"""A backend that is looked on at: which steps, and what is compared of each.

A step can be looked at call by call (``_look.py``), or run as if nobody looked and then be compared
as a whole (``_shadow.py``). The formulas may follow all of them (``_trajectory.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.backend import Backend, Repeating, Step
from portable_nn.errors import BackendError
from portable_nn.parity._look import Look
from portable_nn.parity._measure import Formulas
from portable_nn.parity._origins import writer
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._trajectory import Lockstep, Trajectory
from portable_nn.parity._walk import Values, lasting
from portable_nn.parity._whole import Whole
from portable_nn.plan import Plan
from portable_nn.typing import Array

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def sampled(steps: int) -> list[int]:
    """Steps worth a look: 1, 2, 5, 10, 20, 50, ... and the last."""
    found = {k * 10**power for power in range(len(str(steps))) for k in (1, 2, 5)}
    return sorted({step for step in found if step < steps} | {steps})


class Enough(BaseException):
    """There is no more to look at: the last step is done, or none can follow."""


@dataclass
class Agenda:
    """Which steps are looked at call by call, and which are compared as a whole.

    ``watch`` are the former; None is ``sampled(steps)`` and the first step of each batch size. The
    latter are the plain step after each of those, and the first plain one of each batch size;
    where calls cannot be looked at (``opaque`` says why), those themselves; and all if ``follow``.
    ``updates`` counts the updates done, ``watched`` and ``compared`` are the steps that were,
    ``diverged`` is the first compared one that left something that is not finite, ``trainings`` are
    the updates that were done when each one began. After each
    ``progress`` is called; after the last, ``stop`` ends the program that trains by ``Enough``.
    """

    steps: int
    watch: Collection[int] | None = None
    follow: bool = False
    stop: bool = False
    progress: Callable[[], object] = lambda: None
    updates: int = 0
    opaque: str = ""
    diverged: int = 0
    trainings: dict[object, int] = field(default_factory=dict)
    watched: set[int] = field(default_factory=set)
    compared: set[int] = field(default_factory=set)
    _sizes: set[int] = field(default_factory=set)
    _plain_sizes: set[int] = field(default_factory=set)
    _begun: int = 0

    def end(self) -> None:
        """An update is done."""
        self.updates += 1
        self.progress()
        if self.stop and self.updates == self.steps:
            raise Enough

    def begin(self, n: int, training: object) -> int:
        """The number of the step that runs, on ``n`` rows; decides about it when it begins.

        Each training begins its own ``sampled`` steps.
        """
        step = self.updates + 1
        if step == self._begun or step > self.steps:
            return step
        if training not in self.trainings:
            self._sizes, self._plain_sizes = set(), set()
        own = step - self.trainings.setdefault(training, self.updates)
        asked = step in self.watch if self.watch is not None else own in sampled(self.steps)
        look = asked or (self.watch is None and n not in self._sizes)
        if look and not self.opaque:
            self.watched.add(step)
        new = self.watch is None and n not in self._plain_sizes
        plain = not self.opaque and (new or step - 1 in self.watched)
        if self.follow or (bool(self.opaque) if look else plain):
            self.compared.add(step)
        self._sizes.add(n)
        if not look:
            self._plain_sizes.add(n)
        self._begun = step
        return step


class Watched:
    """A backend whose training steps are looked on at, and that is otherwise the one it wraps."""

    def __init__(
        self,
        backend: Backend,
        recorder: Recorder,
        agenda: Agenda,
        reference: tuple[Backend, str] | None = None,
    ) -> None:
        self.name, self.xp, self.device = backend.name, backend.xp, backend.device
        self.to_host, self.synchronize = backend.to_host, backend.synchronize
        self.backend, self.recorder, self.agenda = backend, recorder, agenda
        self.reference, self.dtype = reference, ""
        self.on_host = getattr(backend, "on_host", False)
        recorder.roundoffs = getattr(backend, "roundoffs", {})
        self.lockstep: Lockstep | None = None
        self.ended = ""
        self.left: tuple[Any, Values] = (None, {})
        self.begun: Values = {}

    def asarray(self, value: Any, dtype: str) -> Array:
        """What the backend makes of a host array, which has to be the same numbers."""
        array = self.backend.asarray(value, dtype)
        found = self.to_host(array)
        wanted = np.asarray(value, found.dtype if dtype == "index" else dtype)
        same = found.dtype == wanted.dtype and np.array_equal(
            found, wanted, equal_nan=dtype != "index"
        )
        text = "" if same else f"asarray(..., {dtype!r}) gives other numbers than it was given"
        self.recorder.checked("data flow", "an array", "", text)
        return array

    def start(self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Any = None) -> Step:
        """The step of the backend, and beside it, on the same state, one that is looked on at."""
        plain = self.backend.start(plan, state, n)
        return WatchedStep(self, plain, plan, state, n) if plan.mode == "train" else plain

    def following(self, plan: Plan, formulas: Formulas) -> Lockstep | None:
        """The formulas that run beside a training: the first one, as long as they can."""
        if not self.agenda.follow or self.ended:
            return None
        if self.lockstep is None:
            self.lockstep = Lockstep(plan, formulas)
        if self.lockstep.plan is not plan:
            self.end_following("another training has begun")
        return None if self.ended else self.lockstep

    def end_following(self, why: str) -> None:
        """Let the formulas no longer follow; steps go on being compared."""
        self.ended = self.ended or why

    def report(self, note: str = "") -> Report:
        """What was found."""
        recorder, agenda = self.recorder, self.agenda
        return Report(
            backend=self.name,
            dtype=self.dtype,
            steps=agenda.updates,
            watched=sorted(agenda.watched),
            calls=recorder.calls,
            numbers=recorder.numbers,
            faults=list(recorder.faults.values()),
            worst=list(recorder.worst.values()),
            compared=sorted(agenda.compared),
            opaque=agenda.opaque,
            reference=str(recorder.formulas),
            trajectory=self._trajectory(),
            diverged=agenda.diverged,
            note=note,
        )

    def _trajectory(self) -> Trajectory | None:
        if not self.agenda.follow:
            return None
        found = Trajectory() if self.lockstep is None else self.lockstep.found
        return replace(found, ended=self.ended)

    def __repr__(self) -> str:
        return f"{self.backend!r}, watched"


class WatchedStep(Repeating):
    """Runs the plain step or the one that shows its calls; what is read comes from the last."""

    def __init__(
        self, watched: Watched, plain: Step, plan: Plan, state: MutableMapping[str, Any], n: int
    ) -> None:
        self._watched, self._plan, self._state, self._n = watched, plan, state, n
        self._recorder, self._agenda = watched.recorder, watched.agenda
        self._to_host = watched.backend.to_host
        self._formulas = Formulas(plan.dtype, watched.reference)
        self._data: dict[str, HostArray] = {}
        self._whole = Whole(plan, watched.recorder, self._formulas)
        self._look = Look(watched.backend, watched.recorder, plan, n)
        self._plain = self._shown = self._last = plain
        self._alone: dict[str, Any] | None = None  # what ``repeat`` runs, as it takes it
        self._start_shown()

    def _start_shown(self) -> None:
        """Start the step that shows its calls; both have to know the same arrays."""
        backend, state, arguments = (
            self._watched.backend,
            self._state,
            (self._plan, self._state, self._n),
        )
        before = dict(state)
        try:
            shown = backend.start(*arguments, watch=self._look)
        except BackendError as error:
            self._agenda.opaque = str(error)
            return
        if _moved(before, state):
            before, self._plain = dict(state), backend.start(*arguments)
            self._last = self._plain
        if _moved(before, state):
            self._agenda.opaque = f"every step that {backend!r} starts moves its arrays"
        self._shown = self._plain if self._agenda.opaque else shown

    def run(self, fed: Mapping[str, Any], section: str | None = None) -> None:
        """Run one section, or all, and compare what the agenda says."""
        sections = self._plan.sections if section is None else (section,)
        self._recorder.formulas = self._formulas
        self._watched.dtype = self._watched.dtype or self._plan.dtype
        step = self._recorder.step = self._agenda.begin(self._n, self._plan)
        if sections[0] == self._plan.sections[0]:  # an update runs where its gradient has run
            self._last = self._shown if step in self._agenda.watched else self._plain
        if self._last is not self._plain or step in self._agenda.compared:
            self._run_and_compare(fed, section, sections)
        else:
            self._watched.left, self._watched.begun = (None, {}), {}
            self._run(fed, section)
        if self._plan.sections[-1] in sections:
            self._agenda.end()

    def repeat(self, fed: Mapping[str, Any]) -> Any:
        """Each run alone; in the way of the backend's ``repeat``, if it has one, unless shown."""
        self.done, losses, xp = 0, [], self._watched.xp
        for k in range(next(iter(fed.values())).shape[0]):
            self._alone = {name: values[k : k + 1, ...] for name, values in fed.items()}
            self.run({name: values[0, ...] for name, values in self._alone.items()})
            losses.append(self.read(self._plan.outputs["loss"]))
            self.done += 1
        self._alone = None
        return xp.stack(losses)

    def read(self, name: str) -> Any:
        return self._last.read(name)

    def write(self, name: str, value: Any) -> None:
        """Set a value; the formulas, which know nothing of it, no longer follow."""
        self._last.write(name, value)
        wanted = self._to_host(value).astype(self._plan.dtype)
        same = np.array_equal(self._to_host(self.read(name)), wanted, equal_nan=True)
        text = "" if same else f"what is written to {name} is not what is read"
        self._recorder.checked("data flow", name, "", text)
        self._watched.left = (None, {})
        self._watched.end_following("values were written between two steps")

    def _run(self, fed: Mapping[str, Any], section: str | None) -> None:
        """Run the step; where it fails nothing can follow."""
        try:
            if self._alone and self._last is self._plain and isinstance(self._plain, Repeating):
                self._plain.repeat(self._alone)
            else:
                self._last.run(fed, section)
        except Exception as error:  # of a backend, or of a kernel of the user's
            name = self._look.running if self._last is not self._plain else ""
            name = name or "the step"
            kernel = self._kernel(name) if name in self._plan.buffers else ""
            text = f"it fails with {type(error).__name__}: {error}"[:300]
            self._recorder.checked("run", name, kernel, text)
            raise Enough from error

    def _run_and_compare(
        self, fed: Mapping[str, Any], section: str | None, sections: Sequence[str]
    ) -> None:
        held = self._held(sections, fed)
        self._check_between(held)
        begin, look = self._begin(sections, held), self._last is not self._plain
        if look:
            self._look.begin({**held, **self._data})
        self._run(fed, section)
        if look:
            self._look.finish(self._shown, sections)
        left = self._left(sections)
        if self._recorder.step in self._agenda.compared:
            self._compare(sections, begin, left)
        self._watched.left, self._watched.begun = (self._state, left), begin

    def _kept(self, sections: Sequence[str]) -> list[str]:
        """What these sections read that an earlier one has left."""
        reads = [name for section in sections for name in self._plan.reads(section)]
        own = {
            name for one in sections for call in self._plan.section(one) for name in call.outputs
        }
        return [name for name in reads if name in self._plan.kept and name not in own]

    def _held(self, sections: Sequence[str], fed: Mapping[str, Any]) -> dict[str, HostArray]:
        """Host copies of what a run begins with, but the data it gathers its rows from."""
        names = [buffer.name for buffer in self._plan.of_kind("parameter", "state")]
        held = {name: self._to_host(self.read(name)) for name in [*names, *self._kept(sections)]}
        return held | {name: self._to_host(array) for name, array in fed.items()}

    def _begin(self, sections: Sequence[str], held: Values) -> dict[str, HostArray]:
        """What the sections read, in the type of the formulas; of the data, the rows they take."""
        begin: dict[str, HostArray] = {}
        for name in (name for section in sections for name in self._plan.reads(section)):
            if self._plan.buffers[name].shape[:1] == ("rows",):
                begin[name] = self._data_of(name)[held["rows"]]
            elif name in held:
                begin[name] = np.arange(self._n) if name == "rows" else held[name]
        return dict(zip(begin, self._formulas.cast(list(begin.values())), strict=True))

    def _data_of(self, name: str) -> HostArray:
        if name not in self._data:
            self._data[name] = self._to_host(self._state[name])
        return self._data[name]

    def _left(self, sections: Sequence[str]) -> dict[str, HostArray]:
        """Host copies of what outlives the sections, each as the plan declares it."""
        left = {name: self._to_host(self.read(name)) for name in lasting(self._plan, sections)}
        for name, value in left.items():
            shape = self._plan.buffers[name].bound({"n": self._n})
            if (value.shape, value.dtype) != (shape, np.dtype(self._plan.dtype)):
                declared = f"{shape} {self._plan.dtype}"
                text = f"read gives {value.shape} {value.dtype}, the plan says {declared}"
                self._recorder.checked("data flow", name, self._kernel(name), text)
                raise Enough
        return left

    def _kernel(self, name: str) -> str:
        """Which one writes a buffer."""
        return self._plan.calls[writer(self._plan, name)].kernel.name

    def _check_between(self, held: Values) -> None:
        """Nothing may change between two steps."""
        state, left = self._watched.left
        for name, value in left.items() if state is self._state else ():
            if name in held:
                same = np.array_equal(held[name], value, equal_nan=True)
                text = "" if same else f"{name} has changed since the step before"
                self._recorder.checked("data flow", name, self._kernel(name), text)

    def _compare(self, sections: Sequence[str], begin: Values, left: Values) -> None:
        """Compare a step as a whole, and let the formulas follow."""
        if self._agenda.diverged:
            return
        finite = all(np.isfinite(value).all() for value in left.values())
        if not finite:
            self._agenda.diverged = self._recorder.step
            self._watched.end_following("the training is no longer finite")
        lockstep = self._watched.following(self._plan, self._formulas)
        begun, follow = self._watched.begun, lockstep is not None
        seen = self._whole.compare(sections, begin, begun, left, branches=follow)
        if lockstep is not None:
            faults = lockstep.follow(self._recorder.step, sections, begin, left, seen)
            self._whole.note("trajectory", faults)


def _moved(before: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Whether there are other arrays now: steps started earlier are out of date."""
    return any(state[name] is not array for name, array in before.items())
