"""What a backend is, and how one is chosen by name.

The contract is these seven names and the three of a ``Step``; everything else a backend does
is its own affair. The core never imports a backend: names first, imports late.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from portable_nn.errors import BackendError
from portable_nn.plan import Plan
from portable_nn.runner import Reference
from portable_nn.typing import Array, Namespace

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


class Step(Protocol):
    """A plan bound to state and to a number of rows, ready to run."""

    def run(self, fed: Mapping[str, Any], section: str | None = None) -> None:
        """Fill the fed buffers and run one section, or all of them."""

    def read(self, name: str) -> Any:
        """A parameter, state or kept value: the plan's dtype, shape and meaning."""

    def write(self, name: str, value: Any) -> None:
        """Set a parameter, state or kept value, in the same terms."""


@runtime_checkable
class Backend(Protocol):
    """An array namespace, a device, and a way to run a plan.

    ``state`` maps names to backend arrays and is shared by all steps started on it: whatever
    a step carries, the others see. ``start`` may replace its arrays by copies laid out
    better; steps started earlier are then out of date, and are to be started anew. Fed
    buffers found in it (a data set that stays on the device) are bound once, the others come
    with each run.
    """

    name: str
    xp: Namespace
    device: Any

    def asarray(self, value: Any, dtype: str) -> Array:
        """Copy a host array to the device; dtype ``"float32"``, ``"float64"`` or ``"index"``."""

    def to_host(self, array: Any) -> HostArray:
        """Copy a backend array to host memory."""

    def start(self, plan: Plan, state: MutableMapping[str, Any], n: int) -> Step:
        """Bind a plan to state, and to ``n`` rows a step."""

    def synchronize(self) -> None:
        """Wait for all work queued so far."""


BUILT_IN = {"numpy": "portable_nn_numpy"}
"""Backends that come with the package: name, and the module whose ``open_backend`` makes one."""


def get_backend(backend: str | Backend | None = None) -> Backend:
    """The backend of this name; ``None`` asks ``PORTABLE_NN_BACKEND``, then takes NumPy.

    Parameters
    ----------
    backend
        A ``Backend``; or ``"numpy"``; or any array API library with an optional device,
        ``"torch"``, ``"torch:cuda:0"``, ``"jax"``, ``"cupy"``, ``"array_api_strict"``, which
        runs through the reference runner; or a name from the entry points of group
        ``portable_nn.backends``.

    Raises
    ------
    BackendError
        If nothing of this name is installed or usable here.
    """
    if backend is None:
        backend = os.environ.get("PORTABLE_NN_BACKEND") or "numpy"
    if isinstance(backend, str):
        return _open(backend)
    if isinstance(backend, type) or not isinstance(backend, Backend):
        raise BackendError(f"backend is a name or a Backend, which this is not: {backend!r}.")
    return backend


@lru_cache(maxsize=16)
def _open(backend: str) -> Backend:
    """One object a name, so that asking for the same backend twice gives the same one."""
    name, _, device = backend.partition(":")
    module = BUILT_IN.get(name) or _entry_points().get(name)
    if module is not None:
        opened: Backend = _module(name, module).open_backend(device or None)
        return opened
    xp = _namespace(name)
    try:
        return Reference(backend, xp, _device(xp, device) if device else None)
    except Exception as error:  # each library raises its own kind for a device it lacks
        cause = f"{type(error).__name__}: {error}"
        raise BackendError(f"backend {backend!r} cannot be used here ({cause}).") from error


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, str]:
    return {entry.name: entry.value for entry in entry_points(group="portable_nn.backends")}


def _module(name: str, module: str) -> ModuleType:
    """The module that an entry point names, or that comes with the package."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(f"backend {name!r} is {module}, which fails: {error}") from error


def _namespace(name: str) -> ModuleType:
    """The array API namespace of a library, through array-api-compat where it has one."""
    for module in (f"array_api_compat.{name}", name, f"{name}.numpy"):
        try:
            found = importlib.import_module(module)
        except (ImportError, TypeError, ValueError):  # missing, or no name of a module
            continue
        if hasattr(found, "__array_namespace_info__"):
            return found
    raise BackendError(
        f"backend {name!r} is not installed, or is no array API library (2024.12 or later). "
        f"Install it, or use backend='numpy', which is always there."
    )


def _device(xp: Namespace, name: str) -> Any:
    """The namespace's device whose text names ``name``, else the name itself."""
    with warnings.catch_warnings(action="ignore"):  # torch: a device type it deprecates
        devices = xp.__array_namespace_info__().devices()
    word = re.compile(rf"\b{re.escape(name)}\b")
    return next((device for device in devices if word.search(str(device))), name)
