"""``portable-nn``: what it prints and where, and its exit status."""

import csv
import re
import signal
import sys
from pathlib import Path

import fresh
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.backend import LIBRARIES, open_backend
from portable_nn.cli import main
from portable_nn.datasets import load_digits, split

REPORT = re.compile(
    r"digits: 1797 rows, 64 inputs, 10 classes\n"
    r"test accuracy (?P<accuracy>[01]\.\d{4}) on (?P<test_rows>\d+) rows not trained on\n"
    r"trained (?P<epochs>\d+) epochs on (?P<rows>\d+) rows in (?P<seconds>\d+\.\d\d) s "
    r"\(backend (?P<backend>.+), device (?P<device>.+), dtype (?P<dtype>.+)\)\n"
)
SCRIPT = "import sys; from portable_nn.cli import main; sys.exit(main())"  # what pip writes


@pytest.fixture(autouse=True)
def no_backend_from_outside(monkeypatch):
    monkeypatch.delenv("PORTABLE_NN_BACKEND", raising=False)


@pytest.fixture
def train(capsys):
    """Train on digits with these options; the report as a dictionary."""

    def run(*options):
        assert main(["train", "digits", *options]) == 0
        return REPORT.fullmatch(capsys.readouterr().out).groupdict()

    return run


def test_the_default_settings_reach_97_percent(train):
    reports = [train("--quiet", "--seed", str(seed)) for seed in range(10)]
    accuracies = [float(report["accuracy"]) for report in reports]
    assert sum(accuracies) / len(accuracies) >= 0.97, accuracies


def test_the_report_says_rows_backend_device_dtype_and_seconds(train):
    report = train("--epochs", "1")
    assert 0.5 < float(report.pop("accuracy")) <= 1.0
    assert 0.0 < float(report.pop("seconds")) < 60.0
    assert report == {
        "test_rows": "359",
        "rows": "1438",
        "epochs": "1",
        "backend": "numpy",
        "device": "cpu",
        "dtype": "float32",
    }


def test_every_option_reaches_the_training(train):
    report = train(
        "--hidden", "16,8", "--epochs", "2", "--batch-size", "100", "--learning-rate", "0.02",
        "--seed", "3", "--backend", "array_api_strict", "--dtype", "float64", "--quiet",
    )  # fmt: skip
    x, y, x_test, y_test = split(*load_digits(), seed=3)
    network = pnn.Network(pnn.mlp([16, 8], outputs=10), "float64")
    network.fit(
        x, y, loss="cross_entropy", optimizer=pnn.Adam(0.02), epochs=2, batch_size=100, seed=3,
        backend="array_api_strict", progress=False,
    )  # fmt: skip
    assert report["accuracy"] == f"{network.score(x_test, y_test):.4f}"
    assert (report["backend"], report["dtype"]) == ("array_api_strict", "float64")


def test_no_hidden_layer_is_a_perceptron(train):
    x, y, x_test, y_test = split(*load_digits(), seed=0)
    network = pnn.Network([pnn.Dense(10)])
    network.fit(x, y, loss="cross_entropy", epochs=3, progress=False)
    report = train("--hidden=", "--epochs", "3", "--quiet")
    assert report["accuracy"] == f"{network.score(x_test, y_test):.4f}"


def test_progress_goes_to_standard_error(capsys):
    main(["train", "digits", "--epochs", "3"])
    captured = capsys.readouterr()
    assert REPORT.fullmatch(captured.out)
    lines = captured.err.splitlines()
    assert [line.split("loss")[0].strip() for line in lines] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]


