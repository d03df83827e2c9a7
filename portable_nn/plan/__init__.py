"""A training step as a list of named kernel calls over named buffers.

A ``Plan`` is built without any array library and without a batch size; a backend is a way to
run it. ``print(plan)`` is a table in the four steps of a backpropagation tutorial.
"""

from portable_nn.plan._buffers import (
    Buffer,
    Data,
    Draw,
    Initial,
    Initializer,
    Kind,
    Schedule,
    Source,
)
from portable_nn.plan._builder import PlanBuilder, matches
from portable_nn.plan._plan import Plan

__all__ = [
    "Buffer",
    "Data",
    "Draw",
    "Initial",
    "Initializer",
    "Kind",
    "Plan",
    "PlanBuilder",
    "Schedule",
    "Source",
    "matches",
]
