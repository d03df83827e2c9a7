"""``find_learning_rate``: one training at rising rates, and where its loss falls fastest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from itertools import count, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from portable_nn import checks
from portable_nn.backend import Where
from portable_nn.errors import DataError, NetworkError
from portable_nn.losses import Loss
from portable_nn.network import Network
from portable_nn.optimizers import Optimizer, as_optimizer, check_hyperparameters
from portable_nn.schedules import Rate, rebuilt
from portable_nn.training import Training

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

SMOOTH = 0.9
"""How much of the mean of the losses before stays when one more comes."""
TIMES = 4.0
"""How many times its least the smoothed loss may be before the sweep stops."""
LEAST = 10
"""Updates that a sweep needs, at least."""


class RateSweep(NamedTuple):
    """A training at rising rates.

    Attributes
    ----------
    rates : (updates,)
        The learning rate of each update that was done.
    losses : (updates,)
        The loss of its batch, before it.
    smoothed : (updates,)
        Their running mean, ``0.9`` of the one before and ``0.1`` of the loss, made up for its
        start at 0 as Adam's moments are.
    suggestion
        The rate at which the smoothed loss falls fastest.
    """

    rates: HostArray
    losses: HostArray
    smoothed: HostArray
    suggestion: float


def find_learning_rate(
    network: Network,
    x: Any,
    y: Any,
    *,
    loss: Loss | str,
    optimizer: Optimizer | str = "adam",
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int | None = 64,
    micro_batch_size: int | None = None,
    sample_weight: Any = None,
    seed: int = 0,
    backend: Where = None,
    standardize: bool = False,
    warm_start: bool = False,
    frozen: str | Sequence[str] = (),
) -> RateSweep:
    """Train a copy of a network at rates from ``low`` to ``high``, one update each.

    The rates rise by one factor from update to update. It ends early when the smoothed loss is
    four times the least so far, or no longer finite. The suggestion is the rate of the steepest
    descent of the smoothed loss over the logarithm of the rate, between the first tenth of the
    updates, which say little yet, and the least loss. It tells the order of magnitude: look at
    ``plotting.plot_learning_rates`` too, and take less for a long training.

    Source: Smith 2017, section 3.3, who reads the rate off the picture; the stop and the
    suggestion are those of fastai (its ``steep``), which smooths with 0.98.

    Parameters
    ----------
    network, x, y, loss, optimizer, batch_size, micro_batch_size, sample_weight, seed, backend
        As for ``fit``.
    standardize, warm_start, frozen
        As for ``fit``, which would begin as this does. The network stays as it is. The
        learning rate of the optimizer is replaced, or those of all that it is made of.
    low, high
        The first rate and the last.
    steps
        Updates, 10 or more: as many rates.

    Raises
    ------
    ShapeError, DataError, NetworkError, BackendError
        As ``fit`` does; and if the loss never falls, or soon is four times as much.
    """
    if not isinstance(network, Network):
        raise DataError(f"a network is a Network; got {network!r:.60}.")
    low, high = checks.interval((low, high), "the range of rates")
    if low <= 0.0 or checks.count(steps, "steps") < LEAST:
        raise DataError(
            f"the lowest rate is above 0, and there are {LEAST} steps or more; got low={low:g}, "
            f"steps={steps}."
        )
    passes = math.inf  # until the data is known

    def rate(epoch: float) -> float:
        return float(low * (high / low) ** (epoch / passes))

    rising, twin = _with_rate(as_optimizer(optimizer), rate), deepcopy(network)
    training = twin.start(
        loss=loss, optimizer=rising, batch_size=batch_size, micro_batch_size=micro_batch_size,
        standardize=standardize, seed=seed, backend=backend, warm_start=warm_start, frozen=frozen,
    )  # fmt: skip
    rows = len(training.open(x, y, sample_weight).weight)
    batches = -(-rows // (batch_size or rows))
    passes = (steps - 1) / batches
    check_hyperparameters(rising, network.dtype, 1, 1)
    sweep: list[tuple[float, float, float]] = []
    mean, best = 0.0, math.inf
    for epoch, found in islice(_train(training, x, y, sample_weight), steps):
        mean = SMOOTH * mean + (1.0 - SMOOTH) * found
        smoothed = mean / (1.0 - SMOOTH ** (len(sweep) + 1))
        best = min(best, smoothed)
        if not smoothed <= best + (TIMES - 1.0) * abs(best):  # nor is NaN
            break
        sweep.append((rate(epoch), found, smoothed))
    if len(sweep) < LEAST:
        raise NetworkError(
            f"the loss is {TIMES:g} times its least, or not finite, after {len(sweep)} updates: "
            f"nothing to choose from. Try a lower low than {low:g}, or standardize=True."
        )
    rates, losses, means = np.array(sweep).T
    return RateSweep(rates, losses, means, _steepest(rates, means))


def _steepest(rates: HostArray, smoothed: HostArray) -> float:
    """The rate at which the smoothed loss falls fastest before it is least."""
    first, last = len(rates) // 10, int(np.argmin(smoothed))
    slopes = np.gradient(smoothed, np.log(rates))[first : last + 1]
    if last <= first or slopes.min() >= 0.0:
        raise NetworkError(
            f"the loss does not fall at any rate from {rates[0]:g} to {rates[-1]:g}: try others, "
            f"more steps, or standardize=True."
        )
    return float(rates[first + np.argmin(slopes)])


def _train(training: Training, x: Any, y: Any, sample_weight: Any) -> Iterator[tuple[float, float]]:
    """Train for ever; yield the epoch of each update and the loss before it."""
    for epoch in count():
        for batch in training.batches(x, y, epoch, sample_weight=sample_weight):
            yield batch.epoch, float(training.session.backend.to_host(training.step(batch)))


def _with_rate(optimizer: Any, rate: Rate) -> Any:
    """The optimizer with this learning rate, or those that it is around."""

    def changed(part: Any) -> Any:
        named = is_dataclass(part) and "learning_rate" in {each.name for each in fields(part)}
        return replace(part, learning_rate=rate) if named else part

    found = rebuilt(optimizer, changed)
    if found is optimizer:
        raise NetworkError(
            f"{type(optimizer).__name__} has no learning_rate to look for; take Adam() or SGD()."
        )
    return found
