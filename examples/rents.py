"""Rents from numbers and categories: two inputs, an embedding, residual blocks, averaged weights.

python examples/rents.py [--backend cupy] [--out FOLDER]      the picture is rents.png
"""

import numpy as np
from tutorial import options

import portable_nn as pnn

TOWNS = 30


LEVEL = np.random.default_rng(1).normal(size=TOWNS)  # how dear each is, which nobody is told


def rent(numbers, town):
    """What a flat of this area, rooms and age costs there."""
    area, rooms, age = numbers.T
    return (10 + 2 * LEVEL[town]) * area + 60 * rooms + 200 * np.exp(-age / 20)


def flats(rows, seed=0):
    """Made up: three numbers and a town each, and the rent, one in a hundred mistyped."""
    random = np.random.default_rng(seed)
    town = random.integers(0, TOWNS, rows)
    numbers = random.uniform([30, 1, 0], [150, 6, 100], (rows, 3))
    paid = rent(numbers, town) + random.normal(0, 20, rows)
    typed = np.where(random.uniform(size=rows) < 0.01, 10 * paid, paid)
    return {"numbers": numbers, "town": town}, typed


def block(width):
    """Of a tabular residual network."""
    return pnn.Residual([pnn.BatchNorm(), pnn.Dense(width), pnn.SiLU(), pnn.Dense(width)])


def network():
    """Numbers as they are beside a learned place for each town, then two blocks."""
    inputs = [pnn.Input("numbers")], [pnn.Input("town"), pnn.Embedding(TOWNS, 4)]
    return pnn.Network([pnn.Concatenate(inputs), pnn.Dense(32), block(32), block(32), pnn.Dense(1)])


def main(backend=None, out=None, epochs=30):
    """Look for a learning rate, train, and ask for flats the network has not seen."""
    x, y = flats(4000)
    x_test, y_test = flats(1000, seed=2)
    given = {"loss": pnn.Huber(0.1), "standardize": True, "backend": backend}
    sweep = pnn.find_learning_rate(network(), x, y, optimizer="adamw", **given)
    rate = pnn.OneCycle(sweep.suggestion, epochs)
    optimizer = pnn.ClippedNorm(pnn.AdamW(rate, weight_decay=0.01), 1.0)
    optimizer = pnn.ExponentialMovingAverage(optimizer, 0.99)
    model = network().fit(x, y, optimizer=optimizer, epochs=epochs, progress=False, **given)
    off = np.median(np.abs(model.predict(x_test) - y_test))
    print(f"suggested rate {sweep.suggestion:.2g}; half of the new rents are within {off:.0f}")
    if out:
        draw(sweep, model, out / "rents.png")


def draw(sweep, model, path):
    """Left the losses at rising rates, right one flat in every town."""
    from matplotlib import pyplot

    from portable_nn.plotting import plot_learning_rates

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_learning_rates(sweep, axes=left)
    left.set_title("The loss at rising rates")
    numbers, town = np.tile([80.0, 3.0, 30.0], (TOWNS, 1)), np.arange(TOWNS)
    right.plot([500, 1500], [500, 1500], color="gray", linewidth=1)
    right.plot(rent(numbers, town), model.predict({"numbers": numbers, "town": town}), "o")
    right.set(xlabel="rent", ylabel="predicted", title="The same flat in each of 30 towns")
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(**options(__doc__, epochs=30))
