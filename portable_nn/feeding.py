"""What steps are fed with beside their rows: random numbers, and hyper-parameters.

Host side: formed here in float64 (masks in the plan's dtype), rounded once and sent to the device,
for many steps at once where many are to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from portable_nn.backend import Backend
from portable_nn.drivers import Driver
from portable_nn.optimizers import Optimizer
from portable_nn.plan import Buffer, Draw, Plan, Schedule
from portable_nn.random import DRAWS, Draws
from portable_nn.typing import Array

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

DRAWN = 2**20
"""Random numbers that are formed at once, at most; those of one step may be more."""


class Feed:
    """Of one plan, optimizer and seed.

    Attributes
    ----------
    draws
        The buffers that random numbers go to.
    """

    def __init__(
        self, plan: Plan, optimizer: Optimizer | Driver, seed: int, backend: Backend
    ) -> None:
        fed = plan.of_kind("fed")
        self.draws = [(b, b.source) for b in fed if isinstance(b.source, Draw)]
        self._scheduled = [b.name for b in fed if isinstance(b.source, Schedule)]
        self._optimizer, self._seed, self._dtype = optimizer, seed, plan.dtype
        self._backend = backend
        self._ahead: Sequence[float] = ()
        self._sent: dict[tuple[int, float], tuple[Array, int]] = {}

    def foresee(self, epochs: Sequence[float]) -> None:
        """An update is to come at each of these, in order; they are sent together."""
        self._ahead = epochs

    def random(self, update: int, n: int, first_row: int = 0) -> dict[str, Array]:
        """The random numbers of an update, (n, columns) by buffer."""
        masks = ((b, self._drawn(b, draw, update, n, first_row)) for b, draw in self.draws)
        return {buffer.name: self._backend.asarray(mask, self._dtype) for buffer, mask in masks}

    def hyperparameters(self, update: int, epoch: float) -> dict[str, Array]:
        """Those of an update, () by name."""
        if (update, epoch) not in self._sent:
            later, self._ahead = [other for other in self._ahead if other > epoch], ()
            try:
                table = self._table(update, [epoch, *later])
            except Exception:  # of a schedule, perhaps at a later epoch
                later, table = [], self._table(update, [epoch])
            keys = enumerate([epoch, *later], update)
            self._sent = {key: (table, row) for row, key in enumerate(keys)}
        table, row = self._sent[update, epoch]
        return {name: table[row, k] for k, name in enumerate(self._scheduled)}

    def several(self, update: int, n: int, epochs: Sequence[float]) -> dict[str, Array]:
        """Everything of ``update`` and those that follow, each with an axis of them in front."""
        table = self._table(update, epochs)
        fed = {name: table[:, k] for k, name in enumerate(self._scheduled)}
        for buffer, draw in self.draws:
            masks = np.empty((len(epochs), *buffer.bound({"n": n})), self._dtype)
            for k, mask in enumerate(masks):
                mask[...] = self._drawn(buffer, draw, update + k, n)
            fed[buffer.name] = self._backend.asarray(masks, self._dtype)
        return fed

    def most(self, n: int) -> int:
        """How many steps on ``n`` rows ``several`` is to be asked for, at most."""
        each = sum(np.prod(buffer.bound({"n": n})) for buffer, _ in self.draws)
        return int(max(1, DRAWN // max(each, 1)))

    def _drawn(
        self, buffer: Buffer, draw: Draw, update: int, n: int, first_row: int = 0
    ) -> HostArray:
        draws = Draws(self._seed, draw.purpose, draw.stream, update)
        columns = buffer.bound({"n": n})[-1]
        mask: HostArray = DRAWS[draw.purpose](draws, n, columns, draw.rate, first_row)
        return mask

    def _table(self, update: int, epochs: Sequence[float]) -> Array:
        """Hyper-parameters of ``update`` and those that follow, one row an update."""
        ask, names = cast(Optimizer, self._optimizer).hyperparameters, self._scheduled
        found = [ask(k, epoch) for k, epoch in enumerate(epochs, update)]
        return self._backend.asarray(
            [[values[name] for name in names] for values in found], self._dtype
        )
