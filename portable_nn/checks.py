"""The door: what users give is checked here, once, before the first step.

Host side. Everything beyond this door trusts its callers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj

from portable_nn.backend import Backend, namespace_backend
from portable_nn.errors import DataError, NetworkError, ShapeError
from portable_nn.runner import to_host

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

T = TypeVar("T")


def backend_of(**arrays: Any) -> Backend | None:
    """The backend that arrays of another library than NumPy live on; None if there are none.

    Raises
    ------
    DataError
        If they live in more than one place.
    """
    found = {
        name: namespace_backend(array_namespace(array), device(array))
        for name, array in arrays.items()
        if _of_a_library(array)
    }
    if len(set(map(id, found.values()))) > 1:
        places = ", ".join(f"{name} {backend!r}" for name, backend in found.items())
        raise DataError(f"the arrays live in different places: {places}; or say backend=....")
    return next(iter(found.values()), None)


def _of_a_library(given: Any) -> bool:
    """Whether it is an array with a place of its own: neither NumPy's nor a list or table."""
    return is_array_api_obj(given) and not isinstance(given, np.ndarray | np.generic)


def like(given: Any, values: HostArray) -> Any:
    """Results in the kind of the array they are of: its library, on its device.

    Text, and what that library cannot hold exactly, stays a NumPy array.
    """
    if values.dtype.kind not in "biuf" or not _of_a_library(given):
        return values
    xp = array_namespace(given)
    found = xp.asarray(values, device=device(given))
    return found if np.array_equal(to_host(found), values) else values


def table(x: Any, features: int | None = None, name: str = "x") -> HostArray:
    """``x`` as a host array of finite numbers (n, features), n >= 1; a copy."""
    host = _host(x, name)
    if host.ndim != 2:
        raise ShapeError(
            f"{name} is a table, (rows, features); got {host.shape}. A single row is x[None, :]."
        )
    if host.shape[0] == 0 or host.shape[1] == 0:
        raise ShapeError(f"{name} has nothing in it: {host.shape}.")
    if features is not None and host.shape[1] != features:
        raise ShapeError(f"the network takes (n, {features}); got {name} {host.shape}.")
    numeric(host, name)
    return host


def cast(host: HostArray, dtype: str, name: str) -> HostArray:
    """Numbers as ``dtype``, where all of them must still be finite."""
    with np.errstate(over="ignore"):
        small = host.astype(dtype, copy=False)
    if not np.isfinite(small).all():
        raise DataError(f"{name} has values up to {np.abs(host).max()}, too large for {dtype}.")
    return small


def _host(given: Any, name: str) -> HostArray:
    if np.ma.is_masked(given):
        raise DataError(f"{name} has masked values; remove or fill them.")
    try:
        return to_host(given)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        raise DataError(f"{name} cannot be read as an array: {error}") from error


def numeric(host: HostArray, name: str) -> None:
    """Numbers, all finite, or a ``DataError`` that says where not."""
    if host.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {host.dtype}, not numbers; encode it first.")
    if host.dtype.kind == "f" and not np.isfinite(host).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
        raise DataError(f"{name}{list(place)} is {host[place]}; remove or fill such values.")


def targets(y: Any, rows: int, name: str = "y") -> HostArray:
    """``y`` as a host array with one entry a row of ``x``."""
    host = _host(y, name)
    if host.dtype == object:
        host = _labels(host, name)
    if host.ndim == 0 or len(host) != rows:
        raise ShapeError(f"x has {rows} rows; got {name} {host.shape}.")
    if host.dtype.kind == "f":
        numeric(host, name)
    return host


def _labels(host: HostArray, name: str) -> HostArray:
    """Text or whole numbers out of an array of objects, which is how tables hold labels."""
    for kind in (str, bool, int):
        if all(isinstance(label, kind) for label in host.flat):
            labels = np.array(host.tolist())
            if labels.dtype != object:
                return labels
    raise DataError(f"{name} mixes kinds of objects; give text only, or whole numbers only.")


def weights(weight: Any, rows: int) -> HostArray:
    """Sample weights (rows,), not negative, not all zero; ones if None."""
    if weight is None:
        return np.ones(rows)
    host = targets(weight, rows, "sample_weight")
    numeric(host, "sample_weight")
    host = host.astype(np.float64)
    if host.ndim != 1 or (host < 0.0).any() or not host.any():
        raise DataError("sample_weight is (n,), not negative, and not zero everywhere.")
    ratios: HostArray = host / host.max()  # only they count
    if ratios[ratios > 0.0].min() < 1e-30:
        raise DataError("sample_weight spans more than 30 powers of ten; use 0 for the least.")
    return ratios


def count(value: Any, name: str) -> int:
    """A whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DataError(f"{name} is a whole number, 1 or more; got {value!r}.")
    return int(value)


def seed(value: Any) -> None:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise DataError(f"seed is a whole number, 0 or more; got {value!r}.")


def named(name: Any, table: Mapping[str, Callable[[], T]], what: str) -> T:
    """What a name stands for."""
    if not isinstance(name, str) or name not in table:
        known = f"one of {', '.join(table)}, or a {what.capitalize()} object"
        raise NetworkError(f"{what} is {known}; got {name!r}.")
    return table[name]()
