"""The cause that a parity report names: the right one for each fault, none for other errors."""

import time
import warnings

import array_api_compat.numpy as xp
import numpy as np
import pytest

from portable_nn import kernels
from portable_nn.parity._causes import cause
from portable_nn.parity._measure import measure
from portable_nn.parity._recorder import Recorder

DTYPES = ["float32", "float64"]
N = 64
ADAM_NUMBERS = ["beta1", "rest1", "beta2", "rest2", "step_size", "epsilon"]


# -- calls of every kernel -------------------------------------------------------------------


def adam_numbers(beta1=0.9, beta2=0.999, step=3, rate=1e-3, epsilon=1e-8):
    root = np.sqrt(1.0 - beta2**step)
    step_size = rate * root / (1.0 - beta1**step)
    return [beta1, 1.0 - beta1, beta2, 1.0 - beta2, step_size, epsilon * root]


def example(kernel):
    """Names and values of inputs, as in a training; in float64."""
    rng = np.random.default_rng(0)
    normal = rng.normal
    units = np.where(np.arange(48) % 3, 1e-2, 1e-8)[:, None]  # some are almost dead
    p, g, before = (
        normal(size=(48, 32)),
        units * normal(size=(48, 32)),
        units * normal(size=(48, 32)),
    )
    labels, weight, scale = rng.integers(10, size=(N, 1)), np.ones((N, 1)), 1.0 / N
    ones = rng.integers(2, size=(N, 3)).astype(float)
    relu = np.maximum(normal(size=(N, 48)), 0.0)
    m, v = 0.1 * before, 1e-3 * before**2
    loss = ["z", "targets", "weight", "scale"]
    return {
        kernels.linear: {"x": relu, "w": 0.1 * normal(size=(48, 32)), "b": normal(size=32)},
        kernels.linear_grad_input: {"grad": normal(size=(N, 32)), "w": normal(size=(48, 32))},
        kernels.linear_grad_weight: {"x": relu, "grad": 1e-2 * normal(size=(N, 32))},
        kernels.linear_grad_bias: {"grad": normal(size=(N, 32))},
        kernels.take_rows: {"data": normal(size=(200, 7)), "rows": rng.permutation(200)[:N]},
        kernels.relu: {"z": normal(size=(N, 32))},
        kernels.relu_backward: {"grad": normal(size=(N, 48)), "a": relu},
        kernels.tanh: {"z": normal(size=(N, 32))},
        kernels.tanh_backward: {"grad": normal(size=(N, 32)), "a": np.tanh(normal(size=(N, 32)))},
        kernels.sigmoid: {"z": normal(size=(N, 32))},
        kernels.softmax: {"z": normal(size=(N, 10))},
        kernels.multiply: {"a": normal(size=(N, 32)), "b": normal(size=(N, 32))},
        kernels.add: {"a": normal(size=(N, 32)), "b": normal(size=(N, 32))},
        kernels.sgd: {"p": p, "g": g, "rate": 0.1},
        kernels.momentum: {"p": p, "g": g, "v": 0.1 * g, "momentum": 0.9, "rate": 0.1},
        kernels.rmsprop: dict(
            zip(["p", "g", "s", "beta", "rest", "rate", "epsilon"],
                [p, g, v, 0.9, 1.0 - 0.9, 1e-3, 1e-8], strict=True)
        ),
        kernels.adam: {"p": p, "g": g, "m": m, "v": v}
        | dict(zip(ADAM_NUMBERS, adam_numbers(), strict=True)),
        kernels.cross_entropy: dict(
            zip(loss, [normal(size=(N, 10)), labels, weight, scale], strict=True)
        ),
        kernels.mean_squared_error: dict(
            zip(loss, [normal(size=(N, 3)), normal(size=(N, 3)), weight, scale], strict=True)
        ),
        kernels.binary_cross_entropy: dict(
            zip(loss, [normal(size=(N, 3)), ones, weight, scale], strict=True)
        ),
    }[kernel]  # fmt: skip


def in_dtype(value, dtype):
    value = np.asarray(value)
    return value if value.dtype.kind in "iu" else value.astype(dtype)


