"""Learning rates that change: their values, and which of them an update takes."""

import math

import numpy as np
import pytest

from portable_nn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Chain,
    CosineRestarts,
    Dense,
    InverseScaling,
    Lion,
    Network,
    NetworkError,
    OneCycle,
    PiecewiseConstant,
    PolynomialDecay,
    RAdam,
    RMSProp,
    Tanh,
)
from portable_nn.kernels import elementwise
from portable_nn.optimizers import check_hyperparameters
from portable_nn.schedules import (
    ConstantRate,
    CosineDecay,
    ExponentialDecay,
    StepDecay,
    Warmup,
    value_at,
)

GENERATOR = np.random.default_rng(5)
X = GENERATOR.standard_normal((24, 4))
NUMBERS = GENERATOR.standard_normal((24, 2))
LAYERS = (Dense(6), Tanh(), Dense(2))


def begin(layers=LAYERS, **options):
    """A network, with its training begun."""
    network = Network(layers, dtype="float64")
    return network, network.start(loss="half_squared_error", **{"batch_size": 8, **options})


def host(training, name):
    return training.session.backend.to_host(training.read(name))


def values(training):
    """Every parameter, on the host."""
    return {b.name: host(training, b.name) for b in training.plan.of_kind("parameter")}


# -- values --------------------------------------------------------------------------------

