"""The AND gate: this library's training is the text's, number by number, for all its epochs."""

import importlib
import re
import sys

import fresh
import numpy as np
import pytest
import ways

EPOCHS = 10_000
FIRST = {  # what the text's class begins with, to eight digits
    "W1": [
        [0.04967142, -0.01382643],
        [0.06476885, 0.15230299],
        [-0.02341534, -0.0234137],
        [0.15792128, 0.07674347],
    ],
    "W2": [[-0.04694744, 0.054256, -0.04634177, -0.04657298]],
}
PRINTED = [  # what it prints
    "0.693068", "0.017021", "0.006714", "0.004193", "0.003059",
    "0.002412", "0.001994", "0.001700", "0.001482", "0.001314",
]  # fmt: skip


backend = ways.each_library  # these are whole trainings


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(fresh.ROOT / "examples"), *sys.path])
        yield importlib.import_module("simple_ann")


@pytest.fixture(scope="module")
def both(example):
    """The costs and last values of the text's algorithm, and the trained network."""
    first = example.first_weights()
    costs, values = example.by_columns(example.X, example.Y, *first, EPOCHS)
    x, y = example.X.T, example.Y[0].astype(int)
    return costs, values, example.by_rows(x, y, *first, EPOCHS, "numpy")


def test_the_first_weights_are_the_texts(example):
    for array, wanted in zip(example.first_weights(), FIRST.values(), strict=True):
        np.testing.assert_allclose(array, wanted, rtol=0.0, atol=5e-9)


def test_the_costs_are_those_the_text_prints(both):
    costs, *_ = both
    assert [f"{cost:.6f}" for cost in costs[::1000]] == PRINTED


def test_all_costs_and_all_weights_agree(both):
    costs, values, network = both
    assert len(costs) == len(network.history["loss"]) == EPOCHS
    np.testing.assert_allclose(network.history["loss"], costs, rtol=0.0, atol=1e-9)
    for (name, found), wanted in zip(network.parameters.items(), values, strict=True):
        wanted = wanted.T if name.endswith("weight") else wanted[:, 0]
        np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-9, err_msg=name)


def test_the_gate_is_learned(example, both):
    *_, network = both
    assert network.predict(example.X.T).tolist() == [0, 0, 0, 1]
    assert network.score(example.X.T, example.Y[0].astype(int)) == 1.0


def test_neither_clip_of_the_text_acts(example, both, monkeypatch):
    costs, values, _ = both
    monkeypatch.setattr(example.np, "clip", lambda array, low, high: array)
    bare, others = example.by_columns(example.X, example.Y, *example.first_weights(), EPOCHS)
    assert bare == costs
    for array, other in zip(values, others, strict=True):
        np.testing.assert_array_equal(array, other)


def test_the_third_hidden_unit_never_learns(example, both):
    *_, network = both
    first, _ = example.first_weights()
    moved = np.abs(network.parameters["dense1.weight"] - first.T).max(axis=0)
    assert moved[2] == 0.0
    assert (np.delete(moved, 2) > 0.01).all()


@pytest.mark.parametrize("epochs", [2, 2000])
def test_what_it_prints(example, capsys, epochs):
    example.main(backend="numpy", epochs=epochs)
    out = capsys.readouterr().out
    costs = re.findall(r"^ +(\d+) +(\S+) +(\S+)$", out, re.MULTILINE)
    assert costs == [
        (str(1000 * k), cost, cost) for k, cost in enumerate(PRINTED[: -(-epochs // 1000)])
    ]
    assert f"largest difference over {epochs} epochs: " in out
    assert f"\nPredictions: [[0 0 0 {epochs // 2000}]]\n" in out
    for shapes in [
        "X (2, 4) +x (4, 2)",
        "W1 (4, 2) +dense1.weight (2, 4)",
        "b1 (4, 1) +dense1.bias (4,)",
    ]:
        assert re.search(re.sub(r"([()])", r"\\\1", shapes), out)
    assert "Hidden units that never learned: [3]." in out


def test_the_two_layouts_are_transposes(example, capsys):
    """Every number printed on the left is printed on the right, in the other order."""
    example.main(backend="numpy", epochs=50)
    part = capsys.readouterr().out.split("(trained numbers):")[1].split("One forward")[0]
    for block in part.strip().split("\n\n"):
        _, *lines = block.splitlines()
        left, right = (
            [[float(n) for n in re.findall(r"-?\d+\.\d*", row)] for row in column]
            for column in ([line[:40] for line in lines], [line[40:] for line in lines])
        )
        left, right = (np.array([row for row in rows if row]) for rows in (left, right))
        np.testing.assert_array_equal(left, right.reshape(left.T.shape).T)


def test_the_forward_pass_adds_up(example, capsys):
    example.main(backend="numpy", epochs=3000)
    text = capsys.readouterr().out.split("One forward pass, of x = (1, 1):")[1]
    w1, w2, b, z = map(
        float, re.search(r"z = (\S+) x1 \+ (\S+) x2 \+ \((\S+)\) = (\S+)\n", text).groups()
    )
    assert z == pytest.approx(w1 + w2 + b, abs=2e-3)  # printed to three digits
    score, p = map(float, re.search(r"z = (\S+), p = .* = (\S+), so the class is 1", text).groups())
    assert p == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-4)
    assert p > 0.99


def test_the_script_on_every_backend(alone, example, capsys):
    example.main(backend=alone, epochs=2)
    apart = re.search(r"over 2 epochs: (\S+)", capsys.readouterr().out)[1]
    assert float(apart) < 1e-15


def test_costs_that_disagree_end_the_script(example, monkeypatch):
    monkeypatch.setattr(example, "APART", -1.0)
    with pytest.raises(SystemExit, match="the costs should agree"):
        example.main(backend="numpy", epochs=2)


@pytest.mark.parametrize("epochs", [2, 500])
def test_the_picture(example, tmp_path, epochs):
    pytest.importorskip("matplotlib")
    example.main(backend="numpy", out=tmp_path, epochs=epochs)
    assert [path.name for path in tmp_path.iterdir()] == ["simple_ann.png"]
    from matplotlib.image import imread

    height, width, _ = imread(tmp_path / "simple_ann.png").shape
    assert (height, width) == (420, 1000)
