"""The loss around a trained network, in two random directions: 441 networks, many at a time.

python examples/loss_surface.py [--backend cupy] [--out FOLDER]      the picture is loss_surface.png
"""

from time import perf_counter

import numpy as np
from tutorial import options

import portable_nn as pnn
from portable_nn.datasets import load_digits, split


def draw(surface, path):
    """The surface in 3-D, and its contours."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_loss_surface

    figure = Figure((10, 4.4), dpi=100, layout="constrained")
    figure.get_layout_engine().set(wspace=0.16)
    plot_loss_surface(surface, axes=figure.add_subplot(1, 2, 1, projection="3d"))
    plot_loss_surface(surface, axes=figure.add_subplot(1, 2, 2))
    figure.savefig(path)


def main(backend=None, out=None, epochs=20):
    """Train on handwritten digits, then measure the loss of the networks around."""
    x, y, *_ = split(*load_digits())
    network = pnn.Network(pnn.mlp([64], outputs=10))
    network.fit(x, y, loss="cross_entropy", epochs=epochs, backend=backend, progress=False)
    began = perf_counter()
    surface = pnn.loss_surface(network, x, y, points=21)
    seconds = perf_counter() - began
    print(f"loss {surface.here[2]:.3f} here, up to {surface.loss.max():.2f} around")
    lower = np.sum(surface.loss < surface.here[2])
    print(f"{surface.loss.size} networks on {len(x)} rows in {seconds:.2f} s; {lower} are better")
    if out:
        draw(surface, out / "loss_surface.png")


if __name__ == "__main__":
    main(**options(__doc__, epochs=20))