ROOT = math.sqrt(0.5)
VALUES = {
    "constant": (ConstantRate(0.3), {0: 0.3, 7.5: 0.3}),
    "step": (StepDecay(0.4, every=2), {0: 0.4, 1.9: 0.4, 2: 0.04, 3.99: 0.04, 4: 0.004}),
    "step, factor": (StepDecay(0.4, every=1, factor=0.5), {0.9: 0.4, 1: 0.2, 3.2: 0.05}),
    "exponential": (ExponentialDecay(0.4, 0.5), {0: 0.4, 0.9: 0.4, 1: 0.2, 3.9: 0.05}),
    "cosine": (
        CosineDecay(0.4, epochs=8),
        {0: 0.4, 2: 0.2 + 0.2 * ROOT, 4: 0.2, 6: 0.2 - 0.2 * ROOT, 8: 0.0, 8.1: 0.0, 99: 0.0},
    ),
    "cosine, final": (CosineDecay(0.5, 3.0, final=0.1), {0: 0.5, 1: 0.4, 1.5: 0.3, 3: 0.1, 9: 0.1}),
    "cosine, rising": (CosineDecay(0.1, 2, final=0.5), {0: 0.1, 1: 0.3, 2: 0.5, 3: 0.5}),
    "line": (PolynomialDecay(0.4, 4), {0: 0.4, 1: 0.3, 3.5: 0.05, 4: 0.0, 9: 0.0}),
    "line, rising": (PolynomialDecay(0.0, 2, 0.9), {0: 0.0, 0.5: 0.225, 2: 0.9, 3: 0.9}),
    "square": (PolynomialDecay(0.5, 4, 0.1, 2.0), {0: 0.5, 1: 0.325, 2: 0.2, 3: 0.125, 4: 0.1}),
    "inverse root": (InverseScaling(0.4), {0: 0.4, 3: 0.2, 15: 0.1, 1.25: 0.8 / 3}),
    "inverse": (InverseScaling(0.4, 1.0, every=5), {0: 0.4, 2.5: 0.8 / 3, 5: 0.2, 15: 0.1}),
    "restarts": (
        CosineRestarts(0.4, 4),
        {0: 0.4, 1: 0.2 + 0.2 * ROOT, 2: 0.2, 4: 0.4, 6: 0.2, 4001: 0.2 + 0.2 * ROOT},
    ),
    "longer restarts": (
        CosineRestarts(0.5, 2, final=0.1, period_factor=2.0),
        {0: 0.5, 1: 0.3, 2: 0.5, 4: 0.3, 6: 0.5, 10: 0.3, 14: 0.5, 22: 0.3},
    ),
    "lower restarts": (
        CosineRestarts(0.5, 0.5, final=0.1, rate_factor=0.5),
        {0: 0.5, 0.25: 0.3, 0.5: 0.3, 0.75: 0.2, 1: 0.2, 1.25: 0.15},
    ),
    "one cycle": (
        OneCycle(1.0, 10, warmup=0.4, divide=5.0, final_divide=10.0),
        {0: 0.2, 2: 0.6, 4: 1.0, 7: 0.51, 10: 0.02, 11: 0.02},
    ),
    "one cycle of a momentum": (
        OneCycle(0.85, 20, divide=0.85 / 0.95, final_divide=1.0),
        {0: 0.95, 3: 0.9, 6: 0.85, 13: 0.9, 20: 0.95, 30: 0.95},
    ),
    "pieces": (
        PiecewiseConstant([0.4, 0.0, 0.1], [1.5, 3]),
        {0: 0.4, 1.4: 0.4, 1.5: 0.0, 2.9: 0.0, 3: 0.1, 99: 0.1},
    ),
    "one piece": (PiecewiseConstant((1,), ()), {0: 1.0, 7: 1.0}),
    "chain": (
        Chain([0.3, CosineDecay(0.4, 8), lambda epoch: epoch], [2, 4.5]),
        {0: 0.3, 1.9: 0.3, 2: 0.4, 4: 0.2 + 0.2 * ROOT, 6: 0.2, 6.5: 0.0, 7: 0.5, 9.5: 3.0},
    ),
    "chain in a chain": (
        Chain([Chain([0.1, StepDecay(0.4, 1)], [1]), 0.2], [2.5]),
        {0: 0.1, 1: 0.4, 2: 0.04, 2.5: 0.2},
    ),
    "warm-up, restarts": (Warmup(1, CosineRestarts(0.4, 2)), {1: 0.2, 2: 0.4}),
    "warm-up": (Warmup(4, 0.8), {0: 0.008, 1: 0.206, 2: 0.404, 3.5: 0.701, 4: 0.8, 9: 0.8}),
    "warm-up, half an epoch": (Warmup(0.5, 1.0), {0: 0.01, 0.25: 0.505, 0.5: 1.0}),
    "warm-up, cosine": (
        Warmup(2, CosineDecay(0.4, epochs=8)),
        {0: 0.002 + 0.002 * ROOT, 1: 0.505 * (0.2 + 0.2 * ROOT), 2: 0.2 + 0.2 * ROOT, 4: 0.2},
    ),
    "warm-up, any function": (Warmup(1, lambda epoch: 1 / epoch), {0: 0.01, 1: 1.0, 4: 0.25}),
    "warm-up twice": (Warmup(1, Warmup(2, 1.0)), {0: 0.00505, 1: 0.505, 2: 1.0}),
}


@pytest.mark.parametrize(("schedule", "expected"), VALUES.values(), ids=list(VALUES))
def test_values(schedule, expected):
    found = {epoch: schedule(float(epoch)) for epoch in expected}
    # A few roundings; the last value of a cosine is exact.
    assert found == pytest.approx(expected, rel=1e-14, abs=0.0)


def test_the_annealing_of_the_tutorials():
    learning_rate, schedule = 0.5, ExponentialDecay(0.5, 0.95)
    for epoch in range(100):
        # One rounding an epoch, and that of the power.
        assert schedule(epoch + 0.7) == pytest.approx(learning_rate, rel=1e-13)
        learning_rate = learning_rate * 0.95


