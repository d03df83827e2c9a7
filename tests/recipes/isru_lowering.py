import numpy as np

from portable_nn_numpy.lowering import HostArray, Op, Scratch


def isru(new: Scratch, z: HostArray, out: HostArray) -> list[Op]:
    size, one = new(z), np.ones((), z.dtype)
    below: list[Op] = [(np.multiply, (z, z, size)), (np.add, (size, one, size))]
    return [*below, (np.sqrt, (size, size)), (np.divide, (z, size, out))]
