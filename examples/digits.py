"""Train on handwritten digits; the same script, unedited, on a CPU and on a GPU.

python examples/digits.py
python examples/digits.py --backend cupy      or: PORTABLE_NN_BACKEND=cupy python ...
python examples/digits.py --backend auto      a GPU if there is a usable one, else the CPU
"""

import argparse

import portable_nn as pnn
from portable_nn.datasets import load_digits, split

parser = argparse.ArgumentParser(description="Train on handwritten digits, on any backend.")
parser.add_argument("--backend", help="numpy, cupy, cupy:1, auto, torch, jax, ...")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--save", metavar="FILE", help="write the network; it opens on any backend")
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
if options.save:
    network.save(options.save)
