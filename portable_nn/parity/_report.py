"""What a parity check found, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import Any

from portable_nn.parity._recorder import Finding
from portable_nn.parity._trajectory import Trajectory

SCOPE = (
    "Not seen: errors of a few rounding units in every number, what happens in steps that were\n"
    "not compared, predictions, and data that was wrong before the step."
)


@dataclass(frozen=True)
class Report:
    """Of one training on one backend.

    Attributes
    ----------
    backend, dtype
        What was checked.
    steps, watched
        How many updates were run, and which of them were looked on at; none if kernels were
        called by themselves.
    calls, numbers
        How many kernel calls and numbers were compared with their formulas.
    faults
        In the order in which they were met; empty if all is equal.
    worst
        Of each kernel and check, the finding nearest to or furthest beyond its limit.
    compared
        Which updates were compared as a whole.
    opaque
        Why no call could be looked at, or "".
    reference
        What the formulas were evaluated in.
    trajectory
        The whole training beside the formulas, if it was asked for.
    diverged
        The first compared update after which something was not finite, or 0.
    note
        What else is to be known, in a sentence: that a script was stopped, or has failed.
    """

    backend: str
    dtype: str
    steps: int
    watched: Sequence[int]
    calls: int
    numbers: int
    faults: Sequence[Finding]
    worst: Sequence[Finding]
    compared: Sequence[int] = ()
    opaque: str = ""
    reference: str = ""
    trajectory: Trajectory | None = None
    diverged: int = 0
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything that was checked is within its limit."""
        return not self.faults

    @property
    def verdict(self) -> str:
        """One sentence."""
        who = f"{self.backend} {self.dtype}"
        if self.ok:
            share = max((found.share for found in self.worst), default=0.0)
            seen = f"{self.numbers:,} numbers of {self._seen()}"
            limit = (
                f"none beyond {max(share, 0.01):.0%} of its limit"
                if share
                else "right in every bit"
            )
            more = f"{self._diverged()}{self.note and ' ' + self.note}"
            return f"{who} computes what the formulas say: {seen}, {limit}.{more}"
        first = self.faults[0]
        when = f"step {first.step}" if first.step else first.check
        place = f"{when}, {first.name}"
        place += f", which {first.kernel} computes" if first.kernel else ""
        likely = f"; {first.text}" if first.measured is not None and first.text else ""
        said = f"{_size(first)}{likely}".rstrip(".")
        return f"{who} is not equal: {place}: {said}.{self.note and ' ' + self.note}"

    def _diverged(self) -> str:
        if not self.diverged:
            return ""
        return f" After step {self.diverged} it is not finite, as by the formulas: a weak test."

    def _seen(self) -> str:
        """What was compared, in words."""
        whole = len(self.compared)
        if not self.steps:
            return f"{self.calls:,} kernel calls"
        if not self.watched:
            return f"{whole} of {self.steps} steps, compared as a whole"
        calls = f"{self.calls:,} kernel calls in {len(self.watched)} of {self.steps} steps"
        return f"{calls}, and of {whole} steps as a whole" if whole else calls

    def to_dict(self) -> dict[str, Any]:
        """Everything, for ``json.dumps``."""
        found = asdict(self) | {"ok": self.ok, "verdict": self.verdict}
        if self.trajectory is not None:
            found["trajectory"]["horizon"] = self.trajectory.horizon
        cleaned: dict[str, Any] = _plain(found)
        return cleaned

    def __str__(self) -> str:
        course = [] if self.trajectory is None else [self.trajectory.words, ""]
        return "\n".join([self.verdict, "", *self._table(), "", *course, self._evaluated(), SCOPE])

    def _table(self) -> list[str]:
        """The worst of each kernel and check, and what is right in every bit."""
        rows = [("kernel", "check", "of limit", "worst at", "step")]
        exact: dict[str, list[str]] = {}
        for found in sorted(self.worst, key=lambda found: -found.share):
            if found.share == 0.0:
                exact.setdefault(found.check, []).extend([found.kernel] * bool(found.kernel))
                continue
            share = f"{found.share:.2f}" if found.share < 1e5 else "wrong"
            rows.append((found.kernel, found.check, share, found.name, str(found.step or "")))
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        right = [f"{check} ({', '.join(names)})" for check, names in exact.items()]
        return [*lines, *fill(f"Right in every bit: {'; '.join(right)}.", 100).splitlines()]

    def _evaluated(self) -> str:
        """What stands behind the words, in words."""
        opaque = f" No call could be looked at: {self.opaque}" if self.opaque else ""
        return fill(f"The formulas were evaluated in {self.reference}.{opaque}", 100)


def _plain(value: Any) -> Any:
    """The same with lists for tuples, and no infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _size(found: Finding) -> str:
    """How large the error is, in words."""
    if found.measured is None:
        return found.text
    wrong = found.measured.errors.wrong
    some = 0.0 < wrong < 0.5 and not found.text
    few = f"{wrong:.1%}" if wrong >= 1e-3 else "less than 0.1%"
    part = f", in {few} of its numbers" if some else ""
    if found.share > 1e9:
        return f"it is wrong, not only rounded{part}"
    return f"its error is {found.share:.3g} times what rounding explains{part}"
