"""No training: the matrix products of a step alone, into memory that is there."""

from itertools import pairwise

import numpy as np

from ._contender import Contender

NO_LOSS = "matrix products alone"


def products(workload):
    """``(left, right, out)`` of the forward and the backward pass, none twice in one array."""
    found, n = [], workload.batch_size
    random = np.random.default_rng(2)

    def new(*shape):
        return random.standard_normal(shape, np.float32)

    for layer, (rows, columns) in enumerate(pairwise(workload.sizes)):
        x, weight, grad = new(n, rows), new(rows, columns), new(n, columns)
        found += [(x, weight, new(n, columns)), (x.T, grad, new(rows, columns))]
        if layer:
            found.append((grad, weight.T, new(n, rows)))
    return found


def numpy_products(workload):
    calls, dot = products(workload), np.dot

    def run(n):
        for _ in range(n):
            for left, right, out in calls:
                dot(left, right, out)

    return Contender(run, why=NO_LOSS)


def torch_products(workload):
    import torch

    tensors = [[torch.from_numpy(array) for array in call] for call in products(workload)]
    mm = torch.mm

    def run(n):
        with torch.inference_mode():
            for _ in range(n):
                for left, right, out in tensors:
                    mm(left, right, out=out)

    return Contender(run, why=NO_LOSS)