@pytest.mark.parametrize(
    "schedule",
    [
        CosineDecay(0.3, 10),
        Warmup(10, 0.3),
        PolynomialDecay(0.02, 10, final=0.001, power=0.9),
        PolynomialDecay(0.01, 10, final=0.3),
        InverseScaling(0.01),
        CosineRestarts(0.3, 10.1),
        OneCycle(0.3, 10 / 0.3 + 1e-9),
    ],
)
def test_a_smooth_schedule_changes_with_every_update(schedule):
    rates = [schedule(k / 100) for k in range(1001)]
    moves = np.diff(rates)
    assert (moves < 0.0).all() or (moves > 0.0).all()
    assert np.abs(moves).max() < 0.001
    assert rates[0] > 0.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConstantRate(0.0), "ConstantRate takes a number above 0 as rate; got 0"),
        (lambda: StepDecay(-1.0, 2), "StepDecay takes a number above 0 as rate; got -1"),
        (lambda: StepDecay(0.1, 2.5), "a whole number of epochs, 1 or more, as every; got 2.5"),
        (lambda: StepDecay(0.1, 0), "a whole number of epochs, 1 or more, as every; got 0"),
        (lambda: StepDecay(0.1, True), "a whole number of epochs, 1 or more, as every; got True"),
        (lambda: StepDecay(0.1, 2, 1.5), "a number between 0 and 1.0 as factor; got 1.5"),
        (lambda: ExponentialDecay(math.inf, 0.9), "a number above 0 as rate; got inf"),
        (lambda: ExponentialDecay(0.1, 0.0), "a number between 0 and 1.0 as factor; got 0"),
        (lambda: CosineDecay("0.1", 3), "CosineDecay takes a number above 0 as rate; got '0.1'"),
        (lambda: CosineDecay(0.1, 0), "CosineDecay takes a number above 0 as epochs; got 0"),
        (lambda: CosineDecay(0.1, 3, -0.1), "a finite number, 0 or more as final; got -0.1"),
        (lambda: CosineDecay(0.1, 3, False), "a finite number, 0 or more as final; got False"),
        (lambda: CosineDecay(0.1, 3, math.inf), "a finite number, 0 or more as final; got inf"),
        (lambda: Warmup(0, 0.1), "Warmup takes a number above 0 as epochs; got 0"),
        (lambda: Warmup(1, 0.0), "Warmup takes a number above 0 as then; got 0"),
        (lambda: Warmup(1, CosineDecay), "Warmup takes a number above 0 as then, or a schedule"),
        (lambda: Warmup(1, None), "as then, or a schedule such as .*; got None"),
    ],
)
def test_what_a_schedule_does_not_take(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PolynomialDecay(-0.1, 3), "a finite number, 0 or more as rate; got -0.1"),
        (lambda: PolynomialDecay(0.1, 0), "PolynomialDecay takes a number above 0 as epochs"),
        (lambda: PolynomialDecay(0.1, 3, math.inf), "a finite number, 0 or more as final; got i"),
        (lambda: PolynomialDecay(0.1, 3, power=0), "a number above 0 as power; got 0"),
        (lambda: InverseScaling(0), "InverseScaling takes a number above 0 as rate; got 0"),
        (lambda: InverseScaling(1, -0.5), "InverseScaling takes a number above 0 as power"),
        (lambda: InverseScaling(1, every=0), "a number above 0 as every; got 0"),
        (lambda: CosineRestarts(math.nan, 3), "a finite number, 0 or more as rate; got nan"),
        (lambda: CosineRestarts(0.1, True), "a number above 0 as epochs; got True"),
        (lambda: CosineRestarts(0.1, 3, None), "0 or more as final; got None"),
        (lambda: CosineRestarts(0.1, 3, 0, 0.5), "from 1 on as period_factor, .* got 0.5"),
        (lambda: CosineRestarts(0.1, 3, 0, 2, 0), "a number above 0 as rate_factor; got 0"),
        (lambda: OneCycle(0.0, 10), "OneCycle takes a number above 0 as rate; got 0"),
        (lambda: OneCycle(0.1, 10, 1.0), r"a number between 0 and 1\.0 as warmup; got 1"),
        (lambda: OneCycle(0.1, 10, divide=0), "a number above 0 as divide; got 0"),
        (lambda: OneCycle(0.1, 10, final_divide=-1), "a number above 0 as final_divide; got -1"),
        (lambda: PiecewiseConstant(0.1, [3]), "PiecewiseConstant takes a list as rates; got 0.1"),
        (lambda: PiecewiseConstant([0.1], 3), "a list as boundaries; got 3"),
        (lambda: PiecewiseConstant([0.1], [3]), "one more of rates than of boundaries, .* 1 and 1"),
        (lambda: PiecewiseConstant([0.1, -1], [3]), "0 or more, as rates; got -1 .*Chain"),
        (
            lambda: PiecewiseConstant([0.1, CosineDecay(0.1, 3)], [3]),
            "as rates; got CosineDecay.*Chain",
        ),
        (lambda: PiecewiseConstant([1, 2, 3], [3, 2]), r"rising numbers above 0 .* got \(3, 2\)"),
        (lambda: PiecewiseConstant([1, 2, 3], [2, 2]), r"rising numbers above 0 .* got \(2, 2\)"),
        (lambda: PiecewiseConstant([1, 2], [0]), r"rising numbers above 0 .* got \(0,\)"),
        (lambda: PiecewiseConstant([1, 2], [math.nan]), "rising numbers above 0 .* got .nan"),
        (lambda: PiecewiseConstant([1, 2], ["3"]), r"rising numbers above 0 .* got \('3',\)"),
        (lambda: Chain("ab", [1]), "Chain takes a list as schedules; got 'ab'"),
        (lambda: Chain([0.1], [1]), "one more of schedules than of lengths, .* got 1 and 1"),
        (lambda: Chain([], []), "one more of schedules than of lengths, .* got 0 and 0"),
        (lambda: Chain([0.1, CosineDecay], [1]), "0 or more, as schedules; got <class"),
        (lambda: Chain([0.1, -0.1], [1]), "0 or more, as schedules; got -0.1"),
        (lambda: Chain([0.1, 0.2], [0]), "numbers of epochs above 0 as lengths; got 0"),
        (lambda: Chain([0.1, 0.2], [math.inf]), "epochs above 0 as lengths; got inf"),
    ],
)
def test_what_these_do_not_take_either(make, words):
    with pytest.raises(NetworkError, match=words):
        make()


