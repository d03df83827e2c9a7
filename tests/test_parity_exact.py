"""Exact steps: right bit for bit on every backend, and a fault of one rounding is named."""

from fractions import Fraction

import array_api_compat.numpy as xp
import numpy as np
import pytest
from ways import WAYS

import portable_nn as pnn
import portable_nn_numpy.lowering as lowering
from portable_nn import Reference, kernels
from portable_nn.parity import _exact as exact
from portable_nn.parity._exact import exact_network

DTYPES = ["float32", "float64"]
CASES = {dtype: exact.networks(dtype) for dtype in DTYPES}


# -- where all is well ---------------------------------------------------------------------


# Of JAX with its compiler, which reorders: a call alone has the same sums in the same order.
@pytest.mark.parametrize("backend", [way for way in WAYS if way != "jax"], indirect=True)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_way_is_exact(backend, dtype):
    result = exact_network(backend, dtype)
    assert result.equal, str(result)
    assert result.checked > 10_000
    assert (result.backend, result.dtype, result.first) == (backend.name, dtype, None)
    assert str(result) == (
        f"{backend.name} {dtype}: {result.checked:,} numbers of 2 exact training steps are bit for "
        f"bit what they must be."
    )


def test_every_kernel_is_run_or_known_to_round():
    known = {getattr(kernels, name) for name in kernels.__all__}
    known = {one for one in known if isinstance(one, kernels.Kernel)}
    run = {call.kernel for call in all_calls()}
    assert run | set(exact.INEXACT) == known
    assert run.isdisjoint(exact.INEXACT)


def all_calls():
    return [
        call
        for case in CASES["float32"]
        for plan, _ in exact.reference(case, "float32")
        for call in plan.calls
    ]


def test_what_the_networks_are_meant_to_meet():
    linear = [call for call in all_calls() if call.kernel is kernels.linear]
    assert {len(call.inputs) for call in linear} == {2, 3}  # without and with a bias
    seen = {case.name: list(everything(case)) for case in CASES["float32"]}
    first, second = seen["long weights"]
    ties = (first["dense1"] == 0.0) & (first["grad_relu1"] != 0.0)
    assert ties.any()
    assert (second["relu1"][:, 0] == 0.0).all()  # off, as its docstring says
    assert [len(step["x"]) for step in seen["long inputs"]] == [64, 2]
    masks = np.stack([step["dropout1.draw"] for step in seen["dropout"]])
    assert set(masks.ravel()) == {0.0, 2.0}
    assert set(seen["residual"][0]["weight"].ravel()) == {0.0, 0.5, 1.0}  # relative
    for steps in seen.values():
        assert len(steps) == exact.STEPS
        for step in steps:
            assert step["loss"] > 0.0
            assert all(values.any() for name, values in step.items() if name.startswith("grad_"))


def everything(case):
    """Every buffer of the gradient section of each step, by name."""
    network = pnn.Network(case.layers, "float64")
    training = network.start(
        loss=case.loss, optimizer=case.optimizer, batch_size=case.batch_size, backend="numpy"
    )
    options = {"sample_weight": case.weight, "shuffle": case.shuffle}
    for batch in training.batches(case.x, case.y, 0, **options):
        yield training.trace(batch)
        training.step(batch)


# -- the reference -------------------------------------------------------------------------


def unit(value):
    """The power of two of the last bit of a dyadic fraction."""
    return Fraction(abs(value.numerator) & -abs(value.numerator), value.denominator)


class Sum:
    """A fraction, the sum of the sizes of the terms it was added up from, and their unit.

    Whatever the order, every partial sum is a multiple of ``unit`` and not above ``size``: if
    that takes no more bits than there are, none of them rounds.
    """

    bits = 24

    def __init__(self, value, size=None, step=None):
        self.value = value
        self.size = abs(value) if size is None else size
        self.unit = unit(value) if step is None else step
        assert self.size <= self.unit * 2**self.bits

    def __add__(self, other):
        if other is ZERO:  # most of them are
            return self
        other = as_sum(other)
        if not (self.size and other.size):
            return self if self.size else other
        size = self.size + other.size
        return Sum(self.value + other.value, size, min(self.unit, other.unit))

    def __mul__(self, other):
        if self is ZERO or other is ZERO:
            return ZERO
        product = self.value * as_sum(other).value
        return Sum(product) if product else ZERO

    def __sub__(self, other):
        return self + as_sum(other) * -1

    def __gt__(self, other):
        return self.value > as_sum(other).value

    def __ge__(self, other):
        return self.value >= as_sum(other).value

    __radd__, __rmul__ = __add__, __mul__


