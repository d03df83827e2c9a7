"""Forward propagation (sections 1, 2 and 5.1): the sums and activations of three layers.

python examples/mathematics_2_forward.py [--backend torch] [--out FOLDER]
"""

import numpy as np
from tutorial import fixed, line, options, side_by_side

import portable_nn as pnn

# In the text's layout: a column of X is a sample, a row of W holds the weights of one neuron.
X = np.array([[1.0, -0.5, 2.0], [0.5, 1.5, -1.0]])
W = [
    np.array([[0.4, -0.6], [0.7, 0.1], [-0.3, 0.8]]),
    np.array([[0.5, -0.9, 0.2], [-0.4, 0.3, 1.1]]),
    np.array([[1.2, -0.7]]),
]
b = [np.array([0.1, -0.2, 0.05]), np.array([0.3, -0.1]), np.array([0.2])]


def sigma(Z):
    """The sigmoid of section 3."""
    return 1 / (1 + np.exp(-Z))


def build(backend):
    """The network of these numbers, its open loop, and one batch of all samples."""
    layers = []
    for W_l, b_l in zip(W, b, strict=True):  # here a weight is (in, out): the text's, transposed
        layers += [pnn.Dense(len(W_l), weight=fixed(W_l.T), bias=fixed(b_l)), pnn.Sigmoid()]
    network = pnn.Network(layers, dtype="float64")
    step = network.start(loss="mean_squared_error", backend=backend)
    targets = np.zeros(X.shape[1])  # a loop wants targets; the forward pass does not use them
    return network, step, next(step.batches(X.T, targets, epoch=0, shuffle=False))


def draw(network, buffers, path):
    """The network with the numbers of the first sample in its neurons."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_network

    names = [[f"$x_{i + 1}$\n{value:g}" for i, value in enumerate(X[:, 0])]]
    for number in range(1, len(W) + 1):
        activations = enumerate(buffers[f"sigmoid{number}"][0], start=1)
        names.append([f"$a_{j}^{{({number})}}$\n{value:.3f}" for j, value in activations])
    figure = Figure((9, 4.5), dpi=100, layout="constrained")
    plot_network(network, names=names, axes=figure.add_subplot())
    figure.suptitle("The first sample on its way through the network")
    figure.savefig(path)


def main(backend=None, out=None):
    """Compute every z and a by hand, and compare them with those of the plan."""
    network, step, batch = build(backend)
    plan, buffers = step.plan, step.trace(batch)
    print(network.plan(mode="predict"))
    print("\nThe text has samples as columns and Z = W A + b. The plan has them as rows, and")
    print("z = x @ weight + bias with weight = W.T. The numbers below are in the text's layout.")
    print("L is the number of layers here; from section 4 on it is the loss as well.")

    z_1 = sum(W[0][0, i] * X[i, 0] for i in range(2)) + b[0][0]
    equation = "z_j = sum_i w_ji x_i + b_j   for neuron j = 1 of layer 1, first sample"
    side_by_side(equation, line(plan, "dense1"), z_1, buffers["dense1"][0, 0])

    A = X  # A(0) = X
    for number, (W_l, b_l) in enumerate(zip(W, b, strict=True), start=1):
        Z = W_l @ A + b_l[:, None]  # b(l) is added to every column
        equation = f"Z({number}) = W({number}) A({number - 1}) + b({number})"
        name = f"dense{number}"
        side_by_side(equation, line(plan, name), Z, buffers[name].T)
        A = sigma(Z)
        name = f"sigmoid{number}"
        side_by_side(f"A({number}) = sigma(Z({number}))", line(plan, name), A, buffers[name].T)

    y_hat = network.outputs(X.T).T
    side_by_side("y_hat = A(L), L = 3", "network.outputs(x), all calls in a row", A, y_hat)
    if out:
        draw(network, buffers, out / "mathematics_2_forward.png")


if __name__ == "__main__":
    main(**options(__doc__))
