"""Backpropagation (section 5.4): the error terms and the gradients of a network of two layers.

python examples/mathematics_5_4_backpropagation.py [--backend torch] [--out FOLDER]
"""

import numpy as np
from tutorial import fixed, line, options, side_by_side

import portable_nn as pnn

# In the text's layout: a column of X and y is a sample, a row of W is a neuron.
X = np.array([[1.0, -0.5, 2.0, 0.3], [0.5, 1.5, -1.0, -0.8]])
LABELS = [0, 1, 2, 1]
y = np.eye(3)[:, LABELS]  # one-hot
m = X.shape[1]
W1, b1 = np.array([[0.4, -0.6], [0.7, 0.1], [-0.3, 0.8]]), np.array([[0.1], [-0.2], [0.05]])
W2 = np.array([[0.5, -0.9, 0.2], [-0.4, 0.3, 1.1], [0.6, 0.2, -0.7]])
b2 = np.array([[0.3], [-0.1], [0.0]])
LAYERS = [pnn.Dense(3, weight=fixed(W1.T), bias=fixed(b1)), pnn.Sigmoid()]
LAYERS += [pnn.Dense(3, weight=fixed(W2.T), bias=fixed(b2)), pnn.Softmax()]


def sigma(Z):
    """The sigmoid; its derivative is A (1 - A)."""
    return 1 / (1 + np.exp(-Z))


def softmax(Z):
    """The softmax of each column."""
    return np.exp(Z) / np.exp(Z).sum(axis=0)


def loss(W1, b1, W2, b2):
    """The mean cross-entropy of the network with these parameters."""
    return -np.sum(y * np.log(softmax(W2 @ sigma(W1 @ X + b1) + b2))) / m


def differences(function, value, h=1e-5):
    """The derivative of a function by each number of an array, by central differences."""
    steps = h * np.eye(value.size).reshape(-1, *value.shape)
    slopes = [(function(value + step) - function(value - step)) / (2 * h) for step in steps]
    return np.reshape(slopes, value.shape)


def ways_to_the_error_term(A, Z, delta):
    """The error term of the first sample, of its loss alone: the text's recipe and others."""
    a, z, true = A[:, 0], Z[:, 0], y[:, 0]
    return {
        "dL/dA  finite difference": differences(lambda a: -np.sum(true * np.log(a)), a),
        "       -y / A": -true / a,
        "       A - y, the text": a - true,
        "dL/dZ  finite difference": differences(lambda z: -np.sum(true * np.log(softmax(z))), z),
        "       A - y, the plan": delta[:, 0] * m,
        "       (A - y) * sigma'(Z), the text": (a - true) * a * (1 - a),
        "       -y / A * sigma'(Z)": -true / a * a * (1 - a),
        "       -y / A by softmax's matrix": (np.diag(a) - np.outer(a, a)) @ (-true / a),
    }


