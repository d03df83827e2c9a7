"""``portable-nn``: what it prints and where, and its exit status."""

import re
import signal

import fresh
import pytest

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.datasets import load_digits, split

REPORT = re.compile(
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
        (["train"], "data"),
        (["train", "letters"], "'letters'"),
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
