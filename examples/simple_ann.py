"""The AND gate, learned by a text's network and by this library's from the same first weights.

The text, "Artificial Neural Network (ANN)", has a class SimpleANN: four hidden ReLU units, one
sigmoid output, binary cross-entropy, 10,000 updates by all four rows at a rate of 0.1. It keeps an
example in a column, so X is (2, 4), W1 is (hidden, inputs) and a layer is Z1 = W1 @ X + b1, with b1
a column. Here an example is a row: x is (4, 2), the weight is (inputs, hidden), z1 = x @ weight +
bias, with bias a row. Each array here is the transpose of the text's, number by number.

Run it: python examples/simple_ann.py [--backend NAME] [--epochs N] [--out FOLDER]
"""

from itertools import zip_longest

import numpy as np
from tutorial import fixed, options

import portable_nn as pnn

X = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], dtype=float)
Y = np.array([[0, 0, 0, 1]], dtype=float)
RATE = 0.1
APART = 1e-9  # between the costs of both at most, in any epoch
NOTES = """
The text clips z at 500 and probabilities at 1e-9. Here |z| is at most {z:.1f}, and probabilities
stay {nearest:.0e} away from 0 and 1, so neither clip acts. The second would for a sure mistake:
with z = 30 and the target 0 the text's cost is 20.7, as with any larger z; computed from z
without a clip, as here, it is 30.
Hidden units that never learned: {stuck}. Their z was never above 0 for any example, and there
ReLU passes no gradient back."""


def first_weights():
    """The text's first W1 (4, 2) and W2 (1, 4): NumPy's legacy generator with the seed 42."""
    draws = np.random.RandomState(42)
    return draws.randn(4, 2) * 0.1, draws.randn(1, 4) * 0.1


def by_columns(X, Y, W1, W2, epochs):
    """The text's algorithm: the cost before each update, and W1, b1, W2, b2 after the last."""
    b1, b2, m = np.zeros((len(W1), 1)), np.zeros((1, 1)), X.shape[1]
    costs = []
    for _ in range(epochs):
        Z1 = W1 @ X + b1
        A1 = np.maximum(0, Z1)
        Z2 = W2 @ A1 + b2
        A2 = 1 / (1 + np.exp(-np.clip(Z2, -500, 500)))
        P = np.clip(A2, 1e-9, 1 - 1e-9)
        costs.append(-np.mean(Y * np.log(P) + (1 - Y) * np.log(1 - P)))
        dZ2 = A2 - Y
        dZ1 = (W2.T @ dZ2) * (Z1 > 0)
        W1 = W1 - RATE * ((dZ1 @ X.T) / m)
        b1 = b1 - RATE * (np.sum(dZ1, axis=1, keepdims=True) / m)
        W2 = W2 - RATE * ((dZ2 @ A1.T) / m)
        b2 = b2 - RATE * (np.sum(dZ2, axis=1, keepdims=True) / m)
    return costs, (W1, b1, W2, b2)


def by_rows(x, y, W1, W2, epochs, backend):
    """A network of this library after the same training; ``history["loss"]`` has its costs."""
    hidden, output = pnn.Dense(4, weight=fixed(W1.T)), pnn.Dense(1, weight=fixed(W2.T))
    network = pnn.Network([hidden, pnn.ReLU(), output, pnn.Sigmoid()], dtype="float64")
    return network.fit(
        x, y, loss="binary_cross_entropy", optimizer=pnn.SGD(RATE), epochs=epochs,
        batch_size=None, shuffle=False, backend=backend, progress=False,
    )  # fmt: skip


def forward(network, x, y, backend):
    """The values of a forward pass over all rows, by their names in the plan, on the host."""
    step = network.start(
        loss="binary_cross_entropy", batch_size=None, warm_start=True, backend=backend
    )
    (batch,) = step.batches(x, y, epoch=0, shuffle=False)
    return step.trace(batch)


def print_costs(costs, losses):
    """The cost of both every 1,000 epochs, and their largest difference over all."""
    print("epoch   the text  this library")
    for epoch in range(0, len(costs), 1000):
        print(f"{epoch:5}   {costs[epoch]:.6f}  {losses[epoch]:.6f}")
    apart = np.abs(np.subtract(costs, losses)).max()
    print(f"largest difference over {len(costs)} epochs: {apart:.1e}")
    if not apart <= APART:
        raise SystemExit("the costs should agree")


