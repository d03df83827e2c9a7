"""L-BFGS, and what any optimizer in driver form can rely on."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import ways

import portable_nn as pnn
from portable_nn import drivers, parity
from portable_nn.drivers import Point
from portable_nn.errors import NetworkError

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((60, 4))
Y = np.sin(X @ GENERATOR.standard_normal((4, 2)))
SPREAD = np.logspace(0, 3, 30)


backend = ways.each_library  # these are whole trainings


def minimized(function, start, iterations, **options):
    """Points of L-BFGS on ``function`` (x -> loss, gradient), and evaluations in all."""
    evaluated = []

    def evaluate(x):
        loss, grad = function(np.asarray(x))
        evaluated.append(loss)
        return Point(x, float(loss), grad)

    points, memory = [evaluate(np.array(start, dtype=float))], None
    for _ in range(iterations):
        point, memory = pnn.LBFGS(**options).advance(np, evaluate, points[-1], memory)
        points.append(point)
    return points, len(evaluated)


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    grad = np.zeros_like(x)
    grad[:-1] = -400.0 * a * (b - a**2) - 2.0 * (1.0 - a)
    grad[1:] += 200.0 * (b - a**2)
    return np.sum(100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2), grad


def quadratic(x):
    return 0.5 * np.sum(SPREAD * x**2), SPREAD * x


# -- the method ------------------------------------------------------------------------------


def test_direction_is_the_textbook_matrix_on_the_gradient():
    pairs = []
    for _ in range(4):
        step, change = GENERATOR.standard_normal((2, 6))
        change = step + 0.3 * change
        pairs.append((step, change, float(step @ change)))
    step, change, product = pairs[-1]
    inverse = np.eye(6) * product / (change @ change)
    for step, change, product in pairs:  # Nocedal and Wright 2006, eq. 7.16
        left = np.eye(6) - np.outer(step, change) / product
        inverse = left @ inverse @ left.T + np.outer(step, step) / product
    grad = GENERATOR.standard_normal(6)
    # Two orders of some hundred operations in double.
    np.testing.assert_allclose(drivers._newton(np, -grad, pairs), -inverse @ grad, rtol=1e-11)


def test_every_step_keeps_the_weak_wolfe_conditions():
    points, _ = minimized(rosenbrock, [-1.2, 1.0], 25)
    for before, after in itertools.pairwise(points):
        step = after.x - before.x
        slope = before.grad @ step
        assert step.any()  # 25 are too few to be at the bottom
        assert slope < 0.0
        assert after.loss <= before.loss + 1e-4 * slope + 1e-14 * before.loss
        assert after.grad @ step >= 0.9 * slope


@pytest.mark.parametrize("size", [2, 20])
def test_it_finds_the_bottom_of_the_valley(size):
    points, _ = minimized(rosenbrock, [-1.2, 1.0] * (size // 2), 150)
    np.testing.assert_allclose(points[-1].x, 1.0, atol=1e-6)


def test_as_few_evaluations_as_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    for function, start in [(rosenbrock, [-1.2, 1.0] * 5), (quadratic, np.ones(30))]:
        theirs = optimize.minimize(function, start, jac=True, method="L-BFGS-B", tol=1e-12)
        points, evaluated = minimized(function, start, 400)
        needed = next(k for k, p in enumerate(points) if p.loss <= max(theirs.fun, 1e-10))
        _, evaluated = minimized(function, start, needed)
        assert evaluated <= 1.5 * theirs.nfev


def test_where_nothing_is_better_it_stays():
    points, evaluated = minimized(lambda x: (0.0 * x.sum(), np.ones_like(x)), [1.0], 3)
    assert evaluated == 1 + 3 * 25  # whole searches, each of which begins anew
    assert [float(point.x[0]) for point in points] == [1.0] * 4
    points, _ = minimized(lambda x: (-np.inf if x[0] == 1.0 else np.nan, x), [1.0], 2)
    assert [float(point.x[0]) for point in points] == [1.0, 1.0, 1.0]


def test_memory_is_bounded_and_begins_anew_after_a_failed_search():
    _, memory = pnn.LBFGS(memory=2).advance(np, *_at(quadratic, np.ones(30)), None)
    for _ in range(5):
        point, memory = pnn.LBFGS(memory=2).advance(np, *_at(quadratic, np.ones(30)), memory)
    assert len(memory) == 2
    x = np.array([1.0])
    stuck = Point(x, 0.0, x)
    point, memory = pnn.LBFGS(evaluations=3).advance(
        np, lambda x: Point(x, np.nan, x), stuck, [(x, x, 1.0)]
    )
    assert point is stuck
    assert memory == []


def _at(function, x):
    def evaluate(x):
        loss, grad = function(x)
        return Point(x, float(loss), grad)

    return evaluate, evaluate(x)


# -- networks --------------------------------------------------------------------------------


def network(dtype="float64"):
    return pnn.Network([pnn.Dense(8), pnn.Tanh(), pnn.Dense(2)], dtype=dtype)


def fit(net, **options):
    options = {"optimizer": "lbfgs", "epochs": 40, "batch_size": None} | options
    return net.fit(X, Y, loss="half_squared_error", progress=False, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_trains_a_network_far_below_adam(backend, dtype):
    loss = fit(network(dtype), backend=backend).history["loss"]
    adam = fit(network(dtype), optimizer=pnn.Adam(0.03), epochs=80).history["loss"]
    assert len(loss) == 40
    assert loss[-1] < 0.5 * adam[-1] < 0.25 * loss[0]
    assert all(b <= a * (1.0 + 1e-5) for a, b in itertools.pairwise(loss))


def test_parts_of_the_rows_sum_to_the_same_training():
    whole, parts = fit(network(), epochs=6), fit(network(), epochs=6, micro_batch_size=7)
    for name, value in whole.parameters.items():
        # Sums of 60 rows in other orders, through six searches.
        np.testing.assert_allclose(parts.parameters[name], value, rtol=1e-8, atol=1e-10)


def test_the_open_loop_updates_from_the_gradient_it_has_seen():
    one, two = network(), network()
    first = one.start(loss="half_squared_error", optimizer="lbfgs", batch_size=None)
    for epoch in range(4):
        for batch in first.batches(X, Y, epoch):
            first.gradient(batch)
            first.update()
    fit(two, epochs=4)
    for name, value in two.parameters.items():
        # fit does not compute anew what its search has found, in the order of the last epoch.
        np.testing.assert_allclose(one.parameters[name], value, rtol=1e-8, atol=1e-10)
    assert first.updates == 4


def test_parity_follows_it():
    report = parity.check_training(
        [pnn.Dense(8), pnn.Tanh(), pnn.Dense(2)], X, Y, loss="half_squared_error",
        optimizer="lbfgs", backend="numpy", steps=5, batch_size=None,
    )  # fmt: skip
    assert report.ok, report.verdict


def test_the_plan_has_no_update():
    assert network().plan("half_squared_error", "lbfgs", features=4).sections == ("gradient",)


def test_it_is_saved_and_trains_on(tmp_path):
    net = fit(network(), epochs=3, optimizer=pnn.LBFGS(memory=5))
    net.save(tmp_path / "net.safetensors")
    again = pnn.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    before = net.history["loss"][-1]
    assert fit(again, epochs=3, warm_start=True).history["loss"][-1] < before


def test_batches_are_refused_before_anything_moves():
    net = network()
    with pytest.raises(NetworkError, match=r"LBFGS takes all rows at every update: say batch_size"):
        fit(net, batch_size=16)
    fit(net, batch_size=60, epochs=1)


@pytest.mark.parametrize("options", [{"memory": 0}, {"evaluations": 1.5}, {"memory": True}])
def test_bad_settings_are_one_error(options):
    with pytest.raises(NetworkError, match="whole number, 1 or more"):
        pnn.LBFGS(**options)


def test_check_optimizer_says_what_does_follow_it():
    with pytest.raises(NetworkError, match="check_training follows it"):
        parity.check_optimizer("lbfgs", backend="numpy")


# -- batches in parts ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 8, 100])
def test_a_batch_in_parts_is_the_whole_batch(backend, size):
    layers = [pnn.Dense(8), pnn.Dropout(0.3), pnn.Tanh(), pnn.Dense(2)]
    weight = np.abs(np.sin(np.arange(len(X))))
    options = {
        "loss": "half_squared_error", "optimizer": "adam", "batch_size": 16, "epochs": 2,
        "sample_weight": weight, "backend": backend, "progress": False,
    }  # fmt: skip
    whole = pnn.Network(layers, "float64").fit(X, Y, **options)
    parts = pnn.Network(layers, "float64").fit(X, Y, micro_batch_size=size, **options)
    # The same masks; sums of 16 rows in other orders, 8 updates of Adam.
    assert parts.history["loss"] == pytest.approx(whole.history["loss"], rel=1e-10)
    for name, value in whole.parameters.items():
        np.testing.assert_allclose(parts.parameters[name], value, rtol=1e-8, atol=1e-10)


def test_the_open_loop_shows_the_gradient_of_the_whole_batch():
    steps = []
    for size in (None, 7):
        step = network().start(loss="half_squared_error", batch_size=20, micro_batch_size=size)
        batch = next(step.batches(X, Y, 0))
        loss = step.gradient(batch)
        steps.append([float(loss), step.read("grad_dense1.weight")])
    assert steps[0][0] == pytest.approx(steps[1][0], rel=1e-13)
    np.testing.assert_allclose(steps[0][1], steps[1][1], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("size", [0, 2.5, True])
def test_a_part_is_a_whole_number_of_rows(size):
    with pytest.raises(pnn.DataError, match="micro_batch_size is a whole number"):
        fit(network(), micro_batch_size=size)


def test_what_the_search_has_found_is_not_computed_again():
    counts = []
    for layers in ([pnn.Tanh()], [pnn.Tanh(), pnn.Dropout(0.0)], [pnn.Dropout(0.1), pnn.Tanh()]):
        net = pnn.Network([pnn.Dense(8), *layers, pnn.Dense(2)], dtype="float64")
        step = net.start(loss="half_squared_error", optimizer="lbfgs", batch_size=None)
        seen = []
        plain = step.gradient
        step.gradient = lambda batch, plain=plain, seen=seen: seen.append(0) or plain(batch)
        losses = [float(step.step(b)) for epoch in range(10) for b in step.batches(X, Y, epoch)]
        counts.append(len(seen))
        assert losses == sorted(losses, reverse=True) or len(layers) == 2
    assert counts[0] == counts[1] < counts[2]


def test_a_parameter_that_was_changed_is_noticed():
    net = network()
    step = net.start(loss="half_squared_error", optimizer="lbfgs", batch_size=None)
    for epoch in range(3):
        for batch in step.batches(X, Y, epoch):
            step.step(batch)
    step.write("dense1.weight", np.zeros((4, 8)))
    (batch,) = step.batches(X, Y, 3)
    loss = 0.5 * np.mean(np.sum((net.predict(X) - Y) ** 2, axis=1))
    assert float(step.step(batch)) == pytest.approx(loss, rel=1e-12)


def test_another_gradient_in_between_is_noticed():
    net = network()
    step = net.start(loss="half_squared_error", optimizer="lbfgs", batch_size=None)
    for epoch in range(3):
        for batch in step.batches(X, Y, epoch):
            step.step(batch)
    (batch,) = step.batches(X, Y, 3)
    part = replace(batch, rows=batch.rows[:5])
    again = replace(batch, rows=batch.rows * 0 + batch.rows[:1])  # as many rows, of one
    wanted = float(step.trace(again)[step.plan.outputs["loss"]])
    assert float(step.step(again)) == pytest.approx(wanted, rel=1e-12)
    for before in (step.gradient, step.step):
        before(part)
        loss = 0.5 * np.mean(np.sum((net.predict(X) - Y) ** 2, axis=1))
        assert float(step.step(batch)) == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "strict-device1"], indirect=True)
@pytest.mark.parametrize(
    ("layers", "loss", "evaluations"),
    [
        ([pnn.Tanh(), pnn.Dropout(0.2)], "half_squared_error", 25),
        ([pnn.ReLU()], "mean_absolute_error", 1),
    ],
    ids=["other masks at every update", "searches that end where they began"],
)
def test_fit_is_gradient_and_update_where_nothing_is_known(backend, layers, loss, evaluations):
    """What the search ends with is not what the next update begins with."""
    options = {"loss": loss, "optimizer": pnn.LBFGS(evaluations=evaluations), "batch_size": None}
    options |= {"backend": backend}
    one, two = (pnn.Network([pnn.Dense(8), *layers, pnn.Dense(2)], "float64") for _ in range(2))
    step, losses = one.start(**options), []
    for epoch in range(12):
        for batch in step.batches(X, Y, epoch, shuffle=False):
            losses.append(float(backend.to_host(step.gradient(batch))))
            step.update()
    two.fit(X, Y, epochs=12, shuffle=False, progress=False, **options)
    # The same operations in the same order; a product may round otherwise where its memory lies
    # otherwise, and twelve searches let that grow.
    assert two.history["loss"] == pytest.approx(losses, rel=1e-8)
    for name, value in two.parameters.items():
        np.testing.assert_allclose(one.parameters[name], value, rtol=1e-7, atol=1e-9)


def test_a_batch_cut_by_hand_is_computed_though_the_whole_is_known():
    net = network()
    step = net.start(loss="half_squared_error", optimizer="lbfgs", batch_size=None)
    losses = []
    for epoch in range(6):
        (batch,) = step.batches(X, Y, epoch, shuffle=False)
        rows = slice(0, 20) if epoch % 2 else slice(0, 60)
        part = replace(batch, rows=batch.rows[rows], scale=60.0 * batch.scale / len(X[rows]))
        losses.append(0.5 * np.mean(np.sum((net.predict(X[rows]) - Y[rows]) ** 2, axis=1)))
        # Sums of up to 60 rows in another order.
        assert float(step.step(part)) == pytest.approx(losses[-1], rel=1e-12)
    assert len(set(losses)) == 6
