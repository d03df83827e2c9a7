"""Why an output of a call is off: the usual mistakes, each tried on the call itself.

Of the ways to compute a call wrongly whose result is nearest to what the backend gave, and explains
most of the error, the simplest is named. Where none fits, the place of the wrong numbers is said.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.kernels import Call
from portable_nn.parity._case import Case, Some
from portable_nn.parity._measure import WIDER, cast, meaning
from portable_nn.parity._mistakes import Mistakes, other_mistakes, shortened_numbers
from portable_nn.parity._places import few_bits, not_finite, wrong_numbers

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

EXPLAINED = 0.1
"""What a cause may leave of the squared error; less where only a few numbers are off."""
CERTAIN = 1e-3
"""What shortened numbers may leave of it, so that nothing else is tried."""
ALONE = 100.0
"""How much better a cause has to fit that is at work in one output and not in the others."""
COSTLY = 2e7
"""Operations for which long double would take a second."""


def cause(
    call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray], position: int, dtype: str
) -> str:
    """The cause that fits the output at a position, in words, or "".

    ``inputs`` and ``outputs`` are host copies. A cause that changes other outputs too has to
    fit them as well, unless they are right.
    """
    # Whatever a formula does here, the report has to come out.
    with np.errstate(all="ignore"), warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        return _cause(call, inputs, outputs, position, dtype)
    return ""


def _cause(
    call: Call, inputs: Sequence[HostArray], outputs: Sequence[HostArray], position: int, dtype: str
) -> str:
    costly = call.kernel.cost(*[array.shape for array in inputs]) > COSTLY
    kind = np.float64 if costly else WIDER[dtype]
    exact = meaning(call, cast(inputs, kind))
    output, right = outputs[position], exact[position]
    if output.shape != right.shape:
        return f"its shape is {output.shape} instead of {right.shape}"
    if right.dtype.kind == "f" and output.dtype != dtype:
        return f"it is {output.dtype} instead of {dtype}"
    case = Case(call, cast(inputs, np.float64), cast(outputs, kind), exact, position, dtype)
    found = not_finite(output, right)
    if found or case.output.square == 0.0:
        return found
    score, named = _best(case, shortened_numbers(case))
    if score >= CERTAIN:
        _, named = _best(case, other_mistakes(case), score, named)
    return named or few_bits(output, right) or wrong_numbers(output, right, case.beyond())


def _best(
    case: Case, mistakes: Mistakes, best: float = math.inf, named: str = ""
) -> tuple[float, str]:
    """The score and the words of the mistake that fits, clearly better than those before it."""
    for words, values in mistakes:
        score = math.inf if values is None else _score(case, values)
        if score < best / 2.0:
            best, named = score, words
    return best, named


def _score(case: Case, values: Some) -> float:
    """What these outputs leave of the error; infinite if they do not fit."""
    rest, numbers, everywhere = math.inf, case.output.numbers, True
    for output, value in zip(case.outputs, values, strict=True):
        if output is case.output:
            rest = output.rest(value)
            continue
        fits, right = output.rest(value) < EXPLAINED, output.square < EXPLAINED * output.total
        if not (fits or right or value is None):
            return math.inf
        everywhere = everywhere and fits
        numbers += output.numbers if fits and not right else 0.0
    if not rest < min(EXPLAINED, 10.0 ** (-6.0 / numbers)):
        return math.inf
    return max(rest, case.rounding) * (1.0 if everywhere else ALONE)
