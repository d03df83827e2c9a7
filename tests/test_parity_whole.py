"""Steps compared as a whole, and trainings followed by their formulas."""

import array_api_compat.numpy
import numpy as np
import pytest
import ways
from test_design import BatchNorm

import portable_nn as pnn
import portable_nn_numpy.lowering as lowering
from portable_nn import kernels, parity
from portable_nn.datasets import load_digits
from portable_nn.initializers import glorot_uniform
from portable_nn.kernels import loss_kernel
from portable_nn.losses import Loss
from portable_nn.parity._measure import Formulas
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._shadow import shadow
from portable_nn.parity._trajectory import Lockstep
from portable_nn.parity._watched import Agenda, Watched
from portable_nn.parity._whole import Whole
from portable_nn_numpy.backend import NumPyStep

X, Y = load_digits()
F32 = np.float32
TANH = pnn.mlp([16, 16], outputs=10, activation="tanh")
RELU = pnn.mlp([16, 16], outputs=10)


def check(backend, layers=TANH, **options):
    options = {"loss": "cross_entropy", "steps": 12, "batch_size": 64} | options
    return parity.check_training(layers, X, Y, backend=backend, **options)


def opaque(change):
    """NumPy, whose sections are changed as a whole: ``change(arrays, section) -> values``."""

    def compiled(section):
        return lambda arrays: change(arrays, section)

    return pnn.Reference("opaque", array_api_compat.numpy, compile=compiled)


# -- steps that cannot be looked into ------------------------------------------------------


class Before:
    """Hands some inputs of one step to the next."""

    def __init__(self, *names):
        self.names, self.last = names, {}

    def __call__(self, arrays, section):
        mine = {name: arrays[name] for name in self.names if name in arrays}
        late = {name: self.last.get(name, value) for name, value in mine.items()}
        self.last |= mine
        return section({**arrays, **late})


def scaled(name, factor):
    def change(arrays, section):
        found = section(arrays)
        return found | {name: found[name] * np.float32(factor)} if name in found else found

    return change


def short_inputs(arrays, section):
    data = {name: value for name, value in arrays.items() if name == "data.x"}
    mantissa = {name: np.frexp(value / 7) for name, value in data.items()}
    return section(
        arrays | {n: np.ldexp(np.round(m * 2**8) / 2**8, e) * 7 for n, (m, e) in mantissa.items()}
    )


def without(name):
    def change(arrays, section):
        found = section(arrays)
        return found | {name: arrays[name]} if name in found and name in arrays else found

    return change


