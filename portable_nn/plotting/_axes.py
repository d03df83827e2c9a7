"""The axes to draw on, and what all pictures check."""

from __future__ import annotations

from typing import Any

from portable_nn.arrays import brief
from portable_nn.errors import DataError
from portable_nn.network import Network


def missing(error: ImportError) -> ImportError:
    """The error where there is nothing to draw with."""
    return ImportError(f"pictures need matplotlib: pip install matplotlib pillow ({error}).")


def open_axes(given: Any, *, solid: bool = False) -> Any:
    """The axes given, or those of a new figure that pyplot shows: 3-D ones if ``solid``.

    3-D axes are given only where the picture may be ``solid``.
    """
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise missing(error) from error
    if given is None:
        from matplotlib import pyplot  # only here, as pictures of files need no window

        return pyplot.subplots(subplot_kw={"projection": "3d"} if solid else None)[1]
    if not isinstance(given, Axes):
        raise DataError(
            f"axes are one matplotlib Axes, such as pyplot.subplots()[1], or None; got "
            f"{brief(given)}."
        )
    if given.name == "3d" and not solid:
        raise DataError("this picture is flat; got 3-D axes: give plain ones, or None.")
    return given


def fitted(given: Any) -> Network:
    """A network that has parameters."""
    if not isinstance(given, Network):
        raise DataError(f"a network is a Network; got {brief(given)}.")
    _ = given.parameters  # or its error
    return given
