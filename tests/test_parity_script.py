"""A training script, run as it is on a backend that is looked on at."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

import portable_nn as pnn
import portable_nn_numpy.lowering as lowering
from portable_nn import kernels, parity
from portable_nn.backend import get_backend, only
from portable_nn.cli import main

TRAIN = """
import sys
import portable_nn as pnn
from portable_nn.datasets import load_digits

x, y = load_digits()
network = pnn.Network([pnn.Dense(16), pnn.ReLU(), pnn.Dropout(0.2), pnn.Dense(10)])
network.fit(x, y, loss="cross_entropy", epochs=int(sys.argv[1]), backend="auto", batch_size=64,
            validation=(x[:200], y[:200]), progress=False)
print("score", network.score(x, y))
"""
OPEN = """
import portable_nn as pnn
from portable_nn.datasets import load_digits

x, y = load_digits()
for dtype in ("float32", "float64"):
    network = pnn.Network([pnn.Dense(8), pnn.Tanh(), pnn.Dense(10)], dtype=dtype)
    step = network.start(loss="cross_entropy", optimizer=pnn.SGD(0.1), batch_size=512)
    for batch in step.batches(x, y, epoch=0):
        step.gradient(batch)
        step.write("grad_dense1.bias", step.read("grad_dense1.bias") * 0.5)
        step.update()
    network.predict(x)
