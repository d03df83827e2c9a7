"""What fingerprints say of real namespaces, and of namespaces that are wrong in one way."""

import json
from types import SimpleNamespace

import array_api_compat.numpy
import numpy as np
import pytest

from portable_nn import BackendError, NetworkError, Reference
from portable_nn.parity._fingerprint import ALMOST, OPERATIONS, fingerprint
from portable_nn.parity._measure import WIDER

wide = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= 52, reason="long double is no wider than double here"
)


def altered(**functions):
    """NumPy through array-api-compat, with some functions replaced."""
    namespace = {**vars(array_api_compat.numpy), **functions}
    return Reference("altered", SimpleNamespace(**namespace))


def line(found, name):
    """The line of the table that begins with this name."""
    return next(row for row in str(found).splitlines() if row.startswith(f"{name}  "))


def judged(found, mark):
    """Names of the findings with this mark."""
    rows = str(found).splitlines()
    return [row.split("  ")[0] for row in rows if f"  {mark} " in row]


# -- real namespaces -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_is_as_it_should_be(backend, dtype):
    found = fingerprint(backend, dtype)
    assert found.ok, str(found)
    assert judged(found, "WRONG") == []
    assert (found.backend, found.device) == (backend.name, str(backend.device))
    assert found.input_bits == found.bits == {"float32": 24, "float64": 53}[dtype]
    exactly = [name for name in OPERATIONS if name not in ALMOST]
    assert [found.misrounded[name] for name in exactly] == [0.0] * 5
    assert found.repeatable
    assert found.sums["x @ w"] < 10.0  # 5 is the most that any library has shown


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=wide)])
def test_numpy_is_ieee(dtype):
    found = fingerprint("numpy", dtype)
    assert set(found.misrounded.values()) == {0.0}
    assert not (found.contracted or found.flushes_results or found.flushes_inputs)
    for name in OPERATIONS:  # half an ulp, the most there is; some of 65,536 come near
        assert 0.45 < found.ulps[name] <= 0.501
    for name in ("exp", "log", "log1p", "tanh", "sigmoid"):
        assert 0.49 < found.ulps[name] < 5.0
    assert found.sums["sum"] < 10.0 < found.sums["column sums"]  # in pairs; one after another
    assert found.limits["x @ w"] == 16.0 + 2.0 * 64.0
    assert "float64" in line(found, "exp") or dtype == "float64"


def test_a_reference_that_is_no_wider_is_said(monkeypatch):
    monkeypatch.setitem(WIDER, "float64", np.float64)
    found = fingerprint("numpy", "float64")
    assert found.reference == "float64, which is no wider"
    assert "against float64, which is no wider" in line(found, "exp")
    assert found.ulps["exp"] == 0.0


def test_a_dtype_that_is_missing_or_none():
    float32 = SimpleNamespace(**vars(array_api_compat.numpy))
    info = float32.__array_namespace_info__()
    without = {"float32": np.float32, "int64": np.int64}
    float32.__array_namespace_info__ = lambda: SimpleNamespace(
        default_device=info.default_device,
        default_dtypes=info.default_dtypes,
        dtypes=lambda **which: without,
    )
    assert fingerprint(Reference("short", float32)).ok
    with pytest.raises(BackendError, match="no float64"):
        fingerprint(Reference("short", float32), "float64")
    with pytest.raises(NetworkError, match="dtype is one of float32, float64; got 'float16'"):
        fingerprint("numpy", "float16")
    with pytest.raises(BackendError, match="not installed"):
        fingerprint("no_such_library")


# -- namespaces that are wrong in one way --------------------------------------------------


def shortened(array, bits):
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(array.dtype)


