"""Choosing a backend, and what every backend promises."""

import importlib
import math
import sys

import array_api_compat
import fresh
import numpy as np
import pytest
import ways

from portable_nn import (
    Backend,
    BackendError,
    DataError,
    Dense,
    Network,
    Reference,
    Tanh,
    get_backend,
)
from portable_nn.backend import AUTO, LIBRARIES, open_backend
from portable_nn.checks import backend_of
from portable_nn.runner import to_host

X = np.linspace(-1.0, 1.0, 24).reshape(8, 3)
Y = np.sin(X[:, :2])
QUICK = {"loss": "half_squared_error", "epochs": 1, "progress": False}


@pytest.fixture(autouse=True)
def no_backend_from_outside(monkeypatch):
    monkeypatch.delenv("PORTABLE_NN_BACKEND", raising=False)


def need(library):
    """Skip without it, or fail if it is required."""
    ways.open_way({"array_api_strict": "strict-device1"}.get(library, library))


# -- choosing ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "torch", "jax"])
def test_a_name_opens_a_backend_once(name):
    need(name)
    backend = get_backend(name)
    assert backend.name == name
    assert get_backend(name) is backend
    assert get_backend(backend) is backend
    assert array_api_compat.array_namespace(backend.asarray([0.0], "float32")) is backend.xp


def test_without_a_name_it_is_numpy():
    assert get_backend() is get_backend("numpy")
    assert Network([Dense(2)]).fit(X, Y, **QUICK).backend is get_backend("numpy")


def test_the_environment_names_a_backend_and_the_argument_wins(monkeypatch):
    need("array_api_strict")
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "array_api_strict")
    assert get_backend() is get_backend("array_api_strict")
    assert Network([Dense(2)]).fit(X, Y, **QUICK).backend.name == "array_api_strict"
    assert Network([Dense(2)]).fit(X, Y, **QUICK, backend="numpy").backend.name == "numpy"
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "nosuch")
    with pytest.raises(BackendError, match="'nosuch' is not installed"):
        Network([Dense(2)]).fit(X, Y, **QUICK)
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "")
    assert get_backend() is get_backend("numpy")


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("numpy:cpu", "cpu"),
        ("array_api_strict:device1", "device1"),
        ("torch:cpu", "cpu"),
        ("jax:cpu", "cpu"),
    ],
)
def test_a_name_may_end_in_a_device(name, device):
    need(name.partition(":")[0])
    backend = get_backend(name)
    assert device in str(backend.device).lower()
    array = backend.asarray(X, "float32")
    assert array_api_compat.device(array) == backend.device
    found = Network([Dense(2)]).fit(X, Y, **QUICK, backend=backend)
    assert found.backend is backend
    expected = Network([Dense(2)]).fit(X, Y, **QUICK)
    # One float32 step of sums in another order.
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=0.0, atol=1e-6)


def test_a_library_itself_names_its_backend():
    for name, modules in {
        "array_api_strict": ["array_api_strict"],
        "numpy": ["numpy", "array_api_compat.numpy"],
        "torch": ["torch", "array_api_compat.torch"],
        "jax": ["jax.numpy"],
    }.items():
        need(name)
        for module in modules:
            assert get_backend(importlib.import_module(module)) is get_backend(name)
    with pytest.raises(BackendError, match="backend 'math' is not installed, or is no array API"):
        get_backend(math)


def test_auto_takes_the_first_that_is_usable(monkeypatch):
    monkeypatch.setattr("portable_nn.backend.AUTO", ("nosuch", "array_api_strict", "numpy"))
    need("array_api_strict")
    assert get_backend("auto") is get_backend("array_api_strict")
    monkeypatch.setattr("portable_nn.backend.AUTO", ("nosuch", "numpy"))
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "auto")
    assert get_backend() is get_backend("numpy")


def test_auto_is_cupy_before_numpy(monkeypatch):
    opened = []
    monkeypatch.setattr("portable_nn.backend.open_backend", lambda *asked: opened.append(asked))
    get_backend("auto")
    assert opened == [("cupy", None)]
    assert AUTO == ("cupy", "numpy")


@pytest.mark.parametrize("name", ["nosuch", "os", "nosuch:gpu", "os.path", "", "   ", "."])
def test_no_such_backend(name):
    with pytest.raises(BackendError, match="is not installed, or is no array API") as caught:
        get_backend(name)
    assert repr(name.partition(":")[0]) in str(caught.value)


def test_auto_takes_no_device():
    with pytest.raises(BackendError, match="'auto' takes no device; got 'auto:1'"):
        get_backend("auto:1")


