"""Every kernel on every way of running a plan: value, type, place, NaN, memory, edges."""

import numpy as np
import pytest
from cases import CASES, EXPORTED, TEXTBOOK, named
from oracle import faults, floating, meaning, measured
from ways import (
    REFERENCE_WAYS,
    WAYS,
    Missing,
    Way,
    assert_lives,
    dtype_name,
    open_way,
    required,
)

from portable_nn import kernels
from portable_nn.plan import PlanBuilder

DTYPES = ("float32", "float64")
JAX = ("jax", "jax-jit")
"""Every shape costs these a compilation: they run what can differ from other ways."""
SAME_NUMBERS = ("numpy-reference", "numpy-readonly", "strict-device1")
"""NumPy's functions, whose numbers ``test_meaning_keeps_the_fixed_limits`` measures for every case.

What these ways refuse, they or ``strict-lazy``, which has all cases, refuse of every case alike.
"""

every_kernel = pytest.mark.parametrize(("kernel", "example"), named(cases=1))
not_jax = pytest.mark.parametrize("backend", [way for way in WAYS if way not in JAX], indirect=True)
"""For memory: the arrays of JAX cannot be written to."""


def test_every_exported_kernel_has_cases():
    assert [kernel.name for kernel in EXPORTED if kernel not in CASES] == []


# -- running one call ----------------------------------------------------------------------


def kind_of(array):
    return "float" if floating(array) else "index"


def one_call(kernel, inputs, dtype, kind):
    """A plan of one call whose inputs are buffers of ``kind``; their names, its outputs'."""
    builder = PlanBuilder("predict", dtype)
    names = [
        builder.buffer(f"input{k}", value.shape, kind, dtype=kind_of(value))
        for k, value in enumerate(inputs)
    ]
    outputs = builder.emit(kernel, *names)
    builder.outputs.update({name: name for name in outputs})
    return builder.build(), names, outputs


def put(backend, names, inputs, dtype):
    return {
        name: backend.asarray(value, dtype if floating(value) else "index")
        for name, value in zip(names, inputs, strict=True)
    }


def start(backend, kernel, inputs, dtype, kind="state"):
    """A step of one call; returns it, what it is fed with, and the names of its outputs."""
    plan, names, outputs = one_call(kernel, inputs, dtype, kind)
    arrays = put(backend, names, inputs, dtype)
    state, fed = (arrays, {}) if kind == "state" else ({}, arrays)
    return backend.start(plan, state, len(inputs[0]) if inputs[0].shape else 1), fed, outputs


def run(backend, kernel, inputs, dtype, kind="state"):
    """The outputs of one call, as arrays of the backend."""
    step, fed, outputs = start(backend, kernel, inputs, dtype, kind)
    step.run(fed)
    return [step.read(name) for name in outputs]


def on_host(backend, arrays):
    return [backend.to_host(array) for array in arrays]


# -- values --------------------------------------------------------------------------------


def trials():
    """Every case on every way in both dtypes; on JAX and NumPy's like the ordinary case of each.

    What JAX computes call by call in float64 is what it compiles then, less the merging.
    """
    return [
        pytest.param(way, *param.values, dtype, id=f"{way}-{param.id}-{dtype}")
        for way in WAYS
        for param in named(cases=1 if way in (*JAX, *SAME_NUMBERS) else None)
        for dtype in (DTYPES[:1] if way == "jax" else DTYPES)
    ]


@pytest.mark.parametrize(("backend", "kernel", "example", "dtype"), trials(), indirect=["backend"])
def test_value_type_and_place(backend, kernel, example, dtype):
    inputs = example.inputs(dtype)
    outputs = run(backend, kernel, inputs, dtype)
    kind = dtype if floating(inputs[0]) else dtype_name(backend.asarray(inputs[0], "index"))
    shapes = kernel.shapes(*[value.shape for value in inputs])
    for output, shape in zip(outputs, shapes, strict=True):
        assert_lives(output, backend, kind, shape)
    host = on_host(backend, outputs)
    assert all(np.isfinite(output).all() for output in host)
    assert faults(kernel, inputs, host, dtype) == []


