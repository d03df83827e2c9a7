"""The loss by learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from portable_nn.arrays import brief
from portable_nn.errors import DataError
from portable_nn.finder import RateSweep
from portable_nn.plotting._axes import open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_learning_rates(sweep: RateSweep, *, axes: Axes | None = None) -> Axes:
    """The losses of a sweep by learning rate, on a logarithmic scale, and its suggestion.

    Parameters
    ----------
    sweep
        What ``find_learning_rate`` returned.

    Raises
    ------
    DataError
        If it is something else.
    """
    if not isinstance(sweep, RateSweep):
        raise DataError(f"a sweep is what find_learning_rate returns; got {brief(sweep)}.")
    axes = open_axes(axes)
    axes.plot(sweep.rates, sweep.losses, color="C0", alpha=0.3, label="loss of a batch")
    axes.plot(sweep.rates, sweep.smoothed, color="C0", label="smoothed")
    axes.axvline(
        sweep.suggestion, color="C3", linestyle="--", label=f"steepest at {sweep.suggestion:.2g}"
    )
    least = int(np.argmin(sweep.smoothed))
    low, high = min(sweep.losses), max(sweep.smoothed[: least + 1])
    room = high - low  # the last losses may be many times as much
    axes.set_ylim(low - 0.1 * room, high + 0.4 * room)
    axes.set(xlabel="learning rate", ylabel="loss", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes
