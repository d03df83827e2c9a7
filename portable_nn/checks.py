"""The door: what users give is checked here, once, before the first step.

Host side. Everything beyond this door trusts its callers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj

from portable_nn.arrays import brief, entries, numeric, read, unreadable, variable
from portable_nn.backend import Backend, namespace_backend
from portable_nn.errors import DataError, NetworkError, PortableNNError, ShapeError
from portable_nn.runner import to_host
from portable_nn.schedules import real

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def backend_of(**arrays: Any) -> Backend | None:
    """The backend that arrays of another library than NumPy live on; None if there are none.

    Raises
    ------
    DataError
        If they live in more than one place.
    """
    parts = {label: part for name, given in arrays.items() for label, part in _parts(given, name)}
    found = {name: _place(array, name) for name, array in parts.items() if _of_a_library(array)}
    if len(set(map(id, found.values()))) > 1:
        places = ", ".join(f"{name} {backend!r}" for name, backend in found.items())
        raise DataError(f"the arrays live in different places: {places}; or say backend=....")
    return next(iter(found.values()), None)


def _parts(given: Any, name: str) -> list[tuple[str, Any]]:
    """An array, or several by name, each with what errors call it."""
    if not isinstance(given, Mapping):
        return [(name, given)]
    return [(f"{name}[{key!r}]", part) for key, part in given.items()]


def _place(array: Any, name: str) -> Backend:
    try:
        if device(array) is None:  # of an array that is traced
            raise TypeError("it has no values yet")
        return namespace_backend(array_namespace(array), device(array))
    except PortableNNError:
        raise
    except Exception as error:  # an array that is traced or deleted has no place
        raise unreadable(name, error) from error


def _of_a_library(given: Any) -> bool:
    """Whether it is an array with a place of its own: neither NumPy's nor a list or table."""
    return is_array_api_obj(given) and not isinstance(given, np.ndarray | np.generic | type)


def like(given: Any, values: HostArray) -> Any:
    """Results in the kind of the array (or the arrays) they are of: its library, on its device.

    Text, and what that library cannot hold exactly, stays a NumPy array.
    """
    given = next((part for _, part in _parts(given, "") if _of_a_library(part)), None)
    if values.dtype.kind not in "biuf" or given is None:
        return values
    xp = array_namespace(given)
    found = xp.asarray(values, device=device(given))
    same = np.array_equal(to_host(found), values, equal_nan=values.dtype.kind == "f")
    return found if same else values


def table(x: Any, features: int | None = None, name: str = "x") -> HostArray:
    """``x`` as a host array of finite numbers (n, features), n >= 1; a copy."""
    host = array(x, name, copy=True)
    two_axes(host.shape, name)
    not_empty(host, name)
    if features is not None:
        width(host.shape, features, name)
    return numeric(host, name, x)


def array(x: Any, name: str, copy: bool = False) -> HostArray:
    """On the host, no text; see ``read`` for ``copy``."""
    return entries(read(x, name, copy), name, x, text=False)


def not_empty(host: HostArray, name: str) -> HostArray:
    """The array, which has an element."""
    if host.size == 0:
        raise ShapeError(f"{name} has nothing in it: {host.shape}.")
    return host


def two_axes(shape: tuple[int, ...], name: str, why: str = "") -> None:
    """Rows and features."""
    if len(shape) == 2:
        return
    code, remedy = variable(name), ""
    if len(shape) > 2:
        remedy = f" Flatten the rest: {code}.reshape(len({code}), -1){why}."
    if len(shape) == 1:
        remedy = f" A single row is {code}[None, :], a single column {code}[:, None]."
    raise ShapeError(f"{name} is a table, (rows, features); got {shape}.{remedy}")


def width(shape: tuple[int, ...], features: int, name: str) -> None:
    """So many features a row."""
    if math.prod(shape[1:]) != features:
        code, remedy = variable(name), ""
        if shape[0] == features:
            remedy = f" Transpose it: {code}.T."
            if len(shape) == 1:
                remedy = f" A single row is {code}[None, :]."
        raise ShapeError(f"the network takes (n, {features}); got {name} {shape}.{remedy}")


def targets(
    y: Any,
    rows: int,
    name: str = "y",
    columns: int | None = None,
    row_shape: tuple[int, ...] | None = None,
    copy: bool = False,
) -> HostArray:
    """``y`` as a host array of text or finite numbers, with one entry a row of ``x``.

    ``columns`` of ``x`` tell whether it was to be transposed. Rows of ``row_shape``, that of the
    network's last layer, become flat. See ``read`` for ``copy``.
    """
    host = entries(read(y, name, copy), name, y)
    _one_a_row(host, rows, name, columns)
    if host.dtype.kind not in "biufUS":
        raise DataError(f"{name} holds {host.dtype!s:.60}; give text or real numbers.")
    host = numeric(host, name, y) if host.dtype.kind == "f" else host
    if row_shape is None:
        return host
    if host.shape[1:] != row_shape:
        wanted = ", ".join(map(str, row_shape))
        raise ShapeError(
            f"the network ends in Reshape({row_shape}), so {name} must be (n, {wanted}); got "
            f"{host.shape}."
        )
    return host.reshape(len(host), -1)


def _one_a_row(host: HostArray, rows: int, name: str, columns: int | None = None) -> None:
    if host.ndim == 0 or len(host) != rows:
        x = "validation x" if name.startswith("validation") else "x"
        turned = " Transpose it: x.T." if host.ndim and len(host) == columns else ""
        raise ShapeError(f"{x} has {rows} row{'s' * (rows != 1)}; got {name} {host.shape}.{turned}")


def weights(weight: Any, rows: int, name: str = "sample_weight") -> HostArray:
    """Sample weights (rows,), not negative, not all zero; ones if None."""
    if weight is None:
        return np.ones(rows)
    host = numeric(read(weight, name), name, weight).astype(np.float64)
    _one_a_row(host, rows, name)
    if host.ndim != 1:
        raise ShapeError(f"{name} is (n,), one number a row; got {host.shape}.")
    if (host < 0.0).any():
        row = int(np.argmax(host < 0.0))
        raise DataError(f"{name}[{row}] is {host[row]}; weights are not negative.")
    if not host.any():
        raise DataError(f"{name} is all zeros; weights are not negative, and not zero everywhere.")
    ratios: HostArray = host / host.max()  # only they count
    if ratios[ratios > 0.0].min() < 1e-30:
        raise DataError(f"{name} spans more than 30 powers of ten; use 0 for the least.")
    return ratios


def count(value: Any, name: str) -> int:
    """A whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DataError(f"{name} is a whole number, 1 or more; got {brief(value)}.")
    return int(value)


def flag(value: Any, name: str) -> None:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise DataError(f"{name} is True or False; got {brief(value)}.")


def patterns(given: Any, name: str) -> tuple[str, ...]:
    """Names, or one alone."""
    found = (given,) if isinstance(given, str) else given
    if not isinstance(found, Sequence) or not all(isinstance(each, str) for each in found):
        raise NetworkError(
            f"{name} is a name, or a list of them, such as ['dense1', '*.bias']; got "
            f"{brief(given)}."
        )
    return tuple(found)


def interval(given: Any, name: str) -> tuple[float, float]:
    """Two finite numbers (low, high), low below high."""
    pair = given if isinstance(given, tuple | list | np.ndarray) and len(given) == 2 else (0, 0)
    low, high = map(real, pair)
    if not -math.inf < low < high < math.inf:
        raise DataError(f"{name} is (low, high), two numbers, low below high; got {brief(given)}.")
    return low, high


def seed(value: Any) -> None:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise DataError(f"seed is a whole number, 0 or more; got {brief(value)}.")
