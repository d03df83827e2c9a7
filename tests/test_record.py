"""Objects to JSON and back: everything a network is built of, one's own classes, bad records."""

import enum
import json
import math
from collections import namedtuple
from dataclasses import KW_ONLY, MISSING, InitVar, dataclass, field, fields, is_dataclass
from functools import lru_cache, partial

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import (
    activations,
    drivers,
    initializers,
    layers,
    losses,
    optimizers,
    scaling,
    schedules,
    targets,
    wrappers,
)
from portable_nn.errors import FileError, NetworkError
from portable_nn.record import CLASSES, FUNCTIONS, MODULES, NotInFile, describe, restore


def same(found, wanted):
    """Equal in type and in every field; some dataclasses compare by identity."""
    if type(found) is not type(wanted):
        return False
    if is_dataclass(wanted):
        named = [each.name for each in fields(wanted)]
        return all(same(getattr(found, name), getattr(wanted, name)) for name in named)
    if isinstance(wanted, tuple):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, dict):
        alike = list(found) == list(wanted)
        return alike and all(same(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, np.ndarray):
        alike = np.array_equal(found, wanted, equal_nan=wanted.dtype.kind == "f")
        return found.dtype == wanted.dtype and alike
    return found == wanted or (found != found and wanted != wanted)


def through_json(value, custom=()):
    return restore(json.loads(json.dumps(describe(value), allow_nan=False)), custom)


# -- what this library has -----------------------------------------------------------------

EXAMPLES = [
    layers.AlphaDropout(0.1),
    layers.BatchNorm(),
    layers.BatchNorm(0.5, 1e-3),
    layers.GaussianNoise(0.1),
    layers.LayerNorm(),
    layers.LayerNorm(1e-3),
    layers.RMSNorm(),
    layers.RMSNorm(1e-3),
    layers.Concatenate([[layers.Dense(2), activations.Tanh()], []]),
    layers.Dense(3),
    layers.Dense(4, False, weight=initializers.Normal(0.1), bias=initializers.ones),
    layers.Dropout(0.25),
    layers.Embedding(5, 2),
    layers.Embedding(5, 2, initializers.zeros),
    layers.Flatten(),
    layers.Input("city"),
    layers.Reshape((2, 3)),
    layers.Residual([layers.Dense(3)]),
    layers.Residual([layers.Residual([layers.Dense(3)])], shortcut=[layers.Dense(3)]),
    layers.GLU(),
    layers.Maxout(),
    layers.Maxout(3),
    layers.PReLU(),
    layers.PReLU(0.1),
    layers.SwiGLU(),
    activations.Activation(),
    activations.Exponential(),
    activations.Identity(),
    activations.ReLU(),
    activations.Sigmoid(),
    activations.Softmax(),
    activations.CELU(0.5),
    activations.CELU(),
    activations.ELU(0.5),
    activations.ELU(),
    activations.GELU(),
    activations.GELU("tanh"),
    activations.HardSigmoid(),
    activations.HardSwish(),
    activations.HardTanh(),
    activations.HardTanh(-0.5, 2.0),
    activations.LeakyReLU(),
    activations.LeakyReLU(0.3),
    activations.LogSigmoid(),
    activations.LogSoftmax(),
    activations.Mish(),
    activations.SELU(),
    activations.SiLU(),
    activations.Softplus(),
    activations.Softplus(2.0),
    activations.Softsign(),
    activations.Tanh(),
    losses.Loss(),
    losses.BinaryCrossEntropy(),
    losses.BinaryCrossEntropy(label_smoothing=0.2, class_weight={"no": 1.0, "yes": 0.25}),
    losses.CrossEntropy(),
    losses.CrossEntropy(0.1, "balanced"),
    losses.CrossEntropy(class_weight={-1: 1, 2**70: 0.5, True: 0.0, 0.5: 3.0, "b": 1e-300}),
    losses.GammaDeviance(),
    losses.GaussianNLL(),
    losses.HalfSquaredError(),
    losses.Hinge(),
    losses.Hinge(squared=True),
    losses.Huber(),
    losses.Huber(0.5),
    losses.LogCosh(),
    losses.MeanAbsoluteError(),
    losses.MeanSquaredError(),
    losses.PoissonDeviance(),
    losses.Quantile(),
    losses.Quantile(0.9),
    losses.TweedieDeviance(),
    losses.TweedieDeviance(3.0),
    optimizers.SGD(),
    optimizers.SGD(0.5, momentum=0.9, nesterov=True),
    optimizers.SGD(momentum=schedules.ConstantRate(0.9), dampening=0.5),
    optimizers.Adagrad(),
    optimizers.Adagrad(0.1, 1e-7, 0.1),
    optimizers.Lion(),
    optimizers.Lion(0.001, 0.1, 0.95, 0.98, True),
    optimizers.RMSProp(),
    optimizers.RMSProp(momentum=0.9, centered=True, epsilon_place="outside"),
    optimizers.RMSProp(schedules.CosineDecay(0.1, 30), beta=0.5, epsilon=1e-3),
    optimizers.Adam(),
    optimizers.Adam(schedules.Warmup(2.5, schedules.StepDecay(0.1, 3)), 0.8, 0.99, 1e-7),
    schedules.Chain((0.1, schedules.CosineDecay(0.1, 30)), (2.5,)),
    drivers.LBFGS(),
    drivers.LBFGS(memory=3, evaluations=7),
    wrappers.Wrapper(optimizers.SGD()),
    wrappers.ClippedNorm(optimizers.Adam(), 2.0),
    wrappers.ClippedValue(optimizers.Adam(), schedules.ConstantRate(0.5)),
    wrappers.Decayed(optimizers.SGD(), 0.1, decay_all_parameters=True),
    wrappers.Penalized(optimizers.SGD(), 1e-3, 1e-4, decay_all_parameters=True),
    wrappers.MaxNorm(optimizers.SGD(), 2.0),
    wrappers.ExponentialMovingAverage(wrappers.ClippedNorm(optimizers.SGD(), 2.0), 0.9),
    wrappers.StochasticWeightAveraging(optimizers.SGD(), 3.0),
    wrappers.ParameterGroups(
        optimizers.SGD(),
        {"dense1": optimizers.Adam(), "*.bias": wrappers.MaxNorm(optimizers.SGD())},
    ),
    optimizers.Adam(amsgrad=True, epsilon_place="before"),
    optimizers.AdamW(),
    optimizers.AdamW(0.01, schedules.CosineDecay(0.1, 30), 0.8, 0.99, 1e-7, True),
    optimizers.RAdam(),
    optimizers.RAdam(0.01, 0.8, 0.99, 1e-7),
    schedules.ConstantRate(0.1),
    schedules.ReduceOnPlateau(0.1),
    schedules.ReduceOnPlateau(0.1, 0.5, 3, 0.01, 2, 1e-3, "validation_accuracy", "max"),
    schedules.Warmup(3, schedules.ReduceOnPlateau(0.1)),
    schedules.CosineRestarts(0.1, 5),
    schedules.CosineRestarts(0.1, 5, 0.01, 2.0, 0.5),
    schedules.InverseScaling(0.1),
    schedules.InverseScaling(0.1, 1.0, 3.5),
    schedules.OneCycle(0.1, 20),
    schedules.OneCycle(0.1, 20, 0.25, 10.0, 100.0),
    schedules.PiecewiseConstant([0.1, 0.0], [5]),
    schedules.PolynomialDecay(0.1, 20),
    schedules.PolynomialDecay(0.1, 20, 0.5, 2.0),
    schedules.StepDecay(0.1, 5),
    schedules.StepDecay(0.1, 5, 0.3),
    schedules.ExponentialDecay(0.1, 0.95),
    schedules.CosineDecay(0.1, 30),
    schedules.CosineDecay(0.1, 30, 0.01),
    schedules.Warmup(5, 0.1),
    initializers.Constant(1.0),
    initializers.Normal(0.1),
    initializers.Orthogonal(),
    initializers.Orthogonal(1.5),
    initializers.Scaled(initializers.he_normal, 1.5),
    initializers.Scaled(initializers.Orthogonal(), 1.5),
    initializers.TruncatedNormal(0.1),
    initializers.Uniform(-0.5, 0.5),
    targets.Labels(np.array(["ant", "bee"])),
    targets.Labels(np.array([b"\xff", b"a\x7f"])),
    targets.Labels(np.array([-5, 2**62])),
    targets.Labels(np.array([0, 2**64 - 1], dtype=np.uint64)),
    targets.Binary(np.array([False, True]), 1, True),
    targets.Binary(np.array([-1.0, 1.0], dtype=np.float32), 3, False),
    targets.Margins(np.array(["ant", "bee"]), 1, True),
    targets.MeansAndVariances(4, False),
    targets.MeansAndVariances(2, True, scaling.Scaling(np.array([0.5]), np.array([2.0]))),
    targets.NonNegative(2, False, scaling.Scaling(np.zeros(2), np.ones(2))),
    targets.Positive(1, True, scaling.Scaling(np.zeros(1), np.ones(1))),
    targets.Numbers(2, False),
    targets.Numbers(1, True, scaling.Scaling(np.array([1 / 3]), np.array([1e-300]))),
    scaling.Scaling(np.zeros(0), np.ones(0)),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_what_a_network_is_built_of_comes_back(example):
    assert same(through_json(example), example)


def test_every_class_and_every_field_is_among_the_examples():
    assert {type(example) for example in EXAMPLES} == set(CLASSES.values())
    for kind in CLASSES.values():
        examples = [example for example in EXAMPLES if type(example) is kind]
        for each in fields(kind):
            given = [getattr(example, each.name) for example in examples]
            assert each.default is MISSING or any(value is not each.default for value in given)


def test_every_class_that_users_build_with_is_known():
    exported = {vars(pnn)[name] for name in pnn.__all__}
    wanted = {value for value in exported if isinstance(value, type) and is_dataclass(value)}
    assert len(wanted) >= 12
    assert wanted <= set(CLASSES.values())
    for table in (activations.ACTIVATIONS, losses.LOSSES, optimizers.OPTIMIZERS):
        assert set(table.values()) <= set(CLASSES.values())


def test_no_two_classes_have_one_name():
    defined = [
        name
        for module in MODULES
        for name, value in vars(module).items()
        if is_dataclass(value) and value.__module__.startswith(module.__name__)
        if not name.startswith("_")
    ]
    assert sorted(defined) == sorted(CLASSES)


def test_every_initializer_function_comes_back_as_itself():
    assert len(FUNCTIONS) >= 4
    assert FUNCTIONS["he_normal"] is initializers.he_normal
    for name, function in FUNCTIONS.items():
        assert describe(function) == {"function": name}
        assert through_json(function) is function


def test_what_stands_in_a_file_stays_what_it_is():
    """Files that users have say this: change it only with the schema version."""
    given = (layers.Dense(2, weight=initializers.Uniform(-0.5, 0.5)),)
    assert describe((*given, losses.HalfSquaredError(), len, math.inf, None)) == [
        {
            "class": "Dense",
            "out_features": 2,
            "use_bias": True,
            "weight": {"class": "Uniform", "low": -0.5, "high": 0.5},
            "bias": {"function": "zeros"},
        },
        {"class": "HalfSquaredError"},
        {"own function": "len"},
        {"float": "inf"},
        None,
    ]


def test_a_file_from_before_a_field_was_there_can_be_read():
    for loss in (losses.CrossEntropy(), losses.BinaryCrossEntropy()):
        assert same(restore({"class": type(loss).__name__}), loss)


# -- plain values --------------------------------------------------------------------------

PLAIN = [None, True, False, 0, -7, 10**30, 0.1, -0.0, 5e-324, "", "é\ud800\n", (), ((1, "a"), ())]


@pytest.mark.parametrize("value", [*PLAIN, math.inf, -math.inf, math.nan], ids=repr)
def test_plain_values_come_back(value):
    assert same(through_json(value), value)


def test_a_list_comes_back_as_a_tuple():
    assert through_json([1, [2.0]]) == (1, (2.0,))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(2.5), 2.5),
        (np.float32(np.inf), math.inf),
    ],
    ids=repr,
)
def test_numpy_scalars_become_plain(given, wanted):
    assert same(through_json(given), wanted)
    assert same(through_json(layers.Dropout(np.float32(0.5))), layers.Dropout(0.5))


