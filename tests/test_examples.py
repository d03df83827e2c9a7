"""Every example runs as it stands, and the gallery shows what each of them draws."""

import importlib
import re
import shlex
from pathlib import Path

import fresh
import pytest
import ways

import portable_nn as pnn
from portable_nn.datasets import load_digits

FOLDER = fresh.ROOT / "examples"
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")}
GALLERY = (FOLDER / "README.md").read_text(encoding="utf-8")
BACKENDS = ["numpy", "array_api_strict", "array_api_strict:device1", "torch", "jax", "cupy"]
WAY = {"array_api_strict": "strict-device1"}
"""By library, where the way that needs it has another name."""


def run(name, *options, cwd, **environment):
    """An example as it stands, in a process of its own."""
    script = str(fresh.ROOT / "examples" / name)
    status, out, err = fresh.run(script, *options, cwd=cwd, **environment)
    assert status == 0, err
    return out, err


def shown():
    """By command of the gallery: the files that are linked from there to the next heading."""
    parts = re.split(r"^```sh\n(python .+)\n```$", GALLERY, flags=re.MULTILINE)
    files = [re.findall(r"\]\(([^)]+)\)", text.partition("\n#")[0]) for text in parts[2::2]]
    return dict(zip(parts[1::2], files, strict=True))


SHOWN = shown()


def test_every_script_is_in_the_gallery_and_every_module_has_a_script():
    scripts = {name for name, source in SOURCES.items() if "parse_args" in source}
    scripts |= {name for name, source in SOURCES.items() if "main(**options(" in source}
    used = {shlex.split(command)[1].removeprefix("examples/") for command in SHOWN}
    scripts.discard("tutorial.py")  # which holds the parser that the others share
    assert len(scripts) >= 10
    assert used == scripts
    for name in set(SOURCES) - scripts:
        module = name.removesuffix(".py")
        assert any(f"from {module} import" in source for source in SOURCES.values()), name


def test_every_picture_is_in_the_gallery_once():
    pictures = [path.relative_to(FOLDER).as_posix() for path in (FOLDER / "pictures").iterdir()]
    listed = [name for names in SHOWN.values() for name in names if name.startswith("pictures/")]
    assert sorted(listed) == sorted(pictures)


@pytest.mark.parametrize("command", SHOWN)
def test_the_command_of_the_gallery_draws_what_is_shown(command, tmp_path):
    """Two epochs of it, where it trains."""
    pytest.importorskip("matplotlib")
    python, script, *words = shlex.split(command)
    assert (python, words[-2]) == ("python", "--out")
    name = script.removeprefix("examples/")
    if "epochs" in SOURCES[name]:
        words += ["--epochs", "2"]
    folder = Path(words[words.index("--out") + 1])
    words[words.index("--out") + 1] = str(tmp_path)
    run(name, *words, cwd=tmp_path)
    wanted = {(FOLDER / shown).relative_to(fresh.ROOT / folder) for shown in SHOWN[command]}
    assert {path.relative_to(tmp_path) for path in tmp_path.iterdir()} == wanted


@pytest.mark.parametrize("backend", ways.ONE_EACH, indirect=True)
@pytest.mark.parametrize("name", ["learning_rates", "loss_surface", "parity", "ring"])
def test_scripts_of_no_tutorial_on_every_library(name, alone, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    script = importlib.import_module(name)
    script.main(backend=alone, epochs=2)
    words = {
        "learning_rates": "the loss falls fastest at 0.",
        "loss_surface": "441 networks on 1438 rows",
        "parity": "losses agree to 0.1% in all 30 steps",
        "ring": "450 points",
    }
    assert words[name] in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["strict-device1"], indirect=True)
def test_rents_on_another_library(alone, monkeypatch, capsys):
    """One of them, as its many rows take seconds: what the script says on NumPy."""
    monkeypatch.syspath_prepend(FOLDER)
    script, said = importlib.import_module("rents"), []
    for place in (alone, None):
        script.main(backend=place, epochs=1)
        said.append(capsys.readouterr().out)
        monkeypatch.undo()  # NumPy may start now
    assert re.fullmatch(r"suggested rate 0\.\d+; half of the new rents are within \d+\n", said[0])
    assert said[0] == said[1]


def test_the_losses_of_the_ring_are_those_of_a_fit(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(FOLDER)
    ring = importlib.import_module("ring")
    given = []
    monkeypatch.setattr(
        "portable_nn.plotting.animate_decision_boundary", lambda *a: given.append(a)
    )
    ring.main(out=tmp_path, epochs=3)
    ((_, networks, x, y, losses),) = given
    network = pnn.Network(networks[0].layers)
    adam = pnn.Adam(1e-2)
    options = {"optimizer": adam, "epochs": 3, "batch_size": 32, "progress": False}
    network.fit(x, y, loss="binary_cross_entropy", **options)
    assert losses == pytest.approx(network.history["loss"], rel=1e-6)
    assert len({float(copy.outputs(x[:1])[0, 0]) for copy in networks}) == 3  # each of its epoch


@pytest.fixture(scope="module")
def on_numpy(tmp_path_factory):
    out, _ = run("digits.py", "--epochs", "2", cwd=tmp_path_factory.mktemp("numpy"))
    return out


@pytest.mark.parametrize("name", BACKENDS)
def test_the_same_script_on_every_backend(name, on_numpy, tmp_path):
    """Named on the command line, or in the environment: the score, and the file it writes."""
    library = name.partition(":")[0]
    ways.open_way(WAY.get(library, library))
    saved = ("--save", "digits.safetensors")
    out, err = run("digits.py", "--epochs", "2", "--backend", name, *saved, cwd=tmp_path)
    again, _ = run("digits.py", "--epochs", "2", cwd=tmp_path, PORTABLE_NN_BACKEND=name)
    assert out == again
    assert len(err.splitlines()) == 2, err
    found, wanted = (
        float(re.fullmatch(r"accuracy ([01]\.\d{4}) on 359 test rows\n", text)[1])
        for text in (out, on_numpy)
    )
    assert wanted > 0.5  # two epochs are far from done, and far from the chance of 0.1
    # After 36 steps of float32 a row or two on the edge between classes may have changed sides.
    assert abs(found - wanted) <= 2 / 359
    x, y = load_digits()
    assert pnn.load(tmp_path / "digits.safetensors").score(x, y) == pytest.approx(wanted, abs=0.1)


def test_one_training_on_several_backends_at_once(tmp_path):
    ways.open_way("strict-device1")
    backends = ["--backends", "numpy,array_api_strict,nonsense"]
    out, _ = run("same_training.py", "--epochs", "3", *backends, cwd=tmp_path)
    found = re.findall(r"^(\w+): accuracy ([01]\.\d{4}), weights apart (\S+)$", out, re.MULTILINE)
    assert [name for name, *_ in found] == ["numpy", "array_api_strict"]
    assert 0.0 <= float(found[1][2]) < 1e-13  # rounding of float64; float32 would give 1e-7
    assert "left out: backend 'nonsense'" in out
    assert not list(tmp_path.iterdir())
