"""Data out of files as people keep them: CSV and npz.

Host side.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

import numpy as np

from portable_nn.errors import DataError
from portable_nn.tables import Table, listed, number

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

_END = "\0"


def read_csv(path: str | PathLike[str]) -> Table:
    """A table out of a text file in UTF-8, of which the first line names the columns.

    The file may be compressed with gzip.
    What separates cells is the one of comma, semicolon, tab and ``|`` that is most often in
    the first line; a cell in double quotes may hold it too. Lines without a cell count for nothing.
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
    data = _unpacked(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line(error.object[: error.start].decode())
        raise DataError(f"{path}, line {line} is not UTF-8; save the file as UTF-8.") from None
    if _END in text:
        line = _line(text[: text.index(_END)])
        raise DataError(f"{path}, line {line} has a NUL byte; save the file as text in UTF-8.")
    return text


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{path} is an archive, a spreadsheet perhaps; save it as CSV in UTF-8.")
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file: {error}.") from error


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
    if all(number(name) is not None for name in names):
        raise DataError(f"{path}: the first line must name the columns; it has {listed(names)}.")
    for name, count in Counter(names).items():
        if name == "":
            raise DataError(f"{path}: column {names.index('') + 1} has no name in the first line.")
        if count > 1:
            raise DataError(f"{path}: {count} columns have the name {name!r:.60}; rename them.")


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
        raise DataError(f"{path} has no array 'x'; it has {listed(names) or 'none'}.")
    if x.ndim != 2 or (y is not None and y.shape[:1] != x.shape[:1]):
        got = f"x {x.shape}" + ("" if y is None else f" and y {y.shape}")
        raise DataError(f"{path}: x is (rows, features) and y has as many rows; got {got}.")
    return x, y