@pytest.mark.parametrize("name", ["numpy:cpu", "torch:cpu", "jax:cpu"])
def test_the_usual_device_by_name_is_the_same_backend(name):
    need(name.partition(":")[0])
    assert get_backend(name) is get_backend(name.partition(":")[0])


@pytest.mark.parametrize(
    ("name", "meant"), [("torhc", "torch"), ("NumPy", "numpy"), ("cuppy", "cupy"), ("Auto", "auto")]
)
def test_a_misspelt_backend_is_guessed(name, meant):
    with pytest.raises(BackendError, match=f"Did you mean '{meant}'?"):
        get_backend(name)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_known_library_that_is_missing_says_how_it_is_installed(name, monkeypatch):
    for module in (f"array_api_compat.{name}", name, f"{name}.numpy"):
        monkeypatch.setitem(sys.modules, module, None)  # which is how importing it fails
    monkeypatch.setattr("portable_nn.backend._OPENED", {})
    with pytest.raises(BackendError) as caught:
        open_backend(name, None)
    assert str(caught.value).endswith(f"Install it with: pip install {name.replace('_', '-')}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("numpy:gpu", "'numpy' runs on the CPU only; got device 'gpu'"),
        ("array_api_strict:nosuch", "no usable device 'nosuch' here .*it has .*device1"),
        ("jax:nosuch", "no usable device 'nosuch' here; it has cpu:0"),
        ("torch:meta", "no usable device 'meta' here"),
        ("torch:nosuch", "no usable device 'nosuch' here .*it has cpu"),
    ],
)
def test_no_such_device(name, said):
    need(name.partition(":")[0])
    with pytest.raises(BackendError, match=said) as caught:
        get_backend(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("given", [42, 0.5, object, ["numpy"]], ids=repr)
def test_what_is_no_backend_is_refused(given):
    with pytest.raises(BackendError, match="backend"):
        get_backend(given)


def test_a_namespace_nobody_thought_of_needs_no_line_here():
    """Not by a name that is known, but by what the array API promises."""
    need("array_api_strict")
    strict = get_backend("array_api_strict").xp
    backend = Reference("mine", strict, strict.Device("device2"))
    network = Network([Dense(2)]).fit(X, Y, **QUICK, backend=backend)
    assert network.backend is backend
    assert repr(backend) == f"<mine on {strict.Device('device2')}>"


# -- the arrays that are given ---------------------------------------------------------------


def test_arrays_choose_the_backend_they_live_on(backend, monkeypatch):
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "nosuch")  # asked only if the arrays say nothing
    x, y = backend.asarray(X, "float64"), backend.asarray(Y, "float64")
    found = backend_of(x=x, y=y, weight=None, other=[1.0], host=X)
    if backend.xp.__name__ == "array_api_compat.numpy":
        assert found is None  # an array of the host says nothing
        return
    assert (found.xp, found.device) == (backend.xp, backend.device)
    network = Network([Dense(2)], "float64")
    assert network.fit(x, y, **QUICK).backend is found
    assert network.fit(X, y, **QUICK).backend is found
    assert network.fit(x, y, **QUICK, backend="numpy").backend is get_backend("numpy")
    step = network.start(loss="half_squared_error")
    next(step.batches(x, y, epoch=0))
    assert network.backend is found


def test_results_are_of_the_kind_of_x(backend):
    labels = np.array([0, 1, 2, 1, 0, 2, 1, 0])
    network = Network([Dense(3)], "float64").fit(X, labels, **{**QUICK, "loss": "cross_entropy"})
    x = backend.asarray(X, "float32")
    for ask in (network.outputs, network.predict_proba, network.predict):
        found = ask(x)
        expected = ask(X)
        assert isinstance(expected, np.ndarray)
        ways.assert_lives(found, backend, ways.dtype_name(found), expected.shape)
        # x was rounded to float32, which moves the logits by as much.
        np.testing.assert_allclose(backend.to_host(found), expected, rtol=1e-6, atol=1e-7)
    assert network.backend is get_backend("numpy"), "asking moves nothing"


def test_text_comes_back_as_numpy(backend):
    labels = np.array(["a", "b", "c", "b", "a", "c", "b", "a"])
    network = Network([Dense(3)]).fit(X, labels, **{**QUICK, "loss": "cross_entropy"})
    found = network.predict(backend.asarray(X, "float32"))
    assert isinstance(found, np.ndarray)
    assert found.dtype.kind == "U"


