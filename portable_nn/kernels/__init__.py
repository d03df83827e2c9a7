"""Every kernel: the meaning of each operation, in array API functions only.

One file a family. A kernel stands beside its gradient; a lowering in a backend carries the
same name.
"""

from portable_nn.kernels._kernel import (
    Call,
    Gradient,
    Kernel,
    accurate,
    elementwise,
    from_input,
    from_output,
    kernel,
    multilinear,
)
from portable_nn.kernels.activation import (
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from portable_nn.kernels.batch import take_rows
from portable_nn.kernels.dense import (
    add,
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
    multiply,
)
from portable_nn.kernels.embedding import embedding, embedding_grad, one_hot_size
from portable_nn.kernels.features import (
    concatenate,
    pad_features,
    split_features,
    take_features,
)
from portable_nn.kernels.loss import (
    binary_cross_entropy,
    cross_entropy,
    half_squared_error,
    loss_kernel,
    mean_squared_error,
)
from portable_nn.kernels.regularization import (
    average,
    average_equally,
    clip_factor,
    clipped,
    decayed,
    max_norm,
    penalized,
    scaled,
)
from portable_nn.kernels.update import adam, momentum, nesterov, rmsprop, sgd

__all__ = [
    "Call",
    "Gradient",
    "Kernel",
    "accurate",
    "adam",
    "add",
    "average",
    "average_equally",
    "binary_cross_entropy",
    "clip_factor",
    "clipped",
    "concatenate",
    "cross_entropy",
    "decayed",
    "elementwise",
    "embedding",
    "embedding_grad",
    "from_input",
    "from_output",
    "half_squared_error",
    "kernel",
    "linear",
    "linear_grad_bias",
    "linear_grad_input",
    "linear_grad_weight",
    "loss_kernel",
    "max_norm",
    "mean_squared_error",
    "momentum",
    "multilinear",
    "multiply",
    "nesterov",
    "one_hot_size",
    "pad_features",
    "penalized",
    "relu",
    "relu_backward",
    "rmsprop",
    "scaled",
    "sgd",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "split_features",
    "take_features",
    "take_rows",
    "tanh",
    "tanh_backward",
]
