"""Checks of one's own code: silent about what is right, and each kind of fault found, and named."""

import copy
import pickle
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import ways
from cases import CASES
from fresh import ROOT
from test_design import BatchNorm, Residual, SummedHuber, summed_huber
from test_gradients import OPTIMIZERS

import portable_nn as pnn
import portable_nn_numpy.lowering as lowering
from portable_nn import kernels
from portable_nn.kernels import Gradient, elementwise, from_output, kernel, loss_kernel
from portable_nn.losses import Loss
from portable_nn.parity import (
    Reports,
    check_kernel,
    check_layer,
    check_loss,
    check_optimizer,
)
from portable_nn.parity._edges import edges, with_rows

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4))
LOSS = (X, RNG.normal(size=(6, 4)), np.ones((6, 1)), 1 / 6)
EAGER = ["numpy", "torch"]
FEW = [kernels.linear, kernels.take_rows, kernels.cross_entropy, kernels.adam]


def named(reports):
    """All that is said of the faults that were found, a line each."""
    assert not reports.ok
    return "\n".join(
        f"{one.check} | {one.name} | {one.kernel} | {one.text}"
        for report in reports
        for one in report.faults
    )


# -- where all is well ---------------------------------------------------------------------


@pytest.mark.parametrize("backend", EAGER, indirect=True)
@pytest.mark.parametrize("kernel", CASES, ids=lambda kernel: kernel.name)
def test_kernels_that_are_right(kernel, backend):
    inputs = CASES[kernel][0].inputs("float64")
    reports = check_kernel(kernel, *inputs, backend=backend)
    assert reports.ok, reports.verdict
    assert [report.dtype for report in reports] == ["float32", "float64"]
    edged = {found.check for report in reports for found in report.worst}
    assert all(report.calls >= 10 for report in reports)
    assert "gradient" in edged or kernel.backward is None


# Compiled as a whole, and operation by operation; each shape costs a compilation. The numbers of
# array_api_strict are NumPy's, and what it refuses it refuses in tests/test_kernels.py.
@pytest.mark.parametrize(
    "backend", ["numpy-readonly", "strict-device1", "jax", "jax-jit"], indirect=True
)
@pytest.mark.parametrize("kernel", FEW, ids=lambda kernel: kernel.name)
def test_kernels_that_are_right_where_shapes_are_compiled(kernel, backend):
    inputs = CASES[kernel][0].inputs("float64")
    reports = check_kernel(kernel, *inputs, backend=backend, dtype="float32")
    assert reports.ok, reports.verdict


def test_a_kernel_with_attributes():
    assert check_kernel(summed_huber, *LOSS, backend="numpy", delta=0.5).ok


