"""``portable-nn``: what it prints and where, and its exit status."""

import csv
import gzip
import json
import re
import signal
import sys
from pathlib import Path

import fresh
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import kernels
from portable_nn.backend import LIBRARIES
from portable_nn.cli import main
from portable_nn.datasets import load_digits, split
from portable_nn.reading import read_csv
from portable_nn_numpy.lowering import LOWERINGS

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
        (["train", "letters"], ".csv, .tsv, .txt, .data, also .gz) or an .npz file; there is no"),
        (["train", "letters.csv", "--target", "letter"], "data: takes digits, a text table"),
        (["train", ""], "there is no file ''"),
        (["train", "digits", "--target", "digit"], "digits has targets of its own"),
        (["train", "digits", "--task", "guess"], "'guess'"),
        (["train", "digits", "--task", "regress"], "--task: digits are classes"),
        (["train", "digits", "--out", "no/such/folder/model"], "--out: cannot write"),
        (["train", "digits", "--out", "."], "--out: cannot write"),
        (["train", "digits", "--out", "/dev/null"], "--out: cannot write a file '/dev/null'"),
        (["train", "digits", "--out", f"{__file__}/model"], "--out: cannot write"),
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
    monkeypatch.setattr("portable_nn.backend._OPENED", {})
    assert main(["train", "digits", "--backend", "cupy"]) == 2
    assert_one_line(capsys, "CuPy, which is not installed. Install it with: pip install 'cupy-cuda")


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


@pytest.mark.parametrize("size", ["9" * 23, "9" * 5000])
def test_a_layer_that_no_machine_holds_is_one_line(size, capsys):
    try:
        status = main(["train", "digits", "--hidden", size])
    except SystemExit as stopped:
        status = stopped.code
    captured = capsys.readouterr()
    assert status in (1, 2)
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("portable-nn")
    assert "Traceback" not in captured.err


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


def save_small(path, features=4, labels=(0, 1)):
    x, y = np.eye(4, features), np.array([*labels, *labels])
    network = pnn.Network([pnn.Dense(2)])
    network.fit(x, y, loss="cross_entropy", epochs=1, progress=False).save(path)


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


WHOLE = "whole numbers; --task regress takes them as numbers"


