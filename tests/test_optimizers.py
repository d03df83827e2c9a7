"""Every optimizer over random trainings, beside its textbook and beside PyTorch.

A training here is a sequence of gradients: those of a quadratic function at the parameters of
now, with noise, so that whatever is off carries on to the next step.
"""

from dataclasses import dataclass, fields

import array_api_compat.numpy as xp
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import NetworkError, optimizers, parity
from portable_nn.drivers import Driver
from portable_nn.optimizers import check_hyperparameters
from portable_nn.plan import PlanBuilder
from portable_nn.schedules import values_at

CONFIGURATIONS = 50
BATCHES = 7
"""In an epoch."""
OPTIMIZERS = {
    name: made for name, made in optimizers.OPTIMIZERS.items() if not issubclass(made, Driver)
}


# -- trainings -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Parameters of random shapes, and a gradient for each at every step.

    ``curvature * (p - goal) + noise``, some of it exactly 0, over sizes from 0.01 to 100.
    """

    first: list
    curvature: list
    goal: list
    noise: list

    def gradients(self, step, parameters):
        each = zip(self.curvature, parameters, self.goal, self.noise[step - 1], strict=True)
        return [c * (p - goal) + noise for c, p, goal, noise in each]


def random_problem(rng):
    shapes = [tuple(rng.integers(1, 6, size=k)) for k in (rng.integers(4), 1, 2)]

    def drawn(shape):
        values = rng.normal(size=shape) * 10.0 ** rng.uniform(-2.0, 2.0, shape)
        return values * (rng.uniform(size=shape) > 0.1)

    first, goal = [[rng.normal(size=shape) for shape in shapes] for _ in range(2)]
    curvature = [rng.uniform(0.0, 2.0, shape) for shape in shapes]
    noise = [[drawn(shape) for shape in shapes] for _ in range(rng.integers(20, 41))]
    return Problem(first, curvature, goal, noise)


def trained(optimizer, problem):
    """The parameters after every step, as this library updates them."""
    builder = PlanBuilder("train", "float64")
    names = [f"p{k}" for k in range(len(problem.first))]
    for name, value in zip(names, problem.first, strict=True):
        builder.buffer(name, value.shape, "parameter")
        builder.fed(f"grad_{name}", value.shape, None)
    builder.section = "update"
    hyper = [builder.fed(name, (), None) for name in optimizer.hyperparameters(1, 0.0)]
    for name in names:
        optimizer.update(builder, name, f"grad_{name}", hyper)
    plan = builder.build()
    state = dict(zip(names, map(np.copy, problem.first), strict=True))
    for buffer in plan.of_kind("state"):
        state[buffer.name] = buffer.source.fill(None, buffer.shape)
    step, found = pnn.Reference("numpy", xp).start(plan, state, 1), []
    for t in range(1, len(problem.noise) + 1):
        grads = problem.gradients(t, [step.read(name) for name in names])
        fed = {f"grad_{name}": grad for name, grad in zip(names, grads, strict=True)}
        numbers = optimizer.hyperparameters(t, (t - 1) / BATCHES)
        step.run(fed | {name: np.asarray(value) for name, value in numbers.items()})
        found.append([step.read(name) for name in names])
    return found


def by_the_book(optimizer, problem, book):
    """The same by a recurrence ``book(p, g, t, memory, **fields at this epoch) -> p``."""
    parameters, memories, found = problem.first, [{} for _ in problem.first], []
    for t in range(1, len(problem.noise) + 1):
        options = {each.name: getattr(optimizer, each.name) for each in fields(optimizer)}
        options = {k: v((t - 1) / BATCHES) if callable(v) else v for k, v in options.items()}
        grads = problem.gradients(t, parameters)
        each = zip(parameters, grads, memories, strict=True)
        parameters = [book(p, g, t, memory, **options) for p, g, memory in each]
        found.append(parameters)
    return found


def assert_same(found, wanted, tolerance=1e-9):
    """At every step, in units of the largest parameter so far.

    Forty updates by formulas in another order of operations: some hundred roundings of 1e-16,
    which the curvature (at most 2, times a rate of at most 0.3) and the divisions by small roots
    make larger; the textbook's variance, a difference, loses three digits more.
    """
    for step, each in enumerate(zip(found, wanted, strict=True), start=1):
        for mine, book in zip(*each, strict=True):
            size = max(1.0, np.abs(book).max())
            np.testing.assert_allclose(mine, book, rtol=0.0, atol=tolerance * size, err_msg=step)


# -- the textbooks, one parameter at a time ------------------------------------------------


def textbook_sgd(p, g, t, memory, learning_rate, momentum, nesterov, dampening):
    taken = g if t == 1 else (1 - dampening) * g
    v = memory["v"] = momentum * memory.get("v", 0.0) + learning_rate * taken
    return p - (momentum * v + learning_rate * g if nesterov else v)


def textbook_rmsprop(
    p, g, t, memory, learning_rate, beta, epsilon, momentum, centered, epsilon_place
):
    s = memory["s"] = beta * memory.get("s", 0.0) + (1 - beta) * g**2
    mean = memory["mean"] = beta * memory.get("mean", 0.0) + (1 - beta) * g
    if centered:
        s = np.maximum(s - mean**2, 0.0)
    root = np.sqrt(s + epsilon) if epsilon_place == "inside" else np.sqrt(s) + epsilon
    v = memory["v"] = momentum * memory.get("v", 0.0) + learning_rate * g / root
    return p - v


def textbook_adagrad(p, g, t, memory, learning_rate, epsilon, initial_accumulator):
    s = memory["s"] = memory.get("s", initial_accumulator) + g**2
    return p - learning_rate * g / (np.sqrt(s) + epsilon)


def textbook_adam(
    p, g, t, memory, learning_rate, beta1, beta2, epsilon, amsgrad=False, epsilon_place="after"
):
    m = memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
    v = memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
    if amsgrad:
        v = memory["most"] = np.maximum(memory.get("most", 0.0), v)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    if epsilon_place == "before":
        epsilon = epsilon / np.sqrt(1 - beta2**t)
    return p - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)


def textbook_adamw(p, g, t, memory, learning_rate, weight_decay, decay_all_parameters, **options):
    decay = weight_decay if decay_all_parameters or p.ndim > 1 else 0.0
    return textbook_adam(p - learning_rate * decay * p, g, t, memory, learning_rate, **options)


def textbook_radam(p, g, t, memory, learning_rate, beta1, beta2, epsilon):
    m = memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
    v = memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    limit = 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return p - learning_rate * m_hat
    r = np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    return p - learning_rate * r * m_hat * np.sqrt(1 - beta2**t) / (np.sqrt(v) + epsilon)


def textbook_lion(p, g, t, memory, learning_rate, weight_decay, beta1, beta2, decay_all_parameters):
    m = memory.get("m", 0.0)
    mean = beta1 * m + (1 - beta1) * g
    memory["m"] = beta2 * m + (1 - beta2) * g
    decay = weight_decay * p if decay_all_parameters or p.ndim > 1 else 0.0
    return p - learning_rate * (np.where(mean > 0, 1.0, np.where(mean < 0, -1.0, 0.0)) + decay)


BOOKS = {
    "adagrad": textbook_adagrad,
    "adam": textbook_adam,
    "adamw": textbook_adamw,
    "lion": textbook_lion,
    "radam": textbook_radam,
    "rmsprop": textbook_rmsprop,
    "sgd": textbook_sgd,
}


def test_every_optimizer_has_a_textbook():
    assert BOOKS.keys() == OPTIMIZERS.keys()


# -- random configurations -----------------------------------------------------------------


def random_value(rng, low, high):
    """A number between two, by size, or a schedule of such numbers."""

    def drawn():
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    a, b = drawn(), drawn()
    return [a, a, lambda epoch: a + (b - a) * min(epoch / 5.0, 1.0)][rng.integers(3)]


def random_options(rng, kind, scheduled=True):
    """Values of all fields, each left out in one of four; numbers only unless ``scheduled``."""

    def beta(high):
        rest = random_value(rng, 1.0 - high, 0.9)
        return (lambda epoch: 1.0 - rest(epoch)) if callable(rest) else 1.0 - rest

    draws = {
        "learning_rate": lambda: random_value(rng, 1e-3, 0.3),
        "weight_decay": lambda: random_value(rng, 1e-3, 1.0),
        "beta2": lambda: beta(0.999),
        "epsilon": lambda: random_value(rng, 1e-4, 0.1),
        "initial_accumulator": lambda: rng.uniform(),
    }
    options = {}
    for each in fields(kind):
        if each.name == "epsilon_place":
            choices = ("after", "before") if kind is pnn.Adam else ("inside", "outside")
            value = choices[rng.integers(2)]
        elif isinstance(each.default, bool):
            value = bool(rng.integers(2))
        else:
            draw = draws.get(each.name, lambda: beta(0.95))
            value = draw()
            while callable(value) and not scheduled:
                value = draw()
        if rng.uniform() > 0.25:
            options[each.name] = value
    if options.get("nesterov") or "momentum" not in options:
        options.pop("dampening", None)
    if "momentum" not in options:
        options.pop("nesterov", None)
    return options


def random_trainings(name, scheduled=True):
    """Optimizers and problems, always the same."""
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng([seed, *name.encode()])
        options = random_options(rng, OPTIMIZERS[name], scheduled)
        yield OPTIMIZERS[name](**options), random_problem(rng)


@pytest.mark.parametrize("name", BOOKS)
def test_fifty_random_trainings(name):
    for optimizer, problem in random_trainings(name):
        wanted = by_the_book(optimizer, problem, BOOKS[name])
        assert np.isfinite(wanted[-1][-1]).all()
        assert_same(trained(optimizer, problem), wanted)


@pytest.mark.parametrize("name", BOOKS)
def test_the_random_trainings_are_worth_it(name):
    made, problems = zip(*random_trainings(name), strict=True)
    assert {len(value.shape) for problem in problems for value in problem.first} == {0, 1, 2, 3}
    for each in fields(OPTIMIZERS[name]):
        values = [getattr(optimizer, each.name) for optimizer in made]
        assert any(value == each.default for value in values)
        assert any(value != each.default for value in values)
        assert "below" not in each.metadata or any(callable(value) for value in values)


# -- PyTorch -------------------------------------------------------------------------------


def torch_options(optimizer):
    """What PyTorch's optimizer of the same definition takes: its name, and its options."""
    given = {each.name: getattr(optimizer, each.name) for each in fields(optimizer)}
    options = {"lr": given["learning_rate"], "eps": given.get("epsilon", 0.0)}
    name = type(optimizer).__name__
    if name == "SGD":
        del options["eps"]
        options |= {key: given[key] for key in ("momentum", "nesterov", "dampening")}
    elif name == "RMSProp":
        name = "RMSprop"
        options |= {"alpha": given["beta"], "centered": given["centered"]}
        options["momentum"] = given["momentum"]
    elif name == "Adagrad":
        options["initial_accumulator_value"] = given["initial_accumulator"]
    else:
        options["betas"] = (given["beta1"], given["beta2"])
        options |= {key: given[key] for key in ("amsgrad", "weight_decay") if key in given}
    return name, options


