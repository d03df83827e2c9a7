"""The dense layer, and the list that most networks are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from portable_nn import kernels
from portable_nn.activations import Activation, as_activation
from portable_nn.errors import NetworkError
from portable_nn.initializers import check_initializer, glorot_uniform, zeros
from portable_nn.layers._layer import Layer
from portable_nn.plan import Initializer, PlanBuilder
from portable_nn.schedules import real, whole


@dataclass(frozen=True)
class Dense:
    """``x @ weight + bias``: every output is a weighted sum of all inputs.

    Parameters
    ----------
    out_features
        Number of outputs; the number of inputs follows from what comes before.
    use_bias
        False leaves the bias out.
    weight, bias
        Initializers of ``weight`` (in, out) and ``bias`` (out,).
    """

    out_features: int
    use_bias: bool = True
    weight: Initializer = field(default=glorot_uniform, repr=False)
    bias: Initializer = field(default=zeros, repr=False)

    def __post_init__(self) -> None:
        size = self.out_features
        if not whole(size):
            limit = ", below 2**31" if real(size) > 1.0 else ""
            raise NetworkError(
                f"Dense takes the number of its outputs, 1 or more{limit}; got {size!r:.60}."
            )
        if not isinstance(self.use_bias, bool):
            raise NetworkError(
                f"Dense takes the number of its outputs, then use_bias=True or False; got "
                f"{self.use_bias!r:.60}. The number of inputs comes from the data, and an "
                f"activation is a layer of its own: [Dense(32), ReLU()]."
            )
        check_initializer(self.weight, "Dense", "weight")
        check_initializer(self.bias, "Dense", "bias")

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        shape = (builder.features(x), self.out_features)
        parameters = [builder.parameter("weight", shape, self.weight)]
        if self.use_bias:
            parameters.append(builder.parameter("bias", shape[1:], self.bias))
        return builder.call(kernels.linear, x, *parameters)


def mlp(
    hidden: Sequence[int], *, outputs: int, activation: str | Activation = "relu"
) -> list[Layer]:
    """The common list: a ``Dense`` and an activation for each hidden size, a last ``Dense``.

    ``Network(mlp([128, 64], outputs=10))``. No hidden size makes a perceptron.
    """
    one = getattr(hidden, "shape", None) == () or not isinstance(hidden, Iterable)
    if one or isinstance(hidden, str):
        raise NetworkError(f"hidden sizes come in a list, such as [16]; got {hidden!r:.60}.")
    between = as_activation(activation)
    layers: list[Layer] = []
    for size in hidden:
        layers += [Dense(size), between]
    return [*layers, Dense(outputs)]