# -- the user's own classes ----------------------------------------------------------------


@dataclass(frozen=True)
class Residual:
    layers: tuple
    scale: float = 1.0


@dataclass
class Everything:
    first: int
    _: KW_ONLY
    second: tuple = ()
    type: str = "a field of this name"
    derived: int = field(init=False)

    def __post_init__(self):
        self.derived = self.first + 1


@dataclass(frozen=True, slots=True)
class Slotted:
    size: int


class OwnLoss(losses.Loss):
    """Of the library's dataclass, but with nothing new for a file."""


NESTED = Residual(
    (layers.Dense(3), Residual((activations.ReLU(), Residual(()))), (Slotted(2),)), math.inf
)


@pytest.mark.parametrize(
    "value", [NESTED, Everything(1, second=(2,), type="b"), Slotted(4), OwnLoss()], ids=repr
)
def test_own_dataclasses_come_back_with_custom(value):
    assert same(through_json(value, (found for found in CUSTOM)), value)


CUSTOM = [Residual, Everything, Slotted, OwnLoss]


@pytest.mark.parametrize("custom", [(), [Slotted]])
def test_an_own_class_must_be_given_again(custom):
    with pytest.raises(FileError, match=r"has a Residual, .* load\(path, custom=\[Residual\]\)"):
        through_json((layers.Dense(2), NESTED), custom)