def as_torch(optimizer):
    """The optimizer with PyTorch's choice where there is one."""
    options = {each.name: getattr(optimizer, each.name) for each in fields(optimizer)}
    chosen = {"decay_all_parameters": True}
    if "epsilon_place" in options:
        chosen["epsilon_place"] = "after" if isinstance(optimizer, pnn.Adam) else "outside"
    return type(optimizer)(**{**options, **{k: v for k, v in chosen.items() if k in options}})


@pytest.mark.parametrize("name", [name for name in BOOKS if name != "lion"])
def test_as_pytorch(name):
    torch = pytest.importorskip("torch")
    for optimizer, problem in random_trainings(name, scheduled=False):
        optimizer = as_torch(optimizer)
        theirs, options = torch_options(optimizer)
        parameters = [torch.nn.Parameter(torch.tensor(value)) for value in problem.first]
        by = getattr(torch.optim, theirs)(parameters, **options)
        wanted = []
        for t in range(1, len(problem.noise) + 1):
            grads = problem.gradients(t, [p.detach().numpy() for p in parameters])
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = torch.tensor(grad)
            by.step()
            wanted.append([p.detach().numpy().copy() for p in parameters])
        assert_same(trained(optimizer, problem), wanted)


# -- what is formed where ------------------------------------------------------------------


