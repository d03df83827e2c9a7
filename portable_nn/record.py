"""Layers, losses, optimizers and what they are made of, as JSON values and back.

A dataclass is its class's name and its fields, so it holds numbers, text, tuples, mappings, small
arrays, functions of this library, and other dataclasses. Code is never in a record: of a function
of the user's own it has the name, and of a class of the user's own the name and the fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from inspect import isfunction, signature
from numbers import Real
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import (
    activations,
    drivers,
    initializers,
    layers,
    losses,
    optimizers,
    scaling,
    schedules,
    targets,
    wrappers,
)
from portable_nn.errors import FileError, NetworkError

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def _public(*modules: ModuleType) -> dict[str, Any]:
    """What these modules define themselves and show."""
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if name[0] != "_" and str(getattr(value, "__module__", "")).startswith(module.__name__)
    }


MODULES = (
    activations, drivers, initializers, layers, losses, optimizers, scaling,
    schedules, targets, wrappers,
)  # fmt: skip
"""Whose dataclasses a record holds."""

CLASSES: dict[str, type] = {
    name: value
    for name, value in _public(*MODULES).items()
    if isinstance(value, type) and is_dataclass(value)
}
"""Of this library: what a record calls ``class``. Others are ``own class``."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: value for name, value in _public(initializers).items() if isfunction(value)
}
"""Of this library: what a record calls ``function``. Others are ``own function``."""


ARRAYS = "biufUS"
"""Kinds of the arrays a record holds: numbers and text."""


@dataclass(frozen=True)
class NotInFile:
    """Stands where a function of the user's own stood, which is needed only to train anew."""

    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NetworkError(
            f"{self.name} was a function of your own, which a file does not hold; "
            f"give the layer or optimizer that had it anew."
        )


def of_library(value: Any) -> bool:
    """Whether it is an object of a class of this library, which every reader of files has."""
    return CLASSES.get(type(value).__name__) is type(value)


def made_of_library(value: Any) -> bool:
    """Whether it, and all it has in it, are of classes of this library; functions may be own."""
    if is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value)]
        return of_library(value) and all(map(made_of_library, parts))
    if isinstance(value, Mapping):
        return all(map(made_of_library, value.values()))
    if isinstance(value, tuple | list):
        return all(map(made_of_library, value))
    return value is None or callable(value) or isinstance(value, str | Real)


# -- to JSON -------------------------------------------------------------------------------


def describe(value: Any) -> Any:
    """``value`` as a JSON value without NaN and infinities, from which ``restore`` makes it.

    Raises
    ------
    NetworkError
        If it is, or has in it, something else than the module says.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a number of an array library
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if type(value) in (tuple, list):
        return [describe(item) for item in value]
    if isinstance(value, Mapping):
        return {"mapping": [[describe(key), describe(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in ARRAYS:
        return _describe_array(value)
    if isinstance(value, NotInFile):
        return {"own function": value.name}
    if is_dataclass(value) and not isinstance(value, type):
        return _describe_fields(value)
    if callable(value) and not isinstance(value, type):
        return _describe_function(value)
    raise NetworkError(
        f"a file cannot hold {value!r:.60} ({type(value).__name__}); it holds dataclasses, "
        f"numbers, text, arrays, tuples and mappings of these, and names of functions. A class "
        f"of your own is one with @dataclass(frozen=True)."
    )


def _describe_array(value: HostArray) -> dict[str, Any]:
    kind = value.dtype.kind
    text = np.char.decode(value, "latin-1") if kind == "S" else value
    return {"array": kind if kind in "SU" else value.dtype.str, "values": describe(text.tolist())}


def _describe_fields(value: Any) -> dict[str, Any]:
    kind = type(value)
    names = [field.name for field in fields(value) if field.init]
    if set(signature(kind).parameters) != set(names):
        raise NetworkError(
            f"a file cannot hold {kind.__name__}, whose __init__ takes other things than its "
            f"dataclass fields; have it written by @dataclass."
        )
    # Neither of these can be a field: one is a keyword, one has a blank.
    known = "class" if of_library(value) else "own class"
    return {known: kind.__name__} | {name: describe(getattr(value, name)) for name in names}


def _describe_function(value: Any) -> dict[str, str]:
    name = getattr(getattr(value, "func", value), "__name__", type(value).__name__)
    return {"function" if FUNCTIONS.get(name) is value else "own function": name}


# -- from JSON -----------------------------------------------------------------------------


def restore(value: Any, custom: Iterable[type] = ()) -> Any:
    """What ``describe`` was given; lists come back as tuples, own functions as ``NotInFile``.

    Parameters
    ----------
    value
        A JSON value.
    custom
        The user's own dataclasses, found by their names.

    Raises
    ------
    FileError
        If ``describe`` gives no such value, or a class is not known or does not take its fields.
    NetworkError
        If ``custom`` is something else.
    """
    own = _by_name(custom)
    try:
        return _restore(value, own)
    except RecursionError as error:
        raise FileError("the record is nested too deep for one of a network.") from error


def _by_name(custom: Iterable[type]) -> dict[str, type]:
    given = tuple(custom) if isinstance(custom, Iterable) else (None,)
    named = {found.__name__: found for found in given if isinstance(found, type)}
    if len(named) < len(given) or not all(map(is_dataclass, named.values())):
        raise NetworkError(
            f"custom is a list of dataclasses of different names, [Residual] say; got {custom!r}."
        )
    return named


def _restore(value: Any, own: dict[str, type]) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return tuple([_restore(item, own) for item in value])
        case {"float": "inf" | "-inf" | "nan" as text, **rest} if not rest:
            return float(text)
        case {"function": str(name), **rest} if name in FUNCTIONS and not rest:
            return FUNCTIONS[name]
        case {"mapping": list(items), **rest} if not rest:
            return _mapping(items, own)
        case {"array": str(dtype), "values": list(values), **rest} if not rest:
            return _array(dtype, _restore(values, own))
        case {"own function": str(name), **rest} if not rest:
            return NotInFile(name)
        case {"class": str(name), **rest} if name in CLASSES:
            return _make(CLASSES[name], rest, own)
        case {"own class": str(name), **rest} if name in own:
            return _make(own[name], rest, own)
        case {"own class": str(name)}:
            raise FileError(
                f"the file has a {name}, a class of your own; load(path, custom=[{name}]) "
                f"makes it known."
            )
    raise FileError(f"the file has {value!r:.80}, which this portable_nn does not know.")


def _mapping(items: list[Any], own: dict[str, type]) -> dict[Any, Any]:
    try:
        found = {_restore(key, own): _restore(item, own) for key, item in items}
        if len(found) < len(items):
            raise ValueError("a key comes twice")
        return found
    except (TypeError, ValueError) as error:
        raise FileError(f"the file has a mapping that is none: {error}") from error


def _array(dtype: str, values: tuple[Any, ...]) -> HostArray:
    try:
        kind = np.dtype(dtype).kind
        plain = np.char.encode(np.array(values), "latin-1") if kind == "S" else values
        if kind in ARRAYS:
            with np.errstate(over="ignore"):
                return np.array(plain, dtype=kind if kind in "SU" else dtype)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise FileError(f"the file has an array that is none: {error}") from error
    raise FileError(f"the file has an array of {dtype}, which is not numbers or text.")


def _make(kind: type, described: dict[Any, Any], own: dict[str, type]) -> Any:
    values = {name: _restore(value, own) for name, value in described.items()}
    try:
        return kind(**values)
    except Exception as error:  # a constructor may raise anything
        raise FileError(
            f"{kind.__name__} cannot be made from what the file says: {error}"
        ) from error
