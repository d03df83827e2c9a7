"""Hyper-parameters that change during training: functions of the epoch.

``epoch`` counts the passes over the data done so far, fractions included: before the fourth of
ten batches of the third pass it is 2.3. Any ``f(epoch) -> value`` does where an optimizer takes a
learning rate, or a momentum, a beta, a weight decay; those that have a name stand here, written for
learning rates. All is float64 arithmetic on the host; a function is asked at the beginning of an
epoch for all its batches.
"""

from portable_nn.schedules._cycles import CosineRestarts, OneCycle
from portable_nn.schedules._decay import (
    ConstantRate,
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    PolynomialDecay,
    StepDecay,
)
from portable_nn.schedules._joined import Chain, PiecewiseConstant, Warmup
from portable_nn.schedules._plateau import ReduceOnPlateau, following, rebuilt
from portable_nn.schedules._values import (
    Rate,
    check_choices,
    check_value,
    check_values,
    choice,
    flag,
    hyperparameter,
    positive,
    real,
    value_at,
    values_at,
    whole,
)

__all__ = [
    "Chain",
    "ConstantRate",
    "CosineDecay",
    "CosineRestarts",
    "ExponentialDecay",
    "InverseScaling",
    "OneCycle",
    "PiecewiseConstant",
    "PolynomialDecay",
    "Rate",
    "ReduceOnPlateau",
    "StepDecay",
    "Warmup",
    "check_choices",
    "check_value",
    "check_values",
    "choice",
    "flag",
    "following",
    "hyperparameter",
    "positive",
    "real",
    "rebuilt",
    "value_at",
    "values_at",
    "whole",
]
