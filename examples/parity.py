"""How far a float32 training drifts from its formulas, and that this is rounding.

python examples/parity.py [--backend cupy] [--out FOLDER]      the picture is parity.png
"""

from tutorial import options

import portable_nn as pnn
from portable_nn import parity
from portable_nn.datasets import load_digits

LAYERS = pnn.mlp([64, 64], outputs=10)  # with ReLU, which has a kink at 0


def main(backend=None, out=None, epochs=30):
    """Train beside the formulas in float64, and compare every step."""
    x, y = load_digits()
    report = parity.check_training(
        LAYERS, x, y, loss="cross_entropy", backend=backend, steps=15 * epochs, trajectory=True
    )
    print(f"{report.verdict}\n{report.trajectory.words}")
    if out:
        draw(report.trajectory, out / "parity.png")


def draw(trajectory, path):
    """Left the losses of both, right their distance."""
    from matplotlib import pyplot

    from portable_nn.plotting import plot_trajectory

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    steps = range(1, len(trajectory.loss) + 1)
    left.plot(steps, trajectory.loss, label="float32")
    left.plot(steps, trajectory.reference_loss, ":", color="black", label="formulas in float64")
    left.set(xlabel="step", ylabel="loss", title="The losses look the same")
    left.grid(alpha=0.3)
    left.legend()
    plot_trajectory(trajectory, axes=right)
    right.set_title("The parameters part where a unit flips")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(**options(__doc__, epochs=30))
