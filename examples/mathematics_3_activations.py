"""The activation functions (section 3) and their derivatives, which section 5.4 needs.

python examples/mathematics_3_activations.py [--backend torch] [--out FOLDER]
"""

import numpy as np
from tutorial import fixed, line, options, side_by_side

import portable_nn as pnn

Z = np.array([-1.0, 0.0, 2.0, 0.5, -3.0])
ONE = np.eye(len(Z))


def sigmoid(z):
    """Squash a number to between 0 and 1."""
    return 1 / (1 + np.exp(-z))


def tanh(z):
    """Squash a number to between -1 and 1."""
    return (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))


def softmax(z):
    """Make scores a probability distribution."""
    return np.exp(z) / np.sum(np.exp(z))


FUNCTIONS = [
    (pnn.Sigmoid(), "1 / (1 + e^-z)", sigmoid),
    (pnn.Tanh(), "(e^z - e^-z) / (e^z + e^-z)", tanh),
    (pnn.ReLU(), "max(0, z)", lambda z: np.maximum(0, z)),
]
DERIVATIVES = [  # of the same three
    ("sigma(z) (1 - sigma(z))", lambda z: sigmoid(z) * (1 - sigmoid(z))),
    ("1 - tanh(z)^2", lambda z: 1 - tanh(z) ** 2),
    ("1 if z > 0, else 0   (there is none at z = 0; 0 is the custom)", lambda z: 1.0 * (z > 0)),
]


def open_loop(activation, backend):
    """A network of this activation alone, as its first layer passes z through; and its loop."""
    network = pnn.Network([pnn.Dense(len(Z), weight=fixed(ONE)), activation], dtype="float64")
    return network, network.start(loss="half_squared_error", backend=backend)


def backward(step, grad, a):
    """What the backward kernel makes of dL/dA: dL/dZ, which for one row is dL/db as well."""
    y = a - grad  # the loss 1/2 |A - y|^2 has dL/dA = A - y
    step.gradient(next(step.batches(Z[None], y[None], epoch=0)))
    return step.session.backend.to_host(step.read("grad_dense1.bias"))


def draw(path):
    """The three functions of one number, and their derivatives."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_activations

    figure = Figure((10, 4), dpi=100, layout="constrained")
    for axes, derivative in zip(figure.subplots(1, 2), (False, True), strict=True):
        layers = [activation for activation, *_ in FUNCTIONS]
        plot_activations(*layers, derivative=derivative, low=-4, high=4, axes=axes)
        axes.set_ylabel("σ'(z)" if derivative else "σ(z)")
    figure.savefig(path)


def main(backend=None, out=None):
    """Compute each function and its derivative by hand, and compare them with the plan's."""
    for function, (slope, derivative) in zip(FUNCTIONS, DERIVATIVES, strict=True):
        activation, equation, sigma = function
        network, step = open_loop(activation, backend)
        grad = backward(step, np.ones(len(Z)), sigma(Z))  # dL/dA = 1 leaves sigma'(z)
        name, values = f"{type(activation).__name__.lower()}1", network.outputs(Z[None])[0]
        side_by_side(f"sigma(z) = {equation}", line(step.plan, name), sigma(Z), values)
        side_by_side(f"sigma'(z) = {slope}", line(step.plan, "grad_dense1"), derivative(Z), grad)

    (network, step), a = open_loop(pnn.Softmax(), backend), softmax(Z)
    matrix = np.array([backward(step, one, a) for one in ONE])  # dL/dA = one: a row at a time
    equation, values = "sigma(z_j) = e^z_j / sum_k e^z_k", network.outputs(Z[None])[0]
    side_by_side(equation, line(step.plan, "softmax1"), a, values)
    equation = "d a_j / d z_k = a_j (1 - a_j) if k = j, else -a_j a_k"
    by_hand = np.diag(a) - np.outer(a, a)
    side_by_side(equation, line(step.plan, "grad_dense1"), by_hand, matrix)

    h = 1e-5
    change = (softmax(Z + h * ONE[2]) - softmax(Z - h * ONE[2])) / (2 * h)
    print("\nCorrection: sigma(z_j) looks like a function of one number, and 5.1 applies sigma")
    print("element by element. Softmax is no such function: every output depends on every z, and")
    print("its derivative is a matrix. When z_3 alone moves, a_1 ... a_5 all do; per unit of z_3")
    print(f"  finite difference:      {np.array2string(change, precision=6)}")
    print(f"  column 3 of the matrix: {np.array2string(matrix[:, 2], precision=6)}")
    large = np.full(5, 800.0)
    with np.errstate(over="ignore", invalid="ignore"):
        by_hand = softmax(large)
    print("\nNote: e^800 is beyond float64, so the formula as it stands gives softmax(800, ...) =")
    print(f"  by hand: {by_hand}\n  plan:    {network.outputs(large[None])[0]}")
    print("The kernel takes the largest z off every z first, which changes no quotient.")
    if out:
        draw(out / "mathematics_3_activations.png")


if __name__ == "__main__":
    main(**options(__doc__))
