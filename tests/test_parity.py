"""Parity: silence where a backend is right; where it is not, kernel, step and cause are named."""

import json
import math
import re

import numpy as np
import pytest
import ways
from oracle import faults

import portable_nn as pnn
import portable_nn_numpy.lowering as lowering
from portable_nn import kernels, parity
from portable_nn.datasets import load_digits
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._watched import Agenda, Watched, sampled

X, Y = load_digits()
OPAQUE = ["numpy-readonly", "strict-lazy", "jax-jit"]  # which compile, or freeze, whole sections
EYED = [name for name in ways.WAYS if name not in OPAQUE]


def check(backend, *, hidden=(32, 32), activation="relu", loss="cross_entropy", **options):
    layers = pnn.mlp(hidden, outputs=10, activation=activation)
    layers.insert(2, pnn.Dropout(0.2))
    options = {"steps": 12, "batch_size": 64} | options
    return parity.check_training(layers, X, Y, loss=loss, backend=backend, **options)


# -- where all is well ---------------------------------------------------------------------


@pytest.mark.parametrize("backend", EYED, indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("activation", "optimizer"), [("tanh", "adam"), ("relu", pnn.SGD(0.1, momentum=0.9))]
)
def test_a_backend_that_is_right(backend, dtype, activation, optimizer):
    report = check(backend, activation=activation, optimizer=optimizer, dtype=dtype)
    assert report.ok, report.verdict
    assert report.watched == [1, 2, 5, 10, 12]
    assert report.compared == [3, 6, 11]
    assert (report.backend, report.dtype, report.steps) == (backend.name, dtype, 12)
    assert report.calls == 5 * 27
    assert report.numbers > 150_000
    measured = {found.kernel for found in report.worst if found.check == "kernel"}
    assert {"take_rows", "linear", "multiply", "cross_entropy", "linear_grad_input"} <= measured
    assert max(found.share for found in report.worst) > 0.02  # it has measured something


