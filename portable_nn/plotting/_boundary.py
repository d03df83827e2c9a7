"""What a network of two inputs makes of the plane around its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from portable_nn import checks
from portable_nn.arrays import brief
from portable_nn.errors import DataError, ShapeError
from portable_nn.network import Network
from portable_nn.plotting._axes import fitted, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from portable_nn.typing import HostArray

Limits = tuple[tuple[float, float], tuple[float, float]]

LIGHT = ("#79B4DC", "#F2A766", "#7CCDB2", "#DFA3C6", "#E0D36B", "#B7A6DE", "#B8B8B8", "#9BDDE8")
DARK = ("#00508A", "#B34A00", "#00664B", "#963A74", "#746800", "#50348F", "#484848", "#0B7486")
"""Colours of classes: of where the network is sure of one, and of its points."""
SHADES = 13
"""From one class to the other."""


def plot_decision_boundary(
    network: Network,
    x: Any,
    y: Any,
    *,
    limits: Limits | None = None,
    points: int = 100,
    axes: Axes | None = None,
) -> Axes:
    """The data, over the network's output all around it; a line where the decision changes.

    The colour is that of the most probable class, the paler the less it is sure; from the ninth
    class on colours repeat.

    Parameters
    ----------
    network
        Fitted, with two inputs: of two classes by one output (labels, or squared error on two
        numbers such as 0 and 1), or with an output for each class.
    x : (n, 2) numbers
    y : (n,) classes as in the fit, or (n, classes) one-hot
    limits
        ``((low, high), (low, high))`` of both inputs; if None, the data and a margin.
    points
        Of the surface, a side.

    Raises
    ------
    ShapeError, DataError
        If network and data are not of that form.
    """
    features = int(fitted(network).plan(mode="predict").buffers["x"].shape[-1])
    if features != 2:
        raise ShapeError(f"a boundary is drawn of a network of 2 inputs; this one has {features}.")
    rows = checks.table(x, 2)
    given = checks.targets(y, len(rows), columns=2)
    if checks.count(points, "points") < 2:
        raise DataError("points are 2 or more a side; got 1.")
    sides = _around(rows) if limits is None else _limits(limits)
    ticks = [np.linspace(*side, points) for side in sides]
    surface = _surface(network, ticks)
    classes = _classes(network, given, surface.shape[-1])
    axes = open_axes(axes)
    _draw_surface(axes, ticks, surface, classes.levels)
    _draw_borders(axes, ticks, surface, classes.levels)
    _draw_points(axes, rows, classes)
    axes.set(xlim=sides[0], ylim=sides[1], xlabel="x1", ylabel="x2")
    return axes


def _around(rows: HostArray) -> Limits:
    """All rows (n, 2), and a margin."""
    low, high = rows.min(axis=0).astype(float), rows.max(axis=0).astype(float)
    margin = np.where(low < high, 0.07 * (high - low), 1.0)
    first, second = zip((low - margin).tolist(), (high + margin).tolist(), strict=True)
    return first, second


def _limits(given: Any) -> Limits:
    if not isinstance(given, tuple | list | np.ndarray) or len(given) != 2:
        raise DataError(f"limits are ((low, high), (low, high)); got {brief(given)}.")
    return checks.interval(given[0], "limits[0]"), checks.interval(given[1], "limits[1]")


# -- classes and outputs -------------------------------------------------------------------


class _Classes(NamedTuple):
    """The classes, each row's position among them, and what one output is for two of them."""

    names: HostArray
    rows: HostArray
    levels: tuple[float, float] = (0.0, 1.0)


def _known(network: Network) -> HostArray | None:
    """The classes of a network that learned labels; None if it learned numbers."""
    try:
        return network.classes
    except DataError:
        return None


def _surface(network: Network, ticks: list[HostArray]) -> HostArray:
    """What the network gives for each point: (points, points, outputs), rows by x2."""
    grid = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)
    found = network.predict(grid) if _known(network) is None else network.outputs(grid)
    return np.reshape(found, (len(ticks[0]), len(ticks[0]), -1))