def as_sum(number):
    if isinstance(number, Sum):
        return number
    return Sum(Fraction(float(number))) if number else ZERO


ZERO = Sum(Fraction(0), Fraction(0), Fraction(1))
as_sums = np.vectorize(as_sum, otypes=[object])
as_floats = np.vectorize(lambda number: float(as_sum(number).value), otypes=[float])


class Fractions:
    """Repeats every call in fractions, and compares."""

    calls = 0

    def before(self, calls, inputs):
        self.inputs = [
            np.asarray(as_sums(array)) if array.dtype.kind == "f" else array for array in inputs
        ]

    def after(self, calls, outputs):
        (call,) = calls
        Fractions.calls += 1
        values = call.kernel.meaning(xp, *self.inputs, **call.attributes)
        for value, output in zip(values if len(outputs) > 1 else [values], outputs, strict=True):
            assert np.array_equal(as_floats(value), output), call.outputs


class Proven(Reference):
    def start(self, plan, state, n, watch=None):
        return super().start(plan, state, n, watch=Fractions())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["long inputs", "long weights", "residual", "dropout"])
def test_no_sum_rounds_in_whatever_order(name, dtype, monkeypatch):
    monkeypatch.setattr(Sum, "bits", {"float32": 24, "float64": 53}[dtype])
    monkeypatch.setattr(Fractions, "calls", 0)
    (case,) = [case for case in CASES[dtype] if case.name == name]
    proven = list(exact.steps(case, Proven("numpy", xp), "float64"))
    assert Fractions.calls == 2 * len(proven[0][0].calls)
    for (_, found), (_, wanted) in zip(proven, exact.reference(case, dtype), strict=True):
        assert list(found) == list(wanted)
        for key, values in wanted.items():
            assert np.array_equal(found[key], values)
            assert np.array_equal(values.astype(dtype), values)


def test_a_sum_that_depends_on_its_order_is_no_proof():
    with pytest.raises(AssertionError):
        as_sum(2.0**24) + as_sum(1.0) - as_sum(2.0**24)


def test_a_reference_that_rounds_is_an_error(monkeypatch):
    case = CASES["float32"][1]
    monkeypatch.setitem(exact.BITS, "float32", 12)
    with pytest.raises(AssertionError, match="of the network 'long weights' is not exact"):
        list(exact.reference(case, "float32"))


@pytest.mark.parametrize(
    ("numbers", "bits"),
    [([0.0], 0), ([1.0, -0.25], 1), ([3.0], 2), ([-1.0 - 2.0**-23], 24), ([0.1], 52), ([2**60], 1)],
)
def test_significant_bits(numbers, bits):
    assert exact.significant_bits(np.array(numbers, float)) == bits


# -- faults --------------------------------------------------------------------------------


def short(array, bits):
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(array.dtype)


def writes(formula):
    """A lowering that copies what a formula of the inputs gives into the one output."""

    def lowered(new, *arrays):
        def run():
            np.copyto(arrays[-1], formula(*[array.copy() for array in arrays[:-1]]))

        return [(run, ())]

    return lowered


def one_more(array):
    """Times 1 + 2^-23, or as close to 1 as the dtype knows."""
    return array * (1 + np.finfo(array.dtype).eps)


def less(array):
    """Too short inputs of a product: 11 bits as in TF32, or float32 where float64 is asked for."""
    return short(array, {"float32": 11, "float64": 24}[array.dtype.name])


def plain(x, weight, *bias):
    return x @ weight + sum(bias)


