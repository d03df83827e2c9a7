"""Momentum, RMSProp and Adam (section 5.6): their recurrences by hand, their ways downhill.

python examples/mathematics_5_6_optimizers.py [--backend torch] [--out FOLDER]
"""

import numpy as np
from tutorial import fixed, line, options, side_by_side

import portable_nn as pnn
from portable_nn.datasets import load_digits

# A network of two parameters, y_hat = w2 tanh(w1 x): it tells a pixel of the digits' bottom row
# from one of the top row, both with mean 0 and standard deviation 1.
PIXELS = load_digits()[0][:300].astype(np.float64)
x, y = ((PIXELS[:, k] - PIXELS[:, k].mean()) / PIXELS[:, k].std() for k in (2, 58))
WEIGHTS = ("dense1.weight", "dense2.weight")
FIRST = np.array([3.5, -1.2])
ETA, GAMMA, BETA, BETA1, BETA2, EPSILON = 0.05, 0.9, 0.9, 0.9, 0.999, 1e-8
STEPS = 6  # by hand


def loss(theta):
    """Compute the mean squared error of the network with theta = (w1, w2)."""
    return np.mean((theta[1] * np.tanh(theta[0] * x) - y) ** 2)


def gradient(theta):
    """Compute the gradient of the loss, as in section 5.4."""
    a = np.tanh(theta[0] * x)
    delta2 = 2 / len(x) * (theta[1] * a - y)
    delta1 = theta[1] * delta2 * (1 - a**2)
    return np.array([delta1 @ x, delta2 @ a])


def descent(theta, g, t):
    """Step as in section 5.3, without a state."""
    return theta - ETA * g, ()


def momentum(theta, g, t, v=0):
    """Step by the velocity v."""
    v = GAMMA * v + ETA * g
    return theta - v, (v,)


def rmsprop(theta, g, t, mean_square=0):
    """Divide by the root of the mean square, the text's E[g^2]."""
    mean_square = BETA * mean_square + (1 - BETA) * g**2
    return theta - ETA / np.sqrt(mean_square + EPSILON) * g, (mean_square,)


def adam(theta, g, t, m=0, v=0):
    """Do both, each mean corrected for its beginning at 0."""
    m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g**2
    m_hat, v_hat = m / (1 - BETA1**t), v / (1 - BETA2**t)
    return theta - ETA * m_hat / (np.sqrt(v_hat) + EPSILON), (m, v)


OPTIMIZERS = {  # by hand; in the library; what the plan calls the state
    "gradient descent": (descent, pnn.SGD(ETA), []),
    "momentum": (momentum, pnn.SGD(ETA, momentum=GAMMA), ["velocity"]),
    "RMSProp": (rmsprop, pnn.RMSProp(ETA, BETA, EPSILON), ["mean_square"]),
    "Adam": (adam, pnn.Adam(ETA, BETA1, BETA2, EPSILON), ["m", "v"]),
}
EQUATIONS = {
    "gradient descent": "theta <- theta - eta g_t",
    "momentum": "theta <- theta - v_t",
    "velocity": "v_t = gamma v_{t-1} + eta g_t",
    "RMSProp": "theta <- theta - eta / sqrt(E[g^2]_t + epsilon) g_t",
    "mean_square": "E[g^2]_t = beta E[g^2]_{t-1} + (1 - beta) g_t^2",
    "Adam": "theta <- theta - eta m_hat_t / (sqrt(v_hat_t) + epsilon)",
    "m": "m_t = beta_1 m_{t-1} + (1 - beta_1) g_t",
    "v": "v_t = beta_2 v_{t-1} + (1 - beta_2) g_t^2",
}


def start(optimizer, backend):
    """The network, and its loop laid open."""
    w1, w2 = (pnn.Dense(1, use_bias=False, weight=fixed(first)) for first in FIRST)
    network = pnn.Network([w1, pnn.Tanh(), w2], dtype="float64")
    settings = {"optimizer": optimizer, "batch_size": None, "backend": backend}
    return network, network.start(loss="mean_squared_error", **settings)


def walk(step, steps):
    """Take steps t = 1, 2, ... by the plan, each on all rows."""
    for t in range(1, steps + 1):
        step.step(next(step.batches(x[:, None], y, epoch=t - 1, shuffle=False)))
        yield t


def read(step, *state):
    """Of w1 and w2 the value, or what the optimizer keeps for it."""
    names, to_host = [".".join([*state, name]) for name in WEIGHTS], step.session.backend.to_host
    return np.array([to_host(step.read(name)).item() for name in names])


def draw(network, paths, path):
    """Draw the paths over the contours of the loss."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_loss_surface

    ranges = {"range_a": (-0.5, 4), "range_b": (-1.5, 2.5)}
    w1, w2 = WEIGHTS
    surface = pnn.loss_surface(network, x[:, None], y, w1, w2, points=81, **ranges)
    figure = Figure((9, 5.5), dpi=100, layout="constrained")
    axes = plot_loss_surface(surface, axes=figure.add_subplot())
    colors = ("deepskyblue", "orange", "lime", "red")
    for (name, thetas), color in zip(paths.items(), colors, strict=True):
        axes.plot(*np.transpose(thetas), ".-", color=color, markersize=4, label=name)
        axes.plot(*thetas[-1], "o", color=color, markeredgecolor="black", zorder=3)
    axes.annotate("start", FIRST, (5, 5), textcoords="offset points", color="white")
    axes.set(xlabel="$w_1$", ylabel="$w_2$", title=f"{len(thetas) - 1} steps of each optimizer")
    axes.legend()
    figure.savefig(path)


def main(backend=None, out=None, epochs=150):
    """Take some steps of each optimizer by hand and by the plan, then its whole path."""
    for name, (recurrence, optimizer, states) in OPTIMIZERS.items():
        theta, state = FIRST, ()
        _, step = start(optimizer, backend)
        for t in walk(step, STEPS):
            theta, state = recurrence(theta, gradient(theta), t, *state)
        call, note = line(step.plan, WEIGHTS[0]), f"   (w1 and w2 after {STEPS} steps)"
        side_by_side(f"{name}: {EQUATIONS[name]}{note}", call, theta, read(step))
        for what, value in zip(states, state, strict=True):
            side_by_side(f"{name}: {EQUATIONS[what]}{note}", call, value, read(step, what))

    print("\nNote: these equations stand as they are. What the text leaves open: each state begins")
    print("at 0, and t counts from 1 (for t = 0, m_hat is 0 / 0). v_t is the velocity first, and")
    print("Adam's mean square later. epsilon is inside the root in RMSProp, outside in Adam: the")
    print(f"least divisor is {np.sqrt(EPSILON):.0e} in RMSProp, {EPSILON:.0e} in Adam.\n")

    paths = {}
    for name, (_, optimizer, _) in OPTIMIZERS.items():
        network, step = start(optimizer, backend)
        paths[name] = [FIRST, *(read(step) for t in walk(step, epochs))]
        print(f"{name:<16} loss {loss(paths[name][-1]):.4f} after {epochs} steps")
    if out:
        draw(network, paths, out / "mathematics_5_6_optimizers.png")


if __name__ == "__main__":
    main(**options(__doc__, epochs=150))
