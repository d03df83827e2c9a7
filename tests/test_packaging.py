"""What pyproject.toml declares is what the tree holds, and the core's rules are kept."""

import ast
import importlib
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from fresh import ROOT

import portable_nn as pnn

TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(TEXT)
CORE = sorted((ROOT / "portable_nn").rglob("*.py"))
BACKENDS = sorted(path.parent.name for path in (ROOT / "backends").glob("*/__init__.py"))


def name_of(requirement):
    """``"numpy"`` of ``"numpy>=2.0"``."""
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0]


# -- what is installed -------------------------------------------------------------------------


def test_the_dependencies_are_these_five():
    names = [name_of(requirement) for requirement in PROJECT["project"]["dependencies"]]
    assert names == ["numpy", "array-api-compat", "safetensors", "tqdm", "threadpoolctl"]


def test_the_test_extra_needs_no_library_that_is_large():
    extra = PROJECT["project"]["optional-dependencies"]["test"]
    assert [name_of(requirement) for requirement in extra] == ["pytest", "array-api-strict"]


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_the_cuda_extras_bring_the_libraries_that_kernels_are_compiled_with(cuda):
    (requirement,) = PROJECT["project"]["optional-dependencies"][f"cuda{cuda}"]
    assert requirement.startswith(f"cupy-cuda{cuda}x[ctk]>=")


def test_what_checks_the_code_is_pinned():
    pins = PROJECT["dependency-groups"]["lint"]
    assert [name_of(pin) for pin in pins] == ["build", "import-linter", "mypy", "ruff"]
    assert all(re.fullmatch(r"[a-z-]+==[0-9.]+", pin) for pin in pins)


def test_the_command_is_the_function_it_is_declared_to_be():
    module, _, function = PROJECT["project"]["scripts"]["portable-nn"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_every_backend_package_is_built_typed_and_checked():
    assert "portable_nn_numpy" in BACKENDS
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert wheel == ["portable_nn", *[f"backends/{name}" for name in BACKENDS]]
    assert PROJECT["tool"]["mypy"]["packages"] == ["portable_nn", *BACKENDS]
    assert PROJECT["tool"]["importlinter"]["root_packages"] == ["portable_nn", *BACKENDS]
    for package in ["portable_nn", *wheel[1:]]:
        assert (ROOT / package / "py.typed").is_file()


def test_the_data_comes_with_its_licence_note():
    data = ROOT / "portable_nn" / "data"
    note = (data / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in note
    for path in set(data.iterdir()) - {data / "README.md"}:
        assert path.name in note


def test_the_licence_is_the_one_declared():
    assert PROJECT["project"]["license"] == "BSD-3-Clause"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Redistribution and use in source and binary forms" in text
    assert "Neither the name of the copyright holder" in text  # the third clause


def test_the_version_stands_once():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "portable_nn/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", pnn.__version__)


def test_every_file_of_the_core_has_its_floor():
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    floors = {name.strip() for layer in contract["layers"] for name in layer.split(":")}
    tops = {path.relative_to(ROOT / "portable_nn").parts[0] for path in CORE} - {"__init__.py"}
    assert floors == {f"portable_nn.{top.removesuffix('.py')}" for top in tops}


# -- rules of the core -------------------------------------------------------------------------


def imported(path):
    """Top-level names of everything a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_the_files_that_may_import_numpy_are_those_that_do():
    rules = PROJECT["tool"]["ruff"]["lint"]["per-file-ignores"]
    allowed = {path for path, codes in rules.items() if "TID251" in codes}
    users = {path.relative_to(ROOT).as_posix() for path in CORE if "numpy" in imported(path)}
    patterns = [path for path in allowed if path.startswith("portable_nn/")]
    core = {path: [file for file in users if fnmatch(file, path)] for path in patterns}
    assert users
    assert all(core.values())
    assert sorted(file for files in core.values() for file in files) == sorted(users)


def test_each_file_that_may_import_numpy_has_its_reason():
    lines = [line for line in TEXT.splitlines() if re.match(r'"portable_nn/.*TID251', line)]
    assert lines
    for line in lines:
        assert re.search(r"\]  # \w+", line), line


def test_the_core_imports_no_backend_and_no_other_array_library():
    for path in CORE:
        assert imported(path).isdisjoint({*BACKENDS, "backends", "cupy", "torch", "jax"}), path


LIBRARIES = {"numpy", "cupy", "torch", "jax", "mlx", "dask", "array_api_strict"}
KINDS = re.compile(r"is_(numpy|cupy|torch|jax|dask|ndonnx|pydata_sparse)")


def branches(source):
    """Expressions that ask which backend or which array library they are dealing with."""
    for node in ast.walk(ast.parse(source)):
        asks = False
        if isinstance(node, ast.Compare | ast.MatchValue):
            asks = not LIBRARIES.isdisjoint(
                inner.value.partition(":")[0]
                for inner in ast.walk(node)
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
            )
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asks = re.search(r"\wBackend\b|Reference|Step\b", ast.unparse(node.args[1])) is not None
        elif isinstance(node, ast.Name | ast.Attribute):
            asks = KINDS.match(node.id if isinstance(node, ast.Name) else node.attr) is not None
        if asks:
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        "if backend == 'numpy': pass",
        "x = 1 if backend.name != 'cupy:1' else 2",
        "fast = name in ('torch', 'jax')",
        "if 'cupy' in xp.__name__: pass",
        "match name:\n    case 'torch':\n        pass",
        "if isinstance(backend, NumPyBackend): pass",
        "if isinstance(step, (ReferenceStep, int)): pass",
        "if isinstance(step, NumPyStep): pass",
        "from array_api_compat import is_cupy_array\nis_cupy_array(x)",
        "array_api_compat.is_torch_namespace(xp)",
    ],
)
def test_a_branch_on_a_backend_would_be_found(source):
    assert list(branches(source))


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_core_never_branches_on_a_backend(path: Path):
    assert list(branches(path.read_text(encoding="utf-8"))) == []
