"""A network as circles and lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import kernels
from portable_nn.arrays import brief
from portable_nn.errors import NetworkError, ShapeError
from portable_nn.network import Network
from portable_nn.plotting._axes import fitted, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from portable_nn.kernels import Call
    from portable_nn.plan import Plan
    from portable_nn.typing import HostArray

Names = Sequence[Sequence[str] | None]

MOST = 10
"""Nodes in a column; of more only the first are drawn, then dots."""
RADIUS = 0.32
SIGNS = {"positive weight": "#D9660B", "negative weight": "#1F6FB4"}


def plot_network(network: Network, *, names: Names | None = None, axes: Axes | None = None) -> Axes:
    """Diagram of a fitted network: its inputs, then the units of each linear layer.

    A line is a weight: its colour is the sign, its width the size, relative to the largest of
    the network. Biases are not drawn. Below a column stand the number of its nodes, if not all
    are drawn, and what is applied to them.

    Parameters
    ----------
    names
        Labels of all nodes, one list a column (empty or None: no labels); if None, the inputs
        are x1, x2, ....

    Raises
    ------
    NetworkError
        If it is not one linear layer after another, with what keeps the number of features
        between them: ``Residual``, ``Concatenate``, ``GLU`` and ``Maxout`` have no diagram.
    ShapeError
        If ``names`` do not fit.
    """
    weights, applied = _columns(fitted(network))
    sizes = [len(weights[0]), *[weight.shape[1] for weight in weights]]
    labels, axes = _labels(names, sizes), open_axes(axes)
    columns = _places(sizes)
    _draw_weights(axes, columns, weights)
    for column in columns:
        _draw_nodes(axes, column)
    _draw_labels(axes, columns, labels)
    _draw_notes(axes, columns, sizes, applied)
    axes.set_aspect("equal")
    axes.axis("off")
    return axes


def _columns(network: Network) -> tuple[list[HostArray], list[list[str]]]:
    """The weights (in, out) between columns, and what is applied to each column.

    Found on the way back from the output: where each call has one value before it, of as many
    features but for ``linear``, this is all there is.
    """
    plan = network.plan(mode="predict")
    writers = {name: call for call in plan.calls for name in call.outputs}
    weights: list[HostArray] = []
    applied: list[list[str]] = [[]]
    name = plan.outputs["output"]
    while name in writers:
        call = writers[name]
        before = _value_before(plan, call)
        if call.kernel is kernels.linear:
            weights.append(network.parameters[call.inputs[1]])
            applied.append([])
        elif plan.buffers[name].shape == plan.buffers[before].shape:
            # By the name of its layer, without the number.
            applied[-1].append(call.outputs[0].partition(".")[0].rstrip("0123456789"))
        else:
            made, of = plan.buffers[name].shape[-1], plan.buffers[before].shape[-1]
            raise _no_diagram(f"{name} makes {made} features of {of}")
        name = before
    if not weights:
        raise _no_diagram("here is none")
    return weights[::-1], [list(dict.fromkeys(kinds[::-1])) for kinds in applied[::-1]]


def _value_before(plan: Plan, call: Call) -> str:
    """What a call is applied to, besides parameters and state."""
    kinds = {name: plan.buffers[name].kind for name in call.inputs}
    values = [name for name, kind in kinds.items() if kind not in ("parameter", "state")]
    if len(values) != 1:
        raise _no_diagram(f"{call.outputs[0]} is made of {' and '.join(values) or 'parameters'}")
    return values[0]


def _no_diagram(found: str) -> NetworkError:
    return NetworkError(f"a diagram is of Dense layers, each fed by the one before; {found}.")


def _labels(names: Names | None, sizes: list[int]) -> list[list[str]]:
    if names is None:
        return [[f"x{k}" for k in range(1, sizes[0] + 1)], *[[] for _ in sizes[1:]]]
    found = [[str(name) for name in column or ()] for column in names]
    full = [column or [""] * size for column, size in zip(found, sizes, strict=False)]
    if len(found) != len(sizes) or [len(column) for column in full] != sizes:
        raise ShapeError(f"names are lists of {sizes} labels, or empty ones; got {brief(names)}.")
    return found


def _places(sizes: list[int]) -> list[HostArray]:
    """Middles of the nodes that are drawn, (nodes, 2) for each column."""
    width = max(2.5, 0.5 * min(max(sizes), MOST))
    columns = []
    for number, size in enumerate(sizes):
        shown = min(size, MOST)
        top = (shown - 1) / 2 if size <= MOST else MOST / 2
        heights = top - np.arange(shown)
        columns.append(np.stack([np.full(shown, number * width), heights], axis=1))
    return columns


def _draw_weights(axes: Axes, columns: list[HostArray], weights: list[HostArray]) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    largest = max(np.abs(weight).max() for weight in weights) or 1.0
    for start, end, weight in zip(columns[:-1], columns[1:], weights, strict=True):
        shown = weight[: len(start), : len(end)].ravel()
        lines = [(a, b) for a in start for b in end]
        colors = np.where(shown < 0, SIGNS["negative weight"], SIGNS["positive weight"])
        widths = 0.2 + 3.0 * np.abs(shown) / largest
        axes.add_collection(LineCollection(lines, colors=colors, linewidths=widths, zorder=1))
    signs = [Line2D([], [], color=color, linewidth=2, label=sign) for sign, color in SIGNS.items()]
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncols": 2}
    axes.legend(handles=signs, frameon=False, fontsize="small", **place)


def _draw_nodes(axes: Axes, column: HostArray) -> None:
    from matplotlib.patches import Circle

    for x, y in column:
        axes.add_patch(Circle((x, y), RADIUS, facecolor="white", edgecolor="0.2", zorder=2))


def _draw_labels(axes: Axes, columns: list[HostArray], labels: list[list[str]]) -> None:
    """Those of inputs stand left of their nodes, of outputs right, the others inside."""
    beside: list[dict[str, Any]] = [{"ha": "center", "fontsize": "small"} for _ in columns]
    beside[0], beside[-1] = {"ha": "right"}, {"ha": "left"}
    shifts = [-1.5 * RADIUS, *[0.0] * (len(columns) - 2), 1.5 * RADIUS]
    for column, texts, shift, place in zip(columns, labels, shifts, beside, strict=True):
        for (x, y), text in zip(column, texts, strict=False):
            axes.text(x + shift, y, text, va="center", zorder=3, **place)


def _draw_notes(
    axes: Axes, columns: list[HostArray], sizes: list[int], applied: list[list[str]]
) -> None:
    """Dots below what is drawn of a long column; its length, and what is applied to it."""
    bottom = -min(max(sizes), MOST + 1) / 2 - 0.2
    for column, size, kinds in zip(columns, sizes, applied, strict=True):
        x, y = column[-1]
        if size > len(column):
            axes.text(x, y - 1.0, "\u22ee", ha="center", va="center", fontsize="x-large")
            kinds = [f"{size} {'inputs' if column is columns[0] else 'units'}", *kinds]
        axes.text(x, bottom, "\n".join(kinds), ha="center", va="top")
    axes.set(xlim=(-0.8, columns[-1][0, 0] + 0.8), ylim=(bottom - 0.8, -bottom))
