"""Layers: a layer is its fields and its forward formula.

``forward(builder, x, mode)`` writes kernel calls into a plan and returns the name of its
output; gradients come from the kernels. Modes are ``"train"``, ``"evaluate"``, ``"predict"``:
different plans over the same parameters.
"""

from portable_nn.layers._activation import GLU, Maxout, PReLU, SwiGLU
from portable_nn.layers._blocks import Concatenate, Residual
from portable_nn.layers._dense import Dense, mlp
from portable_nn.layers._inputs import Embedding, Flatten, Input, Reshape
from portable_nn.layers._layer import Layer, chain, check_layers
from portable_nn.layers._noise import AlphaDropout, Dropout, GaussianNoise
from portable_nn.layers._normalization import BatchNorm, LayerNorm, RMSNorm

__all__ = [
    "GLU",
    "AlphaDropout",
    "BatchNorm",
    "Concatenate",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "Input",
    "Layer",
    "LayerNorm",
    "Maxout",
    "PReLU",
    "RMSNorm",
    "Reshape",
    "Residual",
    "SwiGLU",
    "chain",
    "check_layers",
    "mlp",
]