def test_a_variance_of_equal_gradients_is_no_difference():
    # Mean square less squared mean of 1e8 is -0.4 in places where the variance is 1e-6.
    rng = np.random.default_rng(3)
    grads = 1e8 + 1e-3 * rng.normal(size=(40, 5))
    problem = Problem([np.zeros(5)], [np.zeros(5)], [np.zeros(5)], [[g] for g in grads])
    (final,) = trained(pnn.RMSProp(0.1, 0.5, 1e-12, centered=True), problem)[-1]
    assert np.isfinite(final).all()
    s = mean = 0.0
    wide = grads.astype(np.longdouble)
    for g in wide:
        s, mean = 0.5 * s + 0.5 * 0.5 * (g - mean) ** 2, mean + 0.5 * (g - mean)
    # The last step alone; the mean is known to 1e-8, of deviations near 1e-3.
    before = trained(pnn.RMSProp(0.1, 0.5, 1e-12, centered=True), problem)[-2][0]
    np.testing.assert_allclose(before - final, 0.1 * wide[-1] / np.sqrt(s), rtol=1e-3)


def test_no_decay_of_what_has_one_axis():
    problem = random_problem(np.random.default_rng(1))
    for kind in (pnn.AdamW, pnn.Lion):
        decayed, without = (trained(kind(0.1, d), problem)[0] for d in (0.5, 0.0))
        for first, a, b in zip(problem.first, decayed, without, strict=True):
            lost = 0.05 * first if first.ndim > 1 else 0.0 * first
            np.testing.assert_allclose(b - a, lost, rtol=1e-12, atol=1e-14)