def _own(name):
    return dataclass(frozen=True)(type(name, (), {"__annotations__": {"out_features": int}}))


@pytest.mark.parametrize("name", ["Dense", "Dropout", "Adam", "NotInFile"])
def test_an_own_class_of_a_name_of_ours_never_comes_back_as_ours(name):
    own = _own(name)
    with pytest.raises(FileError, match=rf"custom=\[{name}\]"):
        through_json(own(3))
    assert same(through_json(own(3), [own]), own(3))
    assert same(through_json((own(3), layers.Dense(3)), [own]), (own(3), layers.Dense(3)))


@pytest.mark.parametrize(
    "custom", [Residual, [Residual(())], [int], ["Residual"], "Residual", None, [Slotted, None]]
)
def test_custom_is_a_list_of_dataclasses(custom):
    with pytest.raises(NetworkError, match=r"custom is a list of dataclasses .*; got "):
        restore(describe(NESTED), custom)


def test_two_own_classes_of_one_name_are_refused():
    with pytest.raises(NetworkError, match="of different names"):
        restore(None, [_own("Block"), _own("Block")])


# -- the user's own functions --------------------------------------------------------------


def draw(draws, shape):
    return np.zeros(shape)


def zeros(draws, shape):
    return np.ones(shape)


class Rates:
    def rate(self, epoch):
        return 0.1


