"""The CuPy backend: plans on an NVIDIA GPU, one meaning after another."""

from portable_nn_cupy.backend import CuPyBackend, open_backend

__all__ = ["CuPyBackend", "open_backend"]
