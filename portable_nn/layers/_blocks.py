"""Layers made of layers: branches that are added up or stand side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portable_nn import kernels
from portable_nn.errors import NetworkError
from portable_nn.layers._layer import Layer, chain, check_layers
from portable_nn.plan import PlanBuilder


@dataclass(frozen=True)
class Residual:
    """``shortcut(x) + layers(x)``: the layers learn what is to be added to x.

    Parameters
    ----------
    layers
        What is added; they end with as many features as the shortcut.
    shortcut
        Layers on the way around; none is x itself. ``[Dense(64)]`` where ``layers`` end with
        64 features and x has others.

    Source: He et al. 2016, where ``shortcut=[Dense(64, use_bias=False)]`` is their ``W_s``.
    """

    layers: Sequence[Layer]
    shortcut: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", check_layers(self.layers))
        object.__setattr__(self, "shortcut", check_layers(self.shortcut))

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        inner = chain(builder, self.layers, x, mode)
        with builder.scope("shortcut"):
            around = chain(builder, self.shortcut, x, mode)
        wide, adds = builder.features(around), builder.features(inner)
        if wide != adds:
            raise NetworkError(
                f"Residual adds outputs of one width; its shortcut has {wide} features, its layers "
                f"give {adds}. End both alike: shortcut=[Dense({adds})], or a last Dense({wide})."
            )
        return builder.call(kernels.add, around, inner)


@dataclass(frozen=True)
class Concatenate:
    """The outputs of several lists of layers, all given x, side by side in this order.

    Parameters
    ----------
    branches
        Lists of layers; an empty one is x itself: ``Concatenate([[], [Dense(8), ReLU()]])``
        adds 8 features to those of x.

    Source: Huang et al. 2017 (DenseNet), without their normalization.
    """

    branches: Sequence[Sequence[Layer]]

    def __post_init__(self) -> None:
        given = self.branches if isinstance(self.branches, Iterable) else ()
        object.__setattr__(self, "branches", tuple(check_layers(branch) for branch in given))
        if not self.branches:
            raise NetworkError(
                "Concatenate takes a list of lists of layers, one or more: "
                "Concatenate([[], [Dense(8), ReLU()]])."
            )

    def forward(self, builder: PlanBuilder, x: str, mode: str) -> str:
        outputs = []
        for branch in self.branches:
            with builder.scope("branch"):
                outputs.append(chain(builder, branch, x, mode))
        return builder.call(kernels.concatenate, *outputs)