def beyond_fixed_limits(found, size):
    """Which errors of an output of so many numbers are beyond what is allowed at first.

    The slope of many numbers is a mean: here it may not grow with the number of terms.
    """
    root, errors = np.sqrt(found.terms), found.errors
    slope = 4 if size >= 64 else 4 + root / 4
    limits = {"largest": 16 + 2 * root, "rms": 4 + root / 3, "slope": slope}
    return [name for name, limit in limits.items() if not getattr(errors, name) <= limit]


@pytest.mark.parametrize(("kernel", "example"), named())
@pytest.mark.parametrize("dtype", DTYPES)
def test_meaning_keeps_the_fixed_limits(kernel, example, dtype):
    # parity.measure forgives what NumPy's own run of the meaning does too, so that has to be good.
    inputs = example.inputs(dtype)
    outputs = meaning(kernel, inputs)
    for output, found in zip(outputs, measured(kernel, inputs, outputs, dtype), strict=True):
        assert beyond_fixed_limits(found, output.size) == []


def test_a_careless_meaning_does_not_keep_the_fixed_limits():
    @kernels.elementwise(magnitude=lambda xp, x: (xp.abs(x),))
    def roundabout(xp, x):
        return (x + 1000.0) - 1000.0

    x = np.linspace(1.0, 2.0, 64, dtype=np.float32)[np.newaxis]
    (found,) = measured(roundabout, [x], meaning(roundabout, [x]), "float32")
    assert found.share <= 1.0
    assert {"largest", "rms"} <= set(beyond_fixed_limits(found, x.size))


@every_kernel
def test_rule_notices_an_error_of_one_in_two_thousand(kernel, example):
    # A magnitude that is too large would let everything pass: 11 good bits must not. The slope
    # does not count: it knows no magnitude.
    inputs = example.inputs("float32")
    for index in range(len(meaning(kernel, inputs))):
        outputs = list(meaning(kernel, inputs))
        outputs[index] = outputs[index] * np.float32(1.0 + 2.0**-11)
        found = measured(kernel, inputs, outputs, "float32")[index]
        largest, rms, *_ = found.limits
        assert found.errors.largest > largest or found.errors.rms > rms


@every_kernel
def test_meaning_is_the_textbook_formula(kernel, example):
    inputs = example.inputs("float64")
    wide = [value.astype(np.longdouble) if floating(value) else value for value in inputs]
    expected = TEXTBOOK[kernel](*wide)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for value, true in zip(meaning(kernel, inputs), expected, strict=True):
        # Rounding of two formulas in double, with room for the textbook's cancellation.
        np.testing.assert_allclose(value, true.astype(float), rtol=1e-12, atol=1e-14)


# -- axes ----------------------------------------------------------------------------------

POPULATION = 3
SHARED = "all networks of a population share one data set"
NO_POPULATION = {
    kernels.clip_factor: "one number for all parameters; no population is ever updated",
    kernels.embedding: SHARED,
    kernels.embedding_grad: SHARED,
    kernels.take_rows: SHARED,
}


@pytest.mark.parametrize(
    "backend", [way for way in REFERENCE_WAYS if way not in JAX], indirect=True
)
@pytest.mark.parametrize(
    ("kernel", "example"), [p for p in named(cases=1) if p.values[0] not in NO_POPULATION]
)
def test_leading_population_axis(backend, kernel, example):
    members = [example.inputs("float32", seed) for seed in range(POPULATION)]
    stacked = [np.stack(i) if i[0].shape else i[0] for i in zip(*members, strict=True)]
    outputs = run(backend, kernel, stacked, "float32")
    shapes = kernel.shapes(*[value.shape for value in stacked])
    assert [tuple(output.shape) for output in outputs] == [tuple(shape) for shape in shapes]
    host = on_host(backend, outputs)
    for k, inputs in enumerate(members):
        assert faults(kernel, inputs, [output[k] for output in host], "float32") == []


# -- NaN -----------------------------------------------------------------------------------

