"""Judging a step that was compared as a whole: which buffer is off first, and what it fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from portable_nn.parity._measure import Formulas
from portable_nn.parity._origins import suspects, writer
from portable_nn.parity._recorder import Finding, Recorder
from portable_nn.parity._shadow import Shadow, shadow
from portable_nn.parity._walk import Values
from portable_nn.plan import Data, Draw, Initial, Plan, Schedule

CLEAR = 4.0
"""Share of its limit from which it is worth asking what a wrong buffer fits instead."""


SURE = 0.25
"""Share of its limit up to which a buffer speaks for the calls before it."""


class Whole:
    """The steps of one plan, compared as a whole with their formulas."""

    def __init__(self, plan: Plan, recorder: Recorder, formulas: Formulas) -> None:
        self._plan, self._recorder, self._formulas = plan, recorder, formulas

    def compare(
        self,
        sections: Sequence[str],
        begin: Values,
        before: Values,
        left: Values,
        *,
        branches: bool,
    ) -> Shadow:
        """Compare what a step left with its formulas, and its hyper-parameters with the optimizer.

        ``begin`` is all it read, ``before`` what the step before read, if that is known.
        """
        self._check_schedule(begin)
        seen = shadow(self._plan, sections, begin, left, self._formulas, branches=branches)
        self._recorder.numbers += sum(value.size for value in left.values())
        right = [name for name, share in seen.shares.items() if share <= 1.0]
        self.note("step", [(name, seen.shares[name], "") for name in right])
        for name in seen.wrong[:1]:  # the others follow from the first
            text = self._words(name, seen.shares[name], self._clear(name, seen.shares))
            clear = seen.shares[name] > CLEAR
            for cause, instead in self._instead(begin, before) if clear else ():
                if not shadow(self._plan, sections, instead, left, self._formulas).wrong:
                    text += f"; it fits {cause}"
                    break
            self.note("step", [(name, seen.shares[name], text)])
        return seen

    def note(self, check: str, found: Iterable[tuple[str, float, str]]) -> None:
        """Keep findings about buffers: name, share of the limit, words."""
        for name, share, text in found:
            kernel = self._plan.calls[writer(self._plan, name)].kernel.name
            self._recorder.note(Finding(check, self._recorder.step, name, kernel, share, text=text))

    def _check_schedule(self, begin: Values) -> None:
        for call in self._plan.calls:
            for name in call.inputs:
                source = self._plan.buffers[name].source
                if name in begin and isinstance(source, Schedule):
                    narrow = begin[name].astype(self._plan.dtype)
                    called, kernel = call.outputs[0].removeprefix("new_"), call.kernel.name
                    self._recorder.check_schedule(source.name, narrow, called, kernel)

    def _clear(self, wrong: str, shares: Mapping[str, float]) -> list[str]:
        """The gradients before the wrong buffer that are surely right: so are their calls.

        The loss and the parameters, which an update moves by little, say less.
        """
        earlier = itertools.takewhile(lambda name: name != wrong, shares)
        gradients = self._plan.gradients.values()
        return [name for name in earlier if name in gradients and shares[name] < SURE]

    def _words(self, name: str, share: float, right: Sequence[str]) -> str:
        off = f"{share:.3g} times further off than rounding explains"
        off = off if share < math.inf else "not finite where the formulas are, or the other way"
        others = ", ".join(suspects(self._plan, name, right))
        before = f"; the fault is in that or in what comes before it: {others}" if others else ""
        return f"after the step, compared as a whole, it is {off}{before}"

    def _instead(self, begin: Values, before: Values) -> Iterator[tuple[str, Values]]:
        """What a step may have begun with wrongly."""
        sources = {name: self._plan.buffers[name].source for name in begin}
        by, step = self._recorder.optimizer, self._recorder.step
        for which, other in {"before": step - 1, "after": step + 1}.items():
            if by is not None and other > 0:
                found = by.hyperparameters(other, self._recorder.epoch)
                values = {
                    name: np.asarray(found[source.name], self._plan.dtype).astype(begin[name].dtype)
                    for name, source in sources.items()
                    if isinstance(source, Schedule)
                }
                yield f"the hyper-parameters of the step {which}", {**begin, **values}
        for what, kind in {"rows": Data, "parameters and state": Initial, "draws": Draw}.items():
            names = [name for name, source in sources.items() if isinstance(source, kind)]
            if names and all(n in before and before[n].shape == begin[n].shape for n in names):
                old = {name: before[name] for name in names}
                yield f"the {what} of the step before", {**begin, **old}
