import numpy as np

from portable_nn_numpy.lowering import HostArray, Op, Scratch


def softsign(new: Scratch, z: HostArray, out: HostArray) -> list[Op]:
    size, one = new(z), np.ones((), z.dtype)
    below: list[Op] = [(np.absolute, (z, size)), (np.add, (size, one, size))]
    return [*below, (np.divide, (z, size, out))]