HIDES_NAN = {
    (kernels.embedding_grad, 0): "a code that is none, which the door keeps out",
    (kernels.embedding_grad, 2): "it only says how large the table is",
    (kernels.relu_backward, 1): "a is a gate, used as a > 0; a NaN in it has reached the loss",
    (kernels.hard_sigmoid_backward, 1): "a gate likewise",
    (kernels.hard_tanh_backward, 1): "a gate likewise",
    (kernels.leaky_relu_backward, 1): "a gate likewise",
    (kernels.maxout_backward, 1): "it chooses where the gradient goes",
    (kernels.prelu_backward, 1): "a gate likewise",
    (kernels.split_features, 1): "it only says how wide the gradient is",
    (kernels.split_features, 2): "it only says how wide the gradient is",
    (kernels.pad_features, 1): "it only says how wide the gradient is",
}
SPREADS_NAN = {(kernels.embedding_grad, 1): "0 times NaN is NaN, for the other codes too"}


def fed_by(kernel, inputs, position, place):
    """Which output elements depend on one input element: those that change with it."""
    found = []
    for value in (0.8, 0.3, -0.4):
        changed = [array.copy() for array in inputs]
        changed[position][place] = value
        found.append(meaning(kernel, changed))
    return [np.logical_or(a != b, b != c) for a, b, c in zip(*found, strict=True)]


# Not on "jax": its functions are those of "jax-jit", where merging them may lose a NaN besides.
@pytest.mark.parametrize("backend", [way for way in WAYS if way != "jax"], indirect=True)
@every_kernel
def test_nan_reaches_everything_it_feeds_and_nothing_else(backend, kernel, example):
    inputs = example.inputs("float64")
    step, fed, outputs = start(backend, kernel, inputs, "float64", kind="fed")
    for position, value in enumerate(inputs):
        if not floating(value) or (kernel, position) in HIDES_NAN:
            continue
        place = (int(inputs[1][0]), 0) if kernel is kernels.take_rows else (0,) * value.ndim
        poisoned = value.copy()
        poisoned[place] = np.nan
        step.run(fed | {f"input{position}": backend.asarray(poisoned, "float64")})
        found = [np.isnan(output) for output in on_host(backend, map(step.read, outputs))]
        expected = fed_by(kernel, inputs, position, place)
        assert any(mask.any() for mask in expected)
        for got, true in zip(found, expected, strict=True):
            assert got[true].all() and (got == true).any()
            if (kernel, position) not in SPREADS_NAN:
                np.testing.assert_array_equal(got, true)


def test_nan_gradient_is_not_hidden_by_a_closed_gate(backend):
    inputs = [np.array([[np.nan, 2.0, 3.0]]), np.array([[0.0, 0.0, 1.0]])]
    (grad,) = on_host(backend, run(backend, kernels.relu_backward, inputs, "float64"))
    np.testing.assert_array_equal(grad, [[np.nan, 0.0, 3.0]])


# -- memory --------------------------------------------------------------------------------


@not_jax
@pytest.mark.parametrize("kind", ["state", "fed"])
@every_kernel
def test_inputs_that_are_not_donated_stay(backend, kernel, example, kind):
    inputs = example.inputs("float32")
    plan, names, _ = one_call(kernel, inputs, "float32", kind)
    assert plan.donated == {}
    arrays = put(backend, names, inputs, "float32")
    state = dict(arrays) if kind == "state" else {}
    step = backend.start(plan, state, len(inputs[0]))
    step.run({} if kind == "state" else arrays)
    for name, before in zip(names, inputs, strict=True):
        np.testing.assert_array_equal(backend.to_host(arrays[name]), before)
        if kind == "state":
            np.testing.assert_array_equal(backend.to_host(step.read(name)), before)


DONORS = [p for p in named(cases=1) if p.values[0].donates]


