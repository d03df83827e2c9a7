"""Opening a GPU, with an error that says what is missing, and keeping to it.

CuPy works on the *current* device of the thread, whatever device its arrays are on; so every
function of the namespace, and every section of a plan, runs inside the backend's own device.
None of this has run on a GPU yet.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from portable_nn.errors import BackendError
from portable_nn.runner import Reference

INSTALL = "pip install 'cupy-cuda13x[ctk]'"
OLDER = "with a driver older than 580, 'cupy-cuda12x[ctk]'"


class CuPyBackend(Reference):
    """Runs plans on one NVIDIA GPU through CuPy; ``device`` is a ``cupy.cuda.Device``."""

    def __init__(self, xp: Any, device: Any) -> None:
        keep_to = partial(_inside, device)
        functions = {name: _if_function(keep_to, getattr(xp, name)) for name in dir(xp)}
        there: Any = SimpleNamespace(**functions)
        super().__init__("cupy", there, device, compile=keep_to)

    def describe(self) -> str:
        """Name, free memory and CUDA versions of the GPU, in one line."""
        cupy, _ = _libraries()
        runtime, number = cupy.cuda.runtime, int(self.device)
        name = runtime.getDeviceProperties(number)["name"].decode()
        with self.device:
            free, total = (size / 2**30 for size in runtime.memGetInfo())
        cuda = f"CUDA {_dotted(runtime.runtimeGetVersion())}"
        driver = f"a driver for up to CUDA {_dotted(runtime.driverGetVersion())}"
        return f"cupy:{number}, {name}, {free:.1f} of {total:.1f} GiB free; {cuda}, {driver}"


def _dotted(version: int) -> str:
    """``"13.1"`` of 13010."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _inside(device: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with ``device`` the current one while it runs."""

    def call(*arguments: Any, **options: Any) -> Any:
        with device:
            return function(*arguments, **options)

    return call


def _if_function(change: Callable[..., Any], value: Any) -> Any:
    return change(value) if callable(value) and not isinstance(value, type) else value


def open_backend(device: Any = None) -> CuPyBackend:
    """The GPU of this number (text or ``cupy.cuda.Device``), the current one if None.

    Raises
    ------
    BackendError
        If CuPy is missing, or finds no usable driver, no such device or no CUDA libraries;
        each with the one command that helps.
    """
    cupy, xp = _libraries()
    if not cupy.is_available():
        raise BackendError(
            f"CuPy {cupy.__version__} is installed, but finds no NVIDIA GPU with a usable driver. "
            f"See what the driver says with: nvidia-smi"
        )
    found = _device(cupy, device)
    try:
        with found:  # needs a memory pool, compiled kernels and cuBLAS, as every plan does
            (xp.ones((1, 1)) @ xp.ones((1, 1)) + 1.0).get()
    except Exception as error:  # CuPy raises several kinds for a library it cannot load
        raise BackendError(
            f"CuPy {cupy.__version__} cannot compute on {found} ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}). CUDA's libraries come with: {INSTALL} ({OLDER})"
        ) from error
    return CuPyBackend(xp, found)


def _libraries() -> tuple[Any, Any]:
    """CuPy, and its array API namespace."""
    try:
        return importlib.import_module("cupy"), importlib.import_module("array_api_compat.cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            raise BackendError(
                f"backend 'cupy' needs CuPy, which is not installed. Install it with: {INSTALL} "
                f"({OLDER})"
            ) from error
        raise _broken(error) from error
    except ImportError as error:
        raise _broken(error) from error


def _broken(error: ImportError) -> BackendError:
    return BackendError(f"CuPy is installed, but does not load ({error}). Try: {INSTALL} ({OLDER})")


def _device(cupy: Any, device: Any) -> Any:
    count = cupy.cuda.runtime.getDeviceCount()
    if device is None:
        return cupy.cuda.Device()
    if isinstance(device, str) and not device.isdecimal():
        raise BackendError(f"a CuPy device is a number, as in 'cupy:0'; got 'cupy:{device}'.")
    if int(device) >= count:
        raise BackendError(
            f"there is no device 'cupy:{int(device)}': CuPy sees {count}, from 'cupy:0' to "
            f"'cupy:{count - 1}'. List them with: nvidia-smi -L"
        )
    return cupy.cuda.Device(int(device))
