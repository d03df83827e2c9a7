"""Train on handwritten digits; the same script, unedited, on a CPU and on a GPU.

python examples/digits.py
python examples/digits.py --backend cupy      or: PORTABLE_NN_BACKEND=cupy python ...
python examples/digits.py --backend auto      a GPU if there is a usable one, else the CPU
python examples/digits.py --out FOLDER        also draws digits.png, the training by epoch
"""

import argparse
from pathlib import Path

import portable_nn as pnn
from portable_nn.datasets import load_digits, split

parser = argparse.ArgumentParser(description="Train on handwritten digits, on any backend.")
parser.add_argument("--backend", help="numpy, cupy, cupy:1, auto, torch, jax, ...")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--save", metavar="FILE", help="write the network; it opens on any backend")
parser.add_argument("--out", type=Path, help="folder for a picture of the training")
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
if options.out:
    from matplotlib import pyplot as plt

    from portable_nn.plotting import plot_history

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    plot_history(network, axes=left)
    plot_history(network, "validation_accuracy", axes=right)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "digits.png", dpi=80)
