"""Every example runs as it stands."""

import re

import fresh
import pytest
import ways

import portable_nn as pnn
from portable_nn.datasets import load_digits

EXAMPLES = sorted(path.name for path in (fresh.ROOT / "examples").glob("*.py"))
BACKENDS = ["numpy", "array_api_strict", "array_api_strict:device1", "torch", "jax", "cupy"]
WAY = {"array_api_strict": "strict-device1"}
"""By library, where the way that needs it has another name."""


def run(name, *options, cwd, **environment):
    """An example as it stands, in a process of its own."""
    script = str(fresh.ROOT / "examples" / name)
    status, out, err = fresh.run(script, *options, cwd=cwd, **environment)
    assert status == 0, err
    return out, err


def test_every_example_is_run_here():
    assert EXAMPLES == ["digits.py", "same_training.py"]


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
