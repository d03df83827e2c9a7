"""The loss as a landscape over one or two parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.arrays import brief
from portable_nn.errors import DataError
from portable_nn.plotting._axes import open_axes
from portable_nn.surfaces import LossSurface

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = "viridis"  # its lightness rises evenly, so it also says in grey what it says
HERE: dict[str, Any] = {
    "color": "#D62728",
    "marker": "o",
    "markeredgecolor": "white",
    "linestyle": "",
}


def plot_loss_surface(surface: LossSurface, *, axes: Axes | None = None) -> Axes:
    """A loss surface in 3-D, or as contours if ``axes`` are plain ones.

    The point is where the network is, if it lies inside. Over one parameter it is a ribbon in
    3-D, and a curve on plain axes.

    Raises
    ------
    DataError
        If it is no ``LossSurface``.
    """
    if not isinstance(surface, LossSurface):
        raise DataError(f"a loss surface is what pnn.loss_surface gives; got {brief(surface)}.")
    axes = open_axes(axes, solid=True)
    single, solid = len(surface.b) == 1, axes.name == "3d"
    draw = {(True, True): _ribbon, (True, False): _curve, (False, True): _solid}
    draw.get((single, solid), _contours)(axes, surface)
    return axes


def _inside(surface: LossSurface) -> bool:
    """Whether the network is in the range that is drawn."""
    sides = [surface.a] if len(surface.b) == 1 else [surface.a, surface.b]
    return all(min(s) <= now <= max(s) for s, now in zip(sides, surface.here, strict=False))


def _curve(axes: Axes, surface: LossSurface) -> None:
    a, _, loss = surface.here
    axes.plot(surface.a, surface.loss[0])
    if _inside(surface):
        axes.plot([a], [loss], **HERE)
    axes.set(xlabel=surface.names[0], ylabel="loss")
    axes.grid(alpha=0.3)


def _contours(axes: Axes, surface: LossSurface) -> None:
    a, b, _ = surface.here
    filled = axes.contourf(surface.a, surface.b, surface.loss, levels=20, cmap=COLORS)
    axes.figure.colorbar(filled, ax=axes, label="loss")
    if _inside(surface):
        axes.plot([a], [b], **HERE)
    axes.locator_params(nbins=6)
    axes.set(xlabel=surface.names[0], ylabel=surface.names[1])


def _ribbon(axes: Any, surface: LossSurface) -> None:
    """The curve, repeated along a second axis that means nothing."""
    a, _, loss = surface.here
    _draw_solid(axes, surface.a, np.linspace(0.0, 1.0, 9), np.tile(surface.loss, (9, 1)))
    if _inside(surface):
        axes.plot([a], [0.5], [loss], **HERE, zorder=3)
    axes.set_xlabel(surface.names[0], labelpad=8)
    axes.set_yticks([])


def _solid(axes: Any, surface: LossSurface) -> None:
    a, b, loss = surface.here
    _draw_solid(axes, surface.a, surface.b, surface.loss)
    if _inside(surface):
        axes.plot([a], [b], [loss], **HERE, zorder=3)
    axes.set_xlabel(surface.names[0], labelpad=8)
    axes.set_ylabel(surface.names[1], labelpad=8)


def _draw_solid(axes: Any, a: Any, b: Any, loss: Any) -> None:
    axes.computed_zorder = False  # which would hide the point behind the surface it is on
    a, b = np.meshgrid(a, b)
    lines = {"rcount": 100, "ccount": 100, "linewidth": 0.2, "edgecolor": "0.3"}
    axes.plot_surface(a, b, loss, cmap=COLORS, zorder=1, **lines)
    axes.set_zlabel("loss", labelpad=5)
    axes.locator_params(nbins=5)  # more labels run into each other
    axes.view_init(elev=42, azim=-55)
