"""Tables as people keep them (CSV files, npz files), and the numbers a network learns from.

Host side.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

import numpy as np

from portable_nn.errors import DataError, FileError

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

MOST_TEXTS = 1_000
MOST_CLASSES = 20

_END = "\0"
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MISSING = re.compile(r"(\?|NA|N/A|[+-]?(?i:nan|inf|infinity))?")


# -- files ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Named columns of texts, as they stand in a file.

    ``columns`` holds the cells of each column, without spaces around them; ``lines`` the line
    of the file that each row begins in, counted from 1.
    """

    path: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def cells(self, name: str) -> Sequence[str]:
        """The cells of a column; a ``DataError`` if there is none of that name."""
        if name in self.columns:
            return self.columns[name]
        folded = [known for known in self.columns if known.lower() == name.lower()]
        close = folded or get_close_matches(name, self.columns, n=1)
        hint = f" (did you mean {close[0]!r:.60}?)" if close else ""
        raise DataError(
            f"{self.path} has no column {name!r:.60}{hint}; it has {_listed(self.columns)}."
        )

    def at(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.path}, line {self.lines[row]}"


def read_csv(path: str | PathLike[str]) -> Table:
    """A table out of a text file in UTF-8, of which the first line names the columns.

    What separates cells is the one of comma, semicolon, tab and ``|`` that is most often in
    the first line; a cell in double quotes may hold it too. Blank lines count for nothing.
    A ``DataError`` names the line if the file is no such table; what keeps it from being read
    at all stays an ``OSError``.
    """
    records = _records(str(path), _text(Path(path)))
    names = next((cells for _, cells in records if any(cells)), [])
    _check_names(str(path), names)
    lines, rows = [], []
    for line, cells in records:
        if cells == [""] and len(names) > 1:
            continue
        if len(cells) != len(names):
            raise DataError(
                f"{path}, line {line} has {len(cells)} cells; the first line names "
                f"{len(names)} columns."
            )
        lines.append(line)
        rows.append(cells)
    if not rows:
        raise DataError(f"{path} has names of columns and no rows.")
    return Table(str(path), dict(zip(names, zip(*rows, strict=True), strict=True)), lines)


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line(error.object[: error.start].decode())
        raise DataError(f"{path}, line {line} is not UTF-8; save the file as UTF-8.") from None
    if _END in text:
        line = _line(text[: text.index(_END)])
        raise DataError(f"{path}, line {line} has a NUL byte; save the file as text in UTF-8.")
    return text


def _line(before: str) -> int:
    return len(re.findall("\r\n|\r|\n", before)) + 1


