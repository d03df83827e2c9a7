"""Inputs and textbook formulas of every kernel: one file a family, as in ``portable_nn.kernels``.

A case gives the inputs of one call as host arrays: floats as float64 to be rounded to the
dtype under test, indices as int64. The first case of a kernel is its ordinary one.
"""

import pytest

from cases import (
    activation,
    batch,
    dense,
    embedding,
    features,
    gated,
    loss,
    noise,
    normalization,
    regularization,
    smooth,
    update,
)
from portable_nn import kernels

_FAMILIES = (
    activation,
    batch,
    dense,
    embedding,
    features,
    gated,
    loss,
    noise,
    normalization,
    regularization,
    smooth,
    update,
)

CASES = {kernel: cases for family in _FAMILIES for kernel, cases in family.CASES.items()}
"""By kernel. Every kernel that ``portable_nn.kernels`` exports stands here."""

TEXTBOOK = {kernel: formula for family in _FAMILIES for kernel, formula in family.TEXTBOOK.items()}
"""The formulas as a textbook has them, without care for rounding, on rows of ordinary size."""

EXPORTED = [value for value in vars(kernels).values() if isinstance(value, kernels.Kernel)]


def named(cases=None):
    """``pytest.param`` of (kernel, case) for every case, or the first ``cases`` of each."""
    return [
        pytest.param(kernel, example, id=f"{kernel.name}-{example.name.replace(' ', '_')}")
        for kernel, examples in CASES.items()
        for example in examples[:cases]
    ]