def test_a_list_given_is_a_tuple_kept():
    rates = [0.1, 0.2]
    schedule, chain = PiecewiseConstant(rates, [3]), Chain(rates, [3])
    rates[0] = 9.0
    assert schedule(0.0) == chain(0.0) == 0.1
    assert schedule == PiecewiseConstant((0.1, 0.2), (3,))
    assert hash(chain) == hash(Chain((0.1, 0.2), (3,)))


def test_pieces_are_a_chain_of_numbers():
    pieces, chain = PiecewiseConstant([0.4, 0.2, 0.1], [1, 3.5]), Chain([0.4, 0.2, 0.1], [1, 2.5])
    for k in range(500):
        assert pieces(k / 100) == chain(k / 100)


def test_one_cycle_is_smooth_where_it_turns_and_where_it_ends():
    for schedule, turn in [(OneCycle(0.3, 10), 3.0), (OneCycle(0.3, 7, 0.9), 6.3)]:
        for place in (0.0, turn, schedule.epochs):
            near = [schedule(abs(place + move)) for move in (-1e-5, 0.0, 1e-5)]
            # A cosine is flat there: it moves by the square of the distance.
            assert np.ptp(near) < 1e-8


NO_RATES = [math.nan, math.inf, -0.1, None, "0.1", True, np.ones(1)]


NO_VALUES = [value for value in NO_RATES if value != -0.1]


@pytest.mark.parametrize("value", NO_RATES, ids=map(repr, NO_RATES))
def test_a_function_that_gives_no_rate(value):
    with pytest.raises(NetworkError, match=r"finite number, 0 or more; the schedule gave .* 2\.5"):
        value_at(lambda epoch: value, 2.5)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, np.float32(0.5), np.float64(0.5), 2])
def test_a_function_that_gives_a_rate(value):
    found = value_at(lambda epoch: value, 2.5)
    assert type(found) is float
    assert found == value


# -- as others have them -------------------------------------------------------------------