LAYERS = [
    pnn.Dense(4), pnn.Dropout(0.4), pnn.Identity(), pnn.ReLU(), pnn.Sigmoid(), pnn.Softmax(),
    pnn.Tanh(), Residual((pnn.ReLU(), pnn.Dense(8))),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_that_are_right(layer):
    reports = check_layer(layer, backend="numpy")
    assert reports.ok, reports.verdict
    assert all(list(report.watched) == [1, 2, 3, 4, 5, 6] for report in reports)
    assert {"kernel", "gradient", "prediction"} <= {one.check for one in reports[0].worst}


@pytest.mark.parametrize("backend", ["torch", "strict-device1"], indirect=True)
def test_a_layer_of_ones_own_on_other_backends(backend):
    reports = check_layer(Residual((pnn.Tanh(),)), backend=backend, dtype="float32")
    assert reports.ok, reports.verdict


def test_a_layer_that_needs_two_rows():
    reports = check_layer(BatchNorm(), least_rows=2, backend="numpy")
    assert reports.ok, reports.verdict
    swept = {one.kernel for one in reports[0].worst if one.check.startswith("edge")}
    assert swept == {"batch_norm", "batch_norm_backward", "batch_norm_predict"}
    said = named(check_layer(BatchNorm(), backend="numpy", dtype="float32"))
    assert "edge: one row | outputs | batch_norm | it fails with ZeroDivisionError" in said
    assert "run | batchnorm1 | batch_norm | it fails with ZeroDivisionError" in said


def test_a_step_that_cannot_be_started_is_a_fault(monkeypatch):
    def lowered(new, *arrays):
        raise RuntimeError("no such instruction")

    monkeypatch.setitem(lowering.LOWERINGS, kernels.tanh_backward, lowered)
    said = named(check_layer(pnn.Tanh(), backend="numpy", dtype="float32"))
    assert "training | a step | the plan | it fails with RuntimeError: no such instruction" in said
    assert "sample inputs | outputs | tanh_backward | it fails with RuntimeError" in said


@pytest.mark.parametrize("loss", [*pnn.losses.LOSSES, SummedHuber(0.5)], ids=str)
def test_losses_that_are_right(loss):
    reports = check_loss(loss, backend="numpy")
    assert reports.ok, reports.verdict
    kernel = pnn.losses.as_loss(loss).kernel.name
    assert (kernel, "edge: large numbers") in {(one.kernel, one.check) for one in reports[0].worst}


@pytest.mark.parametrize("optimizer", [one for one, _ in OPTIMIZERS], ids=str)
def test_optimizers_that_are_right(optimizer):
    reports = check_optimizer(optimizer, backend="numpy")
    assert reports.ok, reports.verdict
    assert "schedule" in {one.check for one in reports[0].worst}
    assert len(reports[0].watched) == 20


@pytest.mark.parametrize("backend", ["jax-jit"], indirect=True)
def test_steps_that_cannot_be_looked_into_are_listed(backend):
    reports = check_layer(pnn.Tanh(), backend=backend, dtype="float32")
    assert reports.ok, reports.verdict
    assert "cannot be watched" in reports.missing["jax float32, call by call"]
    assert "not checked: jax float32, call by call: " in str(reports)


# -- faults --------------------------------------------------------------------------------


@elementwise()
def half_of_it(xp, grad, a):
    return grad * (1.0 - a * a) * 0.5


@elementwise(backward=from_output(half_of_it))
def bent(xp, z):
    return xp.tanh(z)


@kernel(shapes=lambda x: (x[:-1],))
def row_means(xp, x):
    return xp.mean(x, axis=-1, keepdims=True)


@elementwise()
def widened(xp, x):
    return x * np.asarray(2.0, dtype=np.float64)


@loss_kernel()
def clipped(xp, z, targets, weight, scale):
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    p = e / xp.sum(e, axis=-1, keepdims=True)
    hot = xp.astype(targets == xp.arange(z.shape[-1], dtype=targets.dtype), z.dtype)
    value = -xp.sum(xp.log(p + 1e-7) * hot * weight, axis=(-2, -1)) * scale
    return value, (p - hot) * (weight * scale)


@kernel(shapes=lambda x: (x,))
def spread(xp, x):
    return x * (1.0 / (x.shape[-2] - 1))


@kernel(shapes=lambda x: ((x[0] * 2 // 2, x[1]),))
def counted(xp, x):
    return x * 2.0


WRONG = {
    "a wrong gradient": (bent, [X], "gradient | gradient of input 0 | bent | in one direction"),
    "a wrong shape": (row_means, [X], "row_means gave (6, 1) float32, but its shapes"),
    "a wider constant": (widened, [X], "widened gave (6, 4) float64, but its shapes"),
    "one row": (spread, [X], "edge: one row | outputs | spread | it fails with ZeroDivisionError"),
    "rows that are a name": (counted, [X], "where the number of rows is a name, it fails with"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_kernel_that_is_wrong(fault):
    kernel, inputs, said = WRONG[fault]
    found = named(check_kernel(kernel, *inputs, backend="numpy", dtype="float32"))
    assert said in found
    assert found.count("\n") == 0  # one finding, and no other


@kernel(shapes=lambda z: (z,))
def unshifted(xp, z):
    e = xp.exp(z)
    return e / xp.sum(e, axis=-1, keepdims=True)


@elementwise()
def softplus(xp, z):
    return xp.log(1.0 + xp.exp(z))


@elementwise()
def plain_sigmoid(xp, z):
    return xp.exp(z) / (1.0 + xp.exp(z))


OVERFLOWS = {
    "softmax": (unshifted, [[100.0, 99.0, 1.0]], "nan where it should be 0.731"),
    "softplus": (softplus, [[100.0, 1.0]], "inf where it should be 100"),
    "large numbers only": (
        plain_sigmoid, X, "nan where it should be 1 (edge: large numbers)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("formula", OVERFLOWS)
@pytest.mark.parametrize("backend", ["numpy", "torch"], indirect=True)
def test_a_formula_that_overflows_itself(formula, backend):
    wrong, inputs, said = OVERFLOWS[formula]
    found = named(check_kernel(wrong, inputs, backend=backend, dtype="float32"))
    text = f"the formula itself overflows in float32: it is {said}"
    assert found == f"formula | output 0 | {wrong.name} | {text}"


def test_a_result_that_the_dtype_does_not_hold_is_no_fault():
    grows = elementwise()(lambda xp, z: xp.exp(z))
    reports = check_kernel(grows, [[100.0, 1.0, -100.0]], backend="numpy", dtype="float32")
    assert reports.ok, reports.verdict
    assert check_kernel(unshifted, [[100.0, np.inf]], backend="numpy", dtype="float32").ok


@elementwise(donates=())
def left_elsewhere(xp, x):
    return xp.zeros(x.shape, dtype=x.dtype)  # on the default device


@pytest.mark.parametrize("backend", ["strict-device1"], indirect=True)
def test_an_output_on_another_device(backend):
    said = named(check_kernel(left_elsewhere, X, backend=backend, dtype="float32"))
    assert said.startswith("sample inputs | output 0 | left_elsewhere | it is on ")
    assert said.endswith("its inputs are on array_api_strict.Device('device1')")
    assert "\n" not in said


def test_the_verdict_says_where():
    reports = check_kernel(spread, X, backend="numpy", dtype="float32")
    place = "numpy float32 is not equal: edge: one row, outputs, which spread computes: it fails"
    assert reports.verdict.startswith(place)
    assert str(reports).startswith(place)


def test_the_verdict_where_nothing_is_off():
    reports = check_kernel(kernels.take_rows, X, np.arange(6), backend="numpy", dtype="float32")
    assert reports.verdict.endswith(" numbers of 12 kernel calls, right in every bit.")


def test_a_backend_that_says_it_is_less_accurate_is_measured_as_that(monkeypatch):
    coarse = writes(lambda z: np.tanh(z) * np.float32(1.0 + 2.0**-12))
    monkeypatch.setitem(lowering.LOWERINGS, kernels.tanh, coarse)
    backend = pnn.get_backend("numpy")
    assert "sample inputs" in named(check_kernel(kernels.tanh, X, backend=backend, dtype="float32"))
    monkeypatch.setattr(backend, "roundoffs", {kernels.tanh: 2.0**-11}, raising=False)
    reports = check_kernel(kernels.tanh, X, backend=backend, dtype="float32")
    assert reports.ok, reports.verdict


def test_a_logarithm_that_is_kept_from_0_is_seen_with_large_logits(monkeypatch):
    values = CASES[kernels.cross_entropy][0].inputs("float64")

    def lowered(new, *arrays):
        def run():
            value, grad = clipped.meaning(lowering.xp, *arrays[:4])
            np.copyto(arrays[4], value)
            np.copyto(arrays[5], grad)

        return [(run, ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.cross_entropy, lowered)
    said = named(check_kernel(kernels.cross_entropy, *values, backend="numpy", dtype="float32"))
    assert "edge: large numbers | output 0 | cross_entropy" in said
    assert "sample inputs" not in said


def writes(formula):
    """A lowering of one output."""

    def lowered(new, *arrays):
        return [(lambda: np.copyto(arrays[-1], formula(*arrays[:-1])), ())]

    return lowered


def in_memory_order(array):
    """The numbers as they lie in memory, taken for rows of columns."""
    return np.lib.stride_tricks.as_strided(
        array, array.shape, (array.shape[1] * array.itemsize, array.itemsize), writeable=False
    )


def overwrites(new, z, out):
    return [(np.tanh, (z, z)), (np.copyto, (out, z))]


def loses_its_input(new, p, g, v, decay, rate, p1, v1):
    """The parameter is written first, over the old one if it may, and then read."""

    def run():
        velocity = v * decay + g * rate
        np.copyto(p1, p - velocity)
        np.copyto(v1, velocity + p * 0.0 + (p1 - p1) + (p - p1 - velocity))

    return [(run, ())]


LOWERED = {
    "16,384 rows": (
        kernels.tanh, writes(lambda z: np.tanh(z) * (1.001 if len(z) > 16_000 else 1.0)), [X],
        {"edge: 16,384 rows"},
    ),
    "memory order": (
        kernels.relu, writes(lambda z: np.maximum(in_memory_order(z), 0)), [X],
        {"edge: memory that is not contiguous", "edge: memory in the order of columns"},
    ),
    "columns in memory": (
        kernels.relu,
        writes(lambda z: np.maximum(z if z.flags.c_contiguous or not z.flags.f_contiguous
                                    else in_memory_order(z), 0)),
        [X], {"edge: memory in the order of columns"},
    ),
    "a NaN that is lost": (
        kernels.relu, writes(lambda z: np.nan_to_num(np.maximum(z, 0), posinf=np.inf)), [X],
        {"edge: one NaN"},
    ),
    "the wrong side of a tie": (
        kernels.relu_backward, writes(lambda g, a: np.where(a >= 0, g, 0)), [X, np.abs(X)],
        {"edge: signed zeros"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", LOWERED)
def test_a_lowering_that_is_wrong_on_an_edge_only(fault, monkeypatch):
    kernel, lowered, inputs, checks = LOWERED[fault]
    monkeypatch.setitem(lowering.LOWERINGS, kernel, lowered)
    (report,) = check_kernel(kernel, *inputs, backend="numpy", dtype="float32")
    assert {found.check for found in report.faults} == checks


def test_an_input_that_is_overwritten(monkeypatch):
    monkeypatch.setitem(lowering.LOWERINGS, kernels.tanh, overwrites)
    said = named(check_kernel(kernels.tanh, X, backend="numpy", dtype="float32"))
    assert said == "sample inputs | input 0 | tanh | input 0 is not what it was before"


def test_a_donation_that_overwrites_what_is_still_read(monkeypatch):
    monkeypatch.setitem(lowering.LOWERINGS, kernels.momentum, loses_its_input)
    said = named(check_kernel(kernels.momentum, X, X, X, 0.9, 0.1, backend="numpy"))
    assert "sample inputs | output 1 | momentum | it changes where" in said
    assert "may overwrite an input" in said


class Read(pnn.Reference):
    """Changes what is read of outputs."""

    def __init__(self, change):
        super().__init__("read", ways.open_way("numpy-reference").xp)
        self.change = change

    def start(self, plan, state, n, watch=None):
        step = super().start(plan, state, n, watch)
        read = step.read
        step.read = lambda name: read(name) if name in state else self.change(read(name))
        return step


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda array: array.astype(np.float64), "tanh gave (6, 4) float64"),
        (lambda array: array[:, :1], "tanh gave (6, 1) float32"),
    ],
)
def test_what_is_read_has_the_shape_and_dtype_of_the_plan(change, said):
    reports = check_kernel(kernels.tanh, X, backend=Read(change), dtype="float32")
    assert named(reports).startswith(f"sample inputs | output 0 | tanh | {said}, but its shapes")


# -- parts of networks that are wrong --------------------------------------------------------


@dataclass(frozen=True)
class Bent:
    def forward(self, builder, x, mode):
        return builder.call(bent, x)


@kernel(shapes=lambda x: (x,), backward=lambda call, grads: [Gradient((0,), (grads[0],))])
def row_number(xp, x):
    shift = xp.arange(x.shape[-2], dtype=x.dtype)
    return x + xp.expand_dims(shift, axis=-1)


@dataclass(frozen=True)
class Numbered:
    """Predicts another thing for a row that stands elsewhere."""

    def forward(self, builder, x, mode):
        return builder.call(row_number, x)


@kernel(
    shapes=lambda x, scale: (x, scale),
    backward=lambda call, grads: [Gradient((0,), (grads[0], call.inputs[1]), scaled)],
)
def grown(xp, x, scale):
    return x * scale, scale * 1.5


@kernel(shapes=lambda grad, scale: (grad,))
def scaled(xp, grad, scale):
    return grad * scale


@dataclass(frozen=True)
class Grown:
    """Multiplies by a state that grows in every step of training."""

    kernel: kernels.Kernel = grown

    def forward(self, builder, x, mode):
        scale = builder.state("scale", (1,), lambda draws, shape: np.ones(shape))
        y, new = builder.emit(self.kernel, x, scale)
        if mode == "train":
            builder.carry(scale, new)
        return y


def test_a_state_that_changes_is_no_fault_of_the_gradient_and_hides_none():
    reports = check_layer(Grown(), backend="numpy", dtype="float64")
    assert reports.ok, reports.verdict
    half = replace(scaled, meaning=lambda xp, grad, scale: grad * scale * 0.5)

    def rule(call, grads):
        return [Gradient((0,), (grads[0], call.inputs[1]), half)]

    wrong = Grown(replace(grown, backward=rule))
    said = named(check_layer(wrong, backend="numpy", dtype="float64"))
    assert "gradient | gradient of dense1.weight | grown | in one direction" in said


def test_a_layer_with_a_wrong_gradient():
    reports = check_layer(Bent(), backend="numpy", dtype="float64")
    said = named(reports)
    assert said.startswith("gradient | gradient of input 0 | bent | in one direction")
    assert "gradient | gradient of dense1.weight | bent | in one direction" in said
    assert all(line.endswith(": it is half of that") for line in said.splitlines())
    assert "dense2" not in said and "linear_grad_weight" not in said
    assert "gradient of input 0, which bent computes" in reports.verdict


@pytest.mark.parametrize(
    ("factor", "said"),
    [(-1.0, ": it has the other sign"), (2.0, ": it is twice that"), (0.7, "")],
)
def test_a_slip_in_a_gradient_is_named(factor, said):
    rule = replace(half_of_it, meaning=lambda xp, grad, a: grad * (1.0 - a * a) * factor)
    found = named(check_kernel(replace(bent, backward=from_output(rule)), X, backend="numpy"))
    line = re.compile(r"gradient .* central differences say -?[\d.]+" + re.escape(said))
    assert all(line.search(one).end() == len(one) for one in found.splitlines())


def _first_only(call, grads):
    """Right for each output alone; where both have a gradient, that of the second is lost."""
    if grads[0] is None:
        return [Gradient((0,), (grads[1],))]
    return [Gradient((0,), (grads[0], call.outputs[0]), kernels.tanh_backward)]


@kernel(shapes=lambda x: (x, x), backward=_first_only)
def split(xp, x):
    return xp.tanh(x), x * 1.0


@dataclass(frozen=True)
class Split:
    def forward(self, builder, x, mode):
        return builder.call(kernels.multiply, *builder.emit(split, x))


def test_kernels_of_a_layer_are_named_where_each_alone_is_right():
    assert check_kernel(split, X, backend="numpy", dtype="float64").ok
    said = named(check_layer(Split(), backend="numpy", dtype="float64"))
    names = "split or multiply or tanh_backward"
    assert said.startswith(f"gradient | gradient of dense1.weight | {names} | in one direction")
    assert "linear" not in said


@elementwise(backward=lambda call, grads: [Gradient((0,), (grads[0],))])
def no_number(xp, x):
    return x * xp.asarray(float("nan"), dtype=x.dtype)


def test_a_gradient_that_cannot_be_compared_is_not_called_right():
    (report,) = check_kernel(no_number, X, backend="numpy", dtype="float32")
    assert report.ok
    assert "gradient" not in {one.check for one in report.worst}
    assert "gradient" not in str(report)


def test_a_layer_whose_rows_depend_on_each_other():
    said = named(check_layer(Numbered(), backend="numpy", dtype="float32"))
    assert said.startswith("prediction | output | linear | rows predicted one by one differ")


@loss_kernel()
def steep(xp, z, targets, weight, scale):
    error = z - targets
    total = xp.sum(error * error * weight, axis=(-2, -1)) * scale
    return total, error * weight * scale


class Steep(Loss):
    kernel = steep


def test_a_loss_with_a_wrong_gradient():
    said = named(check_loss(Steep(), backend="numpy", dtype="float32"))
    assert said.startswith("gradient | gradient of input 0 | steep | in one direction")
    assert "gradient | gradient of dense1.weight | steep | in one direction" in said
    assert "linear_grad_weight" not in said


def test_an_optimizer_with_a_wrong_lowering(monkeypatch):
    wrong = writes(lambda p, g, rate: p - g * rate * np.float32(1.001))
    monkeypatch.setitem(lowering.LOWERINGS, kernels.sgd, wrong)
    said = named(check_optimizer(pnn.SGD(0.1), backend="numpy", dtype="float32"))
    assert said.startswith("kernel | dense1.weight | sgd | ")
    assert "sample inputs | output 0 | sgd | " in said


# -- where, and what is given ----------------------------------------------------------------


def test_every_backend_that_is_usable_here():
    reports = check_kernel(kernels.add, X, X)
    assert reports.ok, reports.verdict
    found = {(report.backend, report.dtype) for report in reports}
    assert {("numpy", "float32"), ("numpy", "float64")} <= found
    names = {name for name, _ in found} | {name.split()[0] for name in reports.missing}
    assert names >= {"numpy", "cupy", "torch", "jax", "array_api_strict"}
    for name, why in reports.missing.items():
        assert f"not checked: {name}: {why}" in str(reports)
        assert f"not checked: {name}: {why}" in reports.verdict.splitlines()
    assert len(reports.verdict.splitlines()) == len(reports) + len(reports.missing)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_reports_can_be_copied_and_pickled(copied):
    reports = Reports(check_kernel(kernels.relu, X, backend="numpy"), {"jax": "not installed"})
    again = copied(reports)
    assert type(again) is Reports
    assert again == reports
    assert again.missing == {"jax": "not installed"}
    assert str(again) == str(reports)


def test_whole_numbers_alone_become_floats():
    reports = check_kernel(kernels.linear, [[1, 2]], [[1], [2]], backend="numpy")
    assert reports.ok, reports.verdict
    assert "gradient" in {one.check for one in reports[0].worst}
    assert check_kernel(kernels.multiply, 2, 3, backend="numpy", dtype="float32").ok


def test_whole_numbers_are_an_index_where_the_formula_takes_no_others():
    table, rows = np.arange(9)[:, None], [0, 2, 5]
    assert check_kernel(kernels.take_rows, table, rows, backend="numpy").ok
    assert check_kernel(kernels.take_rows, X, rows, backend="numpy").ok


def sized(magnitude):
    """A kernel with this magnitude."""
    return replace(kernels.relu, name="absl", magnitude=magnitude)


class Unused:
    """A backend that nothing may be asked of."""

    name, xp, device, to_host, synchronize = "unused", None, None, None, None

    def asarray(self, value, dtype):
        pytest.fail("the inputs were not refused at the door")

    start = asarray


@pytest.mark.parametrize(
    ("kernel", "inputs", "attributes", "said"),
    [
        (kernels.linear, [X], {}, "the formula of linear refuses these inputs: TypeError: linear"),
        (kernels.linear, [X, X], {}, "the formula of linear refuses these inputs: ValueError"),
        (kernels.relu, [X], {"slope": 2}, "the formula of relu refuses .* argument 'slope'"),
        (kernels.add, [X, X[0]], {}, "the shapes function of add refuses .* takes equal shapes"),
        (kernels.take_rows, [X, [9]], {}, "the formula of take_rows refuses .* IndexError"),
        (kernels.relu, [[[1.0, 2.0], [3.0]]], {}, "arrays of numbers: .* inhomogeneous"),
        (
            sized(lambda xp, x: xp.abs(x)), [X], {},
            "the magnitude of absl gives no tuple but array.*, one size for each of its 1 outputs",
        ),
        (
            sized(lambda xp, x: (x, x)), [X], {},
            "the magnitude of absl gives 2 sizes, one size for each of its 1 outputs is needed",
        ),
        (sized(lambda xp: ()), [X], {}, "the magnitude function of absl refuses these inputs"),
    ],
)  # fmt: skip
def test_what_are_no_inputs_is_refused_at_the_door(kernel, inputs, attributes, said):
    with pytest.raises(pnn.NetworkError, match=said):
        check_kernel(kernel, *inputs, backend=Unused(), **attributes)


def test_a_wrong_magnitude_in_a_layer_is_refused_too():
    wrong = replace(scaled, magnitude=lambda xp, grad, scale: xp.abs(grad * scale))

    def rule(call, grads):
        return [Gradient((0,), (grads[0], call.inputs[1]), wrong)]

    with pytest.raises(pnn.NetworkError, match="the magnitude of scaled gives no tuple"):
        check_layer(Grown(replace(grown, backward=rule)), backend="numpy")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: check_kernel(len, X), "takes a Kernel"),
        (lambda: check_kernel(kernels.relu), "arrays of numbers; got none"),
        (lambda: check_kernel(kernels.relu, ["a"]), "arrays of numbers; got <U1"),
        (lambda: check_kernel(kernels.relu, X, dtype="float16"), "float32, float64"),
        (lambda: check_kernel(kernels.relu, X, backend="nothing"), "not installed"),
        (lambda: check_layer(pnn.ReLU(), features=0), "features"),
        (lambda: check_loss("cross_entropy", y=[0, 1]), "17 rows"),
        (lambda: check_optimizer("nothing"), "nothing"),
    ],
)
def test_what_cannot_be_checked(call, error):
    with pytest.raises(pnn.PortableNNError, match=error):
        call()


# -- the sweep -------------------------------------------------------------------------------


def test_edges_keep_signs_whole_numbers_and_hyper_parameters():
    inputs = [np.abs(X), -np.abs(X), np.arange(6)[:, None], np.asarray(0.9)]
    found = dict(edges(inputs, rows=[0, 1, 2]))
    assert len(found) == 13
    for name, (a, b, index, rate) in found.items():
        assert not np.signbit(a[~np.isnan(a)]).any(), name
        assert np.signbit(b[~np.isnan(b)]).all(), name
        assert (index % 1 == 0).all()
        assert rate == 0.9
    assert [len(v) for v in found["16,384 rows"][:3]] == [16_384] * 3
    assert (found["large numbers"][0] > 100.0).any()  # where exp of float32 is infinite
    assert (found["tiny numbers"][0] < 1e-10).all()
    assert (found["ties"][0] >= 1.0).all()
    assert (found["signed zeros"][1] == 0.0).any()
    assert np.array_equal(found["large numbers in input 1"][0], inputs[0])


def call_of(kernel, *inputs):
    return kernels.Call(kernel, tuple("abcdefghij"[: len(inputs)]), (), "gradient", {})


@pytest.mark.parametrize(
    ("kernel", "inputs", "rows"),
    [
        (kernels.linear, [np.ones((4, 4)), np.ones((4, 4)), np.ones(4)], [0]),
        (kernels.linear_grad_weight, [np.ones((4, 3)), np.ones((4, 2))], [0, 1]),
        (kernels.take_rows, [np.ones((9, 3)), np.arange(9)], [1]),
        (kernels.take_rows, [np.ones((9, 1), int), np.arange(3)], [1]),
        (
            kernels.cross_entropy,
            [X, np.zeros((6, 1), int), np.ones((6, 1)), np.ones(())],
            [0, 1, 2],
        ),
        (kernels.sgd, [np.ones(5), np.ones(5), np.ones(())], [0, 1]),
        (kernels.softmax, [np.ones(5)], []),
    ],
)
def test_which_inputs_have_rows(kernel, inputs, rows):
    assert with_rows(call_of(kernel, *inputs), inputs) == rows


# -- the guide -------------------------------------------------------------------------------


def test_the_guide_to_a_backend_of_ones_own_runs_as_written(capsys):
    guide = (ROOT / "backends" / "README.md").read_text(encoding="utf-8")
    names = {}
    for source in re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL):
        exec(compile(source, "backends/README.md", "exec"), names)
    printed = capsys.readouterr().out
    figures = [re.sub(r"[\d,.]*\d", "0", text) for text in (guide, printed)]
    for shown in re.findall(r"^```text\n(.*?)\n```$", figures[0], re.MULTILINE | re.DOTALL):
        assert shown in figures[1]
    assert "edge: 16,384 rows, output 0, which linear_grad_bias computes" in printed
    assert "steps, compared as a whole" in printed
    assert names["backend"].calls["linear"] > 100


def test_the_guide_names_what_a_backend_is():
    guide = (ROOT / "backends" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)", guide, re.MULTILINE)
    members = {*pnn.Backend.__annotations__, *vars(pnn.Backend)}
    assert sorted(rows) == sorted(name for name in members if not name.startswith("_"))
    assert len(rows) == 7
