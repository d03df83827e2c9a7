"""What a backend is, and how one is chosen by name.

The contract is these seven names and the three of a ``Step``; everything else a backend does
is its own affair. The core never imports a backend: names first, imports late.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from portable_nn.errors import BackendError
from portable_nn.plan import Plan
from portable_nn.runner import Reference, Watch
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
class Repeating(Step, Protocol):
    """A step that can run many times at once, which is its own affair to have or not.

    ``done`` is how many of the runs of the last ``repeat`` have ended, also if one failed.
    """

    done: int

    def repeat(self, fed: Mapping[str, Any]) -> Array:
        """Run all sections k times; returns the losses (k,).

        Each fed array has one axis more than its buffer, in front: entry j is for run j. The same
        numbers as from ``run``, one after another; what is read afterwards is of the last.
        """


@runtime_checkable
class Backend(Protocol):
    """An array namespace, a device, and a way to run a plan.

    ``state`` maps names to backend arrays and is shared by all steps started on it: whatever
    a step carries, the others see. ``start`` may replace its arrays by copies laid out
    better; steps started earlier are then out of date, and are to be started anew. Fed
    buffers found in it (a data set that stays on the device) are bound once, the others come
    with each run.

    With an attribute ``on_host`` that is true, host arrays are arrays of the backend: the rows of a
    training are then bound read-only where they lie (C-contiguous, aligned, of the plan's dtype)
    instead of going through ``asarray``; of a file mapped into memory that has to be converted,
    as an object whose ``take``, like an array's, forms the rows asked for.

    A backend that computes some kernels less accurately than its dtype, and means to, may have
    an attribute ``roundoffs``, ``{kernel: unit roundoff}`` (2^-11 for products in TF32): parity
    checks measure these in that unit. With a method ``describe()`` it says in one line what its
    device is, for ``portable-nn doctor``.
    """

    name: str
    xp: Namespace
    device: Any

    def asarray(self, value: Any, dtype: str) -> Array:
        """Copy a host array to the device; dtype ``"float32"``, ``"float64"`` or ``"index"``."""

    def to_host(self, array: Any) -> HostArray:
        """Copy a backend array to host memory."""

    def start(
        self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Watch | None = None
    ) -> Step:
        """Bind a plan to state, and to ``n`` rows a step.

        With a ``watch`` the step shows it every call as it runs it; a backend whose steps
        cannot be looked into raises ``BackendError``.
        """

    def synchronize(self) -> None:
        """Wait for all work queued so far."""


Where = str | ModuleType | Backend | None
"""What names a backend; see ``get_backend``."""

BUILT_IN = {"numpy": "portable_nn_numpy", "cupy": "portable_nn_cupy"}
"""Backends that come with the package: name, and the module whose ``open_backend`` makes one."""

LIBRARIES = {
    "array_api_strict": "pip install array-api-strict",
    "jax": "pip install jax",
    "torch": "pip install torch",
}
"""Libraries that run plans through the reference runner in the tests, and what installs each."""

AUTO = ("cupy", "numpy")
"""What ``"auto"`` tries, in this order."""


def get_backend(backend: Where = None, *, threads: int | None = None) -> Backend:
    """The backend of this name; ``None`` asks ``PORTABLE_NN_BACKEND``, then takes NumPy.

    Parameters
    ----------
    backend
        A ``Backend``. Or a name: ``"numpy"``, ``"cupy"``, ``"cupy:1"`` (a device follows the
        colon); ``"auto"``, which is CuPy where there is a usable GPU and NumPy elsewhere; any
        array API library, ``"torch"``, ``"torch:cuda:0"``, ``"jax"``, ``"array_api_strict"``,
        which runs through the reference runner; a name from the entry points of group
        ``portable_nn.backends``. Or the library itself, as a module.
    threads
        How many threads NumPy's matrix products use; None lets their size decide, and how busy
        the machine is. Other libraries are told in their own ways.

    Raises
    ------
    BackendError
        If nothing of this name is installed or usable here, or does not take ``threads``.
    """
    if _ONLY:
        return _ONLY[-1]
    if threads is not None:
        return _with_threads(get_backend(backend), threads)
    if backend is None and (named := os.environ.get("PORTABLE_NN_BACKEND")):
        try:
            return get_backend(named)
        except BackendError as error:
            raise BackendError(f"PORTABLE_NN_BACKEND={named}: {error}") from error
    if backend is None:
        backend = "numpy"
    if isinstance(backend, ModuleType):
        backend = _name(backend)
    if isinstance(backend, str):
        name, colon, device = backend.removeprefix("array_api_compat.").partition(":")
        if colon and not device:
            raise BackendError(f"a device follows the colon; got backend {backend!r:.60}.")
        return _first_usable(device) if name == "auto" else open_backend(name, device or None)
    if isinstance(backend, type) or not isinstance(backend, Backend):
        raise BackendError(
            f"backend is a name, an array library or a Backend, which this is not: {backend!r:.60}."
        )
    return backend


def _with_threads(backend: Backend, threads: int) -> Backend:
    if not hasattr(backend, "with_threads"):
        raise BackendError(
            f"threads is for NumPy; got threads={threads!r:.20} for {backend.name}, which is told "
            f"in its own way (torch.set_num_threads, say)."
        )
    found: Backend = backend.with_threads(threads)
    return found


_ONLY: list[Backend] = []


@contextmanager
def only(backend: Backend) -> Iterator[None]:
    """As long as it lasts, ``get_backend`` gives this one, whatever is asked for."""
    _ONLY.append(backend)
    try:
        yield
    finally:
        _ONLY.pop()


def backend_names() -> list[str]:
    """All names this library knows of: built in, tested with, or from an entry point here."""
    return [*BUILT_IN, *LIBRARIES, *_entry_points()]


_OPENED: dict[tuple[str, str], Backend] = {}


def open_backend(name: str, device: Any) -> Backend:
    """The backend of a library on a device, given as text or as the library's own object.

    One object for each device, so that asking for the same place twice gives the same one.
    """
    key = name, str(device)  # a device need not be hashable
    if key not in _OPENED:
        opened = _open(name, device)
        place = opened.name, str(opened.device)
        known = (other for other in _OPENED.values() if (other.name, str(other.device)) == place)
        _OPENED[key] = next(known, opened)
    return _OPENED[key]


def _open(name: str, device: Any) -> Backend:
    module = BUILT_IN.get(name) or _entry_points().get(name)
    if module is not None:
        backend: Backend = _module(name, module).open_backend(device)
        return backend
    xp = _namespace(name)
    devices = _devices(xp)
    if isinstance(device, str):
        device = _of_text(devices, device)
    try:
        reference = Reference(name, xp, device)
        reference.synchronize()  # torch's device "meta" holds no numbers
    except Exception as error:  # each library raises its own kind for a device it lacks
        known = ", ".join(str(known) for known in devices if known is not None)
        first = error.__cause__ or error
        cause = f"{type(first).__name__}: {first}".splitlines()[0][:100]
        said = "" if isinstance(first, AttributeError) else f" ({cause})"  # jax, of any text
        raise BackendError(
            f"backend {name!r} has no usable device {str(device)!r} here{said}; it has {known}."
        ) from error
    return reference


def _first_usable(device: str) -> Backend:
    if device:
        raise BackendError(f"backend 'auto' takes no device; got 'auto:{device}'.")
    *better, last = AUTO
    for name in better:
        with suppress(BackendError):
            return open_backend(name, None)
    return open_backend(last, None)


def namespace_backend(xp: Namespace | ModuleType, device: Any) -> Backend:
    """The backend of an array's namespace and device, where computing on the array belongs."""
    if _ONLY:
        return _ONLY[-1]
    return open_backend(_name(xp), device)


def _name(module: Any) -> str:
    """``"torch"`` of torch and of what array-api-compat makes of it; ``"jax"`` of jax.numpy."""
    name: str = module.__name__
    return name.removeprefix("array_api_compat.").removesuffix(".numpy")


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
    raise BackendError(f"backend {name!r} is not installed{_advice(name)}")


def _advice(name: str) -> str:
    if name in LIBRARIES:
        return f", or too old. Install it with: {LIBRARIES[name]}"
    known = ["auto", *backend_names()]
    close = get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known names: {', '.join(known)}."
    if name.lower() in ("gpu", "cuda"):
        hint = "For an NVIDIA GPU: 'cupy', 'torch:cuda' or 'jax:gpu'."
    return f", or is no array API library (2024.12 or later). {hint}"


def _devices(xp: Namespace) -> list[Any]:
    with warnings.catch_warnings(action="ignore"):  # torch: a device type it deprecates
        return list(xp.__array_namespace_info__().devices())


def _of_text(devices: Sequence[Any], text: str) -> Any:
    """The device whose own text is, or names, ``text``, else the text itself."""
    word = re.compile(rf"\b{re.escape(text)}\b")
    named = (device for device in devices if text == str(device) or word.search(str(device)))
    return next(named, text)
