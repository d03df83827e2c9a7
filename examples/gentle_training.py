"""What the gentle_* scripts that train share: the text's training, by this library's plan."""

import gentle_text as text
from tutorial import fixed

import portable_nn as pnn

AGREE = 1e-9  # roundings make below 1e-10 of a loss; a factor of 0.951 more than 5e-3
NAMES = {"w_1": "dense1.weight", "b_1": "dense1.bias", "w_2": "dense2.weight", "b_2": "dense2.bias"}


def network_of(figure, theta):
    """The network of a figure, with the text's first parameters."""
    regression = figure.problem in text.CURVES
    hidden, output = (pnn.Tanh(), pnn.Identity()) if regression else (pnn.Sigmoid(), pnn.Sigmoid())
    dense = [
        pnn.Dense(len(bias), weight=fixed(theta[f"w_{layer}"]), bias=fixed(bias))
        for layer, bias in ((name[2:], theta[name]) for name in theta if name[0] == "b")
    ]
    layers = [dense[0], hidden, dense[1], output] if figure.hidden else [dense[0], output]
    return pnn.Network(layers, dtype="float64")


def start(network, learning_rate, backend=None):
    """The text's loop laid open: one row an update, of the gradient of 1/2 (a - t)^2."""
    sgd = pnn.SGD(learning_rate)
    return network.start(loss="half_squared_error", optimizer=sgd, batch_size=1, backend=backend)


def learn(step, x, targets, epochs):
    """Train in the order given; after each iteration yield the sum of (a - t)^2, as the text.

    Each row is measured before its update.
    """
    for epoch in range(epochs):
        batches = step.batches(x, targets, epoch, shuffle=False)
        yield sum(2.0 * float(step.step(batch)) for batch in batches)


def parameters(network):
    """The parameters as they stand, by the text's names."""
    values = network.parameters
    return {name: values[ours] for name, ours in NAMES.items() if ours in values}


def distance(theta, other):
    """The largest difference of a parameter."""
    return max(float(abs(theta[name].ravel() - other[name].ravel()).max()) for name in theta)


def compare(network, losses, run):
    """Print how far a training is from the text's at most; returns that of the losses."""
    losses_apart = float(max(abs(losses - run.losses)))
    in_the_end = distance(parameters(network), run.states[-1])
    print(f"  loss {losses[0]:.4f} in iteration 1, {losses[-1]:.4f} in iteration {len(losses)}")
    print(f"  largest difference from the text's algorithm: of a loss {losses_apart:.1e}, ", end="")
    print(f"of a parameter in the end {in_the_end:.1e}")
    return losses_apart