def test_quiet_says_nothing_on_standard_error(capsys):
    main(["train", "digits", "--epochs", "1", "--quiet"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["fly"], "'fly'"),
        (["train"], "required: data"),
        (["train", "letters"], "digits, a .csv file or an .npz file; got 'letters'"),
        (["train", "digits", "--target", "digit"], "--target: goes with a .csv file"),
        (["train", "digits", "--task", "guess"], "'guess'"),
        (["train", "digits", "--out", "no/such/folder/model"], "--out: cannot write"),
        (["train", "digits", "--out", "."], "--out: cannot write"),
        (["train", "--config", "nosuch.toml"], "--config: nosuch.toml"),
        (["predict", "model.safetensors"], "data"),
        (["plan"], "model"),
        (["plan", "model", "--mode", "fly"], "'fly'"),
        (["train", "digits", "--speed", "9"], "--speed"),
        (["train", "digits", "--epochs", "0"], "1 or more; got '0'"),
        (["train", "digits", "--batch-size", "half"], "1 or more; got 'half'"),
        (["train", "digits", "--seed=-1"], "0 or more; got '-1'"),
        (["train", "digits", "--learning-rate", "nan"], "above 0; got 'nan'"),
        (["train", "digits", "--learning-rate", "inf"], "above 0; got 'inf'"),
        (["train", "digits", "--hidden", "64,0"], "got '64,0'"),
        (["train", "digits", "--hidden", "64,"], "got '64,'"),
        (["train", "digits", "--dtype", "float16"], "'float16'"),
    ],
)
def test_wrong_usage_is_status_2_before_any_work(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("usage: portable-nn ")
    assert said in captured.err.splitlines()[-1]


def assert_one_line(capsys, said):
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("portable-nn: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err


@pytest.mark.parametrize("backend", ["nosuch", "os", "numpy:gpu", "array_api_strict:nosuch"])
def test_a_missing_backend_is_status_2_and_one_line_that_names_it(backend, capsys):
    assert main(["train", "digits", "--backend", backend]) == 2
    assert_one_line(capsys, backend.split(":")[-1])


def test_cupy_without_cupy_is_status_2_and_one_line_that_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # which is how importing it fails
    open_backend.cache_clear()
    assert main(["train", "digits", "--backend", "cupy"]) == 2
    assert_one_line(capsys, "CuPy, which is not installed. Install it with: pip install 'cupy-cuda")
    open_backend.cache_clear()


def test_the_backend_comes_from_the_environment_unless_given(train, capsys, monkeypatch):
    monkeypatch.setenv("PORTABLE_NN_BACKEND", "nosuch")
    assert main(["train", "digits"]) == 2
    assert_one_line(capsys, "nosuch")
    report = train("--epochs", "1", "--backend", "array_api_strict")
    assert report["backend"] == "array_api_strict"


@pytest.mark.parametrize("backend", ["numpy", "array_api_strict"])
def test_a_training_that_fails_is_status_1_and_one_line_that_says_where(backend, capsys):
    arguments = ["--learning-rate", "1e30", "--quiet", "--backend", backend]
    assert main(["train", "digits", *arguments]) == 1
    assert_one_line(capsys, "epoch 1, step 2")


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"portable-nn {pnn.__version__}\n"


def test_the_command_in_a_process_of_its_own(tmp_path):
    status, out, err = fresh.run("-c", SCRIPT, "train", "digits", "--epochs", "1", cwd=tmp_path)
    assert (status, len(err.splitlines())) == (0, 1), err
    assert REPORT.fullmatch(out)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_status_130_without_a_traceback():
    with fresh.start("-c", SCRIPT, "train", "digits", "--epochs", "100000") as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert first.startswith("epoch ")
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "portable-nn: interrupted"
    assert "Traceback" not in err


# -- data of one's own -------------------------------------------------------------------------

GENERATOR = np.random.default_rng(5)
N = 240
AGE, INCOME = GENERATOR.uniform(18, 80, N), GENERATOR.lognormal(10.0, 0.5, N)
CITY = GENERATOR.choice(["Bonn", "Rome, Italy", "Oslo"], N)
KIND = np.where(CITY == "Oslo", "north", np.where(AGE > 50, "old", "young"))
PRICE = 1e5 + 2e3 * AGE + 3.0 * INCOME + 5e4 * (CITY == "Bonn")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with files as people have them."""
    monkeypatch.chdir(tmp_path)
    columns = {"age": AGE, "income": INCOME, "city": CITY, "kind": KIND, "price": PRICE}
    write_csv("people.csv", columns)
    np.savez("clouds.npz", x=np.stack([AGE, INCOME], axis=1), y=(AGE > 50).astype(int))
    np.savez("prices.npz", x=np.stack([AGE, INCOME], axis=1), y=np.stack([PRICE, -PRICE], 1))
    return tmp_path


def write_csv(path, columns):
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_column(text):
    header, *rows = csv.reader(text.splitlines())
    assert header == ["prediction"]
    return [row[0] for row in rows]


def test_a_csv_file_of_classes_there_and_back(folder, capsys):
    options = ["--target", "kind", "--epochs", "60", "--quiet", "--out", "kinds.safetensors"]
    assert main(["train", "people.csv", *options]) == 0
    first, score, _, saved = capsys.readouterr().out.splitlines()
    # Age, income, price, and a column for each of three cities.
    assert first == "people.csv: 240 rows, 6 inputs, 3 classes"
    assert float(re.match(r"test accuracy (\S+) on 48 rows", score)[1]) > 0.85
    assert saved == "saved kinds.safetensors"
    write_csv("new.csv", {"city": CITY, "price": PRICE, "age": AGE, "x": AGE, "income": INCOME})
    assert main(["predict", "kinds.safetensors", "new.csv"]) == 0
    found = read_column(capsys.readouterr().out)
    assert np.mean(np.array(found) == KIND) > 0.9
    write_csv("new.csv", {"city": ["Paris"], "price": [1e5], "age": [20], "income": [3e4]})
    assert main(["predict", "kinds.safetensors", "new.csv"]) == 1
    assert_one_line(capsys, "new.csv, line 2: column 'city' is 'Paris'; known from the training")
    write_csv("new.csv", {"city": ["Oslo"], "prise": [1e5], "age": [20], "income": [3e4]})
    assert main(["predict", "kinds.safetensors", "new.csv"]) == 1
    assert_one_line(capsys, "new.csv has no column 'price' (did you mean 'prise'?)")


def test_a_csv_file_of_numbers_is_predicted_in_its_units(folder, capsys):
    options = ["--target", "price", "--epochs", "60", "--hidden", "16", "--quiet", "--out", "m.st"]
    assert main(["train", "people.csv", *options]) == 0
    first, score, *_ = capsys.readouterr().out.splitlines()
    # Age, income, three cities, three kinds.
    assert first == "people.csv: 240 rows, 8 inputs, numbers to predict"
    found = re.match(r"test R2 (\S+), root mean squared error (\S+) on 48 rows", score)
    assert float(found[1]) > 0.9
    assert 1e2 < float(found[2]) < 0.3 * PRICE.std()
    assert main(["predict", "m.st", "people.csv"]) == 0
    predictions = np.array([float(cell) for cell in read_column(capsys.readouterr().out)])
    assert np.corrcoef(predictions, PRICE)[0, 1] > 0.95
    assert np.abs(predictions - PRICE).mean() < 0.3 * PRICE.std()


def test_whole_numbers_are_what_task_says(folder, capsys):
    write_csv("ages.csv", {"age": AGE, "tens": AGE.astype(int) // 10})
    options = ["--target", "tens", "--epochs", "1", "--quiet"]
    for task, said in [("auto", "7 classes"), ("classify", "7 classes"), ("regress", "numbers")]:
        assert main(["train", "ages.csv", *options, "--task", task]) == 0
        assert said in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("path", "said", "shape"),
    [("clouds.npz", "2 classes", 1), ("prices.npz", "numbers to predict", 2)],
)
def test_an_npz_file_there_and_back(path, said, shape, folder, capsys):
    options = ["--epochs", "40", "--quiet", "--out", "m.safetensors", "--dtype", "float64"]
    assert main(["train", path, *options]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: 240 rows, 2 inputs, {said}\n")
    assert main(["predict", "m.safetensors", path]) == 0
    header, *rows = csv.reader(capsys.readouterr().out.splitlines())
    assert header == (["prediction"] if shape == 1 else ["prediction1", "prediction2"])
    assert len(rows) == N
    network = pnn.load("m.safetensors")
    expected = network.predict(np.load(path)["x"]).reshape(N, shape)
    np.testing.assert_array_equal(np.array(rows).astype(expected.dtype), expected)


def test_a_network_without_columns_takes_a_table_of_numbers(folder, capsys):
    assert main(["train", "digits", "--epochs", "1", "--quiet", "--out", "d.safetensors"]) == 0
    x, y = load_digits()
    write_csv("pixels.csv", {f"pixel{k}": x[:, k] for k in range(64)})
    capsys.readouterr()
    assert main(["predict", "d.safetensors", "pixels.csv"]) == 0
    found = [int(cell) for cell in read_column(capsys.readouterr().out)]
    assert np.mean(np.array(found) == y) > 0.5
    assert main(["predict", "d.safetensors", "people.csv"]) == 1
    assert_one_line(capsys, "the network takes (n, 64)")


def test_a_rare_class_is_in_the_training_rows(folder, capsys):
    rare = np.where(np.arange(N) < 5, "rare", KIND)
    rare[5] = "single"
    write_csv("rare.csv", {"age": AGE, "kind": rare})
    for seed in range(8):
        arguments = ["--target", "kind", "--epochs", "1", "--quiet", "--seed", str(seed)]
        assert main(["train", "rare.csv", *arguments]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["train", "nosuch.csv", "--target", "a"], 2, "nosuch.csv"),
        (["train", "nosuch.npz"], 2, "nosuch.npz"),
        (["predict", "nosuch.safetensors", "people.csv"], 2, "nosuch.safetensors"),
        (["plan", "nosuch.safetensors"], 2, "nosuch.safetensors"),
        (["plan", "people.csv"], 1, "people.csv is not a safetensors file"),
        (["predict", "people.csv", "people.csv"], 1, "people.csv is not a safetensors file"),
        (["train", "people.csv", "--target", "knid"], 1, "did you mean 'kind'?"),
        (["train", "empty.csv", "--target", "a"], 1, "empty.csv"),
        (["train", "empty.npz"], 1, "empty.npz"),
        (["train", "broken.csv", "--target", "a"], 1, "broken.csv, line 3 has 1 cells"),
        (["train", "one.csv", "--target", "b"], 1, "one class only, 'x'"),
        (
            ["train", "people.csv", "--target", "price", "--task", "classify"],
            1,
            "classes are text or whole",
        ),
        (["train", "people.csv", "--target", "kind", "--task", "regress"], 1, "numbers as y"),
    ],
)
def test_a_file_that_will_not_do(arguments, status, said, folder, capsys):
    for name, text in {
        "empty.csv": "", "empty.npz": "", "broken.csv": "a,b\n1,2\n3\n",
        "one.csv": "a,b\n" + "1,x\n2,x\n" * 9,
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    assert main([*arguments, *(["--quiet"] if arguments[0] == "train" else [])]) == status
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert captured.err.startswith("portable-nn: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "people.csv"], "--target: is needed, one of age, income, city, kind, price"),
        (["predict", "m.safetensors", "people.txt"], "got 'people.txt'"),
    ],
)
def test_what_is_asked_of_files_must_make_sense(arguments, said, folder, capsys):
    pnn.Network([pnn.Dense(2)]).fit(
        np.eye(4), [0, 1, 0, 1], loss="cross_entropy", epochs=1, progress=False
    ).save("m.safetensors")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


# -- settings in a file ------------------------------------------------------------------------


def test_settings_come_from_a_file_and_the_command_line_wins(folder, capsys):
    (folder / "settings.toml").write_text(
        'data = "people.csv"\ntarget = "kind"\nhidden = [8, 4]\nepochs = 2\nquiet = true\n'
        'learning-rate = 0.02\nseed = 3\nout = "one.safetensors"\n'
    )
    assert main(["train", "--config", "settings.toml"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("people.csv: 240 rows")
    assert "trained 2 epochs" in captured.out
    assert captured.err == ""
    written = ["--hidden", "8,4", "--epochs", "2", "--learning-rate", "0.02", "--seed", "3"]
    options = [*written, "--quiet", "--target", "kind", "--out", "two.safetensors"]
    assert main(["train", "people.csv", *options]) == 0
    one, two = (pnn.load(f"{name}.safetensors").parameters for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert [one[name].tobytes() for name in one] == [two[name].tobytes() for name in two]
    capsys.readouterr()
    assert (
        main(["train", "--epochs", "1", "--config", "settings.toml", "--hidden=", "people.csv"])
        == 0
    )
    assert "trained 1 epochs" in capsys.readouterr().out
    assert len(pnn.load("one.safetensors").layers) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "has a setting 'epoch'; did you mean 'epochs'?"),
        ("batch_size = 3", "has a setting 'batch_size'; did you mean 'batch-size'?"),
        ("xyz = 3", "has a setting 'xyz'; there are data, target, task, hidden"),
        ('config = "other.toml"', "has a setting 'config'"),
        ("epochs = 'many'", "1 or more; got 'many'"),
        ("epochs = 0", "1 or more; got '0'"),
        ("epochs = true", "1 or more; got 'True'"),
        ("hidden = [8, 'x']", "got '8,x'"),
        ("quiet = 'yes'", "quiet is true or false; got 'yes'"),
        ("dtype = 'float16'", "'float16'"),
        ("epochs = ", "settings.toml: Invalid value"),
        ("[train]\nepochs = 3", "has a setting 'train'"),
    ],
)
def test_a_wrong_setting_is_status_2(text, said, folder, capsys):
    (folder / "settings.toml").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "digits", "--config", "settings.toml"])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


# -- the other commands ------------------------------------------------------------------------


def test_backends_says_what_is_usable_and_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    open_backend.cache_clear()
    assert main(["backends"]) == 0
    open_backend.cache_clear()
    *rows, last = capsys.readouterr().out.splitlines()
    said = {row.split()[0]: row for row in rows}
    assert set(said) >= {"numpy", "cupy", *LIBRARIES}
    assert re.fullmatch(r"numpy +usable, on cpu", said["numpy"])
    assert re.match(r"cupy +not usable: .*pip install 'cupy-cuda13x\[ctk\]'", said["cupy"])
    assert last == "backend='auto' is numpy here"
    for name, install in LIBRARIES.items():
        usable = f"{name} +usable, on "
        assert re.match(usable, said[name]) or install in said[name]


def test_plan_prints_the_plan_of_a_file(folder, capsys):
    network = pnn.Network(pnn.mlp([4], outputs=2))
    network.fit(np.eye(4), list("abab"), loss="cross_entropy", optimizer=pnn.SGD(0.5, 0.9),
                epochs=1, progress=False)  # fmt: skip
    network.save("m.safetensors")
    for options, mode in [([], "train"), (["--mode", "predict"], "predict")]:
        assert main(["plan", "m.safetensors", *options]) == 0
        assert capsys.readouterr().out == f"{network.plan(mode=mode)}\n"


def test_a_model_of_the_command_line_is_a_network_with_its_columns(folder, capsys):
    arguments = ["--target", "kind", "--epochs", "1", "--quiet", "--out", "m.safetensors"]
    assert main(["train", "people.csv", *arguments]) == 0
    network = pnn.load("m.safetensors")
    cities = ("city=Bonn", "city=Oslo", "city=Rome, Italy")
    assert network.columns.names == ("age", "income", *cities, "price")
    assert network.classes.tolist() == ["north", "old", "young"]


def test_a_reader_that_has_read_enough_is_no_error(folder):
    pnn.Network([pnn.Dense(2)]).fit(
        np.eye(4), [0, 1, 0, 1], loss="cross_entropy", epochs=1, progress=False
    ).save("m.safetensors")
    np.savez("long.npz", x=np.zeros((20_000, 4)))
    with fresh.start("-c", SCRIPT, "predict", "m.safetensors", "long.npz", cwd=folder) as process:
        assert process.stdout.readline() == "prediction\n"
        process.stdout.close()
        err = process.stderr.read()
    assert err == ""
    assert process.returncode == 1


def test_ctrl_c_saves_what_there_is(folder):
    options = ["--epochs", "100000", "--out", "stopped.safetensors"]
    with fresh.start("-c", SCRIPT, "train", "digits", *options, cwd=folder) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.splitlines()[-1]
    assert re.fullmatch(
        r"portable-nn: interrupted; saved stopped.safetensors after \d+ epochs", last
    )
    x, y = load_digits()
    assert pnn.load(folder / "stopped.safetensors").score(x, y) > 0.5
