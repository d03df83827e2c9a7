"""The settings of a training: what each takes, on the command line and in a TOML file."""

from __future__ import annotations

import math
import tomllib
from argparse import Action, ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar

from portable_nn.errors import FileError

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """Values of one kind, as text converts to them; an argument type of ``argparse``.

    ``types`` are those of TOML values of this kind, where a list is its items with commas.
    """

    wanted: str
    types: tuple[type, ...]
    convert: Callable[[str], T]
    holds: Callable[[T], bool] = lambda value: True

    def __call__(self, text: str) -> T:
        """The value; an ``ArgumentTypeError`` if the text is none of this kind."""
        try:
            value = self.convert(text)
        except ValueError:
            value = None
        if value is None or not self.holds(value):
            raise ArgumentTypeError(f"takes {self.wanted}; got {text!r:.60}")
        return value


COUNT = Kind("a whole number, 1 or more", (int,), int, lambda count: count >= 1)
SEED = Kind("a whole number, 0 or more", (int,), int, lambda seed: seed >= 0)
RATE = Kind("a number above 0", (int, float), float, lambda rate: 0.0 < rate < math.inf)
SIZES = Kind(
    "sizes of 1 or more, separated by commas",
    (int, str, list),
    lambda text: [int(size) for size in text.split(",") if text],
    lambda sizes: all(size >= 1 for size in sizes),
)
TEXT = Kind("text", (str,), str)
FLAG = Kind("true or false", (bool,), lambda text: text == "True")


def read_settings(path: str, options: Sequence[Action]) -> dict[str, Any]:
    """The values that a TOML file gives for options, by ``dest``; ``_`` in a name is ``-``.

    Raises
    ------
    FileError
        If the file cannot be read, or a setting is unknown, given twice or of another kind.
    """
    known = {option.dest.replace("_", "-"): option for option in options}
    values: dict[str, Any] = {}
    for name, value in _toml(path).items():
        option = known.get(name.replace("_", "-"))
        if option is None:
            raise FileError(f"{path} has a setting {name!r:.60}; {_hint(name, list(known))}")
        if option.dest in values:
            raise FileError(f"{path} has {name!r} twice, with - and with _; keep one")
        kind = _kind(option)
        try:
            if type(value) not in kind.types:
                raise ArgumentTypeError
            values[option.dest] = kind(_text(value))
        except ArgumentTypeError:
            got = str(value).lower() if isinstance(value, bool) else repr(value)
            raise FileError(f"{path}: {name} takes {kind.wanted}; got {got:.60}") from None
    return values


def _toml(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: {error}") from error


def _hint(name: str, known: list[str]) -> str:
    close = get_close_matches(name.replace("_", "-").lower(), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def _kind(option: Action) -> Kind[Any]:
    if isinstance(option.default, bool):
        return FLAG
    if option.choices is not None:
        names = list(option.choices)
        return Kind(f"one of {', '.join(names)}", (str,), str, names.__contains__)
    return option.type if isinstance(option.type, Kind) else TEXT


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