def print_layouts(pairs):
    """Arrays of the text, an example a column, next to those here, an example a row."""
    print("\nAn example is a column in the text and a row here (trained numbers):")
    for (name, theirs), (own, ours) in pairs:
        print(f"\n  {f'{name} {theirs.shape}':<38}{own} {ours.shape}")
        texts = [
            np.array2string(array, precision=3, suppress_small=True) for array in (theirs, ours)
        ]
        for left, right in zip_longest(*[text.splitlines() for text in texts], fillvalue=""):
            print(f"  {left:<38}{right}")


def print_forward(values, row, unit):
    """One forward pass, number by number: one hidden unit, then the output."""
    x, z1, a1 = (values[name][row] for name in ("x", "dense1", "relu1"))
    (w1, w2), b = values["dense1.weight"][:, unit], values["dense1.bias"][unit]
    (z2,) = values["dense2"][row]
    p = 1 / (1 + np.exp(-z2))
    print(f"\nOne forward pass, of x = ({x[0]:.0f}, {x[1]:.0f}):")
    print(f"  hidden unit {unit + 1}: z = {w1:.3f} x1 + {w2:.3f} x2 + ({b:.3f}) = {z1[unit]:.3f}")
    print(f"  all four, after ReLU: a = {np.array2string(a1, precision=3, suppress_small=True)}")
    print(f"  output: z = {z2:.3f}, p = 1 / (1 + exp(-z)) = {p:.4f}, so the class is {p > 0.5:d}")


def print_notes(values, W1):
    """What the text's clips do, and which hidden units never learned."""
    z = np.abs(values["dense2"]).max()
    same = (values["dense1.weight"] == W1.T).all(axis=0)
    nearest, stuck = 1 / (1 + np.exp(z)), (np.flatnonzero(same) + 1).tolist()
    print(NOTES.format(z=z, nearest=nearest, stuck=stuck))


def draw_units(axes, weight, bias):
    """The line on which the z of each hidden unit is 0; the arrow shows where it is above 0."""
    ends = np.array(axes.get_xlim())
    for k, x1 in enumerate([1.15, 0.3, -0.1, 0.7]):  # where the arrows stand
        (w1, w2), b = weight[:, k], bias[k]
        axes.plot(ends, -(w1 * ends + b) / w2, "--", color="0.35", lw=1)
        start = np.array([x1, -(w1 * x1 + b) / w2])
        if np.abs(start).max() < 1.2:
            end = start + 0.22 * weight[:, k] / np.hypot(w1, w2)
            arrow = {"arrowstyle": "<-", "color": "0.35"}
            axes.annotate(k + 1, start, end, arrowprops=arrow, ha="center", va="center")


def draw(network, costs, path):
    """Costs of both, what the network makes of the unit square, and the network itself."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_decision_boundary, plot_network

    figure = Figure((10, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    curve, square, diagram = figure.subplots(1, 3, width_ratios=[1, 1.05, 0.95])
    curve.plot(costs, color="#F2A766", lw=6, label="the text")
    curve.plot(network.history["loss"], color="black", lw=1.2, label="this library")
    curve.set_title("Cost of both, by epoch")
    curve.set(yscale="log", xlabel="epoch")
    curve.grid(alpha=0.3)
    curve.legend()
    plot_decision_boundary(network, X.T, Y[0].astype(int), limits=((-0.3, 1.3),) * 2, axes=square)
    draw_units(square, network.parameters["dense1.weight"], network.parameters["dense1.bias"])
    square.set_title("Output p; arrows: where units are on")
    plot_network(network, names=[["x1", "x2"], ["1", "2", "3", "4"], ["p"]], axes=diagram)
    diagram.set_title("The trained network")
    figure.savefig(path)


def main(backend=None, out=None, epochs=10000):
    """Train both, compare their costs, and show one forward pass in both layouts."""
    x, y = X.T, Y[0].astype(int)
    W1, W2 = first_weights()
    costs, trained = by_columns(X, Y, W1, W2, epochs)
    network = by_rows(x, y, W1, W2, epochs, backend)
    values = forward(network, x, y, backend)
    print_costs(costs, network.history["loss"])
    print(f"Predictions: {network.predict(x)[np.newaxis]}")
    names = ["x", "dense1.weight", "dense1.bias", "dense1"]
    theirs = {
        "X": X,
        "W1": trained[0],
        "b1": trained[1],
        "Z1 = W1 @ X + b1": trained[0] @ X + trained[1],
    }
    ours = {name: values[name] for name in names}
    print_layouts(zip(theirs.items(), ours.items(), strict=True))
    print_forward(values, row=3, unit=1)
    print_notes(values, W1)
    if out:
        draw(network, costs, out / "simple_ann.png")


if __name__ == "__main__":
    main(**options(__doc__, epochs=10000))
