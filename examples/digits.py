"""Train on handwritten digits, on any backend: python examples/digits.py --backend torch."""

import argparse

import portable_nn as pnn
from portable_nn.datasets import load_digits, split

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--backend", help="numpy, torch, jax, cupy, ...")
parser.add_argument("--epochs", type=int, default=30)
options = parser.parse_args()

x, y, x_test, y_test = split(*load_digits(), seed=0)
x, y, x_val, y_val = split(x, y, seed=1)

network = pnn.Network([pnn.Dense(128), pnn.ReLU(), pnn.Dropout(0.2), pnn.Dense(10)])
network.fit(
    x,
    y,
    loss=pnn.CrossEntropy(),
    optimizer=pnn.Adam(1e-3),
    epochs=options.epochs,
    batch_size=64,
    validation=(x_val, y_val),
    seed=0,
    backend=options.backend,
)
print(f"accuracy {network.score(x_test, y_test):.4f} on {len(x_test)} test rows")
