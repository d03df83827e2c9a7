"""Neural networks that train alike on a laptop CPU and on any array API library.

A training step is a list of named kernel calls (a plan); a backend is a way to run it.
"""

from portable_nn.activations import Identity, ReLU, Sigmoid, Softmax, Tanh
from portable_nn.backend import Backend, get_backend
from portable_nn.errors import (
    BackendError,
    DataError,
    NetworkError,
    NonFiniteError,
    NotFittedError,
    PortableNNError,
    ShapeError,
)
from portable_nn.layers import Dense, Dropout, mlp
from portable_nn.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    MeanSquaredError,
)
from portable_nn.network import Network
from portable_nn.optimizers import SGD, Adam
from portable_nn.runner import Reference

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "Backend",
    "BackendError",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "DataError",
    "Dense",
    "Dropout",
    "HalfSquaredError",
    "Identity",
    "MeanSquaredError",
    "Network",
    "NetworkError",
    "NonFiniteError",
    "NotFittedError",
    "PortableNNError",
    "ReLU",
    "Reference",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "get_backend",
    "mlp",
]
