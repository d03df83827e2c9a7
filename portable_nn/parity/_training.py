"""A real training on a backend, some steps of it compared with the formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from portable_nn import checks
from portable_nn.arrays import brief
from portable_nn.backend import Backend, Where, get_backend
from portable_nn.errors import DataError, NetworkError
from portable_nn.layers import Layer
from portable_nn.losses import Loss
from portable_nn.network import DTYPES, Network
from portable_nn.optimizers import Optimizer, as_optimizer
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._watched import Agenda, Enough, Watched


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
    trajectory: bool = False,
    reference: tuple[Where, str] | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Report:
    """Train on a backend and compare every kernel call of some steps with its formula.

    Parameters
    ----------
    layers, x, y, loss, optimizer, batch_size, seed
        As for ``Network`` and ``fit``.
    backend, dtype
        What is checked.
    steps
        Updates to run.
    watch
        Which of them to look on at, call by call; if None 1, 2, 5, 10, 20, 50, ..., the last, and
        the first with a short batch. The steps after them run as if nobody looked, and are
        compared as a whole; where the steps of a backend cannot be looked into (``jax.jit`` of
        whole sections), those themselves are.
    trajectory
        Compare every step as a whole, and the whole training with one by the formulas; costs
        about ten evaluations of the formulas a step.
    reference
        A backend and a dtype that the formulas are evaluated in; None is NumPy in a wider type
        than ``dtype``.
    progress
        Called after each step.

    Raises
    ------
    BackendError
        If the backend shows steps call by call, but not every call.
    ShapeError, DataError, NetworkError
        As ``fit`` does.
    """
    steps, by = checks.count(steps, "steps"), as_optimizer(optimizer)
    chosen, network = get_backend(backend), Network(layers, dtype=dtype)
    recorder = Recorder(by if isinstance(by, Optimizer) else None)
    asked = None if watch is None else _steps(watch, steps)
    agenda = Agenda(steps, asked, follow=trajectory, stop=True, progress=progress)
    wider = opened(reference)
    looked = Watched(chosen, recorder, agenda, wider)
    training = network.start(
        loss=loss, optimizer=by, batch_size=batch_size, seed=seed, backend=looked
    )
    with suppress(Enough):
        for epoch in count():
            for batch in training.batches(x, y, epoch):
                recorder.epoch = batch.epoch
                training.step(batch)
    return looked.report()


def opened(reference: tuple[Where, str] | None) -> tuple[Backend, str] | None:
    """What formulas are evaluated in, checked."""
    if reference is None:
        return None
    if isinstance(reference, str) or len(reference) != 2 or reference[1] not in DTYPES:
        raise NetworkError(
            f"reference is a backend and a dtype, such as ('torch', 'float64'); got "
            f"{brief(reference)}."
        )
    return get_backend(reference[0]), reference[1]


def _steps(watch: Iterable[int], steps: int) -> set[int]:
    if not isinstance(watch, Iterable):
        raise DataError(f"watch names steps from 1 to {steps}; got {brief(watch)}.")
    asked = list(watch)
    watched = {checks.count(step, "a watched step") for step in asked}
    if not watched or max(watched) > steps:
        raise DataError(f"watch names steps from 1 to {steps}; got {brief(asked)}.")
    return watched
