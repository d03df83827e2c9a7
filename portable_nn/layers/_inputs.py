"""Layers that stand where data come in or results go out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from portable_nn import kernels
from portable_nn.errors import NetworkError
from portable_nn.initializers import Normal, check_initializer
from portable_nn.plan import Initializer, PlanBuilder
from portable_nn.schedules import whole


@dataclass(frozen=True)
class Input:
    """One of several named inputs, first in a branch: its columns and no others.

    ``x`` is then ``{name: array}``, and a network takes every input of it::

        Network([
            Concatenate([
                [Input("numbers"), Dense(32)],
                [Input("city"), Embedding(50, 8)],
            ]),
            ReLU(), Dense(1),
        ])
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise NetworkError(f"Input takes the name of an input; got {self.name!r:.60}.")

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        return builder.input(self.name, x, f"Input({self.name!r})")


@dataclass(frozen=True)
class Embedding:
    """A trained row of ``features`` numbers for each category, looked up by its code.

    It takes columns of ``x`` itself, whole numbers 0 to ``categories - 1``: first in a network, or
    right after an ``Input``. Of m columns the m rows stand side by side: (n, m) -> (n, m *
    features). Codes out of range are found when ``x`` is given.

    The same as a ``Dense`` without bias after one-hot columns (Bengio et al. 2003, section 2), and
    so is its gradient, which has a number for each category, also those not in a batch: an
    optimizer with momentum moves them too, as in PyTorch without ``sparse``.

    Parameters
    ----------
    categories, features
        Rows and columns of the table; at most 2**24 rows, which float32 can count.
    weight
        Initializer of the table ``weight`` (categories, features): normal with deviation 1 as in
        PyTorch, the size of standardized inputs. Keras draws uniformly in +-0.05.
    """

    categories: int
    features: int
    weight: Initializer = field(default=Normal(1.0), repr=False)

    def __post_init__(self) -> None:
        for name, most in {"categories": 2**24, "features": 2**31 - 1}.items():
            size = getattr(self, name)
            if not whole(size) or size > most:
                raise NetworkError(
                    f"Embedding takes whole numbers (categories, features); {name} are 1 to "
                    f"{most}, got {size!r:.60}."
                )
        check_initializer(self.weight, "Embedding", "weight")

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        builder.codes(x, self.categories, f"Embedding({self.categories}, {self.features})")
        shape = (self.categories, self.features)
        table = builder.parameter("weight", shape, self.weight)
        return builder.call(kernels.embedding, x, table)


@dataclass(frozen=True)
class Flatten:
    """Rows of any shape, such as images, as rows of features: first, or right after an Input.

    Nothing is computed: ``x`` (n, any, shape) is made flat in C order when it is given, its last
    axis fastest, as PyTorch and Keras do. Without it, ``x`` has to be a table.
    """

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        builder.flatten(x, "Flatten()")
        return x


@dataclass(frozen=True)
class Reshape:
    """Outputs of this shape, as last layer: ``y`` is (n, ...) of it, and so are predictions.

    Nothing is computed; its sizes multiply to the number of outputs. In Keras and PyTorch
    (``Unflatten``) it may stand anywhere; here layers pass on rows of features only.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        given = self.shape if isinstance(self.shape, tuple | list) else (0,)
        if not given or not all(whole(size) for size in given):
            raise NetworkError(f"Reshape takes sizes, such as (28, 28); got {self.shape!r:.60}.")
        object.__setattr__(self, "shape", tuple(int(size) for size in given))

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        if math.prod(self.shape) != builder.features(x):
            raise NetworkError(
                f"Reshape({self.shape}) takes {math.prod(self.shape)} outputs; there are "
                f"{builder.features(x)} before it."
            )
        builder.reshape(x, self.shape, f"Reshape({self.shape})")
        return x