@pytest.mark.parametrize("backend", OPAQUE, indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_sections_that_are_compiled_are_compared_as_a_whole(backend, dtype):
    report = check(backend, dtype=dtype)
    assert report.ok, report.verdict
    assert "cannot be watched" in report.opaque
    assert (report.watched, report.compared) == ([], [1, 2, 5, 10, 12])
    assert {found.check for found in report.worst} == {"step", "schedule", "data flow"}
    assert max(found.share for found in report.worst) > 0.02
    assert " numbers of 5 of 12 steps, compared as a whole, none beyond " in report.verdict


@pytest.mark.parametrize(
    ("loss", "y", "outputs"),
    [
        ("mean_squared_error", Y[:, None] / 10.0, 1),
        ("half_squared_error", Y / 10.0, 1),
        ("binary_cross_entropy", Y % 2, 1),
    ],
)
@pytest.mark.parametrize(
    "optimizer", [pnn.SGD(0.1), pnn.SGD(0.1, momentum=0.9, nesterov=True), pnn.RMSProp()]
)
def test_the_other_losses_and_optimizers(loss, y, outputs, optimizer):
    layers = pnn.mlp([16], outputs=outputs, activation="sigmoid")
    options = {"optimizer": optimizer, "steps": 5, "watch": range(1, 6)}
    report = parity.check_training(layers, X, y, loss=loss, **options)
    assert report.ok, report.verdict


def test_watching_changes_nothing():
    def parameters(backend):
        network = pnn.Network(pnn.mlp([16], outputs=10))
        step = network.start(loss="cross_entropy", batch_size=64, backend=backend)
        for batch in step.batches(X, Y, epoch=0):
            step.step(batch)
        return network.parameters

    recorder, agenda = Recorder(), Agenda(50, watch=[1, 3, 4], follow=True)
    watched = parameters(Watched(pnn.get_backend("numpy"), recorder, agenda))
    for name, values in parameters("numpy").items():
        assert np.array_equal(watched[name], values)
    assert agenda.updates == 29
    assert (agenda.watched, agenda.compared) == ({1, 3, 4}, set(range(1, 30)))
    assert recorder.calls > 50


def test_a_step_that_is_not_watched_is_the_list_it_was():
    network = pnn.Network(pnn.mlp([16], outputs=10))
    plan = network.plan("cross_entropy", "adam", features=64)
    backend = pnn.get_backend("numpy")

    def functions(watch):
        sizes = {"n": 8, "rows": 9}
        state = {
            buffer.name: backend.asarray(
                np.zeros(buffer.bound(sizes)), "index" if buffer.dtype == "index" else "float32"
            )
            for buffer in plan.of_kind("parameter", "state", "fed")
            if buffer.kind != "fed" or buffer.name.startswith("data.")
        }
        ops = backend.start(plan, state, 8, watch=watch)._ops
        return [function for name in plan.sections for function, _ in ops[name]]

    class Look:
        def before(self, calls, inputs): ...

        def after(self, calls, outputs): ...

    look = Look()
    plain, watched = functions(None), functions(look)
    assert [getattr(f, "__name__", f) for f in plain] == [
        getattr(f, "__name__", f) for f in watched if getattr(f, "__self__", None) is not look
    ]
    assert len(watched) > len(plain)


# -- faults --------------------------------------------------------------------------------

F32 = np.float32


def short(array, bits):
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(F32)


def writes(formula):
    """A lowering that copies what a formula of the inputs gives into the outputs."""

    def lowered(new, *arrays, count=1):
        inputs, outputs = arrays[:-count], arrays[-count:]

        def run():
            values = formula(*[array.copy() for array in inputs])
            values = values if isinstance(values, tuple) else (values,)
            for output, value in zip(outputs, values, strict=True):
                np.copyto(output, value)

        return [(run, ())]

    return lowered


def adam(epsilon=1.0, inside=False, rest=0, bits=24, rate=1.0):
    def formula(p, g, m, v, beta1, rest1, beta2, rest2, step_size, eps):
        rest1 = F32(1) - beta1 if rest == 1 else rest1
        rest2 = F32(1) - beta2 if rest == 2 else rest2
        m = short(m * beta1 + g * rest1, bits)
        v = v * beta2 + g * g * rest2
        e = eps * F32(epsilon)
        root = np.sqrt(v + e) if inside else np.sqrt(v) + e
        return p - step_size * F32(rate) * m / root, m, v

    def lowered(new, *arrays):
        return writes(formula)(new, *arrays, count=3)

    return lowered


def spoils_its_input(new, x, weight, bias, z):
    def run():
        np.copyto(z, x @ weight + bias)
        x[0, 0] += 1.0

    return [(run, ())]


FAULTS = {
    "TF32 in the forward product": (
        kernels.linear, writes(lambda x, w, b: short(x, 11) @ short(w, 11) + b),
        "step 1, dense1, which linear computes", "inputs rounded to 11 bits",
    ),
    "bfloat16 in one gradient": (
        kernels.linear_grad_input, writes(lambda g, w: short(g, 8) @ short(w.T, 8)),
        "which linear_grad_input computes", "inputs rounded to 8 bits",
    ),
    "a gradient scaled by 1 + 2e-6": (
        kernels.linear_grad_weight, writes(lambda x, g: (x.T @ g) * F32(1 + 2e-6)),
        "step 1, grad_dense3.weight", "one factor, 1 + 2.0",
    ),
    "a dropped row": (
        kernels.linear_grad_bias, writes(lambda g: g[:-1].sum(axis=0)),
        "step 1, grad_dense3.bias", "a last row that is left out",
    ),
    "a narrow accumulator": (
        kernels.linear_grad_bias, writes(lambda g: g.astype(np.float16).sum(0, dtype=np.float16)),
        "step 1, grad_dense3.bias", "times what rounding explains",
    ),
    "a derivative of 1 at 0": (
        kernels.relu_backward, writes(lambda g, a: np.where(a >= 0, g, F32(0))),
        "which relu_backward computes", "it is wrong, not only rounded",
    ),
    "rows of the next batch": (
        kernels.take_rows, writes(lambda data, rows: data[(rows + 1) % len(data)]),
        "step 1, x, which take_rows computes", "it is wrong",
    ),
    "epsilon inside the root": (
        kernels.adam, adam(inside=True), "step 1, dense1.weight, which adam computes",
        "epsilon inside the root",
    ),
    "another epsilon": (
        kernels.adam, adam(epsilon=10.0), "step 1, dense1.weight", "epsilon = 3.16",
    ),
    "1 - beta1 in float32, 4 rounding units off": (
        kernels.adam, adam(rest=1), "step 1, dense1.weight, which adam computes",
        "it looks as if rest1 or rest2 or step_size had been rounded otherwise",
    ),
    "1 - beta2 in float32": (
        kernels.adam, adam(rest=2), "step 1, dense1.weight", "1 - beta2 formed in float32",
    ),
    "a moment in bfloat16": (
        kernels.adam, adam(bits=8), "step 1, dense1.weight", "times what rounding explains",
    ),
    "another rate": (
        kernels.adam, adam(rate=1.001), "step 1, dense1.weight", "step_size = ",
    ),
    "an input that is overwritten": (
        kernels.linear, spoils_its_input, "step 1", "relu2 has changed since it was produced",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_at_the_step_where_it_acts(fault, monkeypatch):
    kernel, lowered, place, cause = FAULTS[fault]
    monkeypatch.setitem(lowering.LOWERINGS, kernel, lowered)
    report = check("numpy")
    assert not report.ok
    assert report.verdict.startswith("numpy float32 is not equal: ")
    assert place in report.verdict
    assert cause in report.verdict
    assert report.faults[0].step == 1
    assert all(found.share > 1.0 for found in report.faults)


def test_a_fault_that_acts_later_is_seen_then(monkeypatch):
    runs = []

    def late(new, grad, out):
        def run():
            runs.append(1)
            np.copyto(out, grad.sum(axis=0) * F32(1.0 if len(runs) < 3 * 7 else 1.001))

        return [(run, ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.linear_grad_bias, late)
    report = check("numpy", watch=range(1, 13))
    assert "step 7, grad_dense1.bias, which linear_grad_bias computes" in report.verdict


class Altered:
    """A backend with another step."""

    def __init__(self, step):
        self._numpy, self._step = pnn.get_backend("numpy"), step
        for name in ("name", "xp", "device", "asarray", "to_host", "synchronize"):
            setattr(self, name, getattr(self._numpy, name))

    def start(self, plan, state, n, watch=None):
        return self._step(self._numpy.start(plan, state, n, watch=watch))


class Late:
    """Hands the hyper-parameters of one update to the next."""

    def __init__(self, step):
        self.step, self.read, self.write = step, step.read, step.write
        self.last = {}

    def run(self, fed, section=None):
        self.step.run(fed | self.last, section)
        self.last = {"step_size": fed["step_size"]}


class Shrunk(Late):
    """Gives gradients smaller than they are."""

    def __init__(self, step):
        super().__init__(step)
        self.read = lambda name: step.read(name) * F32(0.5 if "grad" in name else 1.0)

    def run(self, fed, section=None):
        self.step.run(fed, section)


def test_a_schedule_that_is_one_step_late():
    report = check(Altered(Late), watch=[1, 2, 3])
    assert "step 2, " in report.verdict
    assert "step_size is " in report.verdict
    assert "in this step it should be" in report.verdict
    assert {found.check for found in report.faults} == {"schedule"}


def test_a_kept_value_that_is_not_what_was_computed():
    report = check(Altered(Shrunk))
    assert "after the step grad_" in report.verdict


# -- the measure ---------------------------------------------------------------------------


def call_of(kernel, inputs, **attributes):
    names = tuple(f"in{k}" for k in range(len(inputs)))
    return kernels.Call(kernel, names, ("out",), "gradient", attributes)


@pytest.mark.parametrize("rows", [1, 128, 16384])
@pytest.mark.parametrize("coherent", [False, True])
def test_plain_sums_do_not_alarm_however_long(rows, coherent):
    rng = np.random.default_rng(rows)
    grad = rng.normal(size=(rows, 5)).astype(F32)
    grad = np.full_like(grad, 0.1) if coherent else grad
    (found,) = parity.measure(
        call_of(kernels.linear_grad_bias, [grad]), [grad], [grad.sum(axis=0)], "float32"
    )
    assert found.share <= 1.0
    (wrong,) = parity.measure(
        call_of(kernels.linear_grad_bias, [grad]), [grad], [grad.sum(axis=0) * F32(1.01)], "float32"
    )
    assert wrong.share > 3.0


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ([1.0, np.nan, np.inf, 3e38], True),  # 6e38 is infinite in float32
        ([1.0, 0.0, np.inf, 3e38], False),
        ([1.0, np.nan, 3e38, 3e38], False),
        ([np.nan, np.nan, np.inf, 3e38], False),
    ],
)
def test_numbers_that_are_not_finite_have_to_be_so_in_both(given, passes):
    a = np.array([0.5, np.nan, 3e38, 1.5e38], F32)
    out = np.array(given, F32)
    (found,) = parity.measure(call_of(kernels.add, [a, a]), [a, a], [out], "float32")
    assert (found.share <= 1.0) == passes


def test_numbers_that_are_exact_have_to_be_equal():
    z = np.array([-1.0, -0.0, 0.0, 1.0, 1e-42], F32)
    call = call_of(kernels.relu, [z])
    assert parity.measure(call, [z], [np.maximum(z, 0)], "float32")[0].share == 0.0
    off = np.array([0.0, 0.0, 0.0, np.nextafter(F32(1), F32(2)), 0.0], F32)
    assert parity.measure(call, [z], [off], "float32")[0].share == pytest.approx(0.5, rel=0.9)
    off[0] = 1e-6
    assert parity.measure(call, [z], [off], "float32")[0].share > 1e6


# -- the report ----------------------------------------------------------------------------


def test_a_report_that_is_good(capsys):
    report = check("numpy")
    text = str(report)
    assert text.startswith("numpy float32 computes what the formulas say: ")
    assert " kernel calls in 5 of 12 steps, and of 3 steps as a whole, none beyond" in text
    assert "linear_grad_weight" in text
    assert text.endswith("before the step.")
    found = json.loads(json.dumps(report.to_dict()))
    assert found["ok"] is True
    assert found["verdict"] == report.verdict
    assert len(found["worst"]) == len(report.worst)
    assert {one["text"] for one in found["worst"]} == {""}  # which are no faults


def test_a_report_that_is_bad_as_json(monkeypatch):
    kernel, lowered, *_ = FAULTS["a derivative of 1 at 0"]
    monkeypatch.setitem(lowering.LOWERINGS, kernel, lowered)
    report = check("numpy", steps=2)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["ok"] is False
    assert found["faults"][0]["kernel"] == "relu_backward"
    assert report.faults[0].share > 1e5
    assert re.search(r"^relu_backward +kernel +wrong +grad_dense\d +\d$", str(report), re.MULTILINE)


def test_which_steps_are_looked_on_at():
    assert sampled(1) == [1]
    assert sampled(7) == [1, 2, 5, 7]
    assert sampled(200) == [1, 2, 5, 10, 20, 50, 100, 200]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"steps": 0}, pnn.DataError),
        ({"watch": [0]}, pnn.DataError),
        ({"watch": []}, pnn.DataError),
        ({"watch": [13]}, pnn.DataError),
        ({"watch": 3}, pnn.DataError),
        ({"dtype": "f"}, ValueError),
    ],
)
def test_wrong_calls(options, error):
    with pytest.raises(error):
        check("numpy", **options)