HYPER = ["step_size", "epsilon"]
OPAQUE = {
    "hyper-parameters of the step before": (
        Before(*HYPER), 2, "dense1.weight, which adam", "fits the hyper-parameters of the step bef",
    ),
    "rows of the step before": (
        Before("rows"), 2, "loss, which cross_entropy", "it fits the rows of the step before",
    ),
    "parameters of the step before": (
        Before("dense1.weight"), 2, "loss, which cross_entropy", "times further off than rounding",
    ),
    "a gradient that is off by a thousandth": (
        scaled("grad_dense2.weight", 1.001), 1, "grad_dense2.weight, which linear_grad_weight", "",
    ),
    "a gradient scaled by 1 + 2e-6": (
        scaled("grad_dense3.weight", 1.0 + 2e-6), 1, "grad_dense3.weight, which linear_grad_weight",
        "in that or in what comes before it: take_rows, linear, tanh, cross_entropy",
    ),
    "a loss that is off": (scaled("loss", 1.0001), 1, "loss, which cross_entropy", ""),
    "inputs with 8 bits": (
        short_inputs, 1, "loss, which cross_entropy", "in what comes before it: take_rows, lin",
    ),
    "a moment that stays": (without("v.dense2.weight"), 1, "v.dense2.weight, which adam", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", OPAQUE)
def test_a_step_that_cannot_be_looked_into(fault):
    change, step, place, cause = OPAQUE[fault]
    report = check(opaque(change), steps=4, watch=range(1, 5))  # it is there in step 2 at latest
    assert not report.ok
    assert report.verdict.startswith(f"opaque float32 is not equal: step {step}, {place} computes")
    assert "after the step, compared as a whole, it is " in report.verdict
    assert cause in report.verdict
    assert len([one for one in report.faults if one.step == step]) == 1  # the rest follows from it


def test_only_what_is_surely_right_clears_the_calls_before_it():
    plan = pnn.Network(TANH).plan("cross_entropy", "adam", features=64)
    whole = Whole(plan, Recorder(), Formulas("float32"))
    shares = {"loss": 0.0, "grad_dense3.weight": 0.9, "grad_dense3.bias": 0.1, "dense1.bias": 0.0}
    found = whole._clear("v.dense3.weight", shares | {"v.dense3.weight": 2.0, "dense3.bias": 0.0})
    assert found == ["grad_dense3.bias"]


def test_a_right_step_that_cannot_be_looked_into():
    report = check(opaque(lambda arrays, section: section(arrays)), watch=range(1, 13))
    assert report.ok, report.verdict
    assert report.compared == [*range(1, 13)]
    assert "No call could be looked at: opaque compiles whole sections" in " ".join(
        str(report).split()
    )


# -- plain steps ---------------------------------------------------------------------------


class Wrapped:
    """NumPy with another step; ``watched`` says whether that is the one that is looked on at."""

    def __init__(self, change):
        self._numpy, self._change = pnn.get_backend("numpy"), change
        for name in ("name", "xp", "device", "asarray", "to_host", "synchronize"):
            setattr(self, name, getattr(self._numpy, name))

    def start(self, plan, state, n, watch=None):
        step = self._numpy.start(plan, state, n, watch=watch)
        return self._change(step, watch is not None)


class Careless:
    """Spoils a parameter after each plain step."""

    def __init__(self, step, watched):
        self.step, self.read, self.write, self.watched = step, step.read, step.write, watched

    def run(self, fed, section=None):
        self.step.run(fed, section)
        if not self.watched:
            self.write("dense1.weight", self.read("dense1.weight") * np.float32(1.001))


def test_what_a_plain_step_does_is_compared_too():
    report = check(Wrapped(Careless), watch=[1, 4])
    assert (report.watched, report.compared) == ([1, 4], [2, 5])
    assert "step 2, dense1.weight, which adam computes: after the step" in report.verdict
    assert {one.check for one in report.faults} == {"step"}


class Restless(Careless):
    """Changes a state before each step."""

    def run(self, fed, section=None):
        self.write("m.dense1.bias", self.read("m.dense1.bias") + np.float32(1e-6))
        self.step.run(fed, section)


class Hidden(Restless):
    """Does so between steps, when it is asked for something."""

    changed = False

    def __init__(self, step, watched):
        super().__init__(step, watched)
        self.read = self.look

    def look(self, name):
        return self.step.read(name) + (1e-6 if name == "m.dense1.bias" and Hidden.changed else 0)

    def run(self, fed, section=None):
        Hidden.changed = False
        self.step.run(fed, section)


def test_a_state_that_changes_while_nobody_looks():
    report = check(Wrapped(Restless), watch=[1, 2])
    assert "m.dense1.bias has changed since" in report.verdict


def test_a_state_that_changes_between_two_steps(monkeypatch):
    original = pnn.training.Training.step

    def step(self, batch):
        Hidden.changed = self.updates == 1
        return original(self, batch)

    monkeypatch.setattr(pnn.training.Training, "step", step)
    report = check(Wrapped(Hidden), watch=[1, 2])
    assert "step 2, m.dense1.bias, which adam computes" in report.verdict
    assert "m.dense1.bias has changed since the step before" in report.verdict


class Deaf(Careless):
    """Forgets what is written to it."""

    def __init__(self, step, watched):
        self.run, self.read = step.run, step.read

    def write(self, name, value): ...


def test_what_is_written_is_read_again():
    training = watched_training(Wrapped(Deaf))
    batch = next(training.batches(X, Y, epoch=0))
    training.gradient(batch)
    training.write("dense1.bias", training.read("dense1.bias") + 1.0)
    report = training.session.backend.report()
    assert "dense1.bias: what is written to dense1.bias is not what is read" in report.verdict


def watched_training(backend, steps=10, **options):
    recorder, agenda = Recorder(), Agenda(steps, **options)
    watched = Watched(backend, recorder, agenda)
    return pnn.Network(TANH).start(loss="cross_entropy", batch_size=64, backend=watched)


def test_two_updates_of_one_gradient():
    # The step that showed its calls has the gradient; the update after it is not looked at.
    training = watched_training(ways.open_way("numpy"), watch=[1, 3])
    plain = pnn.Network(TANH).start(loss="cross_entropy", batch_size=64)
    for each in (training, plain):
        for batch in each.batches(X[:256], Y[:256], epoch=0):
            each.gradient(batch)
            each.update()
            each.update()
    report = training.session.backend.report()
    assert report.ok, report.verdict
    assert report.steps == 8
    for name in training.plan.gradients:
        assert np.array_equal(training.read(name), plain.read(name))


class Lying(Wrapped):
    """Gives other numbers to the device than it is given."""

    def __init__(self):
        super().__init__(lambda step, watched: step)
        self.asarray = lambda value, dtype: self._numpy.asarray(np.asarray(value) // 2 * 2, dtype)


def test_what_is_put_on_the_device_is_what_was_given():
    report = check(Lying(), watch=[1])
    assert "gives other numbers than it was given" in str(report.faults)


class Careful(Careless):
    """Gives a gradient in another dtype."""

    def __init__(self, step, watched):
        super().__init__(step, watched)
        self.run = step.run
        self.read = lambda name: step.read(name).astype(np.float64 if "grad" in name else F32)


def test_what_is_read_is_as_the_plan_says():
    report = check(Wrapped(Careful), watch=[1])
    assert "read gives (16, 10) float64, the plan says (16, 10) float32" in report.verdict


def test_a_step_that_fails(monkeypatch):
    def broken(new, x, grad, out):
        return [(lambda: 1 // 0, ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.linear_grad_weight, broken)
    failed = "it fails with ZeroDivisionError: integer division or modulo by zero."
    seen = check("numpy").verdict
    assert f"step 1, grad_dense3.weight, which linear_grad_weight computes: {failed}" in seen
    report = check("numpy", watch=[12], trajectory=True)
    assert report.verdict == f"numpy float32 is not equal: step 1, the step: {failed}"
    assert report.trajectory.words == "The formulas did not follow."


def test_data_that_changes_on_the_device(monkeypatch):
    def spoils(new, data, index, out):
        def run():
            np.copyto(out, data[index])
            data[...] = data[::-1]

        return [(run, ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.take_rows, spoils)
    report = check("numpy", watch=[1, 2])
    assert "step 2, x, which take_rows computes: data.x is not what the step was given" in (
        report.verdict
    )


def test_a_training_that_diverges_says_so():
    report = check("numpy", RELU, optimizer=pnn.SGD(1e20), steps=20, trajectory=True)
    assert report.ok, report.verdict
    assert 1 < report.diverged < 10
    said = f"After step {report.diverged} it is not finite, as by the formulas: a weak test."
    assert report.verdict.endswith(said)
    assert "the training is no longer finite" in report.trajectory.words


# -- trajectories --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax-jit"], indirect=True)
@pytest.mark.parametrize("layers", [TANH, RELU], ids=["tanh", "relu"])
def test_a_training_that_is_followed(backend, layers):
    report = check(backend, layers, optimizer=pnn.Adam(1e-2), steps=40, trajectory=True)
    found = report.trajectory
    assert report.ok, report.verdict
    assert report.compared == [*range(1, 41)]
    assert len(found.loss) == len(found.reference_loss) == len(found.distance) == 40
    assert found.loss[0] == pytest.approx(found.reference_loss[0], rel=1e-6)
    assert all(d <= limit for d, limit in zip(found.distance, found.limit, strict=True))
    assert 1e-8 < found.distance[-1] < 1e-5
    assert found.horizon == 40
    assert found.jumps == []


def test_a_branch_that_flips_is_taken_over():
    # Long enough for a unit to come to lie on the other side of 0, on one of both.
    layers = pnn.mlp([64, 64], outputs=10)
    report = check("numpy", layers, batch_size=128, steps=60, trajectory=True)
    found = report.trajectory
    assert report.ok, report.verdict
    assert found.flips
    assert {flip.name for flip in found.flips} <= {"dense1", "dense2"}
    assert all(0.0 < flip.size <= 1.0 for flip in found.flips)
    assert found.free_distance[-1] > 20.0 * found.distance[-1]
    assert "Left alone, they end" in found.words


def altered_adam(change):
    """The update with ``change(step)`` as a factor of the new parameter."""
    steps = []

    def lowered(new, *arrays):
        inputs, outputs = arrays[:10], arrays[10:]

        def run():
            steps.append(1)
            p, m, v = kernels.adam.meaning(np, *[array.copy() for array in inputs])
            for place, value in zip(outputs, (p * change(len(steps)), m, v), strict=True):
                np.copyto(place, value)

        return [(run, ())]

    return lowered


def test_a_fault_between_the_steps_that_are_looked_at(monkeypatch):
    monkeypatch.setitem(lowering.LOWERINGS, kernels.adam, altered_adam(once_at(7)))
    assert check("numpy", steps=20).ok  # which are 1, 2, 3, 5, 6, 10, 11 and 20
    monkeypatch.setitem(lowering.LOWERINGS, kernels.adam, altered_adam(once_at(7)))
    report = check("numpy", steps=20, trajectory=True)
    assert "step 7, dense1.weight, which adam computes: after the step" in report.verdict


def once_at(step):
    return lambda now: np.float32(1.0001 if now == step else 1.0)


def test_a_drift_that_no_single_step_shows(monkeypatch):
    drifting = altered_adam(lambda step: np.float32(1.0 + 2.0**-23))
    monkeypatch.setitem(lowering.LOWERINGS, kernels.adam, drifting)
    report = check("numpy", steps=200, trajectory=True)
    assert "step" not in {one.check for one in report.faults}
    drifted = [one for one in report.faults if one.check == "trajectory"]
    assert "the parameters have drifted away from what the formulas give" in drifted[0].text


@loss_kernel()
def absolute(xp, z, targets, weight, scale):
    error = z - targets
    return xp.sum(xp.abs(error) * weight, axis=(-2, -1)) * scale, xp.sign(error) * weight * scale


class Absolute(Loss):
    kernel = absolute


def test_a_kink_that_no_kernel_declares_is_no_fault():
    options = {"loss": Absolute(), "optimizer": pnn.SGD(1e-2), "batch_size": 128, "steps": 400}
    report = parity.check_training(
        [*RELU[:-1], pnn.Dense(1)], X, Y / 1.0, trajectory=True, **options
    )
    assert report.ok, report.verdict


def test_values_that_are_written_end_the_following():
    training = watched_training(ways.open_way("numpy"), follow=True)
    for batch in training.batches(X[:320], Y[:320], epoch=0):
        training.gradient(batch)
        if training.updates == 2:
            gradient = training.read("grad_dense1.bias")
            training.write("grad_dense1.bias", gradient * 0.5)
        training.update()
    report = training.session.backend.report()
    assert report.ok, report.verdict
    assert len(report.trajectory.distance) == 2
    assert report.trajectory.ended == "values were written between two steps"
    assert report.compared == [1, 2, 3, 4, 5]  # as a whole, still


def test_columns_that_cancel_are_no_drift():
    # Means of 1,000 are taken off: NumPy's own rounding is far more than that of its results.
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(300, 6)), rng.normal(size=(6, 2))
    layers = [pnn.Dense(16, use_bias=False), BatchNorm(), pnn.Tanh(), pnn.Dense(2)]
    options = {"loss": "mean_squared_error", "optimizer": pnn.SGD(0.1), "batch_size": 32}
    report = parity.check_training(
        layers, x + 1e3, np.sin(x @ weight), steps=10, trajectory=True, **options
    )
    assert report.ok, report.verdict


@pytest.mark.parametrize("backend", ["numpy", "jax-jit"], indirect=True)
def test_squares_of_gradients_that_are_rounding(backend):
    # The bias before a BatchNorm has a gradient of 0 but for rounding.
    layers = [pnn.Dense(8), BatchNorm(), pnn.ReLU(), pnn.Dense(1)]
    rng = np.random.default_rng(0)
    columns = rng.integers(1990, 2025, 512), rng.normal(4e4, 9e3, 512), rng.uniform(0, 1, 512)
    x = np.column_stack(columns)
    report = parity.check_training(
        layers, x, (x[:, :1] - 2000.0) / 10.0, loss="mean_squared_error",
        optimizer=pnn.RMSProp(), backend=backend, batch_size=64, steps=12, watch=range(1, 13),
    )  # fmt: skip
    assert report.ok, report.verdict


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax-jit"], indirect=True)
@pytest.mark.parametrize("rows", ["zero weights", "ones"])
def test_sums_of_one_sign_are_no_fault_of_a_step(backend, rows):
    x, y = (X, Y / 1.0) if rows == "zero weights" else (np.ones((2000, 4)), np.full((2000, 1), 3.0))
    layers = [pnn.Dense(16, weight=nothing), pnn.Sigmoid(), pnn.Dense(1, weight=nothing)]
    if rows == "ones":
        layers = [pnn.Dense(8), pnn.ReLU(), pnn.Dense(1)]
    report = parity.check_training(
        layers, x, y, loss="mean_squared_error", optimizer=pnn.SGD(0.01), backend=backend,
        batch_size=len(x), steps=8, trajectory=True,
    )  # fmt: skip
    assert report.ok, report.verdict


def nothing(draws, shape):
    return np.zeros(shape)


@kernels.elementwise(backward=kernels.from_output(kernels.relu_backward))
def kink(xp, z):  # as relu, but that it says nothing of its branches
    return xp.maximum(z, xp.zeros_like(z))


class Kink:
    def forward(self, builder, x, mode):
        return builder.call(kink, x)


@pytest.mark.parametrize("layer", [pnn.Tanh(), Kink()])
def test_a_gradient_that_jumps_between_two_runs_is_no_drift(layer, monkeypatch):
    seen, original = [], Lockstep.follow
    monkeypatch.setattr(
        Lockstep,
        "follow",
        lambda self, *given: (seen.append((self, given)), original(self, *given))[1],
    )
    check("numpy", [pnn.Dense(64), layer, pnn.Dense(10)], steps=3, trajectory=True)
    (first, given), (_, (step, sections, begin, found, there)), _ = seen
    lockstep = Lockstep(first.plan, first._formulas)
    assert original(lockstep, *given) == []
    # The backend was so near that few units flip between, and is further than rounding explains.
    moved = np.random.default_rng(0).normal(scale=1e-4, size=(64, 64))
    begin = begin | {"dense1.weight": begin["dense1.weight"] + moved}
    found = found | {"dense1.weight": found["dense1.weight"] * 1.01}
    faults = original(lockstep, step, sections, begin, found, there)
    jumped = isinstance(layer, Kink)
    assert [name for name, _, _ in faults] == ([] if jumped else ["dense1.weight"])
    assert lockstep.found.jumps == ([2] if jumped else [])
    assert lockstep.found.distance[1] > lockstep.found.limit[1]
    assert ("began anew after jumps in steps [2]." in lockstep.found.words) == jumped


def test_flips_that_rounding_does_not_explain_begin_anew(monkeypatch):
    seen, original = [], Lockstep.follow
    monkeypatch.setattr(
        Lockstep,
        "follow",
        lambda self, *given: (seen.append((self, given)), original(self, *given))[1],
    )
    check("numpy", [pnn.Dense(64), pnn.ReLU(), pnn.Dense(10)], steps=2, trajectory=True)
    (lockstep, _), (_, (step, sections, begin, found, _)) = seen
    begin = begin | {"dense1.weight": begin["dense1.weight"] + np.eye(64)}
    there = shadow(lockstep.plan, sections, begin, found, lockstep._formulas)
    original(lockstep, step + 1, sections, begin, found, there)
    assert max(flip.size for flip in lockstep.found.flips) > 1.0
    assert lockstep.found.jumps == [3]


@kernels.kernel(shapes=lambda grad, first: ((*grad[:-1], 2 * grad[-1]),))
def maxout_backward(xp, grad, first):
    return xp.concat([grad * first, grad * (1.0 - first)], axis=-1)


def halves(z):
    return z[..., : z.shape[-1] // 2], z[..., z.shape[-1] // 2 :]


@kernels.kernel(
    shapes=lambda z: ((*z[:-1], z[-1] // 2),) * 2,
    backward=lambda call, grads: [
        kernels.Gradient((0,), (grads[0], call.outputs[1]), maxout_backward)
    ],
    branch=lambda xp, z: halves(z)[0] >= halves(z)[1],
)
def maxout(xp, z):
    a, b = halves(z)
    return xp.maximum(a, b), xp.astype(a >= b, z.dtype)


class Maxout:
    def forward(self, builder, x, mode):
        return builder.emit(maxout, x)[0]


def nearly_ties(draws, shape):
    """Weights of which the halves differ by less than sums are rounded by."""
    half = glorot_uniform(draws, (shape[0], shape[1] // 2))
    return np.concatenate([half, half * (1.0 + 2.0**-22)], axis=1)


def test_a_branch_of_another_shape_than_the_inputs():
    layers = [pnn.Dense(128, weight=nearly_ties), Maxout(), pnn.Dense(10)]
    report = check("numpy", layers, steps=3, trajectory=True, batch_size=256)
    assert report.ok, report.verdict
    assert report.trajectory.flips
    assert {flip.size for flip in report.trajectory.flips} == {1.0}


class Moving(Wrapped):
    """Moves its arrays whenever a step is started, or once."""

    def __init__(self, times):
        super().__init__(lambda step, watched: step)
        self.times = times

    def start(self, plan, state, n, watch=None):
        if self.times > 0:
            state.update({name: value.copy() for name, value in state.items()})
            self.times -= 1
        return self._numpy.start(plan, state, n, watch=watch)


@pytest.mark.parametrize("times", [1, 2, 100])
def test_steps_that_are_out_of_date_are_started_anew(times):
    report = check(Moving(times), steps=5)
    assert report.ok, report.verdict
    assert bool(report.watched) == (times < 100)
    assert bool(report.opaque) == (times == 100)


# -- the reference -------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["torch"], indirect=True)
def test_formulas_on_another_backend(backend):
    report = check("numpy", reference=(backend, "float64"))
    assert report.ok, report.verdict
    assert report.reference == "torch float64"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (("numpy", "float32"), "float32 formulas cannot judge float64"),
        (("numpy", "float16"), "reference is a backend and a dtype"),
        ("numpy", "reference is a backend and a dtype"),
    ],
)
def test_what_is_no_reference(reference, words):
    with pytest.raises(pnn.NetworkError, match=words):
        check("numpy", dtype="float64", reference=reference)


def test_formulas_in_the_dtype_itself_have_twice_the_limits():
    report = check("numpy", dtype="float64", reference=("numpy", "float64"))
    wider = check("numpy", dtype="float64")
    assert report.ok
    assert (report.reference, wider.reference) == ("numpy float64", "numpy longdouble")
    limits = [
        next(one.measured.limits for one in found.worst if one.kernel == "tanh" and one.measured)
        for found in (report, wider)
    ]
    assert limits[0][0] == 2.0 * limits[1][0]


# -- what a backend declares ---------------------------------------------------------------


def test_a_roundoff_that_is_declared(monkeypatch):
    def half(array):
        return array.astype(np.float16).astype(np.float32)

    def lowered(new, x, weight, bias, z):
        return [(lambda: np.copyto(z, half(x) @ half(weight) + bias), ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.linear, lowered)
    backend = Wrapped(lambda step, watched: step)
    assert not check(backend, watch=[1]).ok
    backend.roundoffs = {kernels.linear: 2.0**-11}
    report = check(backend, watch=[1])
    assert [one for one in report.faults if one.check == "kernel"] == []


def test_a_fit_is_compared_in_the_way_it_runs(monkeypatch):
    """Steps that nobody looks into run as ``repeat`` has them."""
    original, ran = NumPyStep.repeat, []

    def repeat(step, fed):
        ran.append(len(fed["scale"]))
        return original(step, fed)

    monkeypatch.setattr(NumPyStep, "repeat", repeat)
    watched = Watched(ways.open_way("numpy"), Recorder(), Agenda(30, watch=[1, 5], follow=True))
    network = pnn.Network(TANH)
    network.fit(X, Y, loss="cross_entropy", batch_size=64, epochs=1, backend=watched)
    steps = -(-len(X) // 64)
    assert ran == [1] * (steps - 2)
    assert watched.agenda.updates == steps
    assert watched.report().ok