def steps_of_torch(make, count, **options):
    """The rates of a schedule of torch, before each of ``count`` updates."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4, **options)
    schedule = make(torch.optim.lr_scheduler, optimizer)
    found = []
    for _ in range(count):
        found.append(dict(optimizer.param_groups[0]))
        optimizer.step()
        schedule.step()
    return found


TORCH = {
    "polynomial": (
        PolynomialDecay(0.4, 12, power=1.5),
        lambda ways, by: ways.PolynomialLR(by, total_iters=12, power=1.5),
    ),
    "restarts": (
        CosineRestarts(0.4, 5, final=0.01),
        lambda ways, by: ways.CosineAnnealingWarmRestarts(by, 5, eta_min=0.01),
    ),
    "longer restarts": (
        CosineRestarts(0.4, 3, period_factor=2),
        lambda ways, by: ways.CosineAnnealingWarmRestarts(by, 3, T_mult=2),
    ),
    "pieces": (
        PiecewiseConstant([0.4, 0.04, 0.004], [3, 10]),
        lambda ways, by: ways.MultiStepLR(by, [3, 10], gamma=0.1),
    ),
    "chain": (
        Chain([0.04, ExponentialDecay(0.4, 0.9), CosineDecay(0.4, 9)], [4, 5]),
        lambda ways, by: ways.SequentialLR(
            by,
            [
                ways.ConstantLR(by, factor=0.1, total_iters=100),
                ways.ExponentialLR(by, 0.9),
                ways.CosineAnnealingLR(by, 9),
            ],
            milestones=[4, 9],
        ),
    ),
}


@pytest.mark.parametrize(("schedule", "make"), TORCH.values(), ids=list(TORCH))
def test_rates_are_those_of_torch(schedule, make):
    found = [group["lr"] for group in steps_of_torch(make, 18)]
    # torch multiplies from step to step, with some roundings at each, of numbers up to 0.4.
    wanted = [schedule(float(epoch)) for epoch in range(18)]
    np.testing.assert_allclose(wanted, found, rtol=1e-12, atol=1e-15)


def test_one_cycle_is_that_of_torch():
    """Which reaches its end with the last update: it has one update less to go."""
    count, share = 40, 0.3
    groups = steps_of_torch(
        lambda ways, by: ways.OneCycleLR(
            by, 0.8, total_steps=count + 1, pct_start=share, base_momentum=0.8, max_momentum=0.9
        ),
        count,
        momentum=0.9,
    )
    warmup = (share * (count + 1) - 1.0) / count
    rate = OneCycle(0.8, count, warmup)
    momentum = OneCycle(0.8, count, warmup, divide=0.8 / 0.9, final_divide=1.0)
    for epoch, group in enumerate(groups):
        # Some roundings of numbers up to 0.8.
        assert rate(epoch) == pytest.approx(group["lr"], rel=1e-12, abs=1e-15)
        assert momentum(epoch) == pytest.approx(group["momentum"], rel=1e-12)


def test_inverse_scaling_at_the_end_of_an_epoch_is_that_of_scikit_learn():
    neural = pytest.importorskip("sklearn.neural_network")
    options = {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "batch_size": 8}
    for epochs in (1, 3):
        other = neural.MLPRegressor(
            hidden_layer_sizes=(2,), learning_rate_init=0.1, max_iter=epochs, **options
        )
        with pytest.warns(match="Maximum iterations"):
            other.fit(X, NUMBERS)
        found = InverseScaling(0.1, 0.3, every=1 / 24)(float(epochs))
        assert other._optimizer.learning_rate == pytest.approx(found, rel=1e-14)


# -- optimizers take them ------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": SGD,
    "momentum": lambda rate: SGD(rate, momentum=0.9),
    "nesterov": lambda rate: SGD(rate, momentum=0.9, nesterov=True),
    "rmsprop": RMSProp,
    "adam": Adam,
    "adagrad": Adagrad,
    "adamw": AdamW,
    "lion": Lion,
    "radam": RAdam,
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))


@every_optimizer
def test_an_optimizer_takes_a_number_or_a_schedule(optimizer):
    schedule = CosineDecay(0.3, 8)
    for step, epoch in [(1, 0.0), (7, 3.25), (30, 8.0)]:
        changing = optimizer(schedule).hyperparameters(step, epoch)
        if schedule(epoch) > 0.0:
            assert changing == optimizer(schedule(epoch)).hyperparameters(step, 99.0)
    assert changing["step_size" if "step_size" in changing else "learning_rate"] == 0.0


@every_optimizer
def test_a_bad_schedule_is_found_beforehand(optimizer):
    fading = optimizer(lambda epoch: 0.25 - 0.125 * epoch)
    check_hyperparameters(fading, "float32", 3, 4)
    with pytest.raises(NetworkError, match=r"the schedule gave -0\.125 at epoch 3"):
        check_hyperparameters(fading, "float32", 5, 4)
    late = optimizer(lambda epoch: 0.1 if epoch < 0.7 else math.nan)
    with pytest.raises(NetworkError, match=r"the schedule gave nan at epoch 0\.75"):
        check_hyperparameters(late, "float32", 1, 4)
    check_hyperparameters(late, "float32", 1, 2)


def test_a_bad_schedule_costs_nothing():
    network = Network([Dense(2)]).fit(X, NUMBERS, loss="mean_squared_error", progress=False)
    before, history = network.predict(X), network.history
    with pytest.raises(NetworkError, match="the schedule gave inf at epoch 3"):
        network.fit(
            X, NUMBERS, loss="mean_squared_error", progress=False,
            optimizer=SGD(lambda epoch: 0.1 if epoch < 3 else math.inf),
        )  # fmt: skip
    np.testing.assert_array_equal(network.predict(X), before)
    assert network.history is history


def test_a_schedule_is_asked_a_thousand_times_at_most():
    asked = []
    check_hyperparameters(SGD(lambda epoch: asked.append(epoch) or 0.1), "float32", 10**12, 3)
    assert len(asked) < 1100


@pytest.mark.parametrize(
    ("optimizer", "dtype", "said"),
    [
        (SGD(1e39), "float32", r"SGD gives 1e\+39 as learning_rate .* float32 does not hold"),
        (Adam(1e-50), "float32", "step_size in the first update, which float32"),
        (Adam(epsilon=1e-60), "float32", "epsilon in the first update, which float32"),
        (RMSProp(1e-310), "float64", "learning_rate in the first update, which float64"),
    ],
)
def test_a_number_that_the_dtype_does_not_hold(optimizer, dtype, said):
    with pytest.raises(NetworkError, match=said):
        check_hyperparameters(optimizer, dtype, 1, 1)
    if dtype == "float32":
        check_hyperparameters(optimizer, "float64", 1, 1)


def test_a_schedule_that_fails_says_when():
    with pytest.raises(
        NetworkError, match=r"one number, the epoch .*; at 2 it failed with IndexError"
    ):
        value_at([0.1, 0.2].__getitem__, 2)
    with pytest.raises(NetworkError, match="failed with TypeError"):
        value_at(lambda: 0.1, 0.0)


WHOLES = {
    "chain": lambda part: Chain([0.5, part], [1]),
    "warm-up": lambda part: Warmup(1, part),
    "warm-up of a chain": lambda part: Warmup(1, Chain([0.5, part], [1])),
}
every_whole = pytest.mark.parametrize("whole", WHOLES.values(), ids=list(WHOLES))


@every_whole
def test_the_range_of_a_part_is_that_of_the_hyperparameter(whole):
    falling = SGD(0.1, momentum=whole(lambda epoch: -1.0))
    with pytest.raises(NetworkError, match=r"^SGD's momentum is .*; the schedule gave -1\.0 at"):
        falling.hyperparameters(1, 2.0)
    high = whole(lambda epoch: 1.5)
    assert SGD(high).hyperparameters(1, 2.0)["learning_rate"] == 1.5
    with pytest.raises(NetworkError, match=r"^SGD's momentum is .*; the schedule gave 1\.5 at"):
        SGD(0.1, momentum=high).hyperparameters(1, 2.0)


@every_whole
@pytest.mark.parametrize("value", NO_VALUES, ids=map(repr, NO_VALUES))
def test_a_part_that_gives_no_number(whole, value):
    words = r"^a schedule's value is a finite number; a part of one gave .* of its own\.$"
    with pytest.raises(NetworkError, match=words):
        SGD(0.1, momentum=whole(lambda epoch: value)).hyperparameters(1, 2.0)


@every_whole
def test_a_part_that_fails_says_when_and_for_what(whole):
    part = whole(lambda epoch: 1.0 / 0.0)
    with pytest.raises(NetworkError, match=r"of SGD's momentum .* at 2 it failed with ZeroDiv"):
        SGD(0.1, momentum=part).hyperparameters(1, 2.0)


# -- which value an update takes -----------------------------------------------------------


@elementwise()
def down_by(xp, parameter, grad, rate):
    return parameter - rate


class StepAndEpoch:
    """An optimizer whose step and epoch can be read off the parameters: ``1000 step + epoch``."""

    asked = 0

    def hyperparameters(self, step, epoch):
        self.asked += 1
        return {"rate": 1000.0 * step + epoch}

    def update(self, builder, parameter, grad, hyper):
        builder.assign([parameter], down_by, parameter, grad, *hyper)


def rate_of_update(training, update):
    """What the rate was in an update of ``StepAndEpoch``."""
    training.write("dense1.bias", [0.0, 0.0])
    update()
    return -host(training, "dense1.bias")[0]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(8, [2.0, 2.0 + 1 / 3, 2.0 + 2 / 3]), (10, [2.0, 2.0 + 1 / 3, 2.0 + 2 / 3]), (None, [2.0])],
)
def test_a_batch_knows_its_epoch(size, expected):
    _, training = begin(batch_size=size)
    assert [batch.epoch for batch in training.batches(X, NUMBERS, epoch=2)] == expected


def test_an_update_has_the_rate_of_its_batch(backend):
    _, training = begin([Dense(2)], optimizer=StepAndEpoch(), backend=backend)
    for batch in training.batches(X, NUMBERS, epoch=0):
        training.gradient(batch)
        rate = rate_of_update(training, training.update)
        assert rate == 1000.0 * training.updates + batch.epoch
    first, second, _ = training.batches(X, NUMBERS, epoch=1)
    training.gradient(first)
    for batch in (first, second):
        rate = rate_of_update(training, lambda batch=batch: training.step(batch))
        assert rate == 1000.0 * training.updates + batch.epoch


PROGRAMS = {
    "accumulated": [[0, 1 / 3], [2 / 3], [1, 1 + 1 / 3], [1 + 2 / 3, 2], [2 + 1 / 3, 2 + 2 / 3]],
    "repeated": [[0], [0], [1 / 3], [1 / 3], [2 / 3], [2 / 3], [1], [1 + 1 / 3]],
    "updated again": [[0], [], [1 / 3], [], [1], []],
    "skipped": [[0], [2 / 3], [1 + 1 / 3], [2 + 2 / 3], [4]],
    "backwards": [[2 / 3], [1 / 3], [0]],
    "epochs out of order": [[3], [3 + 1 / 3], [0], [1 / 3], [3], [3 + 2 / 3], [1], [2]],
    "an epoch over and over": [[0], [1 / 3], [2 / 3], [0], [1 / 3], [2 / 3]],
}
"""The batches, by the epoch at which they begin, whose gradients come before each update."""


@pytest.mark.parametrize("at_once", [False, True], ids=["", "batches made before"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_updates_that_do_not_go_with_batches(program, at_once):
    _, training = begin([Dense(2)], optimizer=StepAndEpoch())

    def batches_of(epoch):
        return {batch.epoch: batch for batch in training.batches(X, NUMBERS, epoch)}

    made = {epoch: batches_of(epoch) for epoch in range(5)} if at_once else {}
    epoch = begins = None
    for step, gradients in enumerate(program, start=1):
        for begins in gradients:
            if int(begins) != epoch or begins == epoch:
                epoch = int(begins)
                batches = made[epoch] if at_once else batches_of(epoch)
            training.gradient(batches[begins])
        assert rate_of_update(training, training.update) == 1000.0 * step + begins


def tables_sent(training, monkeypatch):
    """A list that grows with each table of hyper-parameters: its number of rows."""
    sent, backend = [], training.session.backend
    asarray = backend.asarray

    def counted(value, dtype):
        if isinstance(value, list):
            sent.append(len(value))
        return asarray(value, dtype)

    monkeypatch.setattr(backend, "asarray", counted)
    return sent


def test_hyperparameters_are_sent_once_an_epoch(monkeypatch):
    optimizer = StepAndEpoch()
    _, training = begin([Dense(2)], optimizer=optimizer)
    training.open(X, NUMBERS)
    sent = tables_sent(training, monkeypatch)
    for epoch in range(4):
        for batch in training.batches(X, NUMBERS, epoch):
            training.step(batch)
    assert sent == [3, 3, 3, 3]
    assert optimizer.asked == 12 + 1  # once for the plan


def test_accumulation_asks_for_no_more_than_twice_as_many(monkeypatch):
    """Not for the rest of the epoch at every update."""
    optimizer = StepAndEpoch()
    _, training = begin([Dense(2)], optimizer=optimizer, batch_size=1)
    training.open(X, NUMBERS)
    sent = tables_sent(training, monkeypatch)
    for place, batch in enumerate(training.batches(X, NUMBERS, epoch=0)):
        training.gradient(batch)
        if place % 2:
            training.update()
    assert training.updates == 12
    assert sent == [23, *[1] * 11]


def test_the_rate_stands_inside_the_velocity():
    """With a rate that changes this is not PyTorch's momentum."""
    rate = ExponentialDecay(0.1, 0.5)
    _, training = begin(optimizer=SGD(rate, momentum=0.9))
    v = 0.0
    for epoch in range(3):
        for batch in training.batches(X, NUMBERS, epoch):
            training.gradient(batch)
            before = host(training, "dense1.weight")
            v = 0.9 * v + 0.1 * 0.5**epoch * host(training, "grad_dense1.weight")
            training.update()
            # Two roundings of numbers up to 1 in each of nine updates.
            found = host(training, "dense1.weight")
            np.testing.assert_allclose(found, before - v, rtol=0.0, atol=1e-15)


