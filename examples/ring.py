"""A decision boundary forming: a network learns to tell a blob from the ring around it.

python examples/ring.py [--backend cupy] [--out FOLDER]      the picture is ring.gif
"""

from copy import deepcopy

import numpy as np
from gentle_text import FIGURES, begin
from tutorial import options

import portable_nn as pnn


def main(backend=None, out=None, epochs=60):
    """Train, and keep the network as it is after each epoch."""
    x, classes, _ = begin(FIGURES[12])  # 450 points: class 0 in the middle, 1 around it
    y = np.where(classes == 0, "middle", "ring")
    network = pnn.Network(pnn.mlp([16, 16], outputs=1, activation="tanh"))
    step = network.start(
        loss="binary_cross_entropy", optimizer=pnn.Adam(1e-2), batch_size=32, backend=backend
    )
    networks, losses = [], []
    for epoch in range(epochs):
        steps = [(float(step.step(batch)), batch.n) for batch in step.batches(x, y, epoch)]
        losses.append(sum(loss * n for loss, n in steps) / len(x))  # the last batch is short
        networks.append(deepcopy(network))
    print(f"accuracy {network.score(x, y):.3f} on the {len(x)} points it has learned")
    if out:
        from portable_nn.plotting import animate_decision_boundary

        animate_decision_boundary(out / "ring.gif", networks, x, y, losses)


if __name__ == "__main__":
    main(**options(__doc__, epochs=60))