"""


@pytest.fixture
def script(tmp_path):
    def write(text, name="train.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax", "jax-jit"], indirect=True)
def test_a_script_trains_where_it_is_told(script, backend, capsys):
    report = parity.check_script(script(TRAIN), ["30"], backend=backend, steps=40)
    assert report.ok, report.verdict
    assert (report.backend, report.dtype, report.steps) == (backend.name, "float32", 40)
    assert bool(report.watched) != bool(report.opaque)
    assert capsys.readouterr().out == ""  # it was stopped long before its end


def test_a_script_that_ends_before(script, capsys):
    report = parity.check_script(script(TRAIN), ["1"], backend="numpy", trajectory=True)
    assert report.ok, report.verdict
    assert report.steps == len(report.trajectory.loss) == 29
    assert report.watched == [1, 2, 5, 10, 20, 29]
    assert capsys.readouterr().out.startswith("score 0.")


def test_an_open_loop_and_two_networks(script):
    report = parity.check_script(script(OPEN), backend="numpy", trajectory=True)
    assert report.ok, report.verdict
    assert report.steps == 8
    assert report.watched == [1, 2, 4, 5, 6, 8]  # each training from its own first step on
    assert report.note == "Its 2 trainings have one count of steps."
    assert {one.check for one in report.worst} == {"kernel", "data flow", "step"}


def test_a_fault_in_a_script(script, monkeypatch):
    def wrong(new, grad, out):
        return [(lambda: out.fill(0.0), ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.linear_grad_bias, wrong)
    report = parity.check_script(script(TRAIN), ["1"], backend="numpy", steps=3)
    assert "step 1, grad_dense2.bias, which linear_grad_bias computes" in report.verdict
    assert "all its numbers are 0" in report.verdict


def test_a_script_that_fails_after_a_fault_was_found(script, monkeypatch):
    def negated(new, x, grad, out):
        return [(lambda: np.dot(-x.T, grad, out), ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.linear_grad_weight, negated)
    path = script(TRAIN + "assert network.score(x, y) > 0.99\n")
    report = parity.check_script(path, ["1"], backend="numpy")
    assert "step 1, grad_dense2.weight, which linear_grad_weight" in report.verdict
    assert report.verdict.endswith("train.py failed in line 11 with AssertionError.")


def test_the_first_of_two_trainings_is_followed(script):
    text = "EPOCHS = 1\n" + TRAIN.replace("int(sys.argv[1])", "EPOCHS")
    again = "network.fit(x, y, loss='cross_entropy', epochs=1, batch_size=64, progress=False)\n"
    report = parity.check_script(script(text + again), backend="numpy", steps=40, trajectory=True)
    assert report.ok, report.verdict
    assert report.compared == [*range(1, 41)]
    assert len(report.trajectory.loss) == 29
    assert report.trajectory.ended == "another training has begun"
    assert report.note.startswith(
        f"{script(text + again)} was stopped after update 40. Its 2 train"
    )


def test_each_script_has_its_own_neighbours(script, tmp_path):
    for folder, activation in {"one": "relu", "two": "tanh"}.items():
        (tmp_path / folder).mkdir()
        script(f"ACTIVATION = {activation!r}\n", f"{folder}/its_activation.py")
        text = TRAIN.replace("import sys\n", "import sys\nfrom its_activation import ACTIVATION\n")
        layers = "pnn.mlp([16], outputs=10, activation=ACTIVATION)"
        path = script(
            text.replace("[pnn.Dense(16), pnn.ReLU(), pnn.Dropout(0.2), pnn.Dense(10)]", layers),
            f"{folder}/train.py",
        )
        report = parity.check_script(path, ["1"], backend="numpy", steps=2)
        assert activation in {one.kernel for one in report.worst}


def test_a_script_finds_its_neighbours_and_leaves_no_trace(script):
    script("EPOCHS = 1\n", "its_settings.py")
    text = TRAIN.replace("import sys", "from its_settings import EPOCHS")
    before = list(sys.argv), list(sys.path)
    path = script(text.replace("int(sys.argv[1])", "EPOCHS"))
    assert parity.check_script(path, steps=2).ok
    assert (sys.argv, sys.path) == before
    assert get_backend() is get_backend("numpy")


def test_a_script_of_torch_arrays(script):
    pytest.importorskip("torch")
    text = TRAIN.replace(
        "x, y = load_digits()", "import torch; x, y = map(torch.asarray, load_digits())"
    )
    report = parity.check_script(script(text.replace(', backend="auto"', "")), ["1"], steps=3)
    assert (report.ok, report.backend) == (True, "numpy")


def test_only_one_backend_as_long_as_it_lasts():
    one = pnn.Reference("mine", get_backend("numpy").xp)
    with only(one):
        assert get_backend() is get_backend("torch") is get_backend("no such") is one
        two = pnn.Reference("other", get_backend("numpy").xp)
        with only(two), only(one):
            assert get_backend() is one
        assert get_backend() is one
    assert get_backend("numpy").name == "numpy"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("1 / 0", pnn.NetworkError, "train.py failed in line 1 with ZeroDivisionError: division"),
        ("import sys; sys.exit(3)", pnn.NetworkError, "train.py ended with 3"),
        ("import sys; sys.exit()", pnn.DataError, "has trained no network of portable_nn"),
        ("x = 1", pnn.DataError, "has trained no network of portable_nn"),
    ],
)
def test_scripts_that_show_nothing(script, text, error, words):
    with pytest.raises(error, match=words):
        parity.check_script(script(text))


def test_a_script_that_is_not_there():
    with pytest.raises(pnn.DataError, match=r"there is no script 'nowhere\.py'"):
        parity.check_script("nowhere.py")


# -- from the shell --------------------------------------------------------------------------


def test_from_the_shell(script, capsys):
    path = script(TRAIN)
    options = ["--steps", "12", "--backends", "numpy:float32", "--reference", "numpy:float64"]
    assert main(["parity", "--script", path, *options, "--", "1"]) == 0
    out, err = capsys.readouterr()
    assert re.match(r"numpy float32: \d\d,\d\d\d numbers of 2 exact training steps", out)
    assert "of 12 steps" in out
    assert "Beside the formulas: losses agree to 0.1% in all 12 steps." in out
    assert "score" not in out
    assert (
        main(["parity", "--script", path, "--quiet", "--json", "--no-trajectory", "--", "1"]) == 0
    )
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert (found["steps"], found["trajectory"], found["exact"]) == (29, None, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--script", "nowhere.py"], "argument --script: there is no script 'nowhere.py'."),
        (["--script", "TRAIN"], "failed in line 8 with IndexError: list index out of range"),
        (["--script", "TRAIN", "--backends", "numpy:float64", "--", "1"], "trains in float32"),
        (["--script", "TRAIN", "--hidden", "3"], "--hidden: not allowed with argument --script"),
        (["--script", "TRAIN", "--batch-size", "3"], "--batch-size: not allowed with argument"),
        (["--", "1"], "argument --script: is needed for arguments of a script"),
        (["--reference", "numpy"], "takes a backend and a dtype, numpy:float64 say; got 'numpy'"),
    ],
)
def test_wrong_calls(script, options, words, capsys):
    path = script(TRAIN)
    options = [path if one == "TRAIN" else one for one in options]
    with pytest.raises(SystemExit) as stop:
        main(["parity", "--steps", "2", *options])
    assert stop.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_reference_that_is_not_there(capsys):
    assert main(["parity", "--reference", "nowhere:float64", "--steps", "1"]) == 2
    assert "backend 'nowhere' is not installed" in capsys.readouterr().err


def test_the_status_is_that_of_both_checks(capsys, monkeypatch):
    options = ["parity", "--steps", "2", "--quiet", "--no-trajectory", "--activation", "tanh"]
    assert main(options) == 0
    with monkeypatch.context() as patch:  # no exact network has a tanh
        patch.setitem(lowering.LOWERINGS, kernels.tanh, lambda new, z, out: [(np.sin, (z, out))])
        assert main(options) == 1
    unequal = replace(parity.exact_network("numpy"), equal=False)
    monkeypatch.setattr("portable_nn.parity.commands.exact_network", lambda *given: unequal)
    assert main(options) == 1


def test_a_kernel_that_is_wrong_at_the_edge_only(capsys, monkeypatch):
    def clipped(new, z, targets, weight, scale, loss, grad):
        def run():
            values = kernels.cross_entropy.meaning(np, z, targets, weight, scale)
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            mine = np.take_along_axis(p, targets, axis=1)
            np.copyto(loss, -np.sum(np.log(np.maximum(mine, 1e-7)) * weight) * scale)
            np.copyto(grad, values[1])

        return [(run, ())]

    monkeypatch.setitem(lowering.LOWERINGS, kernels.cross_entropy, clipped)
    options = ["parity", "--steps", "2", "--quiet", "--no-trajectory"]
    assert main([*options, "--no-edges"]) == 0
    capsys.readouterr()
    assert main(options) == 1
    out, _ = capsys.readouterr()
    assert "numpy float32 is not equal: edge: large numbers" in out
    assert main([*options, "--json"]) == 1
    (verdict,) = json.loads(capsys.readouterr().out)["edges"]
    assert "which cross_entropy computes" in verdict


def test_several_backends_end_in_one_line(capsys):
    options = ["--steps", "2", "--quiet", "--no-trajectory"]
    assert main(["parity", "--backends", "numpy,numpy:float64", *options]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[-1] == "numpy float32 is equal, numpy float64 is equal."


def test_the_environment_names_what_is_checked(capsys, monkeypatch):
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "numpy:float64")
    assert main(["parity", "--steps", "2", "--quiet", "--no-trajectory"]) == 0
    assert capsys.readouterr().out.startswith("numpy float64: ")
    assert main(["fingerprint", "numpy:float64"]) == 0
    assert "The float64 arithmetic of numpy on cpu" in capsys.readouterr().out
