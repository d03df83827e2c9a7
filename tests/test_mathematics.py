"""The scripts of the mathematics tutorial: by hand and by the plan, on every way of running."""

import importlib
import re
import runpy
import sys
from inspect import signature

import array_api_compat.numpy
import fresh
import numpy as np
import pytest
import ways

from portable_nn import Reference

EXAMPLES = fresh.ROOT / "examples"
EXPECTED = {  # by script: how many comparisons it makes, and some of what it prints
    "mathematics_2_forward": (8, ["Z(3) = W(3) A(2) + b(3)", "weight = W.T"]),
    "mathematics_3_activations": (
        8,
        ["relu_backward(grad_relu1, relu1)", "Correction: sigma(z_j) looks like", "[0.2 0.2 0.2"],
    ),
    "mathematics_4_losses": (5, ["mean_squared_error(", "Correction: i is a sample"]),
    "mathematics_5_4_backpropagation": (
        7,
        ["dL/dW(1) = delta(1) A(0)^T", "Correction: A - y is not dL/dA", "Correction: dL/db is"],
    ),
    "mathematics_5_5_gradient_descent": (6, ["Correction: 5.5 names batch", "eta 1/n sum"]),
    "mathematics_5_6_optimizers": (8, ["v_t = beta_2 v_{t-1}", "momentum", "Adam   "]),
    "mathematics_6_mlp": (
        19,
        ["4. Gradient descent to update", "Correction: the text writes one sigma", "test accuracy"],
    ),
}
SCRIPTS = sorted(EXPECTED)


backend = ways.each_library  # these are whole trainings


@pytest.fixture
def load(monkeypatch):
    """A function that loads a script, or what the scripts share, by its name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def run(script, **options):
    """Run a loaded script; two epochs, if it trains."""
    if "epochs" in signature(script.main).parameters:
        options["epochs"] = 2
    script.main(**options)


def differences(printed):
    """How far apart the numbers of each comparison were, as printed."""
    return [
        float(text) for text in re.findall(r"largest difference of \d+ numbers: (\S+)", printed)
    ]


def test_every_script_is_tested_here():
    found = {path.stem for path in EXAMPLES.glob("mathematics_*.py")}
    assert found == set(EXPECTED)


@pytest.mark.parametrize("name", SCRIPTS)
def test_by_hand_and_by_the_plan(name, alone, load, monkeypatch, capsys, tmp_path):
    """On every way, without matplotlib, and without a file written."""
    script, (comparisons, texts) = load(name), EXPECTED[name]
    for module in ("matplotlib", "portable_nn.plotting"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    run(script, backend=alone)
    printed = capsys.readouterr().out
    assert len(differences(printed)) == comparisons
    assert (
        max(differences(printed)) < 1e-13
    )  # float64 rounding of numbers of size 1; 1e-15 is usual
    assert [text for text in texts if text not in printed] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_backend_that_computes_wrong_is_caught(name, load):
    """What scripts compare comes from the backend's own running, not from the trace alone."""

    def slightly_wrong(section):
        return lambda arrays: {key: 1.0000001 * value for key, value in section(arrays).items()}

    wrong = Reference("wrong", array_api_compat.numpy, compile=slightly_wrong)
    with pytest.raises(SystemExit, match="these should agree"):
        run(load(name), backend=wrong)


