"""The README is true: its Python runs, its commands are those that CI runs, its map is complete."""

import re
import shlex
import subprocess

import pytest
import ways
from fresh import ROOT

import portable_nn as pnn
from portable_nn import cli

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """The fenced blocks of a language, in order, with what follows each up to the next fence."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


ALL, SHELL, TEXT = blocks("python"), blocks("sh"), blocks("text")
PICTURES = [source for source in ALL if "import plotting" in source]  # which need matplotlib
PYTHON = [source for source in ALL if source not in PICTURES]
ANOTHER = '"auto"'  # the backend that the README names beside the default


def run_python(sources, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "examples").symlink_to(ROOT / "examples")
    names = {}
    for source in sources:
        exec(compile(source, "README.md", "exec"), names)
    return names


def test_every_snippet_is_plain_python():
    assert len(PYTHON) >= 4
    assert sum(ANOTHER in source for source in PYTHON) == 1


@pytest.mark.parametrize("way", ["auto", "strict-device1", "torch"])
def test_the_snippets_run_in_order_as_written(way, tmp_path, monkeypatch, capsys):
    if way != "auto":
        ways.open_way(way)
    name = {"strict-device1": "array_api_strict:device1"}.get(way, way)
    sources = [source.replace(ANOTHER, f'"{name}"') for source in PYTHON]
    network = run_python(sources, tmp_path, monkeypatch)["network"]
    assert isinstance(network, pnn.Network)
    scores = re.findall(r"^(0\.9\d+)", capsys.readouterr().out, re.MULTILINE)
    assert len(scores) == 2  # after the ten lines, and on the other backend
    assert {path.name for path in tmp_path.iterdir()} == {"digits.safetensors", "examples"}


def test_the_snippet_that_draws_runs_after_the_ten_lines(tmp_path, monkeypatch, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    (source,) = PICTURES
    run_python([PYTHON[0], source], tmp_path, monkeypatch)
    left, right, _ = pyplot.gcf().axes
    pyplot.close("all")
    assert (left.get_xlabel(), left.get_ylabel()) == ("epoch", "loss")
    assert (right.get_xlabel(), right.get_ylabel()) == ("direction 1", "direction 2")
    assert (tmp_path / "training.png").stat().st_size > 10_000


def test_the_printed_plan_is_the_plan(monkeypatch, tmp_path, capsys):
    (source,) = [source for source in PYTHON if "network.plan(" in source]
    run_python(["import portable_nn as pnn", source], tmp_path, monkeypatch)
    (shown,) = [text for text in TEXT if "forward" in text]
    assert capsys.readouterr().out == shown


def shape(line):
    """What stays when figures, and blanks between columns, change."""
    return re.sub(r" +", " ", re.sub(r"[\d,.]*\d", "0", line))


def test_the_console_shows_what_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORTABLE_NN_BACKEND", raising=False)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (console,) = blocks("console")
    commands = re.findall(r"^\$ portable-nn (.+)\n((?:[^$].*\n)+)", console, re.MULTILINE)
    assert len(commands) == console.count("$ ") == 5
    for command, shown in commands:
        assert cli.main(shlex.split(command)) == 0
        printed = capsys.readouterr().out.splitlines()
        wanted = shown.splitlines()
        if wanted[-1] == "...":
            printed, wanted = printed[: len(wanted) - 1], wanted[:-1]
        assert list(map(shape, printed)) == list(map(shape, wanted))


def test_there_are_two_commands_of_one_line_each():
    assert SHELL == [
        "pip install . && portable-nn train digits\n",
        "pip install '.[test]' && pytest\n",
    ]


@pytest.mark.parametrize(("variable", "command"), [("run_line", 0), ("test_line", 1)])
def test_ci_runs_exactly_these_commands(variable, command):
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (assignment,) = re.findall(rf"^{variable}=.*$", script, re.MULTILINE)
    printed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'{assignment}; printf "%s\\n" "${variable}"'],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert printed == SHELL[command]
    assert re.search(rf'^ *inside \w+ bash -c "\${variable}"$', script, re.MULTILINE)


def test_the_commands_install_what_pyproject_declares():
    for line in SHELL:
        words = shlex.split(line)
        assert words[:2] == ["pip", "install"]
        assert words[2] in (".", ".[test]")


def test_the_map_names_every_file_and_nothing_else():
    section = README.partition("## What's where")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)
    here = {
        ".ci/run",
        "tests/",
        "tests/benchmarks/",
        "examples/",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
    }
    here.add("pyproject.toml")
    for folder in (ROOT / "portable_nn", ROOT / "backends"):
        for path in folder.iterdir():
            if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__"):
                here.add(path.relative_to(ROOT).as_posix() + "/" * path.is_dir())
    assert len(named) == len(set(named))
    assert set(named) == here
    for name in named:
        assert (ROOT / name).exists(), name