@not_jax
@pytest.mark.parametrize(("kernel", "example"), DONORS)
def test_updates_in_place(backend, kernel, example):
    """Two calls that may overwrite what they carry; 0-d inputs are shared, as hyper-parameters.

    A lowering may merge the two.
    """
    builder = PlanBuilder("train", "float32")
    builder.section = "update"
    sets = [example.inputs("float32", seed) for seed in (1, 2)]
    sets[1] = [a if b.shape == () else b for a, b in zip(*sets, strict=True)]
    calls, state, fed = [], {}, {}
    for which, inputs in enumerate(sets):
        names = [
            f"input{k}.{which}" if value.shape else f"input{k}" for k, value in enumerate(inputs)
        ]
        arrays = put(backend, names, inputs, "float32")
        for name, value in zip(names, inputs, strict=True):
            if value.shape:
                state[name] = arrays[name]
                builder.buffer(name, value.shape, "state", dtype=kind_of(value))
            elif name not in fed:
                fed[name] = arrays[name]
                builder.fed(name, (), None)
        outputs = builder.emit(kernel, *names)
        for output, source in kernel.donates:
            builder.carry(names[source], outputs[output])
        builder.outputs.update({name: name for name in outputs})
        calls.append((names, outputs))
    plan = builder.build()
    step = backend.start(plan, state, len(sets[0][0]))
    step.run(fed)
    for inputs, (names, outputs) in zip(sets, calls, strict=True):
        new = {names[source]: outputs[output] for output, source in kernel.donates}
        assert {plan.donated[output] for output in new.values()} == set(new)
        assert faults(kernel, inputs, on_host(backend, map(step.read, outputs)), "float32") == []
        for name, before in zip(names, inputs, strict=True):
            if name in new:
                expected = backend.to_host(step.read(new[name]))
                np.testing.assert_array_equal(backend.to_host(step.read(name)), expected)
            elif name in state:
                np.testing.assert_array_equal(backend.to_host(step.read(name)), before)


@not_jax
@pytest.mark.parametrize("kept", [False, True], ids=["dead", "kept"])
@every_kernel
def test_value_is_overwritten_only_when_dead(backend, kernel, example, kept):
    builder = PlanBuilder("train", "float32")
    inputs = example.inputs("float32")
    names = [f"input{k}" for k in range(len(inputs))]
    fed = put(backend, names, inputs, "float32")
    values = []
    for name, value in zip(names, inputs, strict=True):
        builder.fed(name, value.shape, None, dtype=kind_of(value))
        if floating(value):  # times one: the same numbers, but a value of the plan
            one = builder.fed(f"one.{name}", value.shape, None)
            fed[one] = backend.asarray(np.ones(value.shape), "float32")
            name = builder.call(kernels.multiply, name, one)
        values.append(name)
    outputs = builder.emit(kernel, *values)
    observed = [*outputs, *(values if kept else [])]
    builder.outputs.update({name: name for name in observed})
    plan = builder.build()
    permitted = {outputs[output]: values[source] for output, source in kernel.donates}
    assert plan.donated == ({} if kept else permitted)
    step = backend.start(plan, {}, len(inputs[0]))
    step.run(fed)
    assert faults(kernel, inputs, on_host(backend, map(step.read, outputs)), "float32") == []
    for name, before in zip(values, inputs, strict=True):
        if kept and floating(before):
            np.testing.assert_array_equal(backend.to_host(step.read(name)), before)


# -- edges ---------------------------------------------------------------------------------

TAIL = np.exp(-40.0)
ONE = [np.ones((1, 1)), np.array(1.0)]
EDGES = {
    "sigmoid, both tails": (
        kernels.sigmoid,
        [[[1e4, -1e4, 0.0, -0.0, 40.0, -40.0]]],
        [[[1.0, 0.0, 0.5, 0.5, 1.0, TAIL]]],
    ),
    "tanh": (
        kernels.tanh,
        [[[1e4, -1e4, 0.0, 1e-4]]],
        [[[1.0, -1.0, 0.0, 1e-4 - 1e-12 / 3.0]]],
    ),
    "relu": (
        kernels.relu,
        [[[1e4, -1e4, 0.0, -0.0, np.inf, -np.inf]]],
        [[[1e4, 0.0, 0.0, 0.0, np.inf, 0.0]]],
    ),
    "relu_backward, 0 at 0": (
        kernels.relu_backward,
        [[[5.0, 5.0, 5.0, 5.0]], [[0.0, -0.0, 1e-30, 1.0]]],
        [[[0.0, 0.0, 5.0, 5.0]]],
    ),
    "softmax, ties": (
        kernels.softmax,
        [[[1e4, -1e4, 0.0], [7.0, 7.0, 7.0], [1e4, 1e4, -1e4]]],
        [[[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]]],
    ),
    "cross_entropy, sure and wrong": (
        kernels.cross_entropy,
        [[[1e4, -1e4, 0.0]], [[1]], *ONE],
        [2e4, [[1.0, -1.0, 0.0]]],
    ),
    "cross_entropy, sure and right": (
        kernels.cross_entropy,
        [[[1e4, -1e4, 0.0]], [[0]], *ONE],
        [0.0, [[0.0, 0.0, 0.0]]],
    ),
    "cross_entropy, a tie": (
        kernels.cross_entropy,
        [[[-1e4, -1e4, -2e4]], [[1]], *ONE],
        [np.log(2.0), [[0.5, -0.5, 0.0]]],
    ),
    "binary_cross_entropy, sure and wrong": (
        kernels.binary_cross_entropy,
        [[[1e4, -1e4]], [[0.0, 1.0]], *ONE],
        [1e4, [[0.5, -0.5]]],
    ),
    "binary_cross_entropy, sure and right": (
        kernels.binary_cross_entropy,
        [[[1e4, -1e4]], [[1.0, 0.0]], *ONE],
        [0.0, [[0.0, 0.0]]],
    ),
    "binary_cross_entropy, small": (
        kernels.binary_cross_entropy,
        [[[-40.0, -40.0]], [[0.0, 0.0]], *ONE],
        [TAIL, [[TAIL / 2.0, TAIL / 2.0]]],
    ),
    "half_squared_error": (
        kernels.half_squared_error,
        [[[1e4, 0.0]], [[-1e4, -0.0]], *ONE],
        [2e8, [[2e4, 0.0]]],
    ),
    "mean_squared_error": (
        kernels.mean_squared_error,
        [[[1e4, 0.0]], [[-1e4, -0.0]], *ONE],
        [2e8, [[2e4, 0.0]]],
    ),
}
"""Kernel, inputs, and what mathematics says, to the relative accuracy of float32."""


