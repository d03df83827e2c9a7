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
from portable_nn.kernels.update import adam, momentum, nesterov, rmsprop, sgd

__all__ = [
    "Call",
    "Gradient",
    "Kernel",
    "accurate",
    "adam",
    "add",
    "binary_cross_entropy",
    "concatenate",
    "cross_entropy",
    "elementwise",
    "from_output",
    "half_squared_error",
    "kernel",
    "linear",
    "linear_grad_bias",
    "linear_grad_input",
    "linear_grad_weight",
    "loss_kernel",
    "mean_squared_error",
    "momentum",
    "multilinear",
    "multiply",
    "nesterov",
    "pad_features",
    "relu",
    "relu_backward",
    "rmsprop",
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