def test_arrays_of_two_places_are_an_error_unless_a_backend_is_named():
    need("array_api_strict")
    strict = get_backend("array_api_strict").xp
    x = strict.asarray(X, device=strict.Device("device1"))
    y = strict.asarray(Y, device=strict.Device("device2"))
    network = Network([Dense(2)])
    with pytest.raises(DataError, match=r"different places: x .*device1.*, y .*device2.*backend="):
        network.fit(x, y, **QUICK)
    assert network.fit(x, y, **QUICK, backend="numpy").backend.name == "numpy"


PLUGIN = """
import array_api_strict
from portable_nn import Reference

def open_backend(device):
    return Reference(f"third party on {device}", array_api_strict)
"""
ASK = """
import sys
sys.path.insert(0, {path!r})
import portable_nn
assert "third_party_backend" not in sys.modules
try:
    backend = portable_nn.get_backend({name!r})
    print(backend.name, backend is portable_nn.get_backend({name!r}))
except portable_nn.BackendError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("third", "third party on None True\n"),
        ("third:gpu7", "third party on gpu7 True\n"),
        ("torn", "'torn'"),
        ("nosuch", "backend 'nosuch' is not installed"),
    ],
)
def test_entry_points_name_backends(tmp_path, name, said):
    need("array_api_strict")
    information = tmp_path / "third_party-1.0.dist-info"
    information.mkdir()
    head = "Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n"
    (information / "METADATA").write_text(head)
    points = "third = third_party_backend\ntorn = a_module_that_is_not_there\n"
    (information / "entry_points.txt").write_text(f"[portable_nn.backends]\n{points}")
    (tmp_path / "third_party_backend.py").write_text(PLUGIN)
    status, out, err = fresh.run("-c", ASK.format(path=str(tmp_path), name=name))
    assert (status, err) == (0, "")
    assert said in out


# -- float64 where there is none -----------------------------------------------------------

NARROW = """
import os
os.environ["JAX_ENABLE_X64"] = "0"
import portable_nn as pnn

x, y = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
options = {"loss": "cross_entropy", "epochs": 1, "progress": False}
network = pnn.Network([pnn.Dense(2)]).fit(x, y, **options, backend="jax")
print(network.outputs(x).dtype, network.backend.asarray(y, "index").dtype)
before = network.parameters["dense1.weight"]
wide = pnn.Network([pnn.Dense(2)], dtype="float64")
tries = [
    lambda: wide.fit(x, y, **options, backend="jax"),
    lambda: wide.fit(x, y, **options, backend="numpy").predict(x, backend="jax"),
    lambda: wide.fit(x, y, **options, backend="jax", warm_start=True),
    lambda: network.backend.asarray(x, "float64"),
]
for attempt in tries:
    try:
        print(attempt())
    except pnn.BackendError as error:
        print(error)
