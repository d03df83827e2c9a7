"""What a contender is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Contender:
    """A network that stands on its first weights, ready to train.

    ``run(n)`` does ``n`` steps, a multiple of ``multiple``, and returns when they are done.
    ``losses(n)`` are those of the first n steps, called before any ``run``; None if they cannot
    be had, and ``why`` says so. ``other_epsilon``: Adam's is added to a root not corrected yet.
    """

    run: Callable[[int], Any]
    losses: Callable[[int], list[float]] | None = None
    multiple: int = 1
    why: str = ""
    other_epsilon: bool = False


def stepwise(step, turn, wait=lambda value: value):
    """Of ``step(*batch) -> loss``, on an endless ``turn`` of batches; ``wait`` for the last."""

    def run(n):
        loss = None
        for _ in range(n):
            loss = step(*next(turn))
        return wait(loss)

    return Contender(run, lambda n: [float(step(*next(turn))) for _ in range(n)])


def from_means(mean):
    """Losses of the first n steps, of ``mean(k)``: the mean over a first epoch of k batches."""

    def losses(n):
        totals = [k * mean(k) for k in range(1, n + 1)]
        return np.diff([0.0, *totals]).tolist()

    return losses
