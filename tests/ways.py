"""Every way of running a plan that the tests go through, one id each.

A way that cannot be opened here is a skip that says why; named in ``PORTABLE_NN_REQUIRE``
(ids, separated by commas) it is a failure instead.
"""

import importlib
import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import array_api_compat
import array_api_compat.numpy
import numpy as np
import pytest

from portable_nn import Backend, Reference, get_backend


class Missing(Exception):
    """Why a way cannot be opened here."""


def _need(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(f"import {module}: {' '.join(str(error).split())}"[:200]) from error


# -- NumPy ---------------------------------------------------------------------------------


def _freeze(arrays):
    for array in arrays.values():
        if array.flags.writeable:
            array.flags.writeable = False
    return arrays


class ReadOnly(Reference):
    """NumPy, but whatever enters or leaves a section can no longer be written to."""

    def __init__(self):
        super().__init__(
            "numpy",
            array_api_compat.numpy,
            compile=lambda section: lambda arrays: _freeze(section(_freeze(arrays))),
        )

    def asarray(self, value, dtype):
        return _freeze({"array": super().asarray(value, dtype)})["array"]


# -- array_api_strict ----------------------------------------------------------------------

ON_HOST = ["bool", "int", "float", "complex", "index", "iter", "buffer", "array", "dlpack"]
IN_PLACE = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"]
IN_PLACE += ["and", "or", "xor", "lshift", "rshift"]


def _refuse(name):
    def method(self, *args, **kwargs):
        raise TypeError(f"{name} inside a section: it would wait for the device, or mutate")

    return method


@contextmanager
def lazy_and_frozen():
    """Make every strict array refuse to be looked into or written to, as a traced one does.

    Also the oldest standard that is supported, and none of what the standard leaves optional.
    """
    strict = importlib.import_module("array_api_strict")
    names = [f"__{name}__" for name in [*ON_HOST, *[f"i{name}" for name in IN_PLACE], "setitem"]]
    refusals = {name: _refuse(name) for name in names}
    flags = strict.ArrayAPIStrictFlags(
        api_version="2024.12",
        boolean_indexing=False,
        data_dependent_shapes=False,
        enabled_extensions=(),
    )
    with mock.patch.multiple(type(strict.zeros(1)), **refusals), flags:
        yield


def _lazily(section):
    def run(arrays):
        with lazy_and_frozen():
            return section(arrays)

    return run


def _strict(**options):
    strict = _need("array_api_strict")
    return Reference("array_api_strict", strict, strict.Device("device1"), **options)


# -- other libraries -----------------------------------------------------------------------


def _library(name):
    _need(name)
    return get_backend(name)


def _jax_jit():
    jax = _need("jax")
    return Reference("jax", jax.numpy, compile=jax.jit)


def _cupy():
    if not _need("cupy").is_available():
        raise Missing("import cupy: it works, but finds no usable GPU")
    return get_backend("cupy")


# -- the table -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How to open a backend; ``lowered`` if it runs anything but the meanings."""

    open: Callable[[], Backend]
    lowered: bool = False


WAYS = {
    "numpy": Way(lambda: get_backend("numpy"), lowered=True),
    "numpy-reference": Way(lambda: Reference("numpy", array_api_compat.numpy)),
    "numpy-readonly": Way(ReadOnly),
    "strict-device1": Way(_strict),
    "strict-lazy": Way(lambda: _strict(compile=_lazily)),
    "torch": Way(lambda: _library("torch")),
    "jax": Way(lambda: _library("jax")),
    "jax-jit": Way(_jax_jit),
    "cupy": Way(_cupy),
}
ALIKE = {"numpy-reference", "numpy-readonly", "strict-lazy", "jax"}
"""The same functions of the same library as another way, bound otherwise."""
ONE_EACH = [name for name in WAYS if name not in ALIKE]
"""One way of each library: where a test costs seconds, and is of what stands above the plans.

A script or a long training sees nothing of a way but its library and device. What the others
are there for, that nothing is written to or looked into in the middle of a section, is a
property of single calls: every kernel meets it in ``test_kernels.py``.
"""
REFERENCE_WAYS = [name for name, way in WAYS.items() if not way.lowered]
"""For ``@pytest.mark.parametrize("backend", REFERENCE_WAYS, indirect=True)``."""

opened = {}
missing = {}


def required():
    """The ways that must not be skipped; a name that is no way is an error."""
    names = {name.strip() for name in os.environ.get("PORTABLE_NN_REQUIRE", "").split(",")} - {""}
    if names - set(WAYS):
        raise pytest.UsageError(
            f"PORTABLE_NN_REQUIRE names {', '.join(sorted(names - set(WAYS)))}; "
            f"the ways are {', '.join(WAYS)}."
        )
    return names


def why_skipped(name):
    """Why tests of a way are skipped, or None: it is there, or it has to be. Opens it, once."""
    if name not in opened and name not in missing:
        try:
            opened[name] = WAYS[name].open()
        except Missing as reason:
            missing[name] = str(reason)
    return None if name in opened or name in required() else f"{name}: {missing[name]}"


def open_way(name):
    """The backend of a way, opened once; skips, or fails if it is required."""
    if reason := why_skipped(name):
        pytest.skip(reason)
    if name not in opened:
        pytest.fail(f"{name} is required, but {missing[name]}", pytrace=False)
    return opened[name]


@pytest.fixture(params=ONE_EACH)
def each_library(request):
    """``backend = ways.each_library`` in a file of tests that ``ONE_EACH`` is for."""
    return open_way(request.param)


# -- assertions ----------------------------------------------------------------------------


def dtype_name(array):
    """``"float32"`` of any library's array."""
    return str(array.dtype).rsplit(".", 1)[-1]


def assert_lives(array, backend, dtype, shape):
    """An array of the backend's own namespace, on its device, of this dtype and shape."""
    namespace = array_api_compat.array_namespace(array)
    assert namespace.__name__ == backend.xp.__name__
    assert array_api_compat.device(array) == backend.device
    assert dtype_name(array) == dtype
    assert tuple(array.shape) == tuple(shape)


def assert_array(array, backend, expected):
    """Equal to ``expected`` (a host array) in dtype, shape and value, and living on ``backend``."""
    expected = np.asarray(expected)
    assert_lives(array, backend, expected.dtype.name, expected.shape)
    np.testing.assert_array_equal(backend.to_host(array), expected)