@pytest.mark.parametrize(
    ("path", "said", "shape"),
    [("clouds.npz", f"2 classes ({WHOLE})", 1), ("prices.npz", "numbers to predict", 2)],
)
def test_an_npz_file_there_and_back(path, said, shape, folder, capsys):
    options = ["--epochs", "40", "--quiet", "--out", "m.safetensors", "--dtype", "float64"]
    assert main(["train", path, *options]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{path}: 240 rows, 2 inputs, {said}"
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
    assert_one_line(capsys, "column 'city': 240 of 240 cells are not numbers")
    write_csv("ages.csv", {"age": AGE})
    assert main(["predict", "d.safetensors", "ages.csv"]) == 1
    assert_one_line(capsys, "ages.csv: the network takes (n, 64); got x (240, 1)")


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
        (["train", "folder.csv", "--target", "a"], 2, "folder.csv"),
        (["predict", "nosuch.safetensors", "people.csv"], 2, "nosuch.safetensors"),
        (["plan", "nosuch.safetensors"], 2, "nosuch.safetensors"),
        (["plan", "people.csv"], 1, "people.csv is not a safetensors file"),
        (["predict", "people.csv", "people.csv"], 1, "people.csv is not a safetensors file"),
        (["train", "empty.csv", "--target", "a"], 1, "empty.csv"),
        (["train", "empty.npz"], 1, "empty.npz"),
        (["train", "broken.csv", "--target", "a"], 1, "broken.csv, line 3 has 1 cells"),
        (["train", "broken.gz", "--target", "a"], 1, "broken.gz is a damaged gzip file"),
        (["train", "one.csv", "--target", "b"], 1, "one.csv: column 'b' has one class only, 'x'"),
        (["train", "two.csv", "--target", "b"], 1, "two.csv: 2 rows are too few for test=0.2"),
        (["train", "nan.npz"], 1, "nan.npz: x[5, 0] is nan"),
        (["train", "y.npz"], 1, "y.npz: y[7] is inf"),
        (
            ["train", "hot.npz", "--task", "classify"],
            1,
            "y is (9, 9); classes are one a row, (n,);",
        ),
        (["predict", "m.safetensors", "nan.npz"], 1, "nan.npz: x[5, 0] is nan"),
        (
            ["train", "people.csv", "--target", "price", "--task", "classify"],
            1,
            f"column 'price' has {PRICE[0]}; classes are text or whole",
        ),
        (
            ["train", "people.csv", "--target", "kind", "--task", "regress"],
            1,
            f"column 'kind' holds text, first '{KIND[0]}', where numbers are wanted",
        ),
    ],
)
def test_a_file_that_will_not_do(arguments, status, said, folder, capsys):
    for name, text in {
        "empty.csv": "", "empty.npz": "", "broken.csv": "a,b\n1,2\n3\n",
        "one.csv": "a,b\n" + "1,x\n2,x\n" * 9, "two.csv": "a,b\n1,2.5\n2,3.5\n",
        "broken.gz": "\x1f\x8b",
    }.items():  # fmt: skip
        (folder / name).write_bytes(text.encode("latin-1"))
    (folder / "folder.csv").mkdir()
    x = np.arange(18.0).reshape(9, 2)
    np.savez("nan.npz", x=np.where(x == 10, np.nan, x), y=x[:, 0])
    np.savez("y.npz", x=x, y=np.where(x[:, 0] == 14, np.inf, x[:, 0]))
    np.savez("hot.npz", x=x, y=np.eye(9))
    save_small("m.safetensors", features=2)
    assert main([*arguments, *(["--quiet"] if arguments[0] == "train" else [])]) == status
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert captured.err.startswith("portable-nn: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "people.csv"], "--target: is needed, one of age, income, city, kind, price"),
        (["train", "people.csv", "--target", "knid"], "no column 'knid' (did you mean 'kind'?)"),
        (["train", "adult.data", "--target", "income"], "the first line of the file must name"),
        (["train", "clouds.npz", "--target", "y"], "clouds.npz has targets of its own"),
        (["train", "nosuch.npz"], "there is no file 'nosuch.npz'"),
        (["predict", "m.safetensors", "people.txt"], "there is no file 'people.txt'"),
        (["predict", "m.safetensors", "digits"], "takes a text table (.csv, .tsv, .txt, .data, al"),
        (["train", "people.csv", "--out", "people.csv"], "'people.csv' is what the training reads"),
        (["train", "digits", "--config", "s.toml", "--out", "./s.toml"], "what the training reads"),
    ],
)
def test_what_is_asked_of_files_must_make_sense(arguments, said, folder, capsys):
    save_small("m.safetensors")
    (folder / "adult.data").write_text("39, State-gov\n50, Private\n")
    (folder / "s.toml").write_text("epochs = 1\n")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["people.data", "people.tsv", "people.csv.gz", "people"])
