"""Arrays, tables and lists as users give them, read into host memory as numbers or text.

Host side. What NumPy would quietly turn into something else is an error that names the place.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import is_array_api_obj

from portable_nn.errors import DataError
from portable_nn.pieces import is_constant, not_finite
from portable_nn.runner import to_host

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

NOT_IN_NUMPY = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")
NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


def brief(value: Any) -> str:
    """What a value looks like, on one line of at most 60 characters."""
    return " ".join(f"{value!r:.240}".split())[:60]


def variable(name: str) -> str:
    """What to call it in code: the ``y`` of "validation y"."""
    return name.removeprefix("validation ")


def read(given: Any, name: str, copy: bool = False) -> HostArray:
    """In host memory; of objects where a list mixes text and other things.

    A NumPy array is read where it lies, through a view that cannot be written to; with ``copy``
    only if nobody can write to it.
    """
    _refuse(given, name)
    try:
        host = _on_host(given, copy)
        if host.dtype.kind in "US" and isinstance(given, list | tuple):
            host = np.array(given, dtype=object)  # as text, 1 and NaN would be '1' and 'nan'
    except Exception as error:  # whatever another library raises
        raise unreadable(name, error) from error
    if host.ndim == 0 and host.dtype.kind in "OUSV":
        raise DataError(f"{name} is {_what(given)}; {_instead(given, name)}.")
    return host.astype(object) if host.dtype.kind == "T" else host


def _on_host(given: Any, copy: bool) -> HostArray:
    if isinstance(given, np.ndarray) and (not copy or is_constant(given)):
        view = np.asarray(given)[...]
        view.flags.writeable = False  # it is the user's
        return view
    # Tables of other kinds export DLPack for some of their columns only.
    return to_host(given) if is_array_api_obj(given) else np.array(given)


def unreadable(name: str, error: Exception) -> DataError:
    """The error of an array that its own library does not hand out."""
    reason = " ".join(str(error).split())[:160].rstrip(".")
    return DataError(f"{name} cannot be read as an array: {reason or type(error).__name__}.")


def _refuse(given: Any, name: str) -> None:
    """What could be read, but not as what it is, or with an error that does not help."""
    parts = given if isinstance(given, list | tuple) else (given,)
    if any(map(np.ma.is_masked, parts)):
        raise DataError(f"{name} has masked values; remove or fill them.")
    dtype = str(getattr(given, "dtype", "")).removeprefix("torch.")
    if dtype.startswith(NOT_IN_NUMPY):
        wider = "float()" if hasattr(given, "float") else 'astype("float32")'
        raise DataError(
            f"{name} is {dtype}, which NumPy does not have; give {variable(name)}.{wider}."
        )
    if getattr(given, "requires_grad", False) is True:
        raise DataError(f"{name} keeps track of gradients; give {variable(name)}.detach().")


def _what(given: Any) -> str:
    kind = type(given).__name__
    return "None" if given is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _instead(given: Any, name: str) -> str:
    for method in ("toarray", "collect"):  # sparse matrices, lazy tables
        if hasattr(given, method):
            return f"give {variable(name)}.{method}()"
    if isinstance(given, Iterator):
        return f"give list({variable(name)})"
    return "give an array, a list or a table"


def place(name: str, index: tuple[int, ...], given: Any = None) -> str:
    """Where in an array, with the name of the column if it came from a table with names."""
    columns = getattr(given, "columns", None)
    column = None
    if columns is not None and len(index) == 2 and len(columns) > index[1]:
        column = list(columns)[index[1]]
    return f"{name}{list(index)}" + (f" (column {column!r:.60})" if isinstance(column, str) else "")


def entries(host: HostArray, name: str, given: Any = None, text: bool = True) -> HostArray:
    """An array of objects as one of the kind they all are: text, bytes or numbers.

    Without ``text`` they must be numbers. ``given`` is where names of columns may stand.
    """
    if host.dtype != object:
        return host
    first: dict[str, tuple[int, ...]] = {}
    for index, cell in np.ndenumerate(host):
        kind = _kind(cell)
        if not kind or (kind != "numbers" and not text):
            where, remedy = place(name, index, given), _remedy(cell, text)
            raise DataError(f"{where} is {brief(cell)}; {remedy}.")
        first.setdefault(kind, index)
    if len(first) > 1:
        examples = ", ".join(f"{place(name, i)} is {brief(host[i])}" for i in first.values())
        raise DataError(f"{name} mixes {' and '.join(first)}: {examples}; give one kind only.")
    found = np.array(host.tolist())
    if found.dtype == object:
        raise DataError(f"{name} has whole numbers of more than 64 bits; give floats.")
    return found


def _kind(cell: Any) -> str:
    """What a label or number is; nothing for what is neither, NaN among them."""
    if isinstance(cell, str | bytes):
        return "text" if isinstance(cell, str) else "bytes"
    return "numbers" if isinstance(cell, NUMBERS) and cell == cell else ""


def _remedy(cell: Any, text: bool) -> str:
    if cell is None or isinstance(cell, NUMBERS) or type(cell).__name__ in ("NAType", "NaTType"):
        return "remove or fill such values"
    if isinstance(cell, Number):
        return "give int, float or bool"
    return "give text or numbers" if text else "fill or encode it"


def numbers(host: HostArray, name: str, given: Any = None) -> HostArray:
    """Numbers, finite or not; or a ``DataError`` that says what else it holds."""
    host = entries(host, name, given, text=False)
    if host.dtype.kind not in "biuf":
        text = (
            f", or give {variable(name)}.astype(float) if it is numerals"
            if host.dtype.kind in "US"
            else ""
        )
        raise DataError(f"{name} holds {host.dtype!s:.60}, not numbers; encode it first{text}.")
    return host


def numeric(host: HostArray, name: str, given: Any = None) -> HostArray:
    """Numbers, all finite, at most float64; or a ``DataError`` that says where not."""
    host = numbers(host, name, given)
    if host.dtype.kind != "f":
        return host
    index = not_finite(host)
    if index is not None:
        where = place(name, index, given)
        raise DataError(f"{where} is {host[index]}; remove or fill such values.")
    return cast(host, "float64", name) if host.dtype.itemsize > 8 else host


def cast(host: HostArray, dtype: str, name: str, given: HostArray | None = None) -> HostArray:
    """Numbers as ``dtype``, where all of them must still be finite.

    ``given`` are the numbers as the user knows them, if ``host`` was standardized.
    """
    with np.errstate(all="ignore"):
        small = host.astype(dtype, copy=False)
    index = not_finite(small)
    if index is not None:
        known = host if given is None else given
        index = index[: known.ndim]
        raise too_large(place(name, index), known[index], dtype, given is not None)
    return small


def too_large(where: str, number: Any, dtype: str, scaled: bool) -> DataError:
    """The error of a number that ``dtype`` cannot hold."""
    when = " once standardized" if scaled else ""
    return DataError(f"{where} is {number!s}, too large for {dtype}{when}.")