def draw(network, found, ways, path):
    """The error terms of the first sample in its neurons; the text's recipe beside the slope."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_network

    figure = Figure((10, 4.5), dpi=100, layout="constrained")
    diagram, bars = figure.subplots(1, 2, width_ratios=[3, 2])
    names = [[f"$x_{i + 1}$\n{value:g}" for i, value in enumerate(X[:, 0])]]
    for number in (1, 2):
        deltas = m * found[f"grad_dense{number}"][0]
        names.append([f"$\\delta^{{({number})}}_{j}$\n{d:.2f}" for j, d in enumerate(deltas, 1)])
    plot_network(network, names=names, axes=diagram)
    diagram.set_title("Error terms δ of the first sample")
    shown = {"finite difference": "dL/dZ  finite difference"}
    shown["A - y, the plan"] = "       A - y, the plan"
    shown["(A - y) * σ'(Z), the text"] = "       (A - y) * sigma'(Z), the text"
    for k, (label, way) in enumerate(shown.items()):
        bars.bar(np.arange(1, 4) + 0.25 * (k - 1), ways[way], 0.25, label=label)
    bars.axhline(0, color="black", lw=0.8)
    bars.set_title("δ of the output layer, in three ways")
    bars.set(xticks=[1, 2, 3], xlabel="neuron")
    bars.legend()
    figure.savefig(path)


def main(backend=None, out=None):
    """Go backward by hand, and compare each error term and gradient with the plan's."""
    network = pnn.Network(LAYERS, dtype="float64")
    step = network.start(loss="cross_entropy", backend=backend)
    batch = next(step.batches(X.T, LABELS, epoch=0, shuffle=False))
    plan, host, value = step.plan, step.session.backend.to_host, step.gradient(batch)
    found = step.trace(batch) | {g: host(step.read(g)) for g in plan.gradients.values()}

    A1 = sigma(W1 @ X + b1)
    Z2 = W2 @ A1 + b2
    A2 = softmax(Z2)
    delta2 = (A2 - y) / m  # 1/m, as the loss is the mean of m samples
    delta1 = W2.T @ delta2 * (A1 * (1 - A1))
    side_by_side("L = -1/m sum y log(A(2))", line(plan, "loss"), loss(W1, b1, W2, b2), host(value))
    for equation, by_hand, name in [
        ("5.4.1  delta(2) = (A(2) - y) / m", delta2, "grad_dense2"),
        ("5.4.2  delta(1) = W(2)^T delta(2) * sigma'(Z(1))", delta1, "grad_dense1"),
        ("5.4.3  dL/dW(2) = delta(2) A(1)^T", delta2 @ A1.T, "grad_dense2.weight"),
        ("5.4.3  dL/dW(1) = delta(1) A(0)^T", delta1 @ X.T, "grad_dense1.weight"),
        ("5.4.3  dL/db(2) = delta(2), columns summed", delta2.sum(axis=1), "grad_dense2.bias"),
        ("5.4.3  dL/db(1) = delta(1), columns summed", delta1.sum(axis=1), "grad_dense1.bias"),
    ]:
        side_by_side(equation, line(plan, name), by_hand, found[name].T)

    slopes = {
        "dense1.weight": differences(lambda v: loss(v, b1, W2, b2), W1),
        "dense1.bias": differences(lambda v: loss(W1, v, W2, b2), b1)[:, 0],
        "dense2.weight": differences(lambda v: loss(W1, b1, v, b2), W2),
        "dense2.bias": differences(lambda v: loss(W1, b1, W2, v), b2)[:, 0],
    }
    apart = max(np.abs(slopes[name] - found[g].T).max() for name, g in plan.gradients.items())
    print(f"\nfinite differences of L: within {apart:.0e} of all 21 gradients of the plan")

    print("Note: * is element by element. delta carries the 1/m of the mean, so that the sums over")
    print("samples in 5.4.3 are the mean gradient of 5.5.")

    print("\nCorrection: A - y is not dL/dA, which is -y / A. It is dL/dZ, of softmax and cross-")
    print("entropy together, so it is the error term itself. No sigma'(Z) follows; and softmax has")
    print("a matrix there, so * element by element would not do. The first sample:")
    ways = ways_to_the_error_term(A2, Z2, found["grad_dense2"].T)
    for name, values in ways.items():
        print(f"  {name:<37}", *[f"{number:9.6f}" for number in values])
    print("\nCorrection: dL/db is delta for one sample only. b is added to every column, so its")
    print("gradient is the sum of the columns. Of b(2):")
    print("  finite difference   ", slopes["dense2.bias"].round(6))
    print("  the plan, the sum   ", found["grad_dense2.bias"].round(6))
    print("  delta(2), the text  ", *delta2.round(6), sep="\n    ")
    if out:
        draw(network, found, ways, out / "mathematics_5_4_backpropagation.png")


if __name__ == "__main__":
    main(**options(__doc__))
