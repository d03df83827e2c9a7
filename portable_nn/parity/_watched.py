"""A backend that is looked on at: which steps, and what is compared of each.

A step can be looked on at call by call (``_look.py``), or only run, and then be compared as a whole
(``_shadow.py``) and followed by a run of the formulas (``_trajectory.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.backend import Backend, Step
from portable_nn.errors import BackendError
from portable_nn.parity._look import Look
from portable_nn.parity._measure import Formulas
from portable_nn.parity._origins import writer
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._trajectory import Lockstep
from portable_nn.parity._walk import Values, lasting
from portable_nn.parity._whole import Whole
from portable_nn.plan import Plan

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def sampled(steps: int) -> list[int]:
    """Steps worth a look: 1, 2, 5, 10, 20, 50, ... and the last."""
    found = {k * 10**power for power in range(len(str(steps))) for k in (1, 2, 5)}
    return sorted({step for step in found if step < steps} | {steps})


class Enough(BaseException):
    """The last step that was to be looked at is done."""


@dataclass
class Agenda:
    """Which steps are looked on at call by call, and which are compared as a whole.

    ``watch`` are the former; None is ``sampled(steps)`` and the first step of each batch size.
    As a whole are compared the steps after those, which run as if nobody looked; where calls cannot
    be looked at (``opaque`` says why), those themselves; all if ``follow``. ``updates`` counts the
    updates done, ``watched`` and ``compared`` are the steps that were. After each ``progress`` is
    called; after the last, ``stop`` ends the program that trains by ``Enough``.
    """

    steps: int
    watch: Collection[int] | None = None
    follow: bool = False
    stop: bool = False
    progress: Callable[[], object] = lambda: None
    updates: int = 0
    opaque: str = ""
    watched: set[int] = field(default_factory=set)
    compared: set[int] = field(default_factory=set)
    _sizes: set[int] = field(default_factory=set)
    _begun: int = 0

    def end(self) -> None:
        """An update is done."""
        self.updates += 1
        self.progress()
        if self.stop and self.updates == self.steps:
            raise Enough

    def begin(self, n: int) -> int:
        """The number of the step that runs, on ``n`` rows; decides about it when it begins."""
        step = self.updates + 1
        if step == self._begun or step > self.steps:
            return step
        chosen = sampled(self.steps) if self.watch is None else self.watch
        look = step in chosen or (self.watch is None and n not in self._sizes)
        if look and not self.opaque:
            self.watched.add(step)
        if self.follow or (bool(self.opaque) if look else step - 1 in self.watched):
            self.compared.add(step)
        self._sizes.add(n)
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
        self.asarray, self.to_host = backend.asarray, backend.to_host
        self.synchronize = backend.synchronize
        self.backend, self.recorder, self.agenda = backend, recorder, agenda
        self.reference, self.dtype = reference, ""
        recorder.roundoffs = getattr(backend, "roundoffs", {})
        self.lockstep: Lockstep | None = None
        self.left: tuple[Any, Values] = (None, {})
        self.begun: Values = {}

    def start(self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Any = None) -> Step:
        """The step of the backend, and beside it, on the same state, one that is looked on at."""
        plain = self.backend.start(plan, state, n)
        return WatchedStep(self, plain, plan, state, n) if plan.mode == "train" else plain

    def report(self) -> Report:
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
            trajectory=None if self.lockstep is None else self.lockstep.found,
        )

    def __repr__(self) -> str:
        return f"{self.backend!r}, watched"


class WatchedStep:
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
        try:
            self._shown = watched.backend.start(plan, state, n, watch=self._look)
        except BackendError as error:
            self._agenda.opaque = str(error)

    def run(self, fed: Mapping[str, Any], section: str | None = None) -> None:
        """Run one section, or all, and compare what the agenda says."""
        sections = self._plan.sections if section is None else (section,)
        self._recorder.formulas, self._watched.dtype = self._formulas, self._plan.dtype
        step = self._recorder.step = self._agenda.begin(self._n)
        look, compare = step in self._agenda.watched, step in self._agenda.compared
        held = self._held(sections, fed) if look or compare else {}
        self._check_between(held)
        if look:
            self._look.begin(held)
        self._last = self._shown if look else self._plain
        self._last.run(fed, section)
        if look:
            self._look.finish(self._last, sections)
        left: dict[str, HostArray] = {}
        if look or compare:
            left = {n: self._to_host(self.read(n)) for n in lasting(self._plan, sections)}
        begin = self._begin(sections, held) if look or compare else {}
        if compare:
            self._compare(sections, begin, left)
        self._watched.left, self._watched.begun = (self._state, left), begin
        if self._plan.sections[-1] in sections:
            self._agenda.end()

    def read(self, name: str) -> Any:
        return self._last.read(name)

    def write(self, name: str, value: Any) -> None:
        self._last.write(name, value)
        self._watched.left = (None, {})
        self._agenda.follow = False  # the formulas know nothing of what was written

    def _held(self, sections: Sequence[str], fed: Mapping[str, Any]) -> dict[str, HostArray]:
        """Host copies of what a run begins with, but the data it gathers its rows from."""
        names = [buffer.name for buffer in self._plan.of_kind("parameter", "state")]
        reads = [name for section in sections for name in self._plan.reads(section)]
        kept = {name for name in reads if name in self._plan.kept}
        kept -= set(lasting(self._plan, sections))
        held = {name: self._to_host(self.read(name)) for name in [*names, *kept]}
        return held | {name: self._to_host(array) for name, array in fed.items()}

    def _begin(self, sections: Sequence[str], held: Values) -> dict[str, HostArray]:
        """What the sections read, in the type of the formulas; of the data, the rows they take."""
        written = {
            name for s in sections for call in self._plan.section(s) for name in call.outputs
        }
        begin: dict[str, HostArray] = {}
        for name in (name for section in sections for name in self._plan.reads(section)):
            buffer = self._plan.buffers[name]
            if buffer.shape[:1] == ("rows",):
                begin[name] = self._rows_of(name)[held["rows"]]
            elif name == "rows":
                begin[name] = np.arange(self._n)
            elif name not in written:
                begin[name] = held[name]
        return dict(zip(begin, self._formulas.cast(list(begin.values())), strict=True))

    def _rows_of(self, name: str) -> HostArray:
        if name not in self._data:
            self._data[name] = self._to_host(self._state[name])
        return self._data[name]

    def _check_between(self, held: Values) -> None:
        """Nothing may change between two steps."""
        state, left = self._watched.left
        for name, value in left.items() if state is self._state else ():
            if name in held:
                same = np.array_equal(held[name], value, equal_nan=True)
                text = "" if same else f"{name} has changed since the step before"
                kernel = self._plan.calls[writer(self._plan, name)].kernel.name
                self._recorder.checked("data flow", name, kernel, text)

    def _compare(self, sections: Sequence[str], begin: Values, left: Values) -> None:
        """Compare a step as a whole, and let the formulas follow."""
        watched, agenda = self._watched, self._agenda
        if agenda.follow and watched.lockstep is None:
            watched.lockstep = Lockstep(self._plan, self._formulas)
        if watched.lockstep is not None and watched.lockstep.plan is not self._plan:
            agenda.follow = False  # another training has begun
        seen = self._whole.compare(sections, begin, watched.begun, left, branches=agenda.follow)
        if agenda.follow and watched.lockstep is not None:
            step = self._recorder.step
            faults = watched.lockstep.follow(step, sections, begin, left, seen)
            self._whole.note("trajectory", faults)
