"""The "gentle introduction" scripts: this library trains as the text's own algorithm does."""

import ast
import importlib
import re
import sys
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import fresh
import numpy as np
import pytest
import ways

import portable_nn as pnn

EXAMPLES = fresh.ROOT / "examples"
SCRIPTS = {  # by script: comparisons of numbers, of losses; and some of what it says
    "gentle_2_activations": (6, 0, ["sigmoid_backward(grad_sigmoid1, sigmoid1)", "g'(z)"]),
    "gentle_4_5_error_surfaces": (2, 0, ["w_1 = +10, w_2 = -10:  E = 0.999909"]),
    "gentle_6_backpropagation": (16, 0, ["II   delta_k = g'(z_k) E'", "It is dE/da_k"]),
    "gentle_8_12_classification": (0, 6, ["Figure 12: RING, 4 hidden units", "44.4444"]),
    "gentle_13_14_regression": (0, 2, ["Figure 14: ABS, 3 hidden units", "run_ann_simulation"]),
}
PICTURES = {
    "gentle_2_activations": {"gentle_figure_2.png"},
    "gentle_4_5_error_surfaces": {"gentle_figure_4.png", "gentle_figure_5.png"},
    "gentle_6_backpropagation": {"gentle_figure_6.png"},
    "gentle_8_12_classification": {
        *[f"gentle_figure_{number}.gif" for number in range(8, 13)],
        "gentle_figure_12_learns.gif",
    },
    "gentle_13_14_regression": {"gentle_figure_13.gif", "gentle_figure_14.gif"},
}


class Facts(NamedTuple):
    """What the code as printed in the text gives: it was run once, and this written down.

    ``x`` and ``targets`` are sums of k times row k = 0, 1, ... (of the first input), ``first`` of
    k times first parameter k = 1, 2, ..., in the order w_1, w_2, b_1, b_2; then losses.
    """

    rows: int
    x: float
    targets: float
    first: float
    first_loss: float
    last_loss: float


SQUARE_X, SINGLE = 10688.128318035817, -1.6565708203470773
CURVE_X, CURVE = 1363.216080402016, 3.9508792832126955
LITERAL = {
    8: Facts(200, SQUARE_X, 15578.0, SINGLE, 14.317084555437456, 1.7685596588508956),
    9: Facts(200, SQUARE_X, 5831.0, SINGLE, 20.225195202068665, 1.6291105697124508),
    10: Facts(200, SQUARE_X, 9747.0, SINGLE, 58.6881329968227, 50.07703026169976),
    11: Facts(200, SQUARE_X, 9747.0, 24.159335040289086, 57.42534374409716, 1.2071132157021054),
    12: Facts(
        450, 50278.20904408716, 90802.0, -9.331773828660477, 45.72881081473782, 43.36528101887649
    ),
    13: Facts(200, CURVE_X, 48808.03295978203, CURVE, 227.88590237251654, 56.905031719701654),
    14: Facts(200, CURVE_X, 49523.17453611643, CURVE, 335.9138936407665, 64.92641829710541),
}


@pytest.fixture(scope="module")
def load():
    """A function that loads a script, or what the scripts share, by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        yield importlib.import_module


@pytest.fixture(scope="module")
def text(load):
    return load("gentle_text")


@pytest.fixture(scope="module")
def oracle(text):
    """The text's own algorithm, by figure and annealing: a run of all 100 iterations."""
    return cache(lambda number, *annealing: text.train(text.FIGURES[number], 100, *annealing))


@pytest.fixture(scope="module")
def fitted(load, text):
    """This library's fit, by figure and learning rate: a network."""

    def fit(number, rate=None):
        x, targets, theta = text.begin(text.FIGURES[number])
        network = load("gentle_training").network_of(text.FIGURES[number], theta)
        rate = rate or pnn.ExponentialDecay(text.FIGURES[number].learning_rate, 0.95)
        return network.fit(
            x, targets, loss=pnn.HalfSquaredError(), optimizer=pnn.SGD(rate), epochs=100,
            batch_size=1, shuffle=False, backend="numpy", progress=False,
        )  # fmt: skip

    return cache(fit)


def losses(network, rows):
    """The sums of (a - t)^2 of each epoch."""
    return 2 * rows * np.array(network.history["loss"])


def accuracy(network, text, number):
    x, targets, _ = text.begin(text.FIGURES[number])
    return np.mean((network.outputs(x)[:, 0] > 0.5) == targets)


# -- the transcription ---------------------------------------------------------------------


