"""The CuPy backend, as far as it can be seen without a GPU: a stand-in that knows its devices.

The stand-in is array_api_strict, whose functions here insist, as CuPy does, that the device
their arrays are on is the current one.
"""

import importlib
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn.backend import namespace_backend
from portable_nn_cupy import backend as cupy_backend


class Device:
    """``cupy.cuda.Device``: a number, and current inside ``with``."""

    current = 0

    def __init__(self, number=None):
        self.id = Device.current if number is None else int(number)
        self._before = []

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return self.id == int(other)

    __hash__ = None  # as CuPy's

    def __enter__(self):
        self._before.append(Device.current)
        Device.current = self.id

    def __exit__(self, *error):
        Device.current = self._before.pop()

    def __str__(self):
        return f"<CUDA Device {self.id}>"


PLACES = ("CPU_DEVICE", "device1")
OPERATORS = ("add", "sub", "mul", "truediv", "matmul", "radd", "rsub", "rmul", "gt")


def current_only(operator):
    """An operator of arrays on the current device."""

    def apply(self, *others):
        assert PLACES[Device.current] in str(self.device), "an operator on another device"
        return operator(self, *others)

    return apply


def stand_in(strict):
    """A namespace whose arrays are made on the current device, and used on no other."""
    places = [strict.Device(place) for place in PLACES]

    def on_current(function):
        def call(*arguments, device=None, **options):
            arrays = [a for a in arguments if isinstance(a, type(strict.zeros(1)))]
            wrong = [array for array in arrays if array.device != places[Device.current]]
            assert not wrong, "an array of a device that is not current"
            if function.__name__ in ("zeros", "ones", "asarray", "arange", "full"):
                options["device"] = places[Device.current]
            return function(*arguments, **options)

        return call

    xp = ModuleType("array_api_compat.cupy")
    for name in dir(strict):
        value = getattr(strict, name)
        plain = callable(value) and not isinstance(value, type) and name[0] != "_"
        setattr(xp, name, on_current(value) if plain else value)
    xp.__name__ = "array_api_compat.cupy"
    info = strict.__array_namespace_info__()
    xp.__array_namespace_info__ = lambda: SimpleNamespace(
        dtypes=lambda device, kind: info.dtypes(kind=kind),
        default_dtypes=lambda device: info.default_dtypes(),
        default_device=lambda: Device(),
    )
    return xp


RUNTIME = SimpleNamespace(  # ``cupy.cuda.runtime``
    getDeviceCount=lambda: 2,
    getDeviceProperties=lambda number: {"name": f"NVIDIA {'AB'[number]}100".encode()},
    memGetInfo=lambda: (2**30 * (70 + Device.current), 2**30 * 80),
    runtimeGetVersion=lambda: 12090,
    driverGetVersion=lambda: 13010,
)


@pytest.fixture
def machine(monkeypatch):
    """A machine with two GPUs, and how to break it."""
    ways.open_way("strict-device1")
    strict = importlib.import_module("array_api_strict")
    cupy = SimpleNamespace(
        __version__="14.2.0",
        is_available=lambda: True,
        cuda=SimpleNamespace(Device=Device, runtime=RUNTIME),
    )  # fmt: skip
    array = type(strict.zeros(1))
    monkeypatch.setattr(array, "get", lambda self: self, raising=False)
    for name in OPERATORS:
        operator = current_only(getattr(array, f"__{name}__"))
        monkeypatch.setattr(array, f"__{name}__", operator)
    monkeypatch.setattr(cupy_backend, "_libraries", lambda: (cupy, stand_in(strict)))
    return cupy


# -- which device ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "number"), [(None, 0), ("0", 0), ("1", 1), (Device(1), 1)], ids=str
)
def test_a_device_is_a_number_or_an_object(machine, asked, number):
    backend = cupy_backend.open_backend(asked)
    assert backend.device == number
    assert (backend.name, repr(backend)) == ("cupy", f"<cupy on <CUDA Device {number}>>")
    assert Device.current == 0