print(wide.backend.name, wide.outputs(x).dtype)
"""


def test_float64_on_jax_without_x64_is_an_error_never_a_cast():
    need("jax")
    status, out, err = fresh.run("-c", NARROW)
    assert status == 0, err
    first, *errors, last = out.splitlines()
    assert (first, last) == ("float32 int32", "numpy float64")
    assert len(errors) == 4
    for text in errors:
        assert text.startswith("jax has no float64 on ")
        assert "JAX_ENABLE_X64=1" in text
        assert text.endswith("or use a Network of another dtype.")


# -- what every backend promises -----------------------------------------------------------

HELD = {
    "float32": np.array([[0.1, -0.0, 1e-45], [np.inf, -np.inf, np.nan]], dtype=np.float32),
    "float64": np.array([[0.1, -0.0, 5e-324], [np.inf, -np.inf, np.nan]]),
    "index": np.array([[0, 1, -1], [2**31 - 1, 7, 7]]),
}
every_dtype = pytest.mark.parametrize("dtype", HELD)


def index_dtype(backend):
    info = backend.xp.__array_namespace_info__()
    return ways.dtype_name(backend.xp.zeros(0, dtype=info.default_dtypes()["indexing"]))


def test_a_backend_has_the_names_of_the_contract(backend):
    assert isinstance(backend, Backend)
    assert backend.name in str(backend)
    assert str(backend.device) in str(backend)
    backend.synchronize()


@every_dtype
def test_there_and_back(backend, dtype):
    value = HELD[dtype]
    array = backend.asarray(value, dtype)
    name = index_dtype(backend) if dtype == "index" else dtype
    ways.assert_lives(array, backend, name, value.shape)
    back = backend.to_host(array)
    assert isinstance(back, np.ndarray)
    assert back.dtype.name == name
    np.testing.assert_array_equal(back, value)
    if dtype != "index":
        np.testing.assert_array_equal(np.signbit(back), np.signbit(value))


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 3)], ids=str)
def test_every_shape(backend, shape):
    value = np.ones(shape, dtype=np.float32)
    array = backend.asarray(value, "float32")
    ways.assert_lives(array, backend, "float32", shape)
    assert backend.to_host(array).shape == shape


@every_dtype
def test_memory_is_never_shared_with_the_caller(backend, dtype):
    # Large and aligned, as libraries like it best for lending memory instead of copying.
    given = np.zeros((64, 64), dtype=np.int64 if dtype == "index" else dtype)
    array = backend.asarray(given, dtype)
    given[:] = 1
    back = backend.to_host(array)
    assert not back.any()
    back[:] = 2  # and it may be written to
    assert not backend.to_host(array).any()


def test_what_is_given_may_be_any_table(backend):
    value = np.arange(12.0).reshape(3, 4)
    frozen = value.copy()
    frozen.flags.writeable = False
    forms = [value.tolist(), frozen, np.asfortranarray(value), value.T.copy().T, value[::-1][::-1]]
    forms += [value.astype(np.int8), np.repeat(value, 2, axis=1)[:, ::2], value.astype(">f8")]
    for form in forms:
        array = backend.asarray(form, "float32")
        ways.assert_array(array, backend, value.astype(np.float32))


def test_rounding_is_the_hosts(backend):
    """To the nearest float32, ties to even, whatever the library would do."""
    value = np.array([0.1, 1.0 + 2.0**-24, 1.0 + 3 * 2.0**-24, 1e-46, 16777217.0])
    found = backend.to_host(backend.asarray(value, "float32"))
    np.testing.assert_array_equal(found, value.astype(np.float32))


# -- a step --------------------------------------------------------------------------------


def begin(backend):
    """A network, its training begun on three rows a batch, and the batches of an epoch."""
    network = Network([Dense(4), Tanh(), Dense(2)], dtype="float64")
    step = network.start(loss="half_squared_error", batch_size=4, backend=backend)
    return network, step, step.batches(X, Y, epoch=0)


def test_what_was_read_stays_when_the_step_goes_on(backend):
    _, training, batches = begin(backend)
    training.step(next(batches))
    names = ["dense1.weight", "v.dense1.weight", "loss"]
    held = [training.read(name) for name in names]
    before = [backend.to_host(array) for array in held]
    training.step(next(batches))
    for name, array, value in zip(names, held, before, strict=True):
        np.testing.assert_array_equal(backend.to_host(array), value)
        assert (backend.to_host(training.read(name)) != value).any()


def test_all_steps_on_a_state_see_what_one_of_them_carries(backend):
    """In whatever order they were started, for whatever number of rows."""
    network, training, batches = begin(backend)
    outputs = []
    for batch in batches:
        outputs.append(network.outputs(X))
        training.step(batch)
    outputs.append(network.outputs(X))
    values = network.parameters
    hidden = np.tanh(X @ values["dense1.weight"] + values["dense1.bias"])
    expected = hidden @ values["dense2.weight"] + values["dense2.bias"]
    # Sums of five products of numbers near 1.
    np.testing.assert_allclose(outputs[-1], expected, rtol=0.0, atol=1e-14)
    assert (outputs[0] != outputs[1]).all()
    assert (outputs[1] != outputs[2]).all()


def trained(*places):
    """Parameters of networks trained in turns, a step of each at a time."""
    begun = [begin(place) for place in places]
    for batches in zip(*[batches for *_, batches in begun], strict=True):
        for (_, training, _), batch in zip(begun, batches, strict=True):
            training.step(batch)
    return [network.parameters for network, *_ in begun]


def test_two_backends_live_side_by_side(backend):
    (alone,), (numpy,) = trained(backend), trained(ways.open_way("numpy"))
    found = trained(backend, ways.open_way("numpy"), backend)
    for parameters, expected in zip(found, [alone, numpy, alone], strict=True):
        for name, value in expected.items():
            np.testing.assert_array_equal(parameters[name], value)


class OnDevice:
    """An array that is not in host memory: DLPack says so, and copies when it is asked to."""

    def __init__(self, values):
        self.shape, self._values = values.shape, values

    def __dlpack_device__(self):
        return (2, 0)  # CUDA, device 0

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        assert (dl_device, copy) == ((1, 0), True), "the host's copy is what is wanted"
        return self._values.__dlpack__()


def test_an_array_on_a_device_is_fetched_through_dlpack():
    values = np.arange(6.0).reshape(2, 3)
    fetched = to_host(OnDevice(values))
    np.testing.assert_array_equal(fetched, values)
    assert not np.shares_memory(fetched, values)