def case(kernel, dtype, values=None):
    """A call, and its inputs by name."""
    values = {name: in_dtype(v, dtype) for name, v in (values or example(kernel)).items()}
    outputs = kernel.meaning(xp, *values.values())
    count = len(outputs) if isinstance(outputs, tuple) else 1
    names = tuple(f"out{k}" for k in range(count))
    return kernels.Call(kernel, tuple(values), names, "gradient"), values


def named(call, values, outputs, dtype, position=None):
    """What is named for the first output that does not pass (or for this one)."""
    outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
    outputs = [np.asarray(output) for output in outputs]
    inputs = list(values.values())
    found = measure(call, inputs, outputs, dtype)
    wrong = [k for k, one in enumerate(found) if one.share > 1.0]
    assert wrong, "the fault is within the limits"
    return cause(call, inputs, outputs, wrong[0] if position is None else position, dtype)


def formula(kernel, values, **changes):
    return kernel.meaning(xp, *(values | changes).values())


def short(array, bits):
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(array.dtype)


# -- faults ----------------------------------------------------------------------------------


def adam(values, inside=None, rest1=None, rest2=None, corrected=True, sign=1.0, rounded=24):
    """Adam written out, with one thing done otherwise."""
    p, g, m, v, beta1, old1, beta2, old2, step_size, epsilon = values.values()
    rest1, rest2 = old1 if rest1 is None else rest1, old2 if rest2 is None else rest2
    m = m * beta1 + g * rest1
    m = m if rounded == 24 else short(m, rounded)
    v = v * beta2 + g * g * rest2
    kind = p.dtype.type
    if not corrected:
        root = np.sqrt(1.0 - 0.999**3)
        step_size, epsilon = kind(1e-3), kind(epsilon / root)
    root = np.sqrt(v) + epsilon if inside is None else np.sqrt(v + kind(inside))
    return p - kind(sign) * step_size * m / root, m, v


def rest(values, name):
    """1 - beta, formed in float32."""
    return (np.float32(1.0) - np.float32(values[name])).astype(values["p"].dtype)


def running(grad, narrow):
    total = np.zeros(grad.shape[1], narrow)
    for row in grad.astype(narrow):
        total = (total + row).astype(narrow)
    return total.astype(grad.dtype)


def bfloat16_sum(grad):
    total = np.zeros(grad.shape[1], grad.dtype)
    for row in grad:
        total = short(total + row, 8)
    return total


def put(array, where, value):
    array = array.copy()
    array[where] = value
    return array