def _records(path: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The line each record begins in, and its cells; empty lines left out."""
    lines = io.StringIO(text, newline=None).readlines()
    first = re.sub('"[^"]*"', "", next(filter(str.strip, lines), ""))
    delimiter = max(",;\t|", key=first.count)
    # A quote left open swallows all that follows, the end mark too.
    reader = csv.reader([*lines, _END], delimiter=delimiter, skipinitialspace=True)
    line = 1
    try:
        for cells in reader:
            if cells == [_END]:
                return
            if cells and cells[-1].endswith(_END):
                raise DataError(f"{path}, line {line}: a quote is opened and never closed.")
            if cells:
                yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {line}: {error}; is a quote left open?") from None


def _check_names(path: str, names: Sequence[str]) -> None:
    if not names:
        raise DataError(f"{path} is empty; the first line must name the columns.")
    if all(_number(name) is not None for name in names):
        raise DataError(f"{path}: the first line must name the columns; it has {_listed(names)}.")
    for name, count in Counter(names).items():
        if name == "":
            raise DataError(f"{path}: column {names.index('') + 1} has no name in the first line.")
        if count > 1:
            raise DataError(f"{path}: {count} columns have the name {name!r:.60}; rename them.")


def _listed(names: Iterable[str]) -> str:
    known = [f"{name!r:.60}" for name in names]
    return ", ".join(known[:10]) + (f", ... ({len(known)} in all)" if len(known) > 10 else "")


def read_npz(path: str | PathLike[str]) -> tuple[HostArray, HostArray | None]:
    """The arrays ``x`` (rows, features) and ``y`` (rows, ...), None if not there, of an npz file.

    A ``DataError`` if the file is damaged or none of ``numpy.savez``, has no ``x``, or holds
    Python objects, which are never unpickled.
    """
    with Path(path).open("rb") as file:
        if not is_zipfile(file):
            raise DataError(f"{path} is not an npz file; numpy.savez(path, x=x, y=y) writes one.")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as arrays:
                names = list(arrays)
                x, y = (np.asarray(arrays[name]) if name in names else None for name in "xy")
        except Exception as error:  # NumPy, zipfile and zlib have a dozen kinds for damage
            raise DataError(f"{path} is damaged, or holds Python objects: {error}") from error
    if x is None:
        raise DataError(f"{path} has no array 'x'; it has {_listed(names) or 'none'}.")
    if x.ndim != 2 or (y is not None and y.shape[:1] != x.shape[:1]):
        got = f"x {x.shape}" + ("" if y is None else f" and y {y.shape}")
        raise DataError(f"{path}: x is (rows, features) and y has as many rows; got {got}.")
    return x, y


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
                f"known from the training are {_listed(texts)}."
            )
    return np.array([position[text] for text in cells])


# -- cells ---------------------------------------------------------------------------------


def _number(text: str) -> float | None:
    """A finite number in decimal notation; not what else Python takes for one."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) < float("inf") else None


def _numbers(table: Table, name: str) -> HostArray:
    """(rows,) float64, out of a column in which every cell is a number."""
    cells = table.cells(name)
    values = {text: _number(text) for text in set(cells)}
    strange = [row for row, text in enumerate(cells) if values[text] is None]
    if strange:
        raise DataError(
            f"{table.path}: column {name!r:.60}: {len(strange)} of {len(cells)} cells are not "
            f"numbers, first {cells[strange[0]]!r:.60} in line {table.lines[strange[0]]}; "
            "remove or fill them."
        )
    return np.array([values[text] for text in cells], dtype=np.float64)


def _holds_numbers(table: Table, name: str) -> bool:
    """Whether a column is one of numbers and not of texts; a mixture of them is an error."""
    cells = table.cells(name)
    if _mostly_numbers(cells):
        _numbers(table, name)
        return True
    if _mostly_numbers(text.replace(",", "") for text in cells):
        row = next(row for row, text in enumerate(cells) if "," in text)
        raise DataError(
            f"{table.path}: column {name!r:.60} has numbers with commas, first "
            f"{cells[row]!r:.60} in line {table.lines[row]}; write them like 1234.5."
        )
    return False


def _mostly_numbers(cells: Iterable[str]) -> bool:
    """More than half are numbers, of the cells that are not missing."""
    counts = Counter(cells)
    numbers = sum(count for text, count in counts.items() if _number(text) is not None)
    missing = sum(count for text, count in counts.items() if _MISSING.fullmatch(text))
    return 2 * numbers > counts.total() - missing


# -- targets -------------------------------------------------------------------------------


def target_values(table: Table, name: str) -> HostArray:
    """The column to learn, (rows,): int64 if all are whole numbers, float64 if numbers, or text.

    ``1.0`` is a whole number too. A ``DataError`` if cells are missing or of different kinds.
    """
    cells = table.cells(name)
    if _holds_numbers(table, name):
        values = _numbers(table, name)
        whole = {text: _whole(text) for text in set(cells)}
        if None in whole.values():
            return values
        return np.array([whole[text] for text in cells], dtype=np.int64)
    for row, text in enumerate(cells):
        if _MISSING.fullmatch(text):
            raise DataError(
                f"{table.at(row)}: target {name!r:.60} is {text!r:.60}; remove or fill such rows."
            )
    return np.array(cells, dtype=np.str_)


def _whole(number: str) -> int | None:
    """The whole number in the range of int64 that a number's text stands for, if any."""
    value = int(number) if _WHOLE.fullmatch(number) else float(number)
    return int(value) if -(2**63) <= value < 2**63 and value == int(value) else None


def as_classes(y: HostArray) -> HostArray:
    """Targets as classes: whole numbers become int64; a ``DataError`` if others are among them."""
    if y.dtype.kind != "f":
        return y
    with np.errstate(invalid="ignore"):
        whole = y.astype(np.int64)
    if (whole != y).any():
        raise DataError(f"classes are text or whole numbers; got {y[whole != y][0]}.")
    return whole


def is_classes(y: HostArray) -> bool:
    """Whether targets look like classes, one a row, rather than quantities.

    Text and booleans are classes, floats are quantities; whole numbers are classes if there
    are at most 20 different ones.
    """
    kind = y.dtype.kind
    few = kind in "iu" and len(np.unique(y)) <= MOST_CLASSES
    return y.ndim == 1 and (kind in "bUS" or few)