# -- what a first round of attacks found -----------------------------------------------------


def zeros(draws, shape):
    return np.zeros(shape)


@pytest.mark.parametrize("backend", ["numpy", "torch"], indirect=True)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_one_sign_in_a_real_training_do_not_alarm(backend, dtype):
    layers = [pnn.Dense(16, weight=zeros), pnn.Sigmoid(), pnn.Dense(1, weight=zeros)]
    options = {"optimizer": pnn.SGD(0.1), "batch_size": 1797, "steps": 3}
    report = parity.check_training(
        layers, X, Y / 1.0, loss="mean_squared_error", backend=backend, dtype=dtype, **options
    )
    assert report.ok, report.verdict


def test_what_rounds_to_the_largest_number_is_not_infinite():
    a, b = np.full((2, 2), np.finfo(F32).max), np.full((2, 2), 1e30, F32)
    (found,) = parity.measure(call_of(kernels.add, [a, b]), [a, b], [a + b], "float32")
    assert found.share <= 1.0


def test_what_overflows_in_the_formula_too_is_no_fault():
    inputs = [np.full(3, v, F32) for v in (1.0, 1e20, 0.0, 0.0)]
    inputs += [np.asarray(v, F32) for v in (0.9, 0.1, 0.999, 0.001, 1e-3, 1e-8)]
    call = call_of(kernels.adam, inputs)
    with np.errstate(over="ignore"):
        outputs = [np.asarray(v) for v in kernels.adam.meaning(np, *inputs)]
    assert np.isinf(outputs[2]).all()
    assert all(one.share <= 1.0 for one in parity.measure(call, inputs, outputs, "float32"))
    outputs[2] = np.ones_like(outputs[2])
    assert parity.measure(call, inputs, outputs, "float32")[2].share > 1.0


