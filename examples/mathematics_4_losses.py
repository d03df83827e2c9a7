"""The loss functions (sections 4 and 5.2): mean squared error and cross-entropy.

python examples/mathematics_4_losses.py [--backend torch] [--out FOLDER]
"""

import numpy as np
from tutorial import fixed, line, options, side_by_side

import portable_nn as pnn

# Scores of three classes, before the softmax. As in the text, a column is a sample.
Z = np.array([[2.0, 0.5, -1.0, 0.0], [1.0, 1.5, 0.0, -0.5], [0.1, -1.0, 3.0, 0.2]])
LABELS = np.array([0, 1, 2, 0])


def compute(loss, outputs, targets, backend, batch_size=None):
    """Loss and gradient of the first batch of given outputs (n, k), and the plan's line."""
    width = outputs.shape[1]
    network = pnn.Network([pnn.Dense(width, weight=fixed(np.eye(width)))], dtype="float64")
    step = network.start(loss=loss, batch_size=batch_size, backend=backend)  # z passes through
    batch = next(step.batches(outputs, targets, epoch=0, shuffle=False))
    value = step.session.backend.to_host(step.gradient(batch))
    return value, step.trace(batch)["grad_dense1"], line(step.plan, "loss")


def squared_error(backend):
    """The mean squared error, and its derivative, which the text leaves out."""
    y_hat, y = np.array([2.5, 0.0, 2.0, 8.0]), np.array([3.0, -0.5, 2.0, 7.0])
    n = len(y)
    value, grad, call = compute("mean_squared_error", y_hat[:, None], y, backend)
    L = 1 / n * sum((y_hat[i] - y[i]) ** 2 for i in range(n))
    side_by_side("L = 1/n sum_i (y_hat_i - y_i)^2", call, L, value)
    side_by_side("dL/dy_hat_i = 2/n (y_hat_i - y_i)", call, 2 / n * (y_hat - y), grad[:, 0])


def cross_entropy(backend):
    """The cross-entropy of one sample, then of several."""
    y_hat = np.exp(Z) / np.exp(Z).sum(axis=0)  # softmax of each column
    y = np.eye(3)[:, LABELS]  # one-hot
    value, _, call = compute("cross_entropy", Z.T, LABELS, backend, batch_size=1)
    L = -sum(y[i, 0] * np.log(y_hat[i, 0]) for i in range(3))
    side_by_side("L = -sum_i y_i log(y_hat_i)   of the first sample", call, L, value)

    value, _, call = compute("cross_entropy", Z.T, LABELS, backend)
    n, total = len(LABELS), -np.sum(y * np.log(y_hat))
    side_by_side("L = -1/n sum_i sum_k y_ik log(y_hat_ik)", call, total / n, value)
    print("\nCorrection: i is a sample in the squared error, but a class in the cross-entropy, so")
    print("that is the loss of one sample. A sum over samples, too, would grow with their number,")
    print("and its gradient with it. 5.5 takes the mean of m samples, and so does the plan.")
    print(f"  sum of {n} samples: {total:.6f}; of the same twice: {2 * total:.6f}")
    print(f"  mean:             {total / n:.6f};                    {2 * total / (2 * n):.6f}")


def two_classes(backend):
    """The cross-entropy where one output is the probability of yes, the other class is no."""
    z, yes = np.array([2.0, -1.0, 0.5]), np.array([1, 0, 1])
    p = 1 / (1 + np.exp(-z))
    y_hat, y = np.array([1 - p, p]), np.array([1 - yes, yes])  # both classes, no and yes
    L = np.mean([-sum(y[i, j] * np.log(y_hat[i, j]) for i in range(2)) for j in range(3)])
    value, _, call = compute("binary_cross_entropy", z[:, None], yes, backend)
    side_by_side("L = -1/n sum_i [y_i log p_i + (1 - y_i) log(1 - p_i)]", call, L, value)
    print("\nNote: written with p alone, -sum_i y_i log(p_i) would skip every sample that is no.")


def draw(path):
    """Both losses of a unit that should say 1, and the slopes that its weights learn from."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4), dpi=100, layout="constrained")
    value, slope = figure.subplots(1, 2)
    y_hat, z = np.linspace(0.01, 1, 200), np.linspace(-8, 8, 200)
    value.plot(y_hat, (y_hat - 1) ** 2, label=r"squared error $(\hat y - 1)^2$")
    value.plot(y_hat, -np.log(y_hat), label=r"cross-entropy $-\log\,\hat y$")
    value.set(title="Loss, where the true value is 1", xlabel=r"prediction $\hat y$")
    a = 1 / (1 + np.exp(-z))
    slope.plot(z, 2 * (a - 1) * a * (1 - a), label=r"squared error $2(a - 1)\,a(1 - a)$")
    slope.plot(z, a - 1, label="cross-entropy $a - 1$")
    slope.set(title="Its derivative $dL/dz$", xlabel=r"$z$, where $\hat y = a = \sigma(z)$")
    slope.text(-8, -0.5, "far off, and the squared\nerror has almost no slope")
    for axes in (value, slope):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path)


def main(backend=None, out=None):
    """Compute each loss by hand, and compare it with the plan's."""
    squared_error(backend)
    cross_entropy(backend)
    two_classes(backend)
    if out:
        draw(out / "mathematics_4_losses.png")


if __name__ == "__main__":
    main(**options(__doc__))