def test_everything_runs_on_the_device_asked_for(machine):
    """Also where the core calls the namespace itself: copies, logs, snapshots."""
    backend = cupy_backend.open_backend("1")
    x, y = np.linspace(-1.0, 1.0, 24).reshape(8, 3), np.array([0, 1] * 4)
    options = {"loss": "cross_entropy", "epochs": 2, "batch_size": 3, "progress": False}
    layers = [pnn.Dense(4), pnn.ReLU(), pnn.Dropout(0.5), pnn.Dense(2)]
    found = pnn.Network(layers, "float64").fit(x, y, validation=(x, y), **options, backend=backend)
    expected = pnn.Network(layers, "float64").fit(x, y, **options)
    assert found.history["loss"] == pytest.approx(expected.history["loss"], rel=1e-12)
    # Twelve steps of float64, summed in another order.
    np.testing.assert_allclose(found.predict_proba(x), expected.predict_proba(x), rtol=1e-12)
    step = found.start(loss="cross_entropy", batch_size=4, backend=backend)
    for batch in step.batches(x, y, epoch=0):
        step.gradient(batch)
        step.write("grad_dense1.bias", step.read("grad_dense1.bias"))
        step.update()
    backend.synchronize()
    assert Device.current == 0


def test_arrays_choose_the_device_they_are_on(machine, monkeypatch):
    monkeypatch.setattr("portable_nn.backend._OPENED", {})
    _, xp = cupy_backend._libraries()
    usual, other = (namespace_backend(xp, Device(number)) for number in (0, 1))
    assert (usual.device, other.device) == (0, 1)
    assert pnn.get_backend("cupy") is pnn.get_backend("cupy:0") is usual
    assert pnn.get_backend("cupy:1") is namespace_backend(xp, Device(1)) is other


def test_a_gpu_is_described_in_a_line(machine):
    described = [cupy_backend.open_backend(number).describe() for number in "01"]
    versions = "CUDA 12.9, a driver for up to CUDA 13.1"
    assert described == [
        f"cupy:0, NVIDIA A100, 70.0 of 80.0 GiB free; {versions}",
        f"cupy:1, NVIDIA B100, 71.0 of 80.0 GiB free; {versions}",
    ]


# -- what is missing -------------------------------------------------------------------------


def said(*arguments):
    with pytest.raises(pnn.BackendError) as caught:
        cupy_backend.open_backend(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_such_device(machine):
    text = said("2")
    assert text.startswith("there is no device 'cupy:2': CuPy sees 2, from 'cupy:0' to 'cupy:1'.")
    assert text.endswith("nvidia-smi -L")
    assert "got 'cupy:gpu'" in said("gpu")
    assert "got 'cupy:-1'" in said("-1")


def test_no_usable_driver(machine, monkeypatch):
    machine.is_available = lambda: False
    monkeypatch.setattr("portable_nn.backend._OPENED", {})
    text = said()
    assert text.startswith(
        "CuPy 14.2.0 is installed, but finds no NVIDIA GPU with a usable driver."
    )
    assert text.endswith("nvidia-smi")
    assert pnn.get_backend("auto").name == "numpy"


def test_no_libraries(machine, monkeypatch):
    def ones(*arguments, **options):
        raise RuntimeError("cannot load libcublas.so.13\nand more")

    cupy, xp = cupy_backend._libraries()
    xp.ones = ones
    monkeypatch.setattr(cupy_backend, "_libraries", lambda: (cupy, xp))
    text = said()
    assert "(RuntimeError: cannot load libcublas.so.13)" in text
    assert "pip install 'cupy-cuda13x[ctk]'" in text


def importing(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(cupy_backend.importlib, "import_module", fail)


def test_no_cupy(monkeypatch):
    importing(monkeypatch, ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    text = said()
    assert text.startswith("backend 'cupy' needs CuPy, which is not installed.")
    assert "pip install 'cupy-cuda13x[ctk]'" in text
    assert "cupy-cuda12x[ctk]" in text


@pytest.mark.parametrize(
    "error",
    [ImportError("libcuda.so.1"), ModuleNotFoundError("No module named 'cuda'", name="cuda")],
    ids=lambda error: type(error).__name__,
)
def test_a_cupy_that_does_not_load(error, monkeypatch):
    importing(monkeypatch, error)
    assert said().startswith(f"CuPy is installed, but does not load ({error}).")
