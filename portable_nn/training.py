"""Running plans over data: the training loop laid open, and whole epochs.

The loss stays on the device. Nothing here knows a layer, a loss, an optimizer or a backend by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from portable_nn.arrays import cast as rounded
from portable_nn.arrays import numbers, read
from portable_nn.backend import Repeating, Step
from portable_nn.batches import Batch, Epoch, cut
from portable_nn.drivers import Drive, Driver
from portable_nn.errors import DataError, NetworkError, NotFittedError
from portable_nn.feeding import Feed
from portable_nn.kernels import Call
from portable_nn.optimizers import Optimizer
from portable_nn.plan import Plan
from portable_nn.random import Draws
from portable_nn.runner import trace
from portable_nn.schedules import following
from portable_nn.session import Rows, Session
from portable_nn.typing import Array

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


History = dict[str, list[float]]
STRETCH, MOST_STEPS = 0.02, 1000
"""Seconds that steps run without a look at Ctrl-C, about, if one does not take longer; and how
many they are, at most."""

Opened = tuple[Plan, Session, Rows]
Opener = Callable[[Any, Any, Any, Session | None, bool], tuple[Opened, Callable[[], None]]]
"""``(x, y, sample_weight, session so far, copies) -> (plan, session, checked rows), keep``.

By the network, which is as it was until ``keep()`` is called.
"""


class Training:
    """The training loop laid open: ``batches``, ``gradient``, look or change, ``update``.

    Made by ``Network.start``. The network's own parameters are trained: it predicts with
    them as they stand, until a later ``fit`` or ``start`` gives it others.

    Attributes
    ----------
    updates
        Number of updates done.
    history
        What ``Network.history`` says of a fit, as far as it has come. In the open loop it is
        yours to fill, for schedules that look at it: ``ReduceOnPlateau``.
    copies
        Whether data that somebody may change between two steps is copied when it is first seen.
    """

    def __init__(
        self,
        opener: Opener,
        owner: Callable[[], Session | None],
        optimizer: Optimizer | Driver,
        batch_size: int | None,
        micro_batch_size: int | None,
        seed: int,
    ) -> None:
        self.updates, self.copies = 0, True
        self.history: History = {}
        self._opener, self._owner = opener, owner
        self._optimizer = following(optimizer, self.history)
        self._drive = Drive(optimizer) if isinstance(optimizer, Driver) else None
        self._batch_size, self._micro_batch_size = batch_size, micro_batch_size
        self._seed = seed
        self._last: tuple[Batch, Array] | None = None
        self._whole: Batch | None = None  # of all rows, as it was yielded last
        self._settled: Rows | None = None  # of which loss and gradient are known as they stand
        self._given: tuple[Any, ...] = ()
        self._opened: Opened | None = None
        self._current: Step | None = None
        self._epoch, self._at_once = 0.0, 1
        self._lasting: set[str] = set()

    @property
    def plan(self) -> Plan:
        """The kernel calls of one step; known once ``batches`` has seen data."""
        return self._open[0]

    @property
    def session(self) -> Session:
        """The backend and the values on it."""
        return self._open[1]

    @property
    def _open(self) -> Opened:
        if self._opened is None:
            raise NotFittedError("no data yet: the first batches(x, y, epoch=0) brings it.")
        return self._opened

    def open(self, x: Any, y: Any, sample_weight: Any = None) -> Rows:
        """Check the data and put it on the device, unless they are the objects of last time.

        Returns their weights, and stands for these data in every batch cut from them.
        """
        self._check_owner()
        given = (*_parts(x), y, sample_weight)
        if not _same_objects(self._given, given):
            session = self._opened[1] if self._opened is not None else None
            opened, keep = self._opener(x, y, sample_weight, session, self.copies)
            plan, session, rows = opened
            self._neediest = neediest(plan)
            self._check_sizes(len(rows.weight))
            keep()
            session.bind(plan, rows)
            self._opened, self._given = (plan, session, rows.on_device()), given
            self._feed = Feed(plan, self._optimizer, self._seed, session.backend)
            self._lasting = {b.name for b in plan.of_kind("parameter", "state")} | plan.kept
        return self._open[2]

    def _check_sizes(self, rows: int) -> None:
        size = min(self._batch_size or rows, rows)
        if self._drive is not None and size < rows:
            raise NetworkError(
                f"{type(self._optimizer).__name__} takes all rows at every update: say "
                f"batch_size=None, and micro_batch_size={size} if memory is short."
            )
        _check_batches(self._neediest, rows, size, self._micro_batch_size)

    def _check_owner(self) -> None:
        if self._opened is not None and self._owner() is not self._opened[1]:
            raise NetworkError("a later fit or start has taken this network over.")

    def batches(
        self, x: Any, y: Any, epoch: int, *, sample_weight: Any = None, shuffle: bool = True
    ) -> Iterator[Batch]:
        """The batches of epoch 0, 1, ...; the order depends on seed, epoch and row count.

        The last batch is short when the rows do not divide. ``shuffle=False`` keeps the
        order given. Data is copied when its objects are first seen: what is changed in place
        afterwards is not noticed, so give changed data as a new array.
        """
        taken = self._cut(x, y, epoch, sample_weight, shuffle)
        self._feed.foresee(taken.begins())
        yield from self._batches(taken)

    def epoch(
        self, x: Any, y: Any, epoch: int, *, sample_weight: Any = None, shuffle: bool = True
    ) -> Iterator[tuple[Array, HostArray]]:
        """Run the steps of a whole epoch, many at a time, which is the fastest way.

        Yields, after each stretch of steps, their losses (k,) on the device and the total weights
        (k,) of their batches; parameters as for ``batches``. The same numbers as ``step`` on
        each of its batches. Between two stretches anything may be read or written.

        Examples
        --------
        >>> for losses, weights in training.epoch(x, y, epoch=0):
        ...     print(losses[-1])
        """
        taken = self._cut(x, y, epoch, sample_weight, shuffle)
        repeats = hasattr(self.session.step(self.plan, taken.size), "repeat")
        if not repeats or self._drive or (self._micro_batch_size or taken.size) < taken.size:
            self._feed.foresee(taken.begins())
            for batch in self._batches(taken):
                yield self.session.backend.xp.stack([self.step(batch)]), np.array([batch.weight])
            return
        done, most = 0, self._feed.most(taken.size)
        while done < len(taken):
            indices = taken.stretch(done, min(self._at_once, MOST_STEPS, most))
            began, done = perf_counter(), indices.stop
            losses = self._steps(taken, indices)
            self._take_time(len(indices), perf_counter() - began)
            yield losses, taken.weights[indices.start : indices.stop]

    def _cut(self, x: Any, y: Any, epoch: int, sample_weight: Any, shuffle: bool) -> Epoch:
        whole = isinstance(epoch, int | np.integer) and not isinstance(epoch, bool)
        if not whole or not 0 <= epoch < 2**63:
            raise DataError(f"epoch is 0, 1, ...; got {epoch!r:.60}.")
        rows = self.open(x, y, sample_weight)
        total = len(rows.weight)
        draws = Draws(self._seed, "shuffle", step=int(epoch))
        order = draws.permutation(total) if shuffle else np.arange(total)
        size = min(self._batch_size or total, total)
        return cut(rows, int(epoch), size, order, self.session.backend, self.plan.dtype)

    def _take_time(self, steps: int, seconds: float) -> None:
        """Let more steps run together, or fewer, after some that took so long."""
        if seconds >= STRETCH:
            self._at_once = max(steps // 2, 1)
        elif seconds < STRETCH / 2 and steps == self._at_once:
            self._at_once = min(2 * steps, MOST_STEPS)

    def _batches(self, epoch: Epoch) -> Iterator[Batch]:
        for batch in map(epoch.batch, range(len(epoch))):
            self._whole = batch if len(epoch) == 1 else None
            yield batch

    def _steps(self, epoch: Epoch, indices: range) -> Array:
        """Run the steps of these batches, all of one size, together; their losses (k,)."""
        self._check_data(epoch.data)
        n, begins = epoch.rows_of(indices.start), epoch.begins(indices)
        fed = self._feed.several(self.updates + 1, n, begins)
        step = cast(Repeating, self.session.step(self.plan, n))
        rows = epoch.rows(indices, self.session.backend.xp)
        scales = epoch.scales[indices.start : indices.stop]
        self._current, self._settled, self._epoch = step, None, begins[-1]
        try:
            return step.repeat({**fed, "rows": rows, "scale": scales})
        finally:
            self.updates += step.done

    def gradient(self, batch: Batch) -> Array:
        """Forward, loss and backward; returns the loss () on the device.

        Of a batch that is taken in parts, loss and gradients are the sums over the parts.
        """
        self._settled = None
        first, *others = self._parts(batch)
        loss = self._part(first)
        if others:
            totals = {name: self.read(name) for name in self.plan.gradients.values()}
            for part in others:
                loss = loss + self._part(part)
                totals = {name: total + self.read(name) for name, total in totals.items()}
            for name, total in totals.items():
                self.write(name, total)
        self._last = batch, loss
        return loss

    def _is_cut(self, batch: Batch) -> bool:
        size = self._micro_batch_size
        return size is not None and isinstance(batch, Batch) and batch.n > size

    def _parts(self, batch: Batch) -> list[Batch]:
        """A batch cut into micro-batches."""
        size = self._micro_batch_size
        if size is None or not self._is_cut(batch):
            return [batch]
        return [
            replace(
                batch, rows=batch.rows[k : min(k + size, batch.n)], first_row=batch.first_row + k
            )
            for k in range(0, batch.n, size)
        ]

    def _part(self, batch: Batch) -> Array:
        step, fed = self._begin(batch)
        step.run(fed, "gradient")
        return self.read(self.plan.outputs["loss"])

    def update(self) -> None:
        """Update the parameters from the gradients as they stand.

        A learning rate that changes is that of the batch whose gradient was computed last.
        """
        step = self._step()
        if self._drive is None:
            step.run(self._feed.hyperparameters(self.updates + 1, self._epoch), "update")
        elif self._last is not None:
            batch, loss = self._last
            with np.errstate(all="ignore"):  # a value that is not finite is found in the loss log
                same = self._drive.update(self, lambda: self.gradient(batch), loss)
            same = same and batch is self._whole
            self._settled = batch.data if same and not self._feed.draws else None
        self.updates += 1

    def step(self, batch: Batch) -> Array:
        """One whole training step; returns the loss () on the device."""
        if self._drive is not None or self._is_cut(batch):
            known = self._settled is batch.data and batch is self._whole
            loss = self._last[1] if self._last and known else self.gradient(batch)
            self.update()
            return loss
        step, fed = self._begin(batch)
        step.run({**fed, **self._feed.hyperparameters(self.updates + 1, self._epoch)})
        self.updates += 1
        return self.read(self.plan.outputs["loss"])

    def finish(self) -> None:
        """Put what the optimizer has averaged, if it has, in the place of the parameters."""
        for parameter, state in self.plan.replaced.items() if self.updates else ():
            self.write(parameter, self.read(state))

    def finished(self) -> Session:
        """The values as they would be after ``finish``, to evaluate and predict with."""
        if not self.plan.replaced:
            return self.session
        state = self.session.state
        averages = {parameter: state[name] for parameter, name in self.plan.replaced.items()}
        return Session(self.session.backend, {**state, **averages})

    def read(self, name: str) -> Array:
        """A copy of a parameter, state, gradient or the loss, by its name in the plan.

        An array of the backend. Other buffers do not outlive a step: see ``trace``.
        """
        value: Array = self._step(str(name)).read(name)
        return value

    def trace(self, batch: Batch) -> dict[str, HostArray]:
        """Every buffer of a gradient step on the host, by name, computed by the meanings.

        But for the data, of which the rows of the batch are there. Nothing is changed; the draws
        are those of the next update.
        """
        backend = self.session.backend
        known = {**self.session.state, **self._fed(batch)}
        arrays = {name: known[name] for name in self.plan.reads("gradient")}
        with np.errstate(all="ignore"):
            found = trace(self.plan, "gradient", backend.xp, arrays)
        data = {name for name, buffer in self.plan.buffers.items() if "rows" in buffer.shape}
        return {name: backend.to_host(value) for name, value in found.items() if name not in data}

    def write(self, name: str, value: Any) -> None:
        """Set a parameter, state or gradient between ``gradient`` and ``update``.

        ``value`` is an array of the backend or of NumPy, or a list.
        """
        backend, step = self.session.backend, self._step(name)
        dtype = getattr(backend.xp, self.plan.dtype)
        if isinstance(value, np.ndarray) or getattr(value, "dtype", None) != dtype:
            host = numbers(read(value, name), name, value)
            if np.isfinite(host).all():
                host = rounded(host, self.plan.dtype, name)
            value = backend.asarray(host, self.plan.dtype)
        step.write(name, value)
        self._settled = None

    def _step(self, name: str | None = None) -> Step:
        """The step that ran last; an error if a name is given that does not outlive it."""
        if self._current is None:
            raise NotFittedError("no gradient has been computed yet; call gradient(batch) first.")
        if name is not None and name not in self._lasting:
            known = name in self.plan.buffers
            close = get_close_matches(str(name), self._lasting, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            what = "does not outlive a step; see trace." if known else f"is not in the plan.{hint}"
            raise NetworkError(f"{name!r:.60} {what}")
        return self._current

    def _begin(self, batch: Batch) -> tuple[Step, dict[str, Array]]:
        """The step that is now the current one, and what its gradient is fed with."""
        fed = self._fed(batch)
        self._current, self._epoch = self.session.step(self.plan, batch.n), batch.epoch
        return self._current, fed

    def _fed(self, batch: Batch) -> dict[str, Array]:
        if not isinstance(batch, Batch):
            raise DataError(f"a batch comes from batches(x, y, epoch=0); got {batch!r:.60}.")
        self._check_data(batch.data)
        least = self._neediest.kernel.least_rows
        if least > 1 and batch.n < least:  # one that was cut by hand
            _check_batches(self._neediest, batch.n, None, None)
        masks = self._feed.random(self.updates + 1, batch.n, batch.first_row)
        return {"rows": batch.rows, "scale": batch.scale, **masks}

    def _check_data(self, data: Rows) -> None:
        """Check that a batch is of the data that was seen last, and the network still ours."""
        if data is not self._open[2]:
            raise DataError("this batch is of other data than batches(x, y) saw last.")
        self._check_owner()


def _parts(x: Any) -> list[Any]:
    """The object, or those in a dict, with their names."""
    return [part for pair in x.items() for part in pair] if isinstance(x, Mapping) else [x]


def _same_objects(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    """The same arrays; names are the same if they are equal."""
    pairs = zip(before, now, strict=False)
    same = (a is b or (isinstance(a, str) and isinstance(b, str) and a == b) for a, b in pairs)
    return len(before) == len(now) and all(same)


def neediest(plan: Plan) -> Call:
    """The call of a plan that needs the most rows."""
    return max(plan.calls, key=lambda call: call.kernel.least_rows)


def _check_batches(call: Call, total: int, size: int | None, part: int | None) -> None:
    """Check that no batch of an epoch, nor a part of one, has fewer rows than a kernel needs."""

    def shortest(size: int) -> int:
        batches = size, total % size or size
        return min(rows % (part or rows) or min(part or rows, rows) for rows in batches)

    least, size = call.kernel.least_rows, min(size or total, total)
    if shortest(size) < least:
        better = (f"batch_size={k}" for k in range(size, total + 1) if shortest(k) >= least)
        cut, take = f", cut to {part}," if part else "", next(better, "more rows at a time")
        raise DataError(
            f"{call.outputs[0]} ({call.kernel.name}) needs {least} rows or more in every batch; "
            f"{total} rows in batches of {size}{cut} leave one of {shortest(size)}. Take {take}."
        )
