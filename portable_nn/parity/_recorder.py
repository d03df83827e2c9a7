"""What a parity check found: the worst of each kind, and every fault."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.kernels import Call, Kernel
from portable_nn.optimizers import Optimizer
from portable_nn.parity._causes import cause
from portable_nn.parity._measure import Formulas, Measured, measure

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: where, and by what share of its limit it is off.

    ``share`` above 1 is a fault; ``text`` then says what it looks like. The cause of a call that is
    off stands at the first fault of its kind only.
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
    """What was compared, and what it showed.

    Attributes
    ----------
    optimizer, epoch
        What the hyper-parameters of a step follow from; without an optimizer they are taken as
        they come.
    formulas
        What evaluates them; None is NumPy in a wider type.
    roundoffs
        Unit roundoffs that the backend declares for some kernels.
    step
        The update that is looked on at, the first being 1.
    calls, numbers
        How many kernel calls and numbers were compared.
    faults, worst
        The first fault of each buffer, check and step; the worst finding of each kernel and check.
    """

    optimizer: Optimizer | None = None
    epoch: float = 0.0
    formulas: Formulas | None = None
    roundoffs: Mapping[Kernel, float] = field(default_factory=dict)
    step: int = 0
    calls: int = 0
    numbers: int = 0
    faults: dict[tuple[str, str, str, int], Finding] = field(default_factory=dict)
    worst: dict[tuple[str, str], Finding] = field(default_factory=dict)
    _named: set[tuple[str, str, str]] = field(default_factory=set)

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
        roundoff, kernel = self.roundoffs.get(call.kernel), call.kernel.name
        found = measure(call, inputs, outputs, dtype, formulas=self.formulas, roundoff=roundoff)
        for k, one in enumerate(found):
            text, key = "", (kernel, check, names[k])
            if one.share > 1.0 and key not in self._named:  # to find a cause may take a second
                text = cause(call, inputs, outputs, k, dtype) or _leaning(call, one)
                self._named |= {key} if text else set()
            self.note(Finding(check, self.step, names[k], kernel, one.share, one, text))

    def check_schedule(self, hyperparameter: str, array: HostArray, name: str, kernel: str) -> bool:
        """Whether a hyper-parameter is that of this step, where the optimizer is known."""
        if self.optimizer is None:
            return True
        exact = self.optimizer.hyperparameters(self.step, self.epoch)[hyperparameter]
        wanted = np.asarray(exact, array.dtype)
        should = f"in this step it should be {wanted.item():.9g}"
        wrong = "" if array == wanted else f"{hyperparameter} is {array.item():.9g}, {should}"
        self.checked("schedule", name, kernel, wrong)
        return not wrong

    def checked(self, check: str, name: str, kernel: str, wrong: str) -> None:
        """Keep what a check found that knows right and wrong only: words, or ""."""
        self.note(Finding(check, self.step, name, kernel, math.inf if wrong else 0.0, text=wrong))

    def note(self, finding: Finding) -> None:
        """Keep a finding, if it is a fault or worse than the others of its kind."""
        key = (finding.kernel, finding.check)
        if finding.share > 1.0:
            self.faults.setdefault((*key, finding.name, finding.step), finding)
        if key not in self.worst or finding.share > self.worst[key].share:
            self.worst[key] = finding


def _leaning(call: Call, measured: Measured) -> str:
    """Which single numbers may be other ones, if that is what is wrong, or ""."""
    if measured.errors.lean / measured.limits[3] < measured.share:
        return ""
    names = " or ".join(call.inputs[k] for k in measured.errors.toward)
    return f"it looks as if {names} had been rounded otherwise, or formed in fewer bits"
