"""The networks, data and first weights that every contender trains, and the targets."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

CUT = 8  # batches that are cut before anything is timed, and taken in turn
ADAM = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
SGD = {"learning_rate": 1e-3, "momentum": 0.9}


@dataclass(frozen=True)
class Workload:
    """One step: forward, mean loss over the batch, gradients, update; all in float32.

    ``sizes`` are the widths, input first; ReLU between. ``loss`` is the ``"cross_entropy"`` of a
    softmax, or the ``"mean_squared_error"``. ``epoch`` is the number of batches of the array that
    those take who train over whole epochs: a multiple of 8, of about 50 ms and at most 30 MB.
    ``targets`` are the ratios ours/rival that are to be reached, by rival.
    """

    name: str
    sizes: tuple[int, ...]
    batch_size: int
    loss: str
    epoch: int
    optimizer: str = "adam"
    targets: dict[str, float] = field(default_factory=dict)

    def __str__(self):
        sizes, optimizer = "-".join(map(str, self.sizes)), self.optimizer.replace("_", " ")
        return f"{self.name}: {sizes}, batch {self.batch_size}, {optimizer}, {self.loss}"

    @property
    def labels(self):
        return self.loss == "cross_entropy"

    @property
    def hyper(self):
        return ADAM if self.optimizer == "adam" else SGD

    def batches(self):
        """Eight pairs (x, y): normal x; y are labels (n,) int64, or numbers (n, outputs)."""
        random = np.random.default_rng(0)
        n, inputs, outputs = self.batch_size, self.sizes[0], self.sizes[-1]
        return [
            (
                random.standard_normal((n, inputs), np.float32),
                random.integers(0, outputs, n)
                if self.labels
                else random.standard_normal((n, outputs), np.float32),
            )
            for _ in range(CUT)
        ]

    def rows(self, count=None):
        """The first ``count`` of those batches, or an epoch of them, as one array x and one y."""
        batches = self.batches()
        chosen = [batches[k % CUT] for k in range(count or self.epoch)]
        return tuple(np.concatenate(arrays) for arrays in zip(*chosen, strict=True))

    def weights(self, seed=1):
        """``[(weight (in, out), bias (out,)), ...]``, the same at every call."""
        random = np.random.default_rng(seed)
        return [
            (
                np.float32(np.sqrt(2 / rows)) * random.standard_normal((rows, columns), np.float32),
                np.float32(0.01) * random.standard_normal(columns, np.float32),
            )
            for rows, columns in pairwise(self.sizes)
        ]


def expected(jax, torch, sklearn, naive=None):
    """Ratios ours/rival that are to be reached."""
    found = {"jax_step": jax, "torch_eager": torch, "scikit_learn": sklearn, "naive": naive}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


WIDE = (784, 512, 512, 10), 256, "cross_entropy", 16
WORKLOADS = {
    workload.name: workload
    for workload in [
        Workload(
            "a", (2, 4, 1), 4, "mean_squared_error", 1000, targets=expected(0.40, 0.06, 0.06, 0.20)
        ),
        Workload(
            "b", (64, 100, 10), 200, "cross_entropy", 400, targets=expected(0.90, 0.33, 0.20, 0.45)
        ),
        Workload("c", *WIDE, targets=expected(1.05, 0.60, 0.30, 0.60)),
        Workload("c-sgd", *WIDE, "sgd_momentum", targets=expected(1.03, 0.50, 0.39)),
        Workload(
            "d",
            (100, 1024, 1024, 1024, 1),
            1024,
            "mean_squared_error",
            8,
            targets=expected(1.02, 0.48, 0.39, 0.90),
        ),
        Workload(
            "e",
            (784, 256, 128, 10),
            64,
            "cross_entropy",
            96,
            targets=expected(1.15, 0.75, 0.22, 0.33),
        ),
    ]
}
