"""A real training on a backend, some steps of it compared with the formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from portable_nn import checks
from portable_nn.arrays import brief
from portable_nn.backend import Where, get_backend
from portable_nn.errors import DataError
from portable_nn.layers import Layer
from portable_nn.losses import Loss
from portable_nn.network import Network
from portable_nn.optimizers import Optimizer, as_optimizer
from portable_nn.parity._recorder import Recorder, Watched
from portable_nn.parity._report import Report


def sampled(steps: int) -> list[int]:
    """Steps worth a look: 1, 2, 5, 10, 20, 50, ... and the last."""
    found = {k * 10**power for power in range(len(str(steps))) for k in (1, 2, 5)}
    return sorted({step for step in found if step < steps} | {steps})


def check_training(
    layers: Sequence[Layer],
    x: Any,
    y: Any,
    *,
    loss: Loss | str,
    optimizer: Optimizer | str = "adam",
    backend: Where = None,
    dtype: str = "float32",
    steps: int = 200,
    batch_size: int = 128,
    seed: int = 0,
    watch: Iterable[int] | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Report:
    """Train on a backend and compare every kernel call of some steps with its formula.

    Parameters
    ----------
    layers, x, y, loss, optimizer, batch_size, seed
        As for ``Network`` and ``fit``.
    backend, dtype
        What is checked. The formulas are evaluated on the host in a wider type.
    steps
        Updates to run.
    watch
        Which of them to look on at; if None 1, 2, 5, 10, 20, 50, ..., the last, and the first
        with a short batch. Each costs about one evaluation of the formulas, and the copies.
    progress
        Called after each step.

    Raises
    ------
    BackendError
        If the steps of the backend cannot be looked into (``jax.jit`` of whole sections), or it
        does not show every call.
    ShapeError, DataError, NetworkError
        As ``fit`` does.
    """
    steps, by = checks.count(steps, "steps"), as_optimizer(optimizer)
    asked = sampled(steps) if watch is None else list(watch)
    watched = {checks.count(step, "a watched step") for step in asked}
    if not watched or max(watched) > steps:
        raise DataError(f"watch names steps from 1 to {steps}; got {brief(asked)}.")
    chosen, recorder = get_backend(backend), Recorder(by)
    network = Network(layers, dtype=dtype)
    training = network.start(
        loss=loss, optimizer=by, batch_size=batch_size, seed=seed, backend=Watched(chosen, recorder)
    )
    epoch, sizes = 0, set[int]()
    while training.updates < steps:
        for batch in training.batches(x, y, epoch):
            recorder.active, step = False, training.updates + 1
            if watch is None and batch.n not in sizes:  # the first short batch, too
                watched.add(step)
            sizes.add(batch.n)
            if step in watched:
                recorder.begin(step, batch.epoch)
            training.step(batch)
            progress()
            if training.updates == steps:
                break
        epoch += 1
    faults, worst = list(recorder.faults.values()), list(recorder.worst.values())
    seen = (recorder.calls, recorder.numbers)
    return Report(chosen.name, dtype, steps, sorted(watched), *seen, faults, worst)