@pytest.mark.parametrize(("kernel", "inputs", "expected"), EDGES.values(), ids=list(EDGES))
def test_edge(backend, kernel, inputs, expected):
    arrays = [np.asarray(value) for value in inputs]
    outputs = on_host(backend, run(backend, kernel, arrays, "float32"))
    for output, true in zip(outputs, expected, strict=True):
        # Mathematics, not the meaning. In rounding units: a little less than parity.measure
        # lets a kernel be off that sums nothing.
        np.testing.assert_allclose(output, true, rtol=16 * 2.0**-24)


# -- the ways themselves -------------------------------------------------------------------


def adds_in_place(xp, x):
    x += 1.0
    return x


def assigns(xp, x):
    y = xp.zeros_like(x)
    y[0, 0] = 1.0
    return y


SINS = {
    "host": ("strict-lazy", lambda xp, x: x * float(xp.sum(x))),
    "branch": ("strict-lazy", lambda xp, x: x if xp.any(x > 0.0) else -x),
    "in place": ("strict-lazy", adds_in_place),
    "assignment": ("strict-lazy", assigns),
    "choice of rows": ("strict-lazy", lambda xp, x: x[x[:, 0] > 0.0, :]),
    "numpy": ("strict-lazy", lambda xp, x: np.tanh(x)),
    "in place, numpy": ("numpy-readonly", adds_in_place),
    "device": ("strict-device1", lambda xp, x: x + xp.ones(x.shape, dtype=x.dtype)),
}


@pytest.mark.parametrize(("way", "meaning"), SINS.values(), ids=list(SINS))
def test_way_catches(way, meaning):
    sinner = kernels.elementwise()(meaning)
    run(open_way("numpy-reference"), sinner, [np.ones((3, 2))], "float64")  # nobody minds
    with pytest.raises((TypeError, ValueError, RuntimeError, IndexError)):
        run(open_way(way), sinner, [np.ones((3, 2))], "float64")


def test_missing_way_is_a_skip_unless_required(monkeypatch):
    def lacking():
        raise Missing("abacus is not installed")

    monkeypatch.setitem(WAYS, "abacus", Way(lacking))
    monkeypatch.setattr("ways.missing", {})
    monkeypatch.delenv("PORTABLE_NN_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="abacus is not installed"):
        open_way("abacus")
    monkeypatch.setenv("PORTABLE_NN_REQUIRE", "numpy,abacus")
    with pytest.raises(pytest.fail.Exception, match="required, but abacus is not installed"):
        open_way("abacus")
    monkeypatch.setenv("PORTABLE_NN_REQUIRE", "abaccus")
    with pytest.raises(pytest.UsageError, match="abaccus"):
        required()