@pytest.mark.parametrize("name", SCRIPTS)
def test_from_the_command_line(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(EXAMPLES)
    trains = "epochs=" in (EXAMPLES / f"{name}.py").read_text()
    epochs = ["--epochs", "1"] if trains else []
    monkeypatch.setattr(sys, "argv", [name, "--backend", "numpy", *epochs])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert len(differences(capsys.readouterr().out)) == EXPECTED[name][0]


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_picture(name, load, tmp_path, capsys):
    image = pytest.importorskip("matplotlib.image")
    run(load(name), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]
    pixels = image.imread(tmp_path / f"{name}.png")
    assert pixels.shape[1] >= 800
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 20  # not an empty page


# -- the corrections -----------------------------------------------------------------------


def numbers(text):
    """The decimal numbers in a text."""
    return np.array([float(number) for number in re.findall(r"-?\d+\.\d*", text)])


def after(printed, start):
    """The numbers of the one line that begins with this."""
    (rest,) = re.findall(rf"^ *{re.escape(start)}(.*)$", printed, re.MULTILINE)
    return numbers(rest)


def test_the_error_term_of_the_text_is_not_the_gradient(load, capsys):
    run(load("mathematics_5_4_backpropagation"))
    printed = capsys.readouterr().out
    by_output, by_z = (after(printed, f"{what}  finite difference") for what in ("dL/dA", "dL/dZ"))
    for right, slope in {
        "-y / A   ": by_output,
        "A - y, the plan": by_z,
        "-y / A by softmax's matrix": by_z,
    }.items():
        np.testing.assert_allclose(after(printed, right), slope, atol=2e-6)  # printed: 6 digits
    for wrong, slope in {
        "A - y, the text": by_output,
        "(A - y) * sigma'(Z), the text": by_z,
        "-y / A * sigma'(Z)": by_z,
    }.items():
        assert np.abs(after(printed, wrong) - slope).max() > 0.1
    # Central differences with h = 1e-5: h^2 = 1e-10 of the third derivative, 1e-16 / h rounding.
    assert float(re.search(r"within (\S+) of all 21 gradients", printed)[1]) < 1e-9


def test_the_bias_gradient_is_a_sum(load, capsys):
    run(load("mathematics_5_4_backpropagation"))
    _, printed = capsys.readouterr().out.split("Correction: dL/db")
    slope, summed, delta = np.split(numbers(printed), [3, 6])
    np.testing.assert_allclose(summed, slope, atol=2e-6)  # printed to 6 digits
    np.testing.assert_allclose(summed, delta.reshape(3, 4).sum(axis=1), atol=4e-6)


def test_softmax_moves_every_output(load, capsys):
    run(load("mathematics_3_activations"))
    printed = capsys.readouterr().out
    slope = after(printed, "finite difference:")
    np.testing.assert_allclose(after(printed, "column 3"), slope, atol=2e-6)
    assert np.abs(slope).min() > 1e-3
    assert "[nan nan nan nan nan]" in printed


def test_the_last_sigma_is_another_one(load, capsys):
    run(load("mathematics_6_mlp"))
    printed = capsys.readouterr().out
    assert after(printed, "softmax:") == 1.0
    assert abs(after(printed, "sigma of the hidden layers:") - 1.0) > 0.1


# -- what the scripts share ----------------------------------------------------------------


def test_numbers_that_agree_are_printed_side_by_side(load, capsys):
    load("tutorial").side_by_side("a = b", "call()", [0.25, 1.0], [0.25, 1.0 + 1e-13])
    printed = capsys.readouterr().out
    assert "a = b\n  plan:    call()\n  by hand: 0.25 1\n" in printed
    assert differences(printed) == [pytest.approx(1e-13, rel=0.01)]


@pytest.mark.parametrize(
    ("by_hand", "from_plan"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-11]),
        ([1e-9], [-1e-9]),
        ([1e6], [1e6 + 1e-5]),
        ([1.0, np.nan], [1.0, np.nan]),
        ([1.0, 2.0], [1.0, np.nan]),
        ([1.0, 2.0], [1.0, np.inf]),
        ([1.0, np.inf], [1.0, 2.0]),
        ([1.0, np.inf], [1.0, np.inf]),
    ],
)
def test_numbers_that_do_not_agree_end_the_script(by_hand, from_plan, load):
    with pytest.raises(SystemExit, match="these should agree: a = b"):
        load("tutorial").side_by_side("a = b", "call()", by_hand, from_plan)


@pytest.mark.parametrize("from_plan", [1.0, [[1.0, 1.0]], [1.0, 1.0, 1.0]])
def test_shapes_that_do_not_fit_end_the_script(from_plan, load):
    with pytest.raises(SystemExit, match=r"\(2,\) by hand, .* by the plan: a = b"):
        load("tutorial").side_by_side("a = b", "call()", [1.0, 1.0], from_plan)