OWN = {
    "draw": draw,
    "zeros": zeros,
    "<lambda>": lambda epoch: 0.1,
    "rate": Rates().rate,
    "sqrt": math.sqrt,
}
OWN_PARTIAL = partial(partial(draw, None), shape=(2,))


@pytest.mark.parametrize("name", OWN)
def test_of_an_own_function_a_file_has_the_name(name):
    found = through_json(layers.Dense(2, weight=OWN[name]))
    assert found == layers.Dense(2, weight=NotInFile(name))
    assert describe(found)["weight"] == {"own function": name}
    assert through_json(found) == found
    with pytest.raises(NetworkError, match=f"^{name} was a function of your own, which a file"):
        found.weight(None, (2, 3))


@pytest.mark.parametrize("value", [OWN_PARTIAL, lru_cache(draw)])
def test_a_dressed_function_goes_by_the_name_of_what_it_dresses(value):
    assert through_json(value) == NotInFile("draw")


def test_an_optimizer_with_an_own_schedule_can_be_loaded_and_saved_again():
    found = through_json(optimizers.SGD(schedules.Warmup(2, lambda epoch: 0.1)))
    assert found == optimizers.SGD(schedules.Warmup(2, NotInFile("<lambda>")))
    with pytest.raises(NetworkError, match="give the layer or optimizer that had it anew"):
        found.hyperparameters(1, 3.0)