FAULTS = {
    "a gradient off by one rounding": (
        kernels.linear_grad_weight, writes(lambda x, g: one_more(x.T @ g)),
        "the gradient of dense1.weight, written by linear_grad_weight, is wrong in step 1 of the "
        "network 'long inputs'",
    ),
    "a derivative of 1 at 0": (
        kernels.relu_backward, writes(lambda g, a: np.where(a >= 0, g, 0)),
        "the gradient of dense1.weight, written by linear_grad_weight after linear_grad_input, "
        "relu_backward, is wrong in step 1 of the network 'long weights'",
    ),
    "a bias gradient without the last row": (
        kernels.linear_grad_bias, writes(lambda g: g[:-1].sum(axis=0)),
        "the gradient of dense1.bias, written by linear_grad_bias, is wrong in step 1",
    ),
    "short inputs, forward": (
        kernels.linear, writes(lambda x, w, *b: plain(less(x), less(w), *b)),
        "the loss, written by half_squared_error after take_rows, linear, is wrong in step 1",
    ),
    "short inputs, gradient of the weights": (
        kernels.linear_grad_weight, writes(lambda x, g: less(x).T @ less(g)),
        "the gradient of dense1.weight, written by linear_grad_weight, is wrong in step 1",
    ),
    "short inputs, gradient of the inputs": (
        kernels.linear_grad_input, writes(lambda g, w: less(g) @ less(w).T),
        "the gradient of dense1.weight, written by linear_grad_weight after linear_grad_input, "
        "relu_backward, is wrong in step 1 of the network 'long weights'",
    ),
    "the learning rate twice": (
        kernels.sgd, writes(lambda p, g, rate: p - g * rate * rate),
        "dense1.weight, written by sgd, is wrong in step 1",
    ),
    "a gather one row off": (
        kernels.take_rows, writes(lambda data, rows: data[(rows + 1) % len(data)]),
        "the loss, written by half_squared_error after take_rows, linear, is wrong in step 1",
    ),
    "a product that is off": (
        kernels.multiply, writes(lambda a, b: one_more(a * b)),
        "the loss, written by half_squared_error after take_rows, linear, relu, multiply, is wrong "
        "in step 1 of the network 'dropout'",
    ),
    "a sum that forgets one side": (
        kernels.add, writes(lambda a, b: a),
        "the loss, written by mean_squared_error after take_rows, linear, relu, add, is wrong in "
        "step 1 of the network 'residual'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen_and_named(fault, dtype, monkeypatch):
    kernel, lowered, sentence = FAULTS[fault]
    monkeypatch.setitem(lowering.LOWERINGS, kernel, lowered)
    result = exact_network("numpy", dtype)
    assert not result.equal
    assert str(result).startswith(f"numpy {dtype}: {sentence}")
    assert result.first.step == 1
    assert result.first.got != result.first.wanted


@pytest.mark.parametrize("kernel", [kernels.momentum, kernels.nesterov])
def test_a_velocity_that_is_not_kept_is_seen_in_step_2(kernel, monkeypatch):
    def later(new, p, g, v, decay, rate, p1, v1):
        run = lowered(new, p, g, v, decay, rate, p1, v1)
        return [(np.copyto, (v, 0.0)), *run]

    lowered = lowering.LOWERINGS[kernel]
    monkeypatch.setitem(lowering.LOWERINGS, kernel, later)
    first = exact_network("numpy").first
    assert (first.step, first.name, first.kernel) == (2, "dense1.weight", kernel.name)
    assert first.after == ()


def test_the_first_wrong_number_is_the_one_that_is_shown(monkeypatch):
    def off(x, grad):
        out = x.T @ grad
        out[2, 3] += 1.0
        out[2, 1] = np.nan
        out[4, 0] += 1.0
        return out

    monkeypatch.setitem(lowering.LOWERINGS, kernels.linear_grad_weight, writes(off))
    result = exact_network("numpy")
    first = result.first
    assert (first.name, first.index) == ("grad_dense1.weight", (2, 1))
    assert np.isnan(first.got)
    assert str(result).endswith(f": [2, 1] is nan and must be {first.wanted:.9g}.")
    assert result.checked == 1 + 67 * 37


def test_the_sign_of_a_zero_does_not_count(monkeypatch):
    negative = writes(lambda x, g: np.where(x.T @ g == 0, np.asarray(-0.0, x.dtype), x.T @ g))
    monkeypatch.setitem(lowering.LOWERINGS, kernels.linear_grad_weight, negative)
    assert exact_network("numpy").equal


def test_wrong_calls():
    with pytest.raises(pnn.NetworkError, match="dtype is one of float32, float64"):
        exact_network("numpy", "float16")
    with pytest.raises(pnn.BackendError):
        exact_network("numpie")


def test_a_compiled_backend_is_named_too():
    class Off(Reference):
        """Its second step is wrong; whole sections, as ``jax.jit`` takes them."""

        runs = 0

        def __init__(self):
            super().__init__("mine", xp, compile=self.altered)

        def altered(self, section):
            def run(arrays):
                found = section(arrays)
                Off.runs += "loss" in found
                return {k: v + 1 if k == "loss" and Off.runs == 2 else v for k, v in found.items()}

            return run

    sentence = str(exact_network(Off(), "float64"))
    assert sentence.startswith("mine float64: the loss, written by half_squared_error after")
    assert "is wrong in step 2 of the network 'long inputs': it is " in sentence