def test_a_table_under_another_name(name, folder, capsys):
    data = (folder / "people.csv").read_bytes()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    options = ["--target", "kind", "--epochs", "1", "--quiet", "--out", "m.safetensors"]
    assert main(["train", name, *options]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: 240 rows, 6 inputs, 3 classes\n")
    assert main(["predict", "m.safetensors", name]) == 0
    assert len(read_column(capsys.readouterr().out)) == N


def test_a_network_of_columns_takes_arrays_as_wide(folder, capsys):
    options = ["--target", "kind", "--epochs", "1", "--quiet", "--out", "m.safetensors"]
    assert main(["train", "people.csv", *options]) == 0
    network, table = pnn.load("m.safetensors"), read_csv("people.csv")
    np.savez("encoded.npz", x=network.columns.encode(table))
    capsys.readouterr()
    printed = [main(["predict", "m.safetensors", path]) for path in ("people.csv", "encoded.npz")]
    assert printed == [0, 0]
    out = capsys.readouterr().out
    assert out[: len(out) // 2] == out[len(out) // 2 :]
    assert main(["predict", "m.safetensors", "clouds.npz"]) == 1
    assert_one_line(capsys, "clouds.npz: the network takes (n, 6); got x (240, 2)")


def test_labels_of_bytes_are_printed_as_text(folder, capsys):
    save_small("m.safetensors", labels=[b"no", b"yes"])
    np.savez("x.npz", x=np.eye(4))
    assert main(["predict", "m.safetensors", "x.npz"]) == 0
    assert set(read_column(capsys.readouterr().out)) <= {"no", "yes"}


def test_labels_that_the_output_cannot_hold_are_one_line(folder):
    save_small("m.safetensors", labels=["größe", "größer"])
    np.savez("x.npz", x=np.eye(4))
    arguments = ["-c", SCRIPT, "predict", "m.safetensors", "x.npz"]
    status, _, err = fresh.run(*arguments, cwd=folder, PYTHONIOENCODING="ascii")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("portable-nn: 'ascii' codec can't encode")
    assert err.endswith("PYTHONIOENCODING=utf-8 may help\n")


def test_a_file_that_may_not_be_written_is_found_before_the_training(folder, capsys, monkeypatch):
    (folder / "old.safetensors").write_text("old")
    for out, place in [("old.safetensors", "old.safetensors"), ("new.safetensors", ".")]:
        monkeypatch.setattr("os.access", lambda path, mode, at=place: str(path) != at)
        with pytest.raises(SystemExit) as stopped:
            main(["train", "digits", "--out", out])
        assert stopped.value.code == 2
        assert f"--out: cannot write a file '{out}'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("stop", ["--learning-rate=1e30", "--epochs=2"])
def test_a_training_without_a_result_leaves_the_old_file(stop, folder, capsys, monkeypatch):
    (folder / "old.safetensors").write_text("old")
    if stop == "--epochs=2":
        monkeypatch.setattr(pnn.Network, "fit", interrupt)
    status = main(["train", "digits", "--quiet", stop, "--out", "old.safetensors"])
    assert status == (130 if stop == "--epochs=2" else 1)
    assert_one_line(capsys, "interrupted\n" if status == 130 else "the loss became")
    assert (folder / "old.safetensors").read_text() == "old"


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


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
        ("epoch = 3", "settings.toml has a setting 'epoch'; did you mean 'epochs'?"),
        ("batch__size = 3", "has a setting 'batch__size'; did you mean 'batch-size'?"),
        ("xyz = 3", "has a setting 'xyz'; there are data, target, task, hidden"),
        ('config = "other.toml"', "has a setting 'config'"),
        ("command = 'plan'", "has a setting 'command'"),
        (
            "batch_size = 3\nbatch-size = 3",
            "settings.toml has 'batch-size' twice, with - and with _",
        ),
        ("epochs = 'many'", "settings.toml: epochs takes a whole number, 1 or more; got 'many'"),
        ("epochs = 0", "settings.toml: epochs takes a whole number, 1 or more; got 0"),
        ("epochs = 5.0", "1 or more; got 5.0"),
        ("epochs = true", "1 or more; got true"),
        ("epochs = [3]", "1 or more; got [3]"),
        ("epochs = '3'", "1 or more; got '3'"),
        ("seed = true", "0 or more; got true"),
        ("learning_rate = 'fast'", "learning_rate takes a number above 0; got 'fast'"),
        ("learning-rate = inf", "learning-rate takes a number above 0; got inf"),
        ("hidden = [8, 'x']", "hidden takes sizes of 1 or more, separated by commas; got [8, 'x']"),
        ("hidden = [[8]]", "got [[8]]"),
        ("hidden = 8.0", "got 8.0"),
        ("hidden = true", "got true"),
        ("quiet = 'yes'", "quiet takes true or false; got 'yes'"),
        ("quiet = 1", "quiet takes true or false; got 1"),
        ("out = true", "settings.toml: out takes text; got true"),
        ("backend = 5", "backend takes text; got 5"),
        ("target = ['kind']", "target takes text; got ['kind']"),
        ("data = 5", "data takes text; got 5"),
        ("dtype = 'float16'", "dtype takes one of float32, float64; got 'float16'"),
        ("task = 3", "task takes one of auto, classify, regress; got 3"),
        ("epochs = ", "settings.toml: Invalid value"),
        (f"epochs = {'9' * 5000}", "settings.toml: "),
        ("[train]\nepochs = 3", "has a setting 'train'"),
    ],
)
def test_a_wrong_setting_is_status_2(text, said, folder, capsys):
    (folder / "settings.toml").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "digits", "--config", "settings.toml"])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_the_command_line_wins_over_every_setting(folder, capsys):
    (folder / "settings.toml").write_text(
        'data = "-x.csv"\ntarget = "age"\ntask = "regress"\nhidden = "4"\nepochs = 9\n'
        'batch_size = 7\nlearning_rate = 9\nseed = 9\nbackend = "nosuch"\ndtype = "float64"\n'
        'out = "no/such/folder"\nquiet = true\n'
    )
    options = {
        "target": "kind", "task": "classify", "hidden": "8", "epochs": "1", "batch-size": "50",
        "learning-rate": "0.01", "seed": "1", "backend": "numpy", "dtype": "float32", "out": "one",
    }  # fmt: skip
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert main(["train", "people.csv", *given, "--no-quiet", "--config", "settings.toml"]) == 0
    first = capsys.readouterr()
    options["out"] = "two"
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert main(["train", "people.csv", *given]) == 0
    second = capsys.readouterr()
    assert first.err.count("epoch 1/1") == second.err.count("epoch 1/1") == 1
    assert first.out.splitlines()[:2] == second.out.splitlines()[:2]
    assert "dtype float32" in first.out
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


