"""``fit``: epochs over the open loop, with a log, validation, Ctrl-C, and what a NaN came from.

Nothing here knows a layer, a loss, an optimizer or a backend by name.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.backend import Backend
from portable_nn.batches import Batch
from portable_nn.errors import NonFiniteError
from portable_nn.progress import Progress
from portable_nn.session import Validation
from portable_nn.training import Training
from portable_nn.typing import Array

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def fit(
    training: Training,
    data: Mapping[str, Any],
    epochs: int,
    validation: Validation | None,
    progress: Progress,
) -> None:
    """Train for some epochs; appends one entry an epoch to each list of its history.

    ``data`` is what ``Training.epoch`` takes, but for the epoch. Ctrl-C acts between two steps, or
    some hundredths of a second of short ones: what runs ends, then ``KeyboardInterrupt`` is raised,
    and the parameters are those after it (from before its epoch, if they are no longer
    finite); a second Ctrl-C does not wait for the step. A loss that is not finite raises
    ``NonFiniteError``; the parameters are then those from before its epoch. Where the optimizer
    keeps averages, these take their place, however the training ends.
    """
    with progress, _interrupts() as interrupted:
        try:
            for epoch in range(epochs):
                last = epoch == epochs - 1
                _epoch(training, data, epoch, last, validation, progress, interrupted)
        finally:
            training.finish()


def _epoch(
    training: Training,
    data: Mapping[str, Any],
    epoch: int,
    last: bool,
    validation: Validation | None,
    progress: Progress,
    interrupted: list[int],
) -> None:
    began, before = perf_counter(), _snapshot(training)
    losses, weights = [], []
    for found, taken in training.epoch(**data, epoch=epoch):
        losses.append(found)
        weights.append(taken)
        progress.steps(len(taken))
        if interrupted:
            if _not_finite(training):
                _restore(training, before)
            raise KeyboardInterrupt
    log = _fetch(training.session.backend, losses)
    if not np.isfinite(log).all():
        raise _explain(training, before, training.batches(**data, epoch=epoch), epoch, log)
    if last and (name := _not_finite(training)):
        _restore(training, before)
        raise NonFiniteError(f"the last epoch left {name} not finite. {ADVICE} {RESTORED}")
    shares = np.concatenate(weights)
    entry = {"loss": float(log @ shares / np.sum(shares))}
    if validation is not None:
        entry |= validation.measure(training.finished())
    training.session.backend.synchronize()
    entry["seconds"] = perf_counter() - began
    for name, value in entry.items():
        training.history.setdefault(name, []).append(value)
    progress.epoch(epoch + 1, entry)
    if interrupted:
        raise KeyboardInterrupt


def _fetch(backend: Backend, losses: list[Array]) -> HostArray:
    """The step log in one transfer, as float64."""
    return backend.to_host(backend.xp.concat(losses)).astype(np.float64)


ADVICE = "Try a smaller learning rate, if it has one, or fit(..., standardize=True)."
RESTORED = "The parameters are those from before this epoch."
Snapshot = tuple[int, dict[str, Array]]


def _snapshot(training: Training) -> Snapshot:
    """Copies of all parameters and state, and the number of updates they have seen."""
    session, xp = training.session, training.session.backend.xp
    names = [buffer.name for buffer in training.plan.of_kind("parameter", "state")]
    return training.updates, {n: xp.asarray(session.state[n], copy=True) for n in names}


def _restore(training: Training, snapshot: Snapshot) -> None:
    training.updates, values = snapshot
    for name, value in values.items():
        training.write(name, value)


def _explain(
    training: Training, before: Snapshot, batches: Iterator[Batch], epoch: int, log: HostArray
) -> NonFiniteError:
    """Replay the epoch to its first loss that is not finite, and name the buffer it came from."""
    failed = int(np.flatnonzero(~np.isfinite(log))[0])
    _restore(training, before)
    for index, batch in enumerate(batches):
        if index == failed:
            break
        training.step(batch)
    culprit = _culprit(training, batch)
    _restore(training, before)
    return NonFiniteError(
        f"the loss became {log[failed]} in epoch {epoch + 1}, step {failed + 1}; the first value "
        f"that is not finite is {culprit}. {ADVICE} {RESTORED}"
    )


def _culprit(training: Training, batch: Batch) -> str:
    """The first buffer of a gradient step that is not finite, and the kernel that wrote it."""
    writers = {name: call.kernel.name for call in training.plan.calls for name in call.outputs}
    for name, value in training.trace(batch).items():
        if not np.isfinite(value).all():
            return f"{name}, from {writers[name]}" if name in writers else name
    return "the loss"


def _not_finite(training: Training) -> str | None:
    """A parameter that is not finite: no loss has seen the very last update."""
    session = training.session
    for buffer in training.plan.of_kind("parameter"):
        if not np.isfinite(session.backend.to_host(session.state[buffer.name])).all():
            return buffer.name
    return None


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C instead of raising it inside a step.

    Only the main thread may; and a process told to ignore it goes on ignoring it.
    """
    seen: list[int] = []
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield seen
        return

    def note(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, previous)
