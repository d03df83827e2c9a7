"""Which learning rate? A training at rising rates suggests one; schedules change it on the way.

python examples/learning_rates.py [--backend cupy] [--out FOLDER]    a picture: learning_rates.png
"""

import numpy as np
from tutorial import options

import portable_nn as pnn
from portable_nn.datasets import load_digits, split


def schedules(rate, epochs):
    """Some schedules of a training that is so long."""
    return {
        "OneCycle": pnn.OneCycle(rate, epochs),
        "Warmup, CosineDecay": pnn.Warmup(epochs / 10, pnn.CosineDecay(rate, epochs)),
        "CosineRestarts": pnn.CosineRestarts(rate, epochs / 7, period_factor=2.0),
        "PolynomialDecay": pnn.PolynomialDecay(rate, epochs),
        "StepDecay": pnn.StepDecay(rate, every=max(epochs // 3, 1)),
    }


def draw(sweep, curves, epochs, path):
    """The losses by rate, and the rates by epoch."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_learning_rates

    figure = Figure((10, 4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_learning_rates(sweep, axes=left)
    positions = np.linspace(0.0, epochs, 1000, endpoint=False)
    for name, schedule in curves.items():
        right.plot(positions, [schedule(epoch) for epoch in positions], label=name)
    right.set(xlabel="epoch", ylabel="learning rate", ylim=(None, 1.4 * sweep.suggestion))
    right.grid(alpha=0.3)
    right.legend(loc="upper right", ncols=2)
    figure.savefig(path)


def main(backend=None, out=None, epochs=15):
    """Find a rate for the handwritten digits, and train with it, constant and by schedules."""
    x, y, x_test, y_test = split(*load_digits())
    network = pnn.Network(pnn.mlp([64], outputs=10))
    given = {"loss": "cross_entropy", "backend": backend}
    sweep = pnn.find_learning_rate(network, x, y, optimizer="sgd", **given)
    print(f"{len(sweep.rates)} rates: the loss falls fastest at {sweep.suggestion:.2g}")
    curves = schedules(sweep.suggestion, epochs)
    for name, rate in {"constant": sweep.suggestion, **curves}.items():
        network.fit(x, y, optimizer=pnn.SGD(rate), epochs=epochs, progress=False, **given)
        print(f"{name:20} test accuracy {network.score(x_test, y_test):.4f}")
    if out:
        draw(sweep, curves, epochs, out / "learning_rates.png")


if __name__ == "__main__":
    main(**options(__doc__, epochs=15))