def test_it_knows_nothing_of_this_library():
    tree = ast.parse((EXAMPLES / "gentle_text.py").read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    found = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    found |= {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    assert found == {"itertools", "typing", "numpy"}


@pytest.mark.parametrize("number", LITERAL)
def test_data_and_first_values_are_those_of_the_printed_code(text, number):
    x, targets, theta = text.begin(text.FIGURES[number])
    facts, place = LITERAL[number], np.arange(len(targets))
    first = np.concatenate([theta[k].ravel() for k in ("w_1", "w_2", "b_1", "b_2") if k in theta])
    assert len(x) == len(targets) == facts.rows
    found = [place @ x[:, 0], place @ targets, np.arange(1, first.size + 1) @ first]
    assert found == pytest.approx([facts.x, facts.targets, facts.first], rel=1e-12)


@pytest.mark.parametrize("number", LITERAL)
def test_losses_are_those_of_the_printed_code(oracle, number):
    found, facts = oracle(number).losses, LITERAL[number]
    assert len(found) == 100
    assert found[0] == pytest.approx(facts.first_loss, abs=1e-9)
    # Roundings of another computer may grow in ABS, so its last loss says little elsewhere.
    assert found[-1] == pytest.approx(facts.last_loss, abs=10.0 if number == 14 else 1e-9)


# -- this library beside it ----------------------------------------------------------------


@pytest.mark.parametrize("number", [8, 9, 10, 11, 12, 13])
def test_every_iteration_is_the_texts(load, oracle, fitted, number):
    """Roundings make below 1e-10 in 100 iterations, a factor of 0.951 more than 5e-3."""
    training, run, network = load("gentle_training"), oracle(number), fitted(number)
    np.testing.assert_allclose(
        losses(network, LITERAL[number].rows), run.losses, rtol=0.0, atol=1e-9
    )
    assert training.distance(training.parameters(network), run.states[-1]) < 1e-9


def test_every_update_of_abs_is_the_texts(load, text, oracle):
    """From the text's state before it: else rounding differences, which grow, add up."""
    regression = load("gentle_13_14_regression")
    apart = regression.each_update(text.FIGURES[14], oracle(14), "numpy", 100)
    assert apart < 1e-12


def test_a_rounding_grows_in_abs_and_not_in_sin(load, text, oracle):
    """Two right forms of tanh' are apart by roundings at first, and by more than 0.01 later."""
    regression = load("gentle_13_14_regression")
    found = {}
    for number in (13, 14):
        functions = [regression.OTHER_TANH, text.LINEAR]
        other = text.train(text.FIGURES[number], 20, functions=functions)
        run = text.Run(oracle(number).losses[:20], oracle(number).states[: 20 * 200 + 1])
        found[number] = regression.growth(other.after_iterations(), run)
    assert max(found[13]) < 1e-10
    assert found[14][0] < 1e-9
    assert max(found[14]) > 1e-2


# -- what the text says of its figures -----------------------------------------------------


@pytest.mark.parametrize(("number", "least"), [(8, 0.98), (9, 0.99), (11, 0.98)])
def test_or_and_and_are_learned_and_xor_with_a_hidden_layer(text, fitted, number, least):
    assert accuracy(fitted(number), text, number) >= least
    assert losses(fitted(number), LITERAL[number].rows)[-1] < 2.0


def test_xor_without_a_hidden_layer_is_not_separated(text, fitted):
    assert (
        accuracy(fitted(10), text, 10) <= 0.75
    )  # three of the four corners are the best a line does
    assert losses(fitted(10), 200)[-1] > 50.0


def test_ring_as_printed_hardly_learns(text, fitted):
    targets = text.begin(text.FIGURES[12])[1]
    constant = np.sum((targets - targets.mean()) ** 2)
    assert constant == pytest.approx(400 / 9)
    assert constant - 2.0 < losses(fitted(12), 450)[-1] < constant
    assert accuracy(fitted(12), text, 12) == targets.mean()  # the answer to everything is 1


def test_ring_without_annealing_learns_in_about_40_iterations(text, oracle, fitted):
    found = losses(fitted(12, 2.0), 450)
    # Roundings in 45,000 updates make about 1e-13.
    np.testing.assert_allclose(found, oracle(12, 1.0).losses, rtol=0.0, atol=1e-9)
    assert found[20] > 40.0
    assert found[40] < 20.0
    assert accuracy(fitted(12, 2.0), text, 12) > 0.96


# -- the scripts ---------------------------------------------------------------------------


def run(script, **options):
    """Run a script's ``main``; two epochs, if it trains."""
    trains = "epochs" in script.main.__code__.co_varnames
    script.main(**options, **({"epochs": 2} if trains else {}))


def test_every_script_is_tested_here():
    found = {path.stem for path in EXAMPLES.glob("gentle_*.py")}
    assert found == {*SCRIPTS, "gentle_text", "gentle_training"}
    assert set(PICTURES) == set(SCRIPTS)


@pytest.mark.parametrize("backend", ways.ONE_EACH, indirect=True)
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_on_every_library(name, load, alone, capsys):
    comparisons, trainings, wanted = SCRIPTS[name]
    run(load(name), backend=alone)
    printed = capsys.readouterr().out
    apart = re.findall(r"largest difference of \d+ numbers: (\S+)", printed)
    assert len(apart) == comparisons
    assert all(float(value) < 1e-12 for value in apart)
    apart = re.findall(r"text's algorithm: of a loss (\S+),", printed)
    assert len(apart) == trainings
    if name == "gentle_13_14_regression":
        # Two iterations of ABS make 1e-8 of roundings, and 2 of a rate 0.1 % too high.
        assert float(apart.pop()) < 1e-6
    assert all(float(value) < 1e-9 for value in apart)
    for text in wanted:
        assert text in printed


@pytest.mark.parametrize("name", SCRIPTS)
def test_pictures(name, load, tmp_path):
    pytest.importorskip("matplotlib")
    run(load(name), backend="numpy", out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == PICTURES[name]


def test_one_figure_alone(load, capsys):
    load("gentle_8_12_classification").main(backend="numpy", epochs=2, figure=9)
    assert re.findall(r"^Figure (\d+)", capsys.readouterr().out, re.MULTILINE) == ["9"]


def test_each_frame_has_the_network_of_its_iteration(load, tmp_path, monkeypatch):
    plotting = pytest.importorskip("portable_nn.plotting")
    films = []
    monkeypatch.setattr(plotting, "animate_decision_boundary", lambda *a, **b: films.append(a))
    load("gentle_8_12_classification").main(out=tmp_path, epochs=3, figure=11)
    ((path, networks, *_, losses),) = films
    assert (path, len(losses)) == (tmp_path / "gentle_figure_11.gif", 3)
    weights = [network.parameters["dense1.weight"] for network in networks]
    assert all(abs(a - b).max() > 1e-3 for a, b in pairwise(weights))