def test_fit_with_a_schedule(backend):
    options = {"loss": "half_squared_error", "backend": backend}
    schedule = Warmup(1, CosineDecay(0.2, epochs=3))
    network = Network(LAYERS, dtype="float64")
    network.fit(
        X, NUMBERS, optimizer=SGD(schedule), epochs=3, batch_size=8, progress=False, **options
    )
    _, training = begin(backend=backend)
    for epoch in range(3):
        for place, batch in enumerate(training.batches(X, NUMBERS, epoch)):
            training.gradient(batch)
            for parameter, grad in training.plan.gradients.items():
                move = host(training, grad) * schedule(epoch + place / 3)
                training.write(parameter, host(training, parameter) - move)
    assert training.updates == 0
    for name, value in network.parameters.items():
        # Nine updates of numbers up to 1, rounded twice each.
        np.testing.assert_allclose(host(training, name), value, rtol=0.0, atol=1e-14)


def test_a_schedule_that_gives_no_rate_stops_before_its_update():
    _, training = begin(optimizer=SGD(lambda epoch: 0.1 if epoch < 1.5 else math.nan))
    for batch in training.batches(X, NUMBERS, epoch=0):
        training.step(batch)
    first, second, third = training.batches(X, NUMBERS, epoch=1)
    before = values(training)
    assert training.updates == 3
    for batch in (first, second):  # their own rates are good
        training.step(batch)
    assert (values(training)["dense1.bias"] != before["dense1.bias"]).all()
    with pytest.raises(NetworkError, match=r"gave nan at epoch 1\.66667"):
        training.step(third)
    assert training.updates == 5
