"""Names that stand for objects: what is meant by one, and which one was meant by another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from portable_nn.arrays import brief
from portable_nn.errors import NetworkError

T = TypeVar("T")


def named(name: Any, table: Mapping[str, Callable[[], T]], what: str) -> T:
    """What a name stands for."""
    if not isinstance(name, str) or name not in table:
        article = "an" if what[0] in "aeiou" else "a"
        known = f"one of {', '.join(table)}, or {article} {what.capitalize()} object"
        raise NetworkError(f"{what} is {known}; got {brief(name)}{_meant(name, table)}")
    return table[name]()


ELSEWHERE = {
    "bce": "binary_cross_entropy", "categoricalcrossentropy": "cross_entropy",
    "crossentropyloss": "cross_entropy", "l1loss": "mean_absolute_error", "linear": "identity",
    "logistic": "sigmoid", "logloss": "cross_entropy", "mae": "mean_absolute_error",
    "mse": "mean_squared_error", "mseloss": "mean_squared_error", "pinball": "quantile",
    "poisson": "poisson_deviance", "swish": "silu",
    "sparsecategoricalcrossentropy": "cross_entropy",
}  # fmt: skip
"""What other libraries call some of what is here."""


def _meant(name: Any, table: Mapping[str, Callable[[], Any]]) -> str:
    """The object of a class that was given, or the name nearest to the one that was."""
    if isinstance(name, type):
        return f". Did you mean {name.__name__}()?"
    if not isinstance(name, str):
        return "."
    plain = {known.replace("_", ""): known for known in table}
    plain |= {other: known for other, known in ELSEWHERE.items() if known in table}
    close = get_close_matches(name.lower().replace("_", "").replace("-", ""), plain, n=1)
    return f". Did you mean {plain[close[0]]!r}?" if close else "."
