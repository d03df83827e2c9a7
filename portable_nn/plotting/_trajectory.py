"""How far a training is from its formulas, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portable_nn.arrays import brief
from portable_nn.errors import DataError
from portable_nn.parity import Trajectory
from portable_nn.plotting._axes import open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_trajectory(trajectory: Trajectory, *, axes: Axes | None = None) -> Axes:
    """The distance of the parameters from the formulas, by step, relative, on a logarithmic scale.

    Left alone, and where the formulas take the branches of the backend, with what rounding
    explains of that; a mark at each step in which a branch had to be taken over.

    Parameters
    ----------
    trajectory
        That of a report: ``check_training(..., trajectory=True).trajectory``.

    Raises
    ------
    DataError
        If it is none, or has no steps.
    """
    if not isinstance(trajectory, Trajectory) or not trajectory.distance:
        raise DataError(f"a trajectory is that of a parity report; got {brief(trajectory)}.")
    axes = open_axes(axes)
    steps = range(1, len(trajectory.distance) + 1)
    axes.plot(steps, trajectory.free_distance, color="C1", label="formulas left alone")
    axes.plot(steps, trajectory.distance, color="C0", label="formulas with the same branches")
    axes.plot(steps, trajectory.limit, "--", color="C0", label="what rounding explains of that")
    flipped = sorted({flip.step for flip in trajectory.flips if flip.step <= len(steps)})
    if flipped:
        heights = [trajectory.free_distance[step - 1] for step in flipped]
        axes.plot(flipped, heights, "v", color="C3", label="a unit on the other side of 0")
    axes.set(xlabel="step", ylabel="distance of the parameters, relative", yscale="log")
    least = min((one for one in trajectory.distance if one > 0.0), default=1e-16)
    axes.set_ylim(bottom=least / 300.0)  # room for the legend
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return axes
