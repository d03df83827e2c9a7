"""A whole training beside its formulas: how far two runs drift apart, and whether they may.

Small differences grow: the first unit of a ReLU that comes to lie on the other side of 0 makes
of 1e-8 in one step 1e-2 in a hundred, and both runs are right. So next to the *free* run of the
formulas, whose loss curve a user would compare, runs a *pinned* one: it takes the branches that
the backend took, and only has to stay near. How near is asked of twins of it, in which every
call makes errors of the size of rounding, and of NumPy in the dtype of the backend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.parity._measure import Formulas, summed, unit_roundoff
from portable_nn.parity._shadow import Shadow
from portable_nn.parity._walk import Rounding, Values, Walk, after, drift, walk
from portable_nn.plan import Plan

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

LIMIT = 12.0
"""Distances of the twins that the pinned run may be away."""
TWINS = 2
AGREE = 1e-3
"""Relative difference of losses beyond which two runs no longer agree."""
DRIFTED = (
    "the parameters have drifted away from what the formulas give, further than rounding explains: "
    "an error that adds up over the steps"
)
SMOOTH = 0.1
"""What the mean of two gradients may be off the gradient between, in their difference."""


@dataclass(frozen=True)
class Flip:
    """Elements of one call that lie on the other side of a kink than in the pinned run.

    ``size`` is how far apart the inputs of the worst are, in units of what rounding explains; 1 if
    the branches are not those of single inputs.
    """

    step: int
    name: str
    count: int
    size: float


@dataclass
class Trajectory:
    """A training, step by step, and the same by the formulas.

    Attributes
    ----------
    loss, reference_loss
        Of each step: of the backend, and of the free run of the formulas.
    distance, limit, free_distance
        Of the parameters after each step, relative, as a norm: from the pinned run, how far
        they may be from it, and from the free run.
    flips
        Where the pinned run had to be pinned.
    jumps
        Steps at which the pinned run began anew: a kernel that declares no ``branch`` had jumped
        between it and the backend, now or before.
    ended
        Why the formulas did not follow to the last step, or "".
    """

    loss: list[float] = field(default_factory=list)
    reference_loss: list[float] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)
    free_distance: list[float] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)
    ended: str = ""

    @property
    def horizon(self) -> int:
        """The last step before losses of the free runs differ by more than ``AGREE``."""
        pairs = zip(self.loss, self.reference_loss, strict=True)
        apart = (abs(a - b) > AGREE * abs(b) for a, b in pairs)
        return next((k for k, one in enumerate(apart) if one), len(self.loss))

    @property
    def words(self) -> str:
        """What happened, in some sentences."""
        steps, agree = len(self.loss), self.horizon
        if not self.distance:
            why = f": {self.ended}" if self.ended else ""
            return f"The formulas did not follow{why}."
        how_long = f"in all {steps} steps" if agree == steps else f"until step {agree}"
        away, limit = f"{self.distance[-1]:.1e}", f"{self.limit[-1]:.1e}"
        said = [
            f"Beside the formulas: losses agree to {AGREE:.1%} {how_long}.",
            f"The parameters end {away} away, relative; rounding explains {limit}.",
        ]
        if count := sum(flip.count for flip in self.flips):
            first = f"step {self.flips[0].step}, {self.flips[0].name}"
            said += [
                f"For that the formulas took, at kinks, the branches of the backend: {count} times "
                f"another than their own, first in {first}.",
                f"Left alone, they end {self.free_distance[-1]:.1e} away.",
            ]
        if self.ended:
            said.append(f"After step {steps} they did not follow: {self.ended}.")
        if self.jumps:
            said.append(f"They began anew after jumps in steps {self.jumps}.")
        return fill(" ".join(said), 100)


class _Run:
    """The values of one run by the formulas."""

    def __init__(self, plan: Plan, formulas: Formulas) -> None:
        self._plan, self._formulas = plan, formulas
        self.values: dict[str, HostArray] = {}

    def given(self, begin: Values) -> dict[str, HostArray]:
        """What a step reads: values of this run, and all others as the backend had them."""
        return {name: self.values.get(name, value) for name, value in begin.items()}

    def step(
        self,
        sections: Sequence[str],
        begin: Values,
        pinned: Walk | None = None,
        rounding: Rounding | None = None,
    ) -> Walk:
        found = walk(
            self._plan,
            sections,
            self.given(begin),
            self._formulas,
            pinned=pinned,
            rounding=rounding,
        )
        self.values |= after(self._plan, sections, found.values)
        return found

    def distance(self, others: Values, *names: str) -> float:
        """Of these parameters, or all, relative, as a norm."""
        pairs = [(self.values[name], others[name]) for name in names or self._plan.gradients]
        apart = math.sqrt(sum(float(np.sum((a - b) ** 2)) for a, b in pairs))
        return apart / max(math.sqrt(sum(float(np.sum(a * a)) for a, _ in pairs)), 1e-300)

    def furthest(self, others: Values) -> str:
        """The parameter that is furthest from its own values, relative."""
        return max(self._plan.gradients, key=lambda name: self.distance(others, name))


Fault = tuple[str, float, str]
"""What is beyond its limit: the name of a buffer, by what share, and words."""


class Lockstep:
    """Runs the formulas beside a training, a step at a time."""

    def __init__(self, plan: Plan, formulas: Formulas) -> None:
        self.found = Trajectory()
        self.plan, self._formulas = plan, formulas
        self._pinned, self._free = _Run(plan, formulas), _Run(plan, formulas)
        self._twins = [_Run(plan, formulas) for _ in range(TWINS)]
        self._narrow = _Run(plan, Formulas.narrow(plan.dtype))
        self._steps, self._slope, self._drifted = 0, 0.0, 0.0
        self._gradient: tuple[Values, Values, Walk] | None = None

    def follow(
        self, step: int, sections: Sequence[str], begin: Values, found: Values, seen: Shadow
    ) -> list[Fault]:
        """Do what the backend did, and compare.

        ``begin`` and ``found`` are what it read, in the type of the formulas, and left; ``seen``
        knows the branches that it took.
        """
        with np.errstate(all="ignore"):
            if "gradient" in sections:
                self._gradient = (self._pinned.given(begin), begin, seen.walk)
            walked = self._pinned.step(sections, begin, seen.walk)
            if "gradient" in sections:
                self._slope = drift(self.plan, sections, walked.values)
            twins = []
            for k, twin in enumerate(self._twins):
                rounding = Rounding(self.plan.dtype, seen.sizes, TWINS * step + k)
                twins.append(twin.step(sections, begin, seen.walk, rounding))
            self._narrow.step(sections, begin, seen.walk)
            self._free.step(sections, begin)
            flips, faults = self._flips(step, walked, twins, seen), list[Fault]()
            self.found.flips += flips
            if "update" in sections:
                self._drifted += self._slope * self._pinned.distance(begin)
                if seen.strained and not seen.wrong:  # sums of one sign, or columns that cancel
                    self._drifted += self._error(sections, found, seen)
                faults = self._apart(step, found)
            if not all(flip.size <= 1.0 for flip in flips):  # it has jumped before
                self._restart(step, found)
            if (loss := self.plan.outputs["loss"]) in found:
                self.found.loss.append(float(found[loss]))
                self.found.reference_loss.append(float(self._free.values[loss]))
        return faults

    def _error(self, sections: Sequence[str], found: Values, seen: Shadow) -> float:
        """How far the parameters are from what this step alone should have made of them."""
        alone = _Run(self.plan, self._formulas)
        alone.values = after(self.plan, sections, seen.walk.values)
        return alone.distance(found)

    def _flips(self, step: int, walked: Walk, twins: Sequence[Walk], seen: Shadow) -> list[Flip]:
        found = []
        for call, flipped in walked.flips.items():
            name, here = call.inputs[0], walked.values[call.inputs[0]]
            source = next((c for c in seen.sizes if name in c.outputs), None)
            if source is None:
                continue
            position = source.outputs.index(name)
            unit = unit_roundoff(self.plan.dtype) * seen.sizes[source][position]
            spread = max(float(np.max(np.abs(t.values[name] - here) / unit)) for t in twins)
            inputs = [walked.values[one] for one in source.inputs]
            terms = summed(source, inputs, len(source.outputs))[position]
            limit = 16.0 + 2.0 * math.sqrt(terms) + LIMIT * spread
            gap = np.abs(seen.walk.values[name] - here) / unit
            size = float(gap[flipped].max() / limit) if gap.shape == flipped.shape else 1.0
            found.append(Flip(step, name, int(flipped.sum()), size))
        return found

    def _apart(self, step: int, found: Values) -> list[Fault]:
        """Keep the distances; what is too far is a fault, unless a gradient jumped between."""
        self._steps += 1
        model = 4.0 * unit_roundoff(self.plan.dtype) * math.sqrt(self._steps)
        spread = max(self._pinned.distance(twin.values) for twin in self._twins)
        numpy = 4.0 * self._pinned.distance(self._narrow.values)
        limit = max(model, LIMIT * spread, numpy) + self._drifted
        distance = self._pinned.distance(found)
        self.found.distance.append(distance)
        self.found.limit.append(limit)
        self.found.free_distance.append(self._free.distance(found))
        if not distance > limit:
            return []
        smooth, furthest = self._smooth(), self._pinned.furthest(found)
        self._restart(step, found, note=not smooth)
        return [] if not smooth else [(furthest, distance / limit, DRIFTED)]

    def _restart(self, step: int, found: Values, note: bool = True) -> None:
        self._steps, self._drifted = 0, 0.0
        if note and step not in self.found.jumps:
            self.found.jumps.append(step)
        for run in (self._pinned, self._narrow, *self._twins):
            names = [name for name in run.values if name in found]
            here = self._formulas.cast([found[name] for name in names])
            run.values |= dict(zip(names, here, strict=True))

    def _smooth(self) -> bool:
        """Whether the gradient half-way between the two runs is the mean of theirs."""
        assert self._gradient is not None
        one, other, pinned = self._gradient
        middle = {name: _middle(value, other[name]) for name, value in one.items()}
        gradients = []
        for given in (one, other, middle):
            run = _Run(self.plan, self._formulas)
            gradients.append(run.step(("gradient",), given, pinned).values)
        bent = apart = 0.0
        for name in self.plan.gradients.values():
            a, b, between = (values[name] for values in gradients)
            bent += float(np.sum((between - (a + b) / 2.0) ** 2))
            apart += float(np.sum((a - b) ** 2))
        return bent <= SMOOTH**2 * apart


def _middle(a: HostArray, b: HostArray) -> HostArray:
    return (a + b) / 2.0 if a.dtype.kind == "f" else a