# -- what a file cannot hold ---------------------------------------------------------------


class Plain:
    def __repr__(self):
        return "Plain()"


class PlainInitializer(Plain):
    def __call__(self, draws, shape):
        return np.zeros(shape)


def test_text_is_as_long_as_it_is():
    """Whatever length a file claims, which would else be the memory it takes."""
    for kind, value in {"U": "a", "S": b"a"}.items():
        found = restore({"array": f"<{kind}99999999", "values": ["a"] * 99})
        assert (found.dtype.itemsize, found[0]) == (4 if kind == "U" else 1, value)


def test_any_other_callable_is_known_by_its_name():
    assert describe(PlainInitializer()) == {"own function": "PlainInitializer"}
    assert through_json(PlainInitializer()) == NotInFile("PlainInitializer")


class Text(str):
    pass


class Colour(enum.IntEnum):
    RED = 1


UNHELD = {
    "an object": (Plain(), r"Plain\(\) \(Plain\); it holds dataclasses"),
    "in a tuple": ((1, [Plain()]), "it holds dataclasses"),
    "in a field": (Residual((Plain(),)), r"Plain\(\)"),
    "a class": (layers.Dense, r"Dense'> \(type\)"),
    "in a dictionary": ({"a": {1}}, r"\(set\)"),
    "as a key": ({b"a": 1}, "bytes"),
    "a set": ({1}, r"\(set\)"),
    "bytes": (b"a", "bytes"),
    "a complex number": (1j, "complex"),
    "a numpy complex number": (np.complex64(1j), "complex"),
    "an array of objects": (np.array([None]), "ndarray"),
    "an array of complex numbers": (np.zeros(1000, complex), "ndarray"),
    "an array of dates": (np.array(["2026-01-01"], "datetime64[D]"), "ndarray"),
    "a long double": (np.longdouble(1), "longdouble"),
    "an enumeration": (Colour.RED, "Colour"),
    "a kind of text": (Text("a"), "Text"),
    "a named tuple": (namedtuple("Pair", "a")(1), "Pair"),
    "a module": (math, "module"),
}


@pytest.mark.parametrize("name", UNHELD)
def test_what_a_file_cannot_hold_is_named(name):
    value, said = UNHELD[name]
    with pytest.raises(NetworkError, match=f"^a file cannot hold .*{said}") as caught:
        describe(value)
    assert len(str(caught.value)) < 250


class SecretState(losses.Loss):
    def __init__(self, delta=1.0):
        self.delta = delta


@dataclass
class WithSeed:
    size: int
    seed: InitVar[int] = 0


@pytest.mark.parametrize("value", [SecretState(2.0), WithSeed(1, 2)])
def test_a_class_that_its_fields_do_not_make_is_refused(value):
    name = type(value).__name__
    with pytest.raises(NetworkError, match=f"cannot hold {name}, whose __init__ takes other"):
        describe(value)


# -- records that nobody wrote -------------------------------------------------------------


def _nested(depth, wrap, value=None):
    for _ in range(depth):
        value = wrap(value)
    return value


@dataclass
class Picky:
    size: int

    def __post_init__(self):
        raise ZeroDivisionError("size")


