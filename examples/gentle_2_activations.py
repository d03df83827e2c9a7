"""Figure 2: activation functions and their derivatives, the text's formulas beside the plan's.

    python examples/gentle_2_activations.py [--backend torch] [--out FOLDER]

Goes with "A Gentle Introduction to Artificial Neural Networks" (D. Stansbury, 2020).
"""

import numpy as np
from gentle_text import LINEAR, SIGMOID, TANH
from tutorial import fixed, line, options, side_by_side

import portable_nn as pnn

Z = np.linspace(-5, 5, 100)
CURVES = [  # the layer, the text's g and g', and both as equations
    (pnn.Identity(), LINEAR, "g(z) = z", "g'(z) = 1"),
    (pnn.Sigmoid(), SIGMOID, "g(z) = 1 / (1 + e^-z)", "g'(z) = g(z) (1 - g(z))"),
    (pnn.Tanh(), TANH, "g(z) = tanh(z)", "g'(z) = 1 - g(z)^2"),
]
CORRECTIONS = """
Correction: the text's figure labels the curves of both halves g(z); the right half is of g'(z).
Correction: its labels f"$g_{name}(z)$" lower the first letter of the name only: g_l inear(z)."""


def draw(path):
    """Functions on the left, derivatives on the right, in the text's colors."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_activations

    figure = Figure((10, 4.4), dpi=100, layout="constrained")
    figure.suptitle("Some common activation functions and their derivatives")
    layers = [layer for layer, *_ in CURVES]
    for axes, derivative in zip(figure.subplots(1, 2), (False, True), strict=True):
        axes.set_prop_cycle(color=["red", "blue", "green"])
        plot_activations(*layers, derivative=derivative, axes=axes)
        axes.set_title("Derivatives" if derivative else "Activation functions")
        axes.set_ylim(-0.5 if derivative else -1.1, 1.1)
    figure.savefig(path)


def main(backend=None, out=None):
    """Compare each function and its derivative at the text's 100 points with the plan's."""
    for layer, (g, slope), function, derivative in CURVES:
        network = pnn.Network([pnn.Dense(100, weight=fixed(np.eye(100))), layer], dtype="float64")
        step = network.start(loss="half_squared_error", backend=backend)
        target = g(Z) - 1  # the error signal a - t is 1, so that delta = g'(z) (a - t) is g'(z)
        step.gradient(next(step.batches(Z[None], target[None], epoch=0)))
        delta = step.session.backend.to_host(step.read("grad_dense1.bias"))
        output = {"Identity": "dense1"}.get(name := type(layer).__name__, f"{name.lower()}1")
        side_by_side(function, line(step.plan, output), g(Z), network.outputs(Z[None])[0])
        side_by_side(derivative, line(step.plan, "grad_dense1"), slope(Z), delta)
    print(CORRECTIONS)
    if out:
        draw(out / "gentle_figure_2.png")


if __name__ == "__main__":
    main(**options(__doc__))
