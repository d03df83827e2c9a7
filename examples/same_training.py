"""One training on several backends, side by side, and how far apart their weights drift.

``python examples/same_training.py`` prints it. With ``--out FOLDER`` it also draws it, as
``same_training.gif`` in that folder, which needs ``pip install '.[plot]'``.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

import portable_nn as pnn

os.environ.setdefault("JAX_ENABLE_X64", "1")  # JAX has no float64 without it

SIDE = 100  # points a side of the square on which a network is drawn
LINES = [("black", 6), ("#E69F00", 3.5), ("#009E73", 1.5), ("#CC79A7", 1)]  # color, width


class Epoch(NamedTuple):
    """What a network is after an epoch; ``surface`` is its output all over the square."""

    loss: float
    accuracy: float
    weights: np.ndarray
    surface: np.ndarray


def spirals(rows=150):
    """Two spirals, one inside the other: x (2 rows, 2) between -1 and 1, y 0 or 1."""
    radius = np.sqrt(np.linspace(0.02, 1.0, rows))
    angle = 3.5 * np.pi * radius
    arm = 0.9 * np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    noise = np.random.default_rng(0).normal(0.0, 0.02, (2 * rows, 2))
    return np.concatenate([arm, -arm]) + noise, np.repeat([0, 1], rows)


def train(backend, x, y, epochs):
    """Train from seed 0 on this backend: an ``Epoch`` after each epoch."""
    axis = np.linspace(-1.0, 1.0, SIDE)
    square = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    network = pnn.Network(pnn.mlp([32, 32], outputs=1), dtype="float64")
    adam = pnn.Adam(1e-2)
    step = network.start(loss="binary_cross_entropy", optimizer=adam, seed=0, backend=backend)
    for epoch in range(epochs):
        losses = []
        for batch in step.batches(x, y, epoch):
            losses.append(float(step.gradient(batch)))
            step.update()
        weights = np.concatenate([values.ravel() for values in network.parameters.values()])
        surface = network.outputs(square).reshape(SIDE, SIDE)
        yield Epoch(np.mean(losses), network.score(x, y), weights, surface)


def apart(run, first):
    """The largest difference of a weight between two runs, after each epoch."""
    return [np.abs(a.weights - b.weights).max() for a, b in zip(run, first, strict=True)]


def draw_networks(figure, runs, x, y):
    """The data, and what each network makes of the square around it after its last epoch."""
    from matplotlib.colors import LinearSegmentedColormap

    place = {"left": 0.01, "right": 0.99, "top": 0.9, "bottom": 0.38, "wspace": 0.03}
    squares = figure.subplots(1, len(runs), squeeze=False, gridspec_kw=place)[0]
    shades = LinearSegmentedColormap.from_list("", ["#79B4DC", "white", "#F2A766"], 9)
    look = {"vmin": 0, "vmax": 1, "extent": (-1, 1, -1, 1), "origin": "lower"}
    look |= {"interpolation": "bicubic", "interpolation_stage": "data"}
    name, first = next(iter(runs.items()))
    for axes, (backend, run) in zip(squares, runs.items(), strict=True):
        axes.imshow(run[-1].surface, shades, **look)
        axes.scatter(x[:, 0], x[:, 1], s=9, c=np.where(y, "#B34A00", "#00508A"))
        axes.set_title(f'backend="{backend}"', family="monospace", weight="bold")
        note = f"weights within {apart(run, first)[-1]:.1g} of {name}'s"
        if backend == name:
            note = f"{len(run[-1].weights):,} weights in float64"
        axes.set(xticks=[], yticks=[], xlabel=f"accuracy {run[-1].accuracy:.3f}\n{note}")


def draw_curves(figure, runs, epochs):
    """Loss and weights of all runs up to their last epoch, of so many in the end."""
    place = {"left": 0.055, "right": 0.985, "top": 0.235, "bottom": 0.05, "wspace": 0.16}
    loss, weight = figure.subplots(1, 2, gridspec_kw=place)
    name, first = next(iter(runs.items()))
    past = range(1, len(first) + 1)
    weight.plot(past, [np.abs(epoch.weights).max() for epoch in first], color="gray", lw=3)
    for (backend, run), (color, width) in zip(runs.items(), LINES, strict=False):
        loss.plot(past, [epoch.loss for epoch in run], color=color, lw=width, label=backend)
        weight.plot(past, apart(run, first), color=color, lw=width)
    loss.set(title="Loss, by epoch", xlim=(0, epochs), ylim=(0, 1.05 * first[0].loss))
    loss.legend(loc="upper right")
    weight.set(title="Weights, by epoch", xlim=(0, epochs), yscale="log", ylim=(1e-18, 1e3))
    weight.set_yticks([1e-15, 1e-10, 1e-5, 1])
    end = {"x": 0.98 * epochs, "ha": "right"}
    weight.text(y=1e-2, s="largest weight", va="top", **end)
    weight.text(y=1e-12, s=f"largest difference from {name}", **end)


def draw(figure, runs, x, y, epoch):
    """The frame after this epoch."""
    figure.suptitle(f"The same training on each backend, after epoch {epoch + 1}", y=0.99)
    so_far = {backend: run[: epoch + 1] for backend, run in runs.items()}
    draw_networks(figure, so_far, x, y)
    draw_curves(figure, so_far, len(next(iter(runs.values()))))


def save(runs, x, y, path):
    """All epochs as a moving picture, in about 50 frames."""
    from portable_nn.plotting import save_animation

    epochs = len(next(iter(runs.values())))
    shown = sorted({*range(0, epochs, max(1, epochs // 50)), epochs - 1})
    page = {"size": (8.6, 5.3), "dpi": 100, "hold": 2.5}
    save_animation(path, lambda figure, epoch: draw(figure, runs, x, y, epoch), shown, **page)


def main():
    """Train on every backend, compare the weights with those of the first, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default="numpy,torch,jax", help="names, with commas between")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, help="folder for the picture; without, none is drawn")
    options = parser.parse_args()

    (x, y), runs = spirals(), {}
    for backend in options.backends.split(","):
        try:
            run = runs[backend] = list(train(backend, x, y, options.epochs))
        except pnn.BackendError as error:
            print(f"left out: {error}")
            continue
        difference = apart(run, next(iter(runs.values())))[-1]
        print(f"{backend}: accuracy {run[-1].accuracy:.4f}, weights apart {difference:.1e}")
    if options.out and runs:
        options.out.mkdir(parents=True, exist_ok=True)
        save(runs, x, y, options.out / "same_training.gif")


if __name__ == "__main__":
    main()