BAD = {
    "an empty object": ({}, "does not know"),
    "an unknown object": ({"colour": 1}, "{'colour': 1}, which this portable_nn does not know"),
    "an unknown class": ({"class": "Conv", "size": 1}, "'Conv'.* which this portable_nn does not"),
    "a class by number": ({"class": 3}, "does not know"),
    "a class by list": ({"class": ["Dense"]}, "does not know"),
    "an own class by number": ({"own class": 3}, "does not know"),
    "a module's function": ({"class": "mlp"}, "does not know"),
    "an unknown function": ({"function": "print"}, "does not know"),
    "a private function": ({"function": "_fans"}, "does not know"),
    "a function with fields": ({"function": "zeros", "a": 1}, "does not know"),
    "an own function with fields": ({"own function": "f", "a": 1}, "does not know"),
    "an own function without name": ({"own function": None}, "does not know"),
    "another float": ({"float": "1.5"}, "does not know"),
    "a mapping and more": ({"mapping": [], "a": 1}, "does not know"),
    "a mapping of no pairs": ({"mapping": [1]}, "a mapping that is none"),
    "a mapping with one key twice": ({"mapping": [[1, 2], [1, 3]]}, "a mapping that is none"),
    "a mapping from mappings": ({"mapping": [[{"mapping": []}, 3]]}, "a mapping that is none"),
    "a float and more": ({"float": "nan", "a": 1}, "does not know"),
    "a missing field": ({"class": "Dense"}, "Dense cannot be made .*out_features"),
    "a field too many": (
        {"class": "Dense", "out_features": 1, "depth": 2},
        "Dense cannot be made from what the file says: .*depth",
    ),
    "two classes": ({"class": "ReLU", "own class": "Picky"}, "ReLU cannot be made"),
    "a bad value": ({"class": "Dense", "out_features": -1}, "Dense cannot be made .* 1 or more"),
    "self": ({"class": "Dense", "self": 1}, "Dense cannot be made"),
    "a constructor that breaks": ({"own class": "Picky", "size": 1}, "Picky cannot be made.*size"),
    "an array of objects": ({"array": "|O", "values": [1]}, "array of .O, which is not numbers"),
    "an array of nothing": ({"array": "what", "values": [1]}, "array that is none: .*what"),
    "a ragged array": ({"array": "<f8", "values": [1, [2]]}, "array that is none"),
    "an array of other things": ({"array": "<i8", "values": ["a"]}, "array that is none"),
    "an array too small": ({"array": "|i1", "values": [300]}, "array that is none"),
    "an array and more": ({"array": "<i8", "values": [1], "a": 1}, "does not know"),
    "an array of a number": ({"array": "<i8", "values": 1}, "does not know"),
    "bytes": (b"a", "does not know"),
    "a set": ({1}, "does not know"),
    "a tuple": ((1,), "does not know"),
    "deep lists": (_nested(10**5, lambda value: [value]), "nested too deep"),
    "deep objects": (
        _nested(10**4, lambda value: {"class": "ConstantRate", "rate": value}),
        "nested too deep",
    ),
    "deep and unknown": (_nested(10**5, lambda value: {"a": value}), "nested too deep|not know"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_a_file_error(name):
    value, said = BAD[name]
    for given in (value, [0, value]):
        with pytest.raises(FileError, match=said) as caught:
            restore(given, [Picky])
        assert len(str(caught.value)) < 250


WORDS = ["class", "own class", "function", "own function", "float", "rate", "then", "Dense"]
WORDS += ["array", "values", "<i8", "|S2", "<U3", "mapping", "class_weight"]
WORDS += ["Warmup", "zeros", "nan", "Residual", "layers", "learning_rate", "out_features", ""]


def _mutate(value, rng):
    """``value`` with something in it replaced, taken away or renamed."""
    if rng.random() < 0.15:
        others = [None, True, -1, 1e308, [], {}, *WORDS]
        return others[rng.integers(len(others))]
    if isinstance(value, list):
        return [_mutate(item, rng) for item in value if rng.random() < 0.95]
    if isinstance(value, dict):
        word = WORDS[rng.integers(len(WORDS))]
        kept = {name: _mutate(item, rng) for name, item in value.items() if rng.random() < 0.95}
        return kept | ({word: rng.integers(3).item()} if rng.random() < 0.1 else {})
    return value


def test_random_records_are_restored_or_refused():
    rng, good = np.random.default_rng(2), describe([*EXAMPLES, NESTED])
    outcomes = {"restored": 0, "refused": 0}
    for _ in range(150):
        for item in good:
            try:
                found = restore(_mutate(item, rng), CUSTOM)
            except FileError:
                outcomes["refused"] += 1
            else:
                outcomes["restored"] += 1
                assert same(restore(describe(found), CUSTOM), found)
    assert min(outcomes.values()) > 500
