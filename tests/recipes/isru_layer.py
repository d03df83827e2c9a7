from portable_nn import kernels
from portable_nn.activations import Activation


class ISRU(Activation):
    """``a = z / sqrt(1 + z^2)``, in (-1, 1): tanh with longer tails, without an exponential."""

    kernel = kernels.isru
