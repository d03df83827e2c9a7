from portable_nn import kernels
from portable_nn.activations import Activation


class Softsign(Activation):
    """``a = z / (1 + |z|)``, in (-1, 1): tanh with longer tails."""

    kernel = kernels.softsign
