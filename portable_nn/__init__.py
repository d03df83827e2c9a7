"""Neural networks that train alike on a laptop CPU and on any array API library.

A training step is a list of named kernel calls (a plan); a backend is a way to run it.
"""

from portable_nn.activations import Identity, ReLU, Sigmoid, Softmax, Tanh
from portable_nn.backend import Backend, get_backend
from portable_nn.drivers import LBFGS
from portable_nn.errors import (
    BackendError,
    DataError,
    FileError,
    NetworkError,
    NonFiniteError,
    NotFittedError,
    PortableNNError,
    ShapeError,
)
from portable_nn.finder import RateSweep, find_learning_rate
from portable_nn.initializers import (
    Constant,
    Normal,
    Orthogonal,
    Scaled,
    TruncatedNormal,
    Uniform,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)
from portable_nn.layers import (
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Reshape,
    Residual,
    mlp,
)
from portable_nn.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    MeanSquaredError,
)
from portable_nn.network import Network
from portable_nn.optimizers import SGD, Adam, RMSProp
from portable_nn.plateau import ReduceOnPlateau
from portable_nn.runner import Reference
from portable_nn.saved import load
from portable_nn.schedules import (
    Chain,
    ConstantRate,
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    PiecewiseConstant,
    PolynomialDecay,
    StepDecay,
    Warmup,
)
from portable_nn.surfaces import loss_surface
from portable_nn.wrappers import (
    Clipped,
    Decayed,
    ExponentialMovingAverage,
    MaxNorm,
    ParameterGroups,
    StochasticWeightAveraging,
)

__version__ = "0.1.0"

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "Backend",
    "BackendError",
    "BinaryCrossEntropy",
    "Chain",
    "Clipped",
    "Concatenate",
    "Constant",
    "ConstantRate",
    "CosineDecay",
    "CosineRestarts",
    "CrossEntropy",
    "DataError",
    "Decayed",
    "Dense",
    "Dropout",
    "Embedding",
    "ExponentialDecay",
    "ExponentialMovingAverage",
    "FileError",
    "Flatten",
    "HalfSquaredError",
    "Identity",
    "Input",
    "InverseScaling",
    "MaxNorm",
    "MeanSquaredError",
    "Network",
    "NetworkError",
    "NonFiniteError",
    "Normal",
    "NotFittedError",
    "OneCycle",
    "Orthogonal",
    "ParameterGroups",
    "PiecewiseConstant",
    "PolynomialDecay",
    "PortableNNError",
    "RMSProp",
    "RateSweep",
    "ReLU",
    "ReduceOnPlateau",
    "Reference",
    "Reshape",
    "Residual",
    "Scaled",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "StepDecay",
    "StochasticWeightAveraging",
    "Tanh",
    "TruncatedNormal",
    "Uniform",
    "Warmup",
    "find_learning_rate",
    "get_backend",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "load",
    "loss_surface",
    "mlp",
]
