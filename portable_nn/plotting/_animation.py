"""Moving pictures: any drawing frame by frame, and a boundary that is being learned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from portable_nn import checks
from portable_nn.arrays import brief
from portable_nn.errors import DataError, FileError, ShapeError
from portable_nn.network import Network
from portable_nn.plotting._axes import missing
from portable_nn.plotting._boundary import Limits, plot_decision_boundary
from portable_nn.schedules import real

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


Frame = TypeVar("Frame")

COLORS = 64
"""Of all frames together."""
SAMPLE = 8
"""Frames that the colours are chosen from, at most."""


def save_animation(
    path: str | os.PathLike[str],
    draw: Callable[[Figure, Frame], Any],
    frames: Iterable[Frame],
    *,
    size: tuple[float, float] = (9, 4.5),
    dpi: int = 80,
    interval: float = 0.1,
    hold: float = 2.0,
) -> None:
    """Write a GIF that repeats for ever; the file is written only once all frames are drawn.

    Parameters
    ----------
    path
        ``....gif``, in a folder that exists.
    draw
        ``draw(figure, frame)`` draws one of ``frames`` on an empty matplotlib ``Figure``, which
        is not one of pyplot's.
    frames
        What is drawn, in order; a generator will do.
    size, dpi
        Width and height in inches, and pixels an inch.
    interval, hold
        Seconds a frame, and of the last frame; a GIF counts in 0.01.

    Raises
    ------
    FileError, DataError
        If ``path`` cannot be a GIF; if there is no frame.
    """
    target = _gif(path)
    if not isinstance(frames, Iterable):
        raise DataError(f"frames come in a list or the like; got {brief(frames)}.")
    times = [_milliseconds(interval, "interval"), _milliseconds(hold, "hold")]
    images = [_render(draw, frame, size, dpi) for frame in frames]
    if not images:
        raise DataError("an animation has one frame or more; got none.")
    target.write_bytes(_encode(images, *times))


def animate_decision_boundary(
    path: str | os.PathLike[str],
    networks: Sequence[Network],
    x: Any,
    y: Any,
    losses: Sequence[float],
    *,
    limits: Limits | None = None,
    every: int = 1,
    interval: float = 0.1,
    title: str = "Epoch {}",
) -> None:
    """Write a GIF of a training: left the boundary of each network, right the losses so far.

    Parameters
    ----------
    path
        ``....gif``, in a folder that exists.
    networks
        Copies made while training, ``copy.deepcopy(network)``.
    x, y, limits
        As for ``plot_decision_boundary``.
    losses
        One number for each network.
    every
        3 draws the first network and every third after it, and the last.
    interval
        Seconds a frame.
    title
        Of a frame, with the number of its network, from 1 on, in the place of ``{}``; the word
        before is what the losses are counted by.

    Raises
    ------
    ShapeError, DataError, FileError
        If networks, losses and data do not fit together; if ``path`` cannot be a GIF.
    """
    curve = np.array([float(loss) for loss in losses])
    _check_copies(networks)
    if len(networks) != len(curve):
        raise ShapeError(f"one loss a network; got {len(networks)} and {len(curve)} losses.")
    rows, shown = checks.table(x, 2), range(1, len(curve) + 1)
    finite = curve[np.isfinite(curve)]
    bottom, top = finite.min(initial=0.0), 1.05 * finite.max(initial=0.0) or 1.0
    counted = ["", *title.partition("{}")[0].lower().split()][-1]

    def draw(figure: Figure, number: int) -> None:
        place = {"left": 0.08, "right": 0.985, "top": 0.88, "bottom": 0.13, "wspace": 0.17}
        left, right = figure.subplots(1, 2, gridspec_kw=place)
        figure.suptitle(title.replace("{}", str(number)))
        plot_decision_boundary(networks[number - 1], rows, y, limits=limits, axes=left)
        right.plot(shown[:number], curve[:number], color="black")
        right.plot([number], [curve[number - 1]], "o", color="black")
        right.set(xlim=(0, 1.03 * len(curve)), ylim=(bottom, top), xlabel=counted)
        right.set_title("loss", fontsize="medium")
        right.grid(alpha=0.3)
        for axes in left, right:
            axes.locator_params(nbins=4)  # ticks are half of the time that a frame takes

    frames = sorted({*shown[:: checks.count(every, "every")], *shown[-1:]})
    save_animation(path, draw, frames, interval=interval)


def _check_copies(networks: Any) -> None:
    several = isinstance(networks, list | tuple)
    if not several or not all(isinstance(network, Network) for network in networks):
        raise DataError(f"networks come in a list; got {brief(networks)}.")
    if len(set(map(id, networks))) < len(networks):
        raise DataError(
            "networks has one object twice, as it is now: keep a copy.deepcopy(network) each time."
        )


# -- a GIF ---------------------------------------------------------------------------------


def _gif(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike) or Path(path).suffix.lower() != ".gif":
        raise FileError(f"an animation is a .gif file; got {brief(path)}.")
    target = Path(path)
    if not target.parent.is_dir():
        raise FileError(f"there is no folder {str(target.parent)!r:.200}; make it first.")
    return target


def _milliseconds(given: Any, name: str) -> int:
    if not 0.01 <= real(given) <= 600.0:
        raise DataError(f"{name} is a number of seconds, 0.01 to 600; got {brief(given)}.")
    return 10 * round(100 * float(given))


def _render(
    draw: Callable[[Figure, Frame], Any], frame: Frame, size: tuple[float, float], dpi: int
) -> Image:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image
    except ImportError as error:
        raise missing(error) from error
    figure = Figure(size, dpi=dpi)
    canvas: Any = FigureCanvasAgg(figure)
    draw(figure, frame)
    if not figure.get_children()[1:]:
        raise DataError("a frame is empty: draw(figure, frame) draws on the figure it is given.")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _encode(frames: list[Image], interval: int, hold: int) -> bytes:
    """All frames in the same colours, so that what does not change does not flicker."""
    from PIL import Image

    sample = frames[:: -(-len(frames) // SAMPLE)]
    pixels = Image.fromarray(np.concatenate([np.asarray(frame) for frame in sample]))
    palette = pixels.quantize(COLORS, Image.Quantize.FASTOCTREE)  # which keeps white white
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file, times = BytesIO(), [interval] * len(others) + [hold]
    first.save(file, "GIF", save_all=True, append_images=others, duration=times, loop=0)
    return file.getvalue()
