"""Tables, and the numbers a network learns from.

Host side. What ``portable-nn train people.csv --target kind`` does, and then ``predict``:

>>> table = read_csv("people.csv")  # of portable_nn.reading
>>> columns = Columns.learn(table, target="kind")
>>> x, y = columns.encode(table), target_values(table, "kind")
>>> network = Network(mlp([256, 128], outputs=3))
>>> network.fit(x, y, loss="cross_entropy", epochs=30, standardize=True)
>>> network.columns = columns  # after the fit; save writes them too
>>> network.save("kinds.safetensors")
>>> network = load("kinds.safetensors")
>>> network.predict(network.columns.encode(read_csv("new.csv")))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.errors import DataError, FileError

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

MOST_TEXTS = 1_000

_PADDED = re.compile(r"0[0-9]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_OF_NUMBERS = re.compile(r"[^0-9+\-.eE]")
_MISSING = re.compile(r"(\?|NA|N/A|[+-]?(?i:nan|inf|infinity))?")


@dataclass(frozen=True)
class Table:
    """Named columns of texts, as they stand in a file.

    ``columns`` holds the cells of each column, without spaces around them; ``lines`` the line
    of the file that each row begins in, counted from 1.
    """

    path: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    _numbers: dict[str, HostArray] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def cells(self, name: str) -> Sequence[str]:
        """The cells of a column; a ``DataError`` if there is none of that name."""
        if name in self.columns:
            return self.columns[name]
        folded = [known for known in self.columns if known.lower() == name.lower()]
        close = folded or get_close_matches(name, self.columns, n=1)
        hint = f" (did you mean {close[0]!r:.60}?)" if close else ""
        looks_like_data = any(number(known) is not None for known in self.columns)
        more = "; the first line of the file must name the columns" if looks_like_data else ""
        raise DataError(
            f"{self.path} has no column {name!r:.60}{hint}; it has {listed(self.columns)}{more}."
        )

    def numbers(self, name: str) -> HostArray:
        """The cells of a column as numbers, (rows,) float64, NaN where a cell is none."""
        if name not in self._numbers:
            self._numbers[name] = _parsed(self.cells(name))
        return self._numbers[name]

    def at(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.path}, line {self.lines[row]}"


def listed(names: Iterable[str]) -> str:
    """Names for a message, the first ten of them."""
    known = [f"{name!r:.60}" for name in names]
    return ", ".join(known[:10]) + (f", ... ({len(known)} in all)" if len(known) > 10 else "")


# -- columns -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """How columns of a table become numbers, in this order.

    ``categories`` has None for a column of numbers, else the texts of the column, sorted; each
    is a column of the result, 1 where a cell is that text and 0 elsewhere.
    """

    categories: Mapping[str, tuple[str, ...] | None]

    @classmethod
    def learn(cls, table: Table, target: str | None = None) -> Columns:
        """What each column but the target is; a ``DataError`` if one cannot be learned from."""
        _check_table(table)
        if target is not None:
            table.cells(target)
        features = [name for name in table.columns if name != target]
        if not features:
            raise DataError(f"{table.path} has no column but the target; there is nothing to use.")
        return cls({name: _categories(table, name) for name in features})

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of the result: ``age``, ``sex=Female``, ``sex=Male``."""
        return tuple(
            name if text is None else f"{name}={text}"
            for name, texts in self.categories.items()
            for text in texts or (None,)
        )

    def encode(self, table: Table) -> HostArray:
        """(rows, len(names)) float64; columns are found by name, others are ignored.

        A ``DataError`` if a column is missing, or a cell is no number or a text not learned.
        """
        _check_table(table)
        rows = np.arange(len(table.lines))
        encoded = np.zeros((len(rows), len(self.names)))
        start = 0
        for name, texts in self.categories.items():
            if texts is None:
                encoded[:, start] = _numbers(table, name)
            else:
                encoded[rows, start + _positions(table, name, texts)] = 1.0
            start += len(texts or (None,))
        return encoded

    def to_record(self) -> list[dict[str, Any]]:
        """The columns as JSON can hold them."""
        return [
            {"name": name, "categories": None if texts is None else list(texts)}
            for name, texts in self.categories.items()
        ]

    @classmethod
    def from_record(cls, record: object) -> Columns:
        """What ``to_record`` gave; a ``FileError`` if it is anything else."""
        entries = record if isinstance(record, list) else []
        categories = dict(map(_entry, entries))
        if not categories or len(categories) != len(entries):
            raise FileError(f"columns are a list of different names; got {record!r:.60}.")
        return cls(categories)


def _check_table(given: object) -> None:
    if not isinstance(given, Table):
        kind = type(given).__name__
        raise DataError(f"columns are of a Table, which read_csv(path) gives; got {kind}.")


def _entry(entry: object) -> tuple[str, tuple[str, ...] | None]:
    match entry:
        case {"name": str() as name, "categories": None} if name:
            return name, None
        case {"name": str() as name, "categories": [*texts]} if name and texts:
            if all(isinstance(text, str) for text in texts) and len(set(texts)) == len(texts):
                return name, tuple(texts)
    raise FileError(f"a column is a name, and None or its categories; got {entry!r:.60}.")


