"""The NumPy backend: a plan as a list of bound calls that write into memory laid out once."""

from portable_nn_numpy.backend import NumPyBackend, open_backend
from portable_nn_numpy.lowering import LOWERINGS

__all__ = ["LOWERINGS", "NumPyBackend", "open_backend"]
