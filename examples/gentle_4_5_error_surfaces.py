"""Figures 4 and 5: the error of two tiny networks at every value of their weights.

    python examples/gentle_4_5_error_surfaces.py [--backend torch] [--out FOLDER]

Goes with "A Gentle Introduction to Artificial Neural Networks" (D. Stansbury, 2020). Both networks
are to answer the input 1 with the target 1; they have no biases.
"""

from itertools import pairwise

import numpy as np
from gentle_text import sigmoid
from tutorial import fixed, line, options, side_by_side

import portable_nn as pnn

INPUT, TARGET = np.array([[1.0]]), np.array([1.0])
W = np.linspace(-10, 10, 50)
CORRECTIONS = """
Correction: the text's E is 1/2 (a - t)^2; its code and its figures have (a - t)^2, as here.
Note: the text draws figure 4 along a w_2 too, which that network does not have.
Correction: the text says of figure 5 that the error is high "when the weights are negative". With
both negative a_1 is nearly 0 and the error near 0.25; it is high where w_2 alone is negative:"""


def network_of(layers, backend):
    """That many layers of one sigmoid unit, all weights 1; and the plan of a step."""
    dense = pnn.Dense(1, use_bias=False, weight=fixed(1.0))
    network = pnn.Network([dense, pnn.Sigmoid()] * layers, dtype="float64")
    step = network.start(loss="mean_squared_error", backend=backend)
    next(step.batches(INPUT, TARGET, epoch=0))
    return network, step.plan


def draw_diagram(axes, network, nodes):
    """The network with the text's names of activations and weights."""
    from portable_nn.plotting import plot_network

    plot_network(network, names=[[node] for node in nodes], axes=axes)
    axes.get_legend().remove()  # of the signs of weights: all are 1
    middles = [circle.center for circle in axes.patches]
    for layer, ((left, y), (right, _)) in enumerate(pairwise(middles), 1):
        axes.text((left + right) / 2, y + 0.2, f"$w_{layer}$", ha="center", fontsize="x-large")


def draw(path, network, surface, nodes, elevation):
    """The diagram, and the surface in 3-D from the text's point of view."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_loss_surface

    figure = Figure((10, 4.8), dpi=100)
    draw_diagram(figure.add_axes((0.03, 0.08, 0.41, 0.77)), network, nodes)
    axes = figure.add_axes((0.46, 0.08, 0.53, 0.77), projection="3d")
    plot_loss_surface(surface, axes=axes)
    axes.set(xlabel="$w_1$", ylabel="$w_2$" if len(nodes) > 2 else "", zlabel="$E(w)$")
    for along in (axes.xaxis, axes.yaxis) if len(nodes) > 2 else (axes.xaxis,):
        along.set_ticks([-10, -5, 0, 5, 10])
    axes.view_init(elevation, 45)
    figure.text(0.24, 0.86, "Network architecture", ha="center", size="large")
    figure.text(0.725, 0.86, "Error surface, and where this network is", ha="center", size="large")
    number = "Multi" if len(nodes) > 2 else "Single"
    figure.suptitle(f"{number}-layer network", fontsize="x-large")
    figure.savefig(path)


def main(backend=None, out=None):
    """Compute both surfaces by the plan, and by the text's formulas; look at the corners."""
    g, span = sigmoid, {"range_a": (-10, 10), "points": 50}
    network, plan = network_of(1, backend)
    surface = pnn.loss_surface(network, INPUT, TARGET, "dense1.weight", **span)
    by_hand = (g(1 * W) - 1) ** 2
    side_by_side("E(w_1) = (g(a_0 w_1) - t)^2", line(plan, "loss"), by_hand, surface.loss[0])

    deep, plan = network_of(2, backend)
    span["range_b"] = (-10, 10)
    plane = pnn.loss_surface(deep, INPUT, TARGET, "dense1.weight", "dense2.weight", **span)
    by_hand = (g(W[:, None] * g(1 * W)) - 1) ** 2
    side_by_side("E(w_1, w_2) = (g(g(a_0 w_1) w_2) - t)^2", line(plan, "loss"), by_hand, plane.loss)
    print(CORRECTIONS)
    for row, column in [(0, 0), (0, -1), (-1, 0), (-1, -1)]:
        error = plane.loss[row, column]
        print(f"  w_1 = {plane.a[column]:+.0f}, w_2 = {plane.b[row]:+.0f}:  E = {error:.6f}")
    if out:
        draw(out / "gentle_figure_4.png", network, surface, ["$a_0$", "$a_{out}$"], 20)
        draw(out / "gentle_figure_5.png", deep, plane, ["$a_0$", "$a_1$", "$a_{out}$"], 25)


if __name__ == "__main__":
    main(**options(__doc__))