@pytest.mark.parametrize(
    "output",
    [np.ones((1, 2), F32), np.ones((2, 3), F32), np.ones((3, 2)), np.ones((3, 2), np.int64)],
)
def test_outputs_of_another_shape_or_dtype_are_wrong(output):
    a = np.full((3, 2), 0.5, F32)
    (found,) = parity.measure(call_of(kernels.add, [a, a]), [a, a], [output], "float32")
    assert found.share == math.inf


def test_a_backend_that_shows_nothing_cannot_be_judged():
    class Deaf(Altered):
        def start(self, plan, state, n, watch=None):
            return self._numpy.start(plan, state, n)

    with pytest.raises(pnn.BackendError, match=r"showed 0 of the \d+ kernel calls"):
        check(Deaf(None))


class Stale(Late):
    """Takes the rows of the batch before."""

    def run(self, fed, section=None):
        rows = self.last.get("rows", fed["rows"])
        self.last = {"rows": fed["rows"]}
        self.step.run(fed | {"rows": rows if len(rows) == len(fed["rows"]) else fed["rows"]})


def test_rows_of_the_batch_before():
    report = check(Altered(Stale), watch=[1, 2, 3])
    assert "step 2, x, which take_rows computes: rows is not what the step was given" in str(report)


def test_the_first_short_batch_is_looked_on_at():
    report = parity.check_training(
        pnn.mlp([4], outputs=10), X[:100], Y[:100], loss="cross_entropy", batch_size=30, steps=9
    )
    assert report.watched == [1, 2, 4, 5, 9]