@pytest.mark.parametrize(
    ("bits", "dtype", "words"),
    [
        (8, "float32", "bfloat16"),
        (11, "float32", "TF32"),
        (16, "float32", "they are shortened"),
        (23, "float32", "they are shortened"),
        (11, "float64", "TF32"),
        (52, "float64", "they are shortened"),
    ],
)
def test_products_of_shortened_inputs_are_seen(bits, dtype, words):
    def matmul(x, w):
        return np.matmul(shortened(x, bits), shortened(w, bits))

    found = fingerprint(altered(matmul=matmul), dtype)
    assert not found.ok
    assert found.input_bits == bits
    assert f"matrix products use {bits} of {found.bits} bits" in line(found, "inputs of x @ w")
    assert words in line(found, "inputs of x @ w")
    assert 'in torch\nset_float32_matmul_precision("highest")' in str(found)
    assert f"inputs of x @ w ({bits} of {found.bits} bits)" in found.verdict


@pytest.mark.parametrize("side", [0, 1])
def test_one_shortened_input_is_enough(side):
    def matmul(*arrays):
        return np.matmul(*[shortened(a, 11) if k == side else a for k, a in enumerate(arrays)])

    assert fingerprint(altered(matmul=matmul)).input_bits == 11


def test_products_summed_in_half_precision_are_seen():
    def matmul(x, w):
        return sum(np.matmul(x[:, k : k + 256], w[k : k + 256]).astype("float16") for k in starts)

    starts = range(0, 4096, 256)
    found = fingerprint(altered(matmul=lambda x, w: matmul(x, w).astype(x.dtype)))
    assert found.sums["x @ w"] > 144.0 == found.limits["x @ w"]
    assert "WRONG" in line(found, "x @ w")


def test_products_that_differ_from_time_to_time_are_a_fact():
    calls = []

    def matmul(x, w):
        calls.append(0)
        return np.matmul(x, w) + np.float32(1e-4 * (len(calls) % 2)) * np.any(x < 0.0)

    found = fingerprint(altered(matmul=matmul))
    assert not found.repeatable
    assert found.ok
    assert "different bits" in line(found, "x @ w again")


@pytest.mark.parametrize(
    ("function", "name", "dtype"),
    [
        ("add", "a + b", "float32"),
        ("subtract", "a - b", "float32"),
        ("multiply", "a * b", "float32"),
        ("divide", "a / b", "float32"),
        ("divide", "a / b", "float64"),
    ],
)
def test_one_misrounded_result_in_a_thousand_is_seen(function, name, dtype):
    def operation(a, b):
        exact = getattr(np, function)(a, b)
        off = np.arange(exact.size).reshape(exact.shape) % 1000 == 999
        return np.where(off, np.nextafter(exact, np.inf, dtype=exact.dtype), exact)

    found = fingerprint(altered(**{function: operation}), dtype)
    assert not found.ok
    assert found.misrounded[name] == pytest.approx(1e-3, rel=0.02)
    assert found.ulps[name] <= 1.5
    assert "WRONG" in line(found, name)
    assert "0.0992% differ" in line(found, name)


def test_the_other_neighbour_of_a_root_passes_and_the_next_number_does_not():
    def other_neighbour(x):
        exact, root = np.sqrt(x.astype(np.float64)), np.sqrt(x)
        return np.where(root > exact, np.nextafter(root, 0), np.nextafter(root, np.inf))

    near = fingerprint(altered(sqrt=lambda x: other_neighbour(x).astype(x.dtype)))
    assert near.ok
    assert near.misrounded["sqrt"] > 0.99
    assert 0.9 < near.ulps["sqrt"] <= 1.0
    assert "not always the nearest number" in line(near, "sqrt")
    far = fingerprint(altered(sqrt=lambda x: np.nextafter(np.sqrt(x), np.inf, dtype=x.dtype)))
    assert judged(far, "WRONG") == ["sqrt"]
    assert 1.0 < far.ulps["sqrt"] <= 1.5
    assert "sqrt (100% differ)" in far.verdict


def test_division_by_a_scalar_may_be_a_product_with_its_reciprocal():
    def by_reciprocal(a, b):
        return np.multiply(a, np.divide(np.ones_like(b), b)) if b.ndim == 0 else np.divide(a, b)

    def approximate(a, b):
        return np.multiply(by_reciprocal(a, b), np.float32(1.0 + (2e-7 if b.ndim == 0 else 0.0)))

    found = fingerprint(altered(divide=by_reciprocal))
    assert found.ok
    assert found.misrounded["a / k"] > 0.01
    assert found.misrounded["a / b"] == 0.0
    assert judged(fingerprint(altered(divide=approximate)), "WRONG") == ["a / k"]