k = kernels
FAULTS = {
    # shortened numbers
    "TF32": (k.linear, lambda x, w, b: short(x, 11) @ short(w, 11) + b,
        "inputs rounded to 11 bits (TF32, float16)"),
    "bfloat16": (k.linear_grad_input, lambda g, w: short(g, 8) @ short(w, 8).T,
        "inputs rounded to 8 bits (bfloat16)"),
    "a result in bfloat16": (k.tanh, lambda z: short(np.tanh(z), 8), "results rounded to 8 bits"),
    "a sum in float16": (k.linear_grad_bias, lambda g: running(g, np.float16),
        "only 11 bits (TF32, float16), as if a sum"),
    "a sum in bfloat16": (k.linear_grad_bias, bfloat16_sum,
        "only 8 bits (bfloat16), as if a sum"),
    "hyper-parameters in bfloat16": (k.sgd, lambda p, g, rate: p - g * short(rate, 8),
        "hyper-parameters rounded to 8 bits"),
    # all numbers
    "zeros": (k.softmax, np.zeros_like, "all its numbers are 0"),
    "a sign": (k.linear_grad_weight, lambda x, g: -(x.T @ g), "have the wrong sign"),
    "twice": (k.linear_grad_weight, lambda x, g: 2 * (x.T @ g), "off by a factor of 2"),
    "any factor": (k.linear_grad_weight, lambda x, g: x.T @ (g * g.dtype.type(1.07)),
        "one factor, 1 + 0.07"),
    # the inputs
    "a forgotten bias": (k.linear, lambda x, w, b: x @ w, "b left out"),
    "a bias taken off": (k.linear, lambda x, w, b: x @ w - b, "b with the wrong sign"),
    "uphill": (k.sgd, lambda p, g, rate: p + rate * g, "g with the wrong sign"),
    "a transposed weight": (k.linear_grad_input, lambda g, w: g @ w.T.reshape(w.shape).T,
        "w read column by column instead of row by row"),
    "rows in reverse": (k.linear_grad_weight, lambda x, g: x[::-1].T @ g,
        "rows in reverse order"),
    "rows of the next": (k.take_rows, lambda d, r: d[(r + 1) % 200], "rows shifted by one"),
    "targets of the next": (k.cross_entropy,
        lambda z, t, w, s: k.cross_entropy.meaning(xp, z, np.roll(t, 1, 0), w, s),
        "targets with its rows shifted by one"),
    "a result with rows in reverse": (k.tanh, lambda z: np.tanh(z)[::-1], "in reverse order"),
    "a row that is dropped": (k.linear_grad_bias, lambda g: g[:-1].sum(axis=0),
        "a last row that is left out"),
    "the first row dropped": (k.linear_grad_weight, lambda x, g: x[1:].T @ g[1:],
        "a first row that is left out"),
    "the one for the other": (k.multiply, lambda a, b: a * a, "a in the place of b"),
    "a derivative at 0": (k.relu_backward, lambda g, a: np.where(a >= 0, g, 0 * g),
        "a 0 in a that counts as positive (>= for >)"),
    "a velocity that is written first": (k.momentum,
        lambda p, g, v, momentum, rate: (
            p - (momentum * (v * momentum + g * rate) + g * rate), v * momentum + g * rate),
        "out1 in the place of v"),
    # hyper-parameters
    "no scale": (k.mean_squared_error,
        lambda z, t, w, s: k.mean_squared_error.meaning(xp, z, t, w, np.ones_like(s)),
        "scale left out (1 in its place)"),
    "no scale in the loss": (k.binary_cross_entropy,
        lambda z, t, w, s: (k.binary_cross_entropy.meaning(xp, z, t, w, s)[0] * 64,
            k.binary_cross_entropy.meaning(xp, z, t, w, s)[1]),
        "scale left out (1 in its place)"),
    "another rate": (k.sgd, lambda p, g, rate: p - rate * p.dtype.type(1.25) * g, "rate = 0.125"),
    "rest1 and rest2 swapped": (k.adam,
        lambda *a: k.adam.meaning(xp, *a[:5], a[7], *a[6:]), "rest2 in the place of rest1"),
    "epsilon added to the root, not inside it": (k.rmsprop,
        lambda p, g, s, beta, rest, rate, e: (
            p - rate * g / (np.sqrt(s * beta + g * g * rest) + e), s * beta + g * g * rest),
        "epsilon added to the root, not inside it"),
}  # fmt: skip