def test_a_kernel_that_says_nothing_of_its_errors_is_judged_by_its_inputs():
    @kernels.kernel(shapes=lambda a: (a,))
    def centre(xp, a):
        return a - xp.mean(a, axis=-2, keepdims=True)

    a = (1e4 + np.arange(12.0).reshape(4, 3)).astype(F32)
    call = call_of(centre, [a])
    out = np.asarray(centre.meaning(np, a))
    off = (out + F32(2e-3)).astype(F32)  # two of the rounding units of 10,000
    for output in (out, off):
        assert parity.measure(call, [a], [output], "float32")[0].share <= 1.0
    assert parity.measure(call, [a], [out + F32(0.1)], "float32")[0].share > 1.0


# -- numbers nearer to 0 than the smallest normal one ------------------------------------------


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_subnormal_numbers_on_the_way_may_be_flushed(factor):
    """Of ``error^2 * share`` here many are subnormal, and their sum is not."""
    random = np.random.default_rng(0)
    z, t = random.normal(size=(2, 600, 5)).astype(np.float32) * np.float32(2.0**-40)
    weight = np.full((600, 1), 2.0**-36, np.float32)
    inputs = [z, t, weight, np.float32(1 / 600)]
    share = weight * np.float32(1 / 600 / 5)
    terms, least = (z - t) ** 2 * share, np.finfo(np.float32).smallest_normal
    kept = np.where(np.abs(terms) < least, 0.0, terms).astype(np.float32)
    assert 0 < np.count_nonzero(kept) < kept.size
    assert abs(kept.sum() / terms.sum() - 1.0) > 1e-3  # far beyond rounding
    outputs = [np.float32(kept.sum() * factor), 2.0 * (z - t) * share]
    assert (faults(kernels.mean_squared_error, inputs, outputs, "float32") == []) == (factor == 1.0)