def test_a_coarse_function_is_seen_and_so_is_what_is_made_of_it():
    def exp(x):
        return np.exp(x.astype(np.float16).astype(np.float32)).astype(x.dtype)

    found = fingerprint(altered(exp=exp))
    assert judged(found, "WRONG") == ["exp", "sigmoid"]
    assert found.ulps["exp"] > 1000.0
    assert "exp (" in found.verdict


def test_seven_ulps_pass_and_nine_do_not():
    def tanh(ulps):
        return lambda x: (np.tanh(x.astype(np.float64)) * (1 + ulps * 2.0**-24)).astype(x.dtype)

    assert fingerprint(altered(tanh=tanh(7.0))).ok
    assert judged(fingerprint(altered(tanh=tanh(9.0))), "WRONG") == ["tanh"]


def test_nan_is_an_infinite_error_and_stays_json():
    found = fingerprint(altered(log=lambda x: np.where(x > 1.0, np.log(x), np.nan * x)))
    assert judged(found, "WRONG") == ["log"]
    assert found.ulps["log"] == np.inf
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["ulps"]["log"] == "inf"


def flushed(array):
    return np.where(np.abs(array) < np.finfo(array.dtype).smallest_normal, array * 0, array)


@pytest.mark.parametrize(
    ("function", "dtype"), [("add", "float32"), ("multiply", "float32"), ("add", "float64")]
)
def test_flushing_is_a_fact(function, dtype):
    """Of sums or products alone; of results and of inputs, each found as such."""
    operation = getattr(np, function)
    found = fingerprint(altered(**{function: lambda a, b: flushed(operation(a, b))}), dtype)
    assert (found.flushes_results, found.flushes_inputs, found.ok) == (True, False, True)
    assert "taken as 0; IEEE keeps them" in line(found, "subnormal results")
    assert "kept, as IEEE" in line(found, "subnormal inputs")
    inputs = {function: lambda a, b: operation(flushed(a), flushed(b))}
    found = fingerprint(altered(**inputs), dtype)
    assert (found.flushes_results, found.flushes_inputs, found.ok) == (False, True, True)


class Product(np.ndarray):
    """A product that still knows what it was before rounding."""


def test_contraction_is_a_fact():
    def multiply(a, b):
        product = np.multiply(a, b).view(Product)
        product.exact = a.astype(np.float64) * b
        return product

    def add(a, b):
        if isinstance(a, Product):
            return (a.exact + b).astype(b.dtype)
        return np.add(a, b)

    found = fingerprint(altered(multiply=multiply, add=add))
    assert (found.contracted, found.ok) == (True, True)
    assert "rounded once (contracted)" in line(found, "a * b + c")
    assert "not fused" in line(fingerprint("numpy"), "a * b + c")


def test_a_sum_that_loses_its_terms_is_seen():
    def total(x, axis=None):
        return np.sum(x, axis=axis, dtype=x.dtype) * np.float32(1.0 - 3e-4)

    found = fingerprint(altered(sum=total))
    assert judged(found, "WRONG") == ["sum", "column sums"]
    assert found.sums["sum"] == pytest.approx(3e-4 * 2**24, rel=0.01)


# -- as text and as JSON -------------------------------------------------------------------


def test_the_table_and_the_json_say_the_same():
    found = fingerprint()
    rows = str(found).splitlines()
    assert rows[0] == found.verdict == "The float32 arithmetic of numpy on cpu is as it should be."
    assert len(judged(found, "ok")) + len(judged(found, "fact")) == len(rows) - 5 == 20
    assert max(map(len, rows)) <= 100
    assert "For products of the full inputs" not in str(found)
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["ok"] is True
    assert again["input_bits"] == 24
    assert again["misrounded"] == dict.fromkeys(OPERATIONS, 0.0)
    assert again["verdict"] == found.verdict
    with pytest.raises(AttributeError):
        found.input_bits = 11