def _categories(table: Table, name: str) -> tuple[str, ...] | None:
    """The texts of a column, sorted; None if it is one of numbers."""
    if _holds_numbers(table, name):
        return None
    texts, rows = sorted(set(table.cells(name))), len(table.lines)
    if len(texts) > MOST_TEXTS or len(texts) == rows > 20:
        raise DataError(
            f"{table.path}: column {name!r:.60} has {len(texts)} different texts in {rows} rows "
            "and looks like an identifier; remove it."
        )
    return tuple(texts)


def _positions(table: Table, name: str, texts: tuple[str, ...]) -> HostArray:
    position = {text: i for i, text in enumerate(texts)}
    cells = table.cells(name)
    for row, text in enumerate(cells):
        if text not in position:
            raise DataError(
                f"{table.at(row)}: column {name!r:.60} is {text!r:.60}; "
                f"known from the training are {listed(texts)}."
            )
    return np.array([position[text] for text in cells])


# -- cells ---------------------------------------------------------------------------------


def number(text: str) -> float | None:
    """A finite number in decimal notation; None for what else Python takes for one."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) < float("inf") else None


def _parsed(cells: Sequence[str]) -> HostArray:
    """(rows,) float64, NaN for what is no number; read-only."""
    try:
        if _NOT_OF_NUMBERS.search("".join(cells)):
            raise ValueError("not all are numbers")
        # Of these characters, float() takes what _NUMBER takes.
        values = np.array(list(map(float, cells)), dtype=np.float64)
    except ValueError:
        known = {text: number(text) for text in set(cells)}
        values = np.array([known[text] for text in cells], dtype=np.float64)  # None is NaN
    values[np.isinf(values)] = np.nan
    values.flags.writeable = False
    return values


def _numbers(table: Table, name: str) -> HostArray:
    """(rows,) float64, out of a column in which every cell is a number."""
    cells, values = table.cells(name), table.numbers(name)
    strange = np.flatnonzero(np.isnan(values)).tolist()
    if strange:
        raise DataError(
            f"{table.path}: column {name!r:.60}: {len(strange)} of {len(cells)} cells are not "
            f"numbers, first {cells[strange[0]]!r:.60} in line {table.lines[strange[0]]}; "
            "remove or fill them."
        )
    return values


def _holds_numbers(table: Table, name: str) -> bool:
    """Whether a column is one of numbers and not of texts; a mixture of them is an error."""
    cells = table.cells(name)
    if _mostly_numbers(cells, table.numbers(name)):
        _numbers(table, name)
        return True
    plain = [text.replace(",", "") for text in cells]
    if _mostly_numbers(plain, _parsed(plain)):
        row = next(row for row, text in enumerate(cells) if "," in text)
        raise DataError(
            f"{table.path}: column {name!r:.60} has numbers with commas, first "
            f"{cells[row]!r:.60} in line {table.lines[row]}; write them like 1234.5."
        )
    return False


def _mostly_numbers(cells: Sequence[str], values: HostArray) -> bool:
    """More than half are numbers, of the cells that are not missing."""
    strange = np.flatnonzero(np.isnan(values)).tolist()
    missing = sum(_MISSING.fullmatch(cells[row]) is not None for row in strange)
    return 2 * (len(cells) - len(strange)) > len(cells) - missing


# -- targets -------------------------------------------------------------------------------


def target_values(table: Table, name: str) -> HostArray:
    """The column to learn, (rows,): int64 if all are whole numbers, float64 if numbers, or text.

    ``1.0`` is a whole number too, but ``01`` is text, so that it comes out as it went in. A
    ``DataError`` if cells are missing or of different kinds.
    """
    _check_table(table)
    cells = table.cells(name)
    if _holds_numbers(table, name) and not any(map(_PADDED.fullmatch, cells)):
        return _whole_if_all_are(_numbers(table, name), cells)
    for row, text in enumerate(cells):
        if _MISSING.fullmatch(text):
            raise DataError(
                f"{table.at(row)}: target {name!r:.60} is {text!r:.60}; remove or fill such rows."
            )
    return np.array(cells, dtype=np.str_)


def _whole_if_all_are(values: HostArray, cells: Sequence[str]) -> HostArray:
    """Int64 if all are whole numbers in its range, else a copy of the values."""
    if (np.abs(values) < 2**53).all():  # float64 holds every whole number below
        whole = values.astype(np.int64)
        return whole if (whole == values).all() else values.copy()
    exact = list(map(_whole, cells))
    return values.copy() if None in exact else np.array(exact, dtype=np.int64)


def _whole(number: str) -> int | None:
    """The whole number in the range of int64 that a number's text stands for, if any."""
    value = int(number) if _WHOLE.fullmatch(number) else float(number)
    return int(value) if -(2**63) <= value < 2**63 and value == int(value) else None