ADAM = {
    "1 - beta2 in float32": (lambda v: adam(v, rest2=rest(v, "beta2")),
        "rest2 = 0.00099998713 instead of 0.001", "which is 1 - beta2 formed in float32"),
    "epsilon inside the root": (lambda v: adam(v, inside=v["epsilon"]),
        "epsilon inside the root", ""),
    "another epsilon inside the root": (lambda v: adam(v, inside=3e-13),
        "epsilon inside the root, not added to it, as 3e-13", ""),
    "no correction": (lambda v: adam(v, corrected=False),
        "step_size = 0.001 instead of 0.000202", "and epsilon = 1e-08 instead of 5.47e-10"),
    "uphill": (lambda v: adam(v, sign=-1.0), "step_size with the wrong sign", ""),
    "ten times epsilon": (lambda v: adam(v | {"epsilon": v["epsilon"] * 10}), "epsilon = 5.47", ""),
    "another step": (lambda v: adam(v | {"step_size": v["step_size"] * v["p"].dtype.type(1.5)}),
        "step_size = 0.000303", ""),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_cause_of_a_fault_is_named(fault, dtype):
    kernel, wrong, words = FAULTS[fault]
    call, values = case(kernel, dtype)
    assert words in named(call, values, wrong(*values.values()), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", ADAM)
def test_the_cause_of_a_fault_of_adam_is_named(fault, dtype):
    wrong, *words = ADAM[fault]
    call, values = case(kernels.adam, dtype)
    found = named(call, values, wrong(values), dtype)
    for one in words:
        assert one in found


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_the_first_step_numbers_that_have_no_effect_are_not_named(dtype):
    units = np.where(np.arange(48) % 3, 1e-2, 1e-8)[:, None]
    arrays = {"g": units * np.random.default_rng(0).normal(size=(48, 32))}
    arrays |= {name: np.zeros((48, 32)) for name in ("m", "v")}
    numbers = dict(zip(ADAM_NUMBERS, adam_numbers(step=1), strict=True))
    call, values = case(kernels.adam, dtype, {"p": np.zeros((48, 32))} | arrays | numbers)
    found = named(call, values, adam(values, inside=values["epsilon"]), dtype)
    assert found == "it fits epsilon inside the root, not added to it"
    found = named(call, values, adam(values | {"epsilon": 10 * values["epsilon"]}), dtype)
    assert found == "it fits epsilon = 3.16e-09 instead of 3.16e-10"


def test_float32_where_float64_is_asked_for():
    call, values = case(kernels.linear, "float64")
    narrow = [array.astype(np.float32) for array in values.values()]
    wide = [array.astype(np.float64) for array in narrow]
    found = named(call, values, kernels.linear.meaning(xp, *wide), "float64")
    assert found == "it fits inputs rounded to 24 bits (float32)"
    call, values = case(kernels.linear_grad_bias, "float64")
    found = named(call, values, running(values["grad"], np.float32), "float64")
    assert found == "all its numbers have only 24 bits (float32), as if a sum were kept in so few"


def test_two_hyper_parameters_wrong_at_once():
    call, values = case(kernels.adam, "float64")
    outputs = adam(values, rest1=rest(values, "beta1"), rest2=rest(values, "beta2"))
    words = ["rest1 = 0.10000002384 instead of 0.1, which is 1 - beta1 formed in float32"]
    words += ["rest2 = 0.00099998713 instead of 0.001, which is 1 - beta2 formed in float32"]
    assert named(call, values, outputs, "float64", 0) == f"it fits {' and '.join(words)}"
    assert words[0] in named(call, values, outputs, "float64", 1)
    assert words[1] in named(call, values, outputs, "float64", 2)


# -- a few numbers ---------------------------------------------------------------------------

PLACES = {
    "a row": ((5,), "in row 5"),
    "the last row": ((-1,), "in its last row"),
    "a column": ((slice(None), 0), "in column 0"),
    "the last columns": ((slice(None), slice(30, None)), "in columns 30 to 31 of 32"),
    "one number": ((7, 3), "in row 7 and column 3"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [kernels.linear, kernels.sigmoid])
@pytest.mark.parametrize("fault", PLACES)
def test_the_place_of_wrong_numbers(fault, kernel, dtype):
    where, words = PLACES[fault]
    call, values = case(kernel, dtype)
    right = formula(kernel, values)
    noise = np.random.default_rng(1).normal(size=right[where].shape)
    wrong = put(right, where, right[where] + noise)
    assert named(call, values, wrong, dtype) == f"the wrong numbers are all {words}"
    wrong = put(right, where, 0.0)
    assert named(call, values, wrong, dtype) == f"the wrong numbers are all 0 {words}"
    wrong = put(right, where, np.nan)
    assert named(call, values, wrong, dtype) == f"it is NaN where the formula gives finite {words}"


def test_the_place_in_a_vector():
    call, values = case(kernels.linear_grad_bias, "float32")
    wrong = put(formula(kernels.linear_grad_bias, values), -1, 77.0)
    assert named(call, values, wrong, "float32") == "the wrong numbers are all in its last number"


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_numbers_that_became_0(dtype):
    call, values = case(kernels.sigmoid, dtype, {"z": np.linspace(-30.0, 5.0, 500).reshape(50, 10)})
    right = formula(kernels.sigmoid, values)
    found = named(call, values, np.where(right < 6e-5, 0, right), dtype)
    assert found == "its numbers up to 6e-05 have become 0"


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_that_are_not_finite(dtype):
    grad, a = np.ones((6, 5)), np.ones((6, 5))
    grad[3, 1:4] = np.nan
    call, values = case(kernels.relu_backward, dtype, {"grad": grad, "a": a})
    right = formula(kernels.relu_backward, values)
    hidden = named(call, values, np.nan_to_num(right), dtype)
    assert hidden == "it is 0 where the formula gives NaN in row 3"
    infinite = named(call, values, np.where(np.isnan(right), np.inf, right), dtype)
    assert infinite == "it is infinite where the formula gives NaN in row 3"
    twice = named(call, values, 2 * right, dtype)  # the NaNs are right
    assert twice == "all its numbers are off by one factor, 2"


def test_another_shape_or_dtype():
    call, values = case(kernels.add, "float32")
    inputs, right = list(values.values()), formula(kernels.add, values)
    assert cause(call, inputs, [right[:, :3]], 0, "float32") == (
        "its shape is (64, 3) instead of (64, 32)"
    )
    assert cause(call, inputs, [right.astype(np.float64)], 0, "float32") == (
        "it is float64 instead of float32"
    )


# -- what must not be named ------------------------------------------------------------------

KERNELS = [
    k.linear, k.linear_grad_input, k.linear_grad_weight, k.linear_grad_bias, k.take_rows, k.relu,
    k.relu_backward, k.tanh, k.tanh_backward, k.sigmoid, k.softmax, k.multiply, k.add, k.sgd,
    k.momentum, k.rmsprop, k.adam, k.cross_entropy, k.mean_squared_error, k.binary_cross_entropy,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [1e-4, 0.1, 3.0])
def test_errors_without_a_cause(kernel, dtype, size):
    call, values = case(kernel, dtype)
    # Among as many numbers as Adam's the search takes a second a time: one draw of errors a size.
    for seed in range(1 if kernel in (k.rmsprop, k.adam) else 3):
        rng = np.random.default_rng([seed, int(1e4 * size)])
        right = formula(kernel, values)
        right = right if isinstance(right, tuple) else (right,)
        wrong = [
            (one * (1 + size * rng.normal(size=one.shape))).astype(dtype)
            + size * (one == 0) * rng.normal(size=one.shape).astype(dtype)
            for one in right
        ]
        outputs = [one.astype(dtype) for one in wrong]
        for position in range(len(right)):
            assert cause(call, list(values.values()), outputs, position, dtype) == ""
        for position, one in enumerate(right):  # the others are right
            outputs = [*right]
            outputs[position] = wrong[position].astype(one.dtype)
            assert cause(call, list(values.values()), outputs, position, dtype) == ""


def test_no_number_of_its_own_is_fitted_to_a_single_one():
    call, values = case(kernels.mean_squared_error, "float32")
    loss, grad = formula(kernels.mean_squared_error, values)
    for factor in np.random.default_rng(0).uniform(0.5, 2.0, 50):
        outputs = [np.asarray(loss * np.float32(factor)), grad]
        assert cause(call, list(values.values()), outputs, 0, "float32") == ""


# -- whatever the call -----------------------------------------------------------------------


def raising(xp, x, scale):
    if not (x != 0.0).all() or (x < 0.0).any() or not 0.0 < scale < 1.0:
        raise ValueError("refused")
    return xp.sqrt(x) * scale


def warning(xp, x):
    warnings.warn("whatever", RuntimeWarning, stacklevel=1)
    return x * 2.0


def python_scalar(xp, x):
    return float(x.sum())


ODD = {
    "refused inputs": (raising, [np.linspace(1.0, 2.0, 20), np.asarray(0.5)], None),
    "warnings": (warning, [np.linspace(1.0, 2.0, 20)], None),
    "no magnitude of that shape": (warning, [np.ones(20)], lambda xp, x: (x[:3],)),
    "a magnitude that raises": (warning, [np.ones(20)], lambda xp, x: 1 / 0),
    "a number of Python": (python_scalar, [np.ones(20)], None),
    "empty": (lambda xp, x: x * 2.0, [np.ones((0, 3))], None),
    "no rows": (lambda xp, x: xp.sum(x, axis=0), [np.ones((0, 3))], None),
    "one number": (lambda xp, x: x * 2.0, [np.asarray(3.0)], None),
    "whole numbers": (lambda xp, x: x + 1, [np.arange(12).reshape(3, 4)], None),
    "truth": (lambda xp, x: x > 1, [np.arange(12.0).reshape(3, 4)], None),
    "three axes": (lambda xp, x, y: x @ y, [np.ones((2, 3, 4)), np.ones((2, 4, 5))], None),
    "no inputs": (lambda xp: xp.ones((3,)), [], None),
    "nothing but NaN": (lambda xp, x: x * np.nan, [np.ones((4, 3))], None),
    "zeros": (lambda xp, x: x * 0.0, [np.ones((4, 3))], None),
    "huge": (lambda xp, x: x * x, [np.full((4, 3), 1e19)], None),
    "tiny": (lambda xp, x: x * x, [np.full((4, 3), 1e-19)], None),
    "a scale of 0": (lambda xp, x, s: x * s, [np.ones((4, 3)), np.asarray(0.0)], None),
    "many hyper-parameters": (
        lambda xp, x, *s: x * sum(s), [np.ones((4, 3)), *map(np.asarray, range(1, 30))], None
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("odd", ODD)
def test_a_report_comes_out_whatever_the_call(odd, dtype):
    meaning, inputs, magnitude = ODD[odd]
    for elementwise in (False, True):
        made = kernels.kernel(
            shapes=lambda *shapes: shapes, magnitude=magnitude, elementwise=elementwise
        )(meaning)
        inputs = [in_dtype(v, dtype) for v in inputs]
        names = tuple(f"in{k}" for k in range(len(inputs)))
        call = kernels.Call(made, names, ("out",), "gradient")
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            right = np.asarray(meaning(xp, *inputs))
            wrongs = [right, ~right if right.dtype == bool else right + 1, right * 0]
            wrongs += [
                np.full(right.shape, np.nan, dtype),
                np.ones((7, 7), dtype),
                right.astype(int),
            ]
        for wrong in wrongs:
            assert isinstance(cause(call, inputs, [wrong], 0, dtype), str)


def test_a_kernel_that_refuses_some_causes_gets_the_others():
    call, values = case(
        kernels.kernel(shapes=lambda x, scale: (x,))(raising), "float32",
        {"x": np.linspace(1.0, 2.0, 20), "scale": 0.5},
    )  # fmt: skip
    wrong = np.sqrt(values["x"]) * np.float32(0.6)
    assert "scale = 0.6 instead of 0.5" in named(call, values, wrong, "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_takes_a_second_at_most(dtype):
    rng = np.random.default_rng(0)
    shapes = {"x": (256, 784), "w": (784, 512), "b": (512,)}
    inputs = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    call, values = case(kernels.linear, dtype, inputs)
    right = formula(kernels.linear, values)
    wrong = (right * (1 + 0.01 * rng.normal(size=right.shape))).astype(dtype)
    start = time.process_time()
    assert cause(call, list(values.values()), [wrong], 0, dtype) == ""
    assert time.process_time() - start < 3.0  # one thread of an idle machine takes 0.3


def test_the_cause_in_a_long_update():
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(784, 512)) for name in ("p", "g", "m", "v")}
    arrays["v"] = arrays["v"] ** 2
    numbers = dict(zip(ADAM_NUMBERS, adam_numbers(), strict=True))
    call, values = case(kernels.adam, "float32", arrays | numbers)
    start = time.process_time()
    found = named(call, values, adam(values, inside=1e-3), "float32")
    assert found == "it fits epsilon inside the root, not added to it, as 0.001"
    assert time.process_time() - start < 3.0


# -- once for each fault ---------------------------------------------------------------------


def test_a_recorder_names_the_cause_of_a_fault_once_and_looks_for_it_until_then():
    call, values = case(kernels.tanh, "float32")
    right, recorder = formula(kernels.tanh, values), Recorder()
    noise = right * (1 + np.random.default_rng(0).normal(size=right.shape).astype(np.float32))
    steps = {1: noise, 2: -right, 3: -right}
    for recorder.step, output in steps.items():
        recorder.measured(call, ["a"], [*values.values()], [output], "float32")
    recorder.measured(call, ["b"], [*values.values()], [-right], "float32")
    recorder.measured(call, ["a"], [*values.values()], [-right], "float32", check="edge")
    wrong = "all its numbers have the wrong sign"
    found = [(one.name, one.step, one.text) for one in recorder.faults.values()]
    assert found == [("a", 1, ""), ("a", 2, wrong), ("a", 3, ""), ("b", 3, wrong), ("a", 3, wrong)]