def test_dampening_spares_the_first_gradient():
    numbers = [pnn.SGD(0.1, 0.9, dampening=0.75).hyperparameters(t, 0.0) for t in (1, 2, 3)]
    assert [each["learning_rate"] for each in numbers] == [0.1, 0.025, 0.025]


SCHEDULED = [
    pytest.param(kind, each, id=f"{name}-{each.name}")
    for name, kind in OPTIMIZERS.items()
    for each in fields(kind)
    if "below" in each.metadata
]


def with_schedule(kind, name, schedule):
    more = {"dampening": {"momentum": 0.9}}.get(name, {})
    return kind(**{name: schedule, **more})


@pytest.mark.parametrize(("kind", "each"), SCHEDULED)
def test_every_hyperparameter_may_be_a_schedule(kind, each):
    optimizer = with_schedule(kind, each.name, lambda epoch: 0.25 + 0.125 * epoch)
    for epoch, value in [(0.0, 0.25), (2.0, 0.5)]:
        assert values_at(optimizer, epoch)[each.name] == value
        same = with_schedule(kind, each.name, value).hyperparameters(7, 9.0)
        assert optimizer.hyperparameters(7, epoch) == same
    first, later = (optimizer.hyperparameters(7, epoch) for epoch in (0.0, 2.0))
    assert first.keys() == later.keys()
    assert first != later


@pytest.mark.parametrize(("kind", "each"), SCHEDULED)
def test_a_bad_value_is_found_beforehand_and_named(kind, each):
    for bad in (-0.5, np.nan, None, each.metadata["below"]):
        late = with_schedule(kind, each.name, lambda epoch, bad=bad: 0.5 if epoch < 2 else bad)
        check_hyperparameters(late, "float32", 2, 4)
        words = f"{kind.__name__}'s {each.name} is .*; the schedule gave {bad!r} at epoch 2"
        with pytest.raises(NetworkError, match=words):
            check_hyperparameters(late, "float32", 3, 4)
    zero = with_schedule(kind, each.name, lambda epoch: 0.5 if epoch < 2 else 0.0)
    if each.name == "epsilon":
        with pytest.raises(NetworkError, match=r"is a number above 0; the schedule gave 0\.0"):
            check_hyperparameters(zero, "float32", 3, 4)
    else:
        check_hyperparameters(zero, "float32", 3, 4)


def test_what_is_scheduled_counts_as_not_0():
    def off(epoch):
        return 0.0

    assert "momentum" in pnn.SGD(momentum=off).hyperparameters(1, 0.0)
    assert pnn.SGD(momentum=off, nesterov=True, dampening=0.0).nesterov
    problem = random_problem(np.random.default_rng(2))
    plain = trained(pnn.SGD(0.1), problem)
    assert_same(trained(pnn.SGD(0.1, momentum=off), problem), plain, tolerance=1e-15)
    with pytest.raises(NetworkError, match="without nesterov"):
        pnn.SGD(momentum=off, nesterov=True, dampening=off)


# -- parity --------------------------------------------------------------------------------

VARIANTS = [
    pnn.SGD(0.1, 0.9, dampening=0.5),
    pnn.RMSProp(0.01, momentum=0.9, centered=True),
    pnn.RMSProp(0.01, epsilon_place="outside"),
    pnn.Adagrad(0.1),
    pnn.Adam(0.01, amsgrad=True),
    pnn.AdamW(0.01, 0.1),
    pnn.RAdam(0.01, beta2=0.9),
    pnn.Lion(0.01, 0.1),
]


# JAX runs the kernels elsewhere; here each optimizer would cost it seconds of compilation. The
# numbers of array_api_strict are NumPy's, and it has run every kernel too.
@pytest.mark.parametrize("backend", ["numpy", "torch"], indirect=True)
@pytest.mark.parametrize("optimizer", VARIANTS, ids=lambda optimizer: type(optimizer).__name__)
def test_trains_by_its_formulas(backend, optimizer):
    for dtype in ("float32", "float64"):
        reports = parity.check_optimizer(optimizer, backend=backend, dtype=dtype)
        assert reports.ok, str(reports)


@pytest.mark.parametrize("optimizer", VARIANTS, ids=lambda optimizer: type(optimizer).__name__)
def test_a_training_of_thirty_steps_is_quiet(optimizer):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    layers = [pnn.Dense(8), pnn.Tanh(), pnn.Dense(2)]
    report = parity.check_training(
        layers, x, y, loss="half_squared_error", optimizer=optimizer, steps=30, batch_size=16,
        watch=range(1, 31), trajectory=True,
    )  # fmt: skip
    assert report.ok, str(report)