def test_data_of_a_file_are_no_option(folder, capsys):
    (folder / "settings.toml").write_text('data = "--quiet"\ntarget = "kind"\n')
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", "settings.toml"])
    assert stopped.value.code == 2
    assert "there is no file '--quiet'" in capsys.readouterr().err.splitlines()[-1]
    (folder / "people.csv").rename(folder / "-x.csv")
    (folder / "settings.toml").write_text('data = "-x.csv"\ntarget = "kind"\nepochs = 1')
    assert main(["train", "--config", "settings.toml"]) == 0
    assert capsys.readouterr().out.startswith("-x.csv: 240 rows")


# -- the other commands ------------------------------------------------------------------------


def test_backends_says_what_is_usable_and_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("portable_nn.backend._OPENED", {})
    assert main(["backends"]) == 0
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
    save_small("m.safetensors")
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
        r"portable-nn: interrupted; saved stopped.safetensors as it stood after \d+ whole epochs",
        last,
    )
    x, y = load_digits()
    assert pnn.load(folder / "stopped.safetensors").score(x, y) > 0.5


# -- parity --------------------------------------------------------------------------------


def test_parity_of_backends_that_are_right(capsys):
    options = ["--steps", "3", "--hidden", "16", "--activation", "tanh", "--quiet"]
    assert main(["parity", "--backends", "numpy,numpy:float64", *options]) == 0
    printed = capsys.readouterr()
    assert re.findall(
        r"^numpy (\w+) computes what the formulas say", printed.out, re.MULTILINE
    ) == [
        "float32",
        "float64",
    ]
    assert "tanh_backward" in printed.out
    assert printed.err == ""


def test_parity_of_a_backend_that_is_wrong(capsys, monkeypatch):
    def halved(new, x, weight, bias, z):
        return [(np.copyto, (z, x[:1] * 0 @ weight))]

    monkeypatch.setitem(LOWERINGS, kernels.linear, halved)
    assert main(["parity", "--steps", "2", "--quiet", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert "numpy float32 is not equal: step 1, dense1, which linear" in found["verdict"]


@pytest.mark.parametrize(
    ("names", "words"),
    [("nonsense", "nonsense"), ("numpy:1", "the CPU only"), (",", "names of backends")],
)
def test_parity_of_a_backend_that_is_not_there(names, words, capsys):
    try:
        status = main(["parity", "--backends", names, "--steps", "1", "--quiet"])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    assert words in capsys.readouterr().err


def test_the_fingerprint_of_a_backend(capsys):
    assert main(["fingerprint"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("The float32 arithmetic of numpy on cpu is as it should be.")
    assert "24 of 24 bits" in printed
    assert main(["fingerprint", "numpy", "--dtype", "float64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_bits"] == 53
    assert main(["fingerprint", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_the_fingerprint_of_a_backend_that_is_wrong(capsys, monkeypatch):
    numpy = pnn.get_backend("numpy")
    plain = numpy.asarray
    monkeypatch.setattr(
        type(numpy), "asarray", lambda self, value, dtype: plain(np.float16(value), dtype)
    )
    assert main(["fingerprint", "numpy"]) == 1
    assert "11 of 24 bits" in capsys.readouterr().out