def _classes(network: Network, y: HostArray, outputs: int) -> _Classes:
    if y.ndim > 1 and y.shape[1:] == (outputs,) and outputs > 1:
        return _one_hot(y)
    y = y[:, 0] if y.shape[1:] == (1,) else y
    names = _known(network)
    levels = (0.0, 1.0)
    if names is None:
        names = _two_numbers(y)
        levels = float(names[0]), float(names[1])
    else:  # margins are told apart at 0, probabilities at 1/2
        border = getattr(network._known().targets, "border", 0.5)
        levels = 2.0 * border - 1.0, 1.0
    if y.ndim != 1 or outputs not in (len(names), len(names) - 1):
        raise ShapeError(f"y is (n,) classes, or one-hot; got {y.shape} and {outputs} outputs.")
    same = y[:, np.newaxis] == names
    if not same.any(axis=1).all():
        strange = brief(y[~same.any(axis=1)][0].item())
        raise DataError(f"y has {strange}, which is none of the classes {brief(names.tolist())}.")
    return _Classes(names, same.argmax(axis=1), levels)


def _one_hot(y: HostArray) -> _Classes:
    if y.dtype.kind not in "biuf" or ((y != 0).sum(axis=1) != 1).any():
        raise DataError("y (n, classes) is one-hot: in each row, one number is not 0.")
    return _Classes(np.arange(y.shape[1]), (y != 0).argmax(axis=1))


def _two_numbers(y: HostArray) -> HostArray:
    found = np.unique(y)
    if y.dtype.kind in "biuf" and np.isin(found, (0, 1)).all():
        return np.array([0, 1])
    if y.dtype.kind not in "iuf" or len(found) != 2:
        raise DataError(
            f"this network learned numbers: y is two of them, such as 0 and 1, or one-hot; got "
            f"{len(found)} different values."
        )
    return found


# -- drawing -------------------------------------------------------------------------------


def _draw_surface(
    axes: Axes, ticks: list[HostArray], surface: HostArray, levels: tuple[float, float]
) -> None:
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    # A pixel is around its point, so the outermost reach half a step further.
    halves = [(tick[1] - tick[0]) / 2 for tick in ticks]
    left, bottom = [tick[0] - half for tick, half in zip(ticks, halves, strict=True)]
    right, top = [tick[-1] + half for tick, half in zip(ticks, halves, strict=True)]
    picture, shades, (low, high) = surface[..., 0], None, levels
    count = surface.shape[-1]
    if count == 1:
        shades = LinearSegmentedColormap.from_list("", [LIGHT[0], "white", LIGHT[1]], SHADES)
    else:
        colors = np.array([to_rgb(LIGHT[k % len(LIGHT)]) for k in range(count)])
        sure = (surface.max(axis=-1, keepdims=True) * count - 1.0) / (count - 1.0)
        picture = 1.0 - sure.clip(0.0, 1.0) * (1.0 - colors[surface.argmax(axis=-1)])
    look: dict[str, Any] = {"vmin": low, "vmax": high, "origin": "lower", "aspect": "auto"}
    look |= {"interpolation": "bilinear", "interpolation_stage": "data"}
    axes.imshow(picture, shades, extent=(left, right, bottom, top), **look)


def _draw_borders(
    axes: Axes, ticks: list[HostArray], surface: HostArray, levels: tuple[float, float]
) -> None:
    """A line where the decision changes."""
    if surface.shape[-1] == 1:
        leads = [surface[..., 0] - sum(levels) / 2]
    else:  # how far each class is above the best of the others
        best = np.sort(surface, axis=-1)
        top, second = best[..., -1:], best[..., -2:-1]
        leads = list(np.moveaxis(surface - np.where(surface == top, second, top), -1, 0))
    for lead in leads:
        if lead.min() < 0.0 < lead.max():
            axes.contour(*ticks, lead, levels=[0.0], colors="0.3", linewidths=1.0)


def _draw_points(axes: Axes, rows: HostArray, classes: _Classes) -> None:
    size = float(np.clip(6000 / len(rows), 8, 60))
    for k in np.unique(classes.rows).tolist():
        x1, x2 = rows[classes.rows == k].T
        look: dict[str, Any] = {"color": DARK[k % len(DARK)], "edgecolors": "white"}
        axes.scatter(x1, x2, size, linewidths=0.5, label=str(classes.names[k]), **look)
    axes.legend(loc="upper right", fontsize="small", framealpha=0.85, handletextpad=0.1)
