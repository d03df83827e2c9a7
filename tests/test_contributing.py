"""CONTRIBUTING.md is true: each recipe is followed in a copy of this tree and keeps its promises.

``recipes/`` holds what the recipes have one write. Whoever leaves out a part of one is told so by
the tests that are there.
"""

import ast
import importlib.util
import os
import re
import shutil
import tomllib
from pathlib import Path

import fresh
import pytest
from fresh import ROOT
from recipes import ELSEWHERE, HERE, RECIPES
from ways import WAYS

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## Add an? (\w+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
COPIED = {"portable_nn", "backends", "tests", "examples", "pyproject.toml", ".ci", "LICENSE"}
COPIED |= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}


# -- a copy ------------------------------------------------------------------------------------


def not_copied(folder, names):
    """Nothing that may lie around in a clone, no large files, and not these tests."""
    here = COPIED if Path(folder) == ROOT else set(names) - {"pictures", "test_contributing.py"}
    return set(names) - here


def follow(recipe, tree, without=()):
    """Take the steps of a recipe in a copy of this tree, but for some edits."""
    assert set(without) <= set(RECIPES[recipe])
    for name, edit in RECIPES[recipe].items():
        path = tree / edit.path
        if name not in without:
            path.parent.mkdir(parents=True, exist_ok=True)
            source = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text(edit.change(source), encoding="utf-8")


def install(project):
    """Leave what an installer leaves of a project in site-packages: its entry points."""
    if not (project / "pyproject.toml").exists():
        return
    told = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    information = project / f"{told['name']}-{told['version']}.dist-info"
    information.mkdir()
    head = f"Metadata-Version: 2.1\nName: {told['name']}\nVersion: {told['version']}\n"
    (information / "METADATA").write_text(head, encoding="utf-8")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {module}\n" for name, module in entries.items())
        for group, entries in told["entry-points"].items()
    ]
    (information / "entry_points.txt").write_text("".join(points), encoding="utf-8")


def copy_with(recipe, folder, without=()):
    """A copy of this tree in which a recipe has been followed; it is in ``folder``."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=not_copied)
    if recipe == "layer":
        follow("kernel", tree)
    follow(recipe, tree, without)
    install(tree / ELSEWHERE)
    return tree


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """By recipe, a copy in which it has been followed."""
    return {recipe: copy_with(recipe, tmp_path_factory.mktemp("copy")) for recipe in RECIPES}


def run(tree, *arguments):
    """``python arguments...`` in a copy: the exit status, and all it prints."""
    path = os.pathsep.join(str(place) for place in (tree, tree / "backends", tree / ELSEWHERE))
    status, out, err = fresh.run(*arguments, cwd=tree, PYTHONPATH=path, PYTEST_ADDOPTS="")
    return status, out + err


def run_tests(tree, *arguments):
    return run(tree, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--no-header", *arguments)


# -- the text ----------------------------------------------------------------------------------


def said_of(recipe):
    """The text of a recipe, with that of the one it sends its readers to."""
    text = SECTIONS[recipe.partition(" ")[0]]
    return text + SECTIONS["kernel"] * ("step 4 of a kernel" in text)


def test_each_recipe_has_five_steps_and_all_are_taken():
    assert {recipe.partition(" ")[0] for recipe in RECIPES} == set(SECTIONS)
    for section, text in SECTIONS.items():
        assert re.findall(r"^(\d)\. ", text, re.MULTILINE) == list("12345")
        edits = [e for name, r in RECIPES.items() if name.startswith(section) for e in r.values()]
        taken = {step for edit in edits for step in edit.steps}
        # The first step to a backend is to look whether one is needed.
        assert taken == {1, 2, 3, 4, 5} - ({1} if section == "backend" else set())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_every_file_that_is_changed(recipe):
    named = re.findall(r"`([\w./]+)`", said_of(recipe))
    folders = tuple(name for name in named if name.endswith("/"))
    changed = {edit.path for edit in RECIPES[recipe].values() if (ROOT / edit.path).exists()}
    assert len(changed) >= 1
    assert {path for path in changed if not path.startswith(folders)} <= set(named)


def test_whatever_the_text_names_is_there():
    named = set(re.findall(r"`@?([\w./]+)(?:\(.*?\))?`", TEXT))
    paths = {name for name in named if "/" in name or name.endswith((".toml", ".md", ".py"))}
    assert len(paths) > 15
    places = (ROOT, ROOT / "portable_nn")
    assert [p for p in paths if not any((place / p).exists() for place in places)] == []
    folders = [ROOT / name for name in ("portable_nn", "backends", "tests")]
    files = {file for folder in folders for file in folder.rglob("*.py")} - {*HERE.iterdir()}
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    words = {name.rpartition(".")[2] for name in named - paths}
    assert len(words) > 40
    assert [word for word in words if not re.search(rf"\b{word}\b", source)] == []


LINES = {
    ("isru.py", "isru_layer.py"): 10,
    ("isru_lowering.py",): 8,
    ("center.py", "center_layer.py"): 25,
    ("pseudo_huber.py", "pseudo_huber_loss.py"): 15,
    ("adadelta.py", "adadelta_optimizer.py"): 25,
}
"""How many lines a new thing may cost, without its imports and docstrings."""


class Bare(ast.NodeTransformer):
    """Takes away what stands at the top and what is said in words."""

    def visit_Expr(self, node):
        return None

    visit_Import = visit_ImportFrom = visit_Expr


@pytest.mark.parametrize(("snippets", "lines"), LINES.items())
def test_what_a_recipe_asks_for_is_short(snippets, lines):
    trees = [
        Bare().visit(ast.parse((HERE / name).read_text(encoding="utf-8"))) for name in snippets
    ]
    bare = "\n".join(map(ast.unparse, trees))
    assert 3 <= len(re.findall(r"^.+$", bare, re.MULTILINE)) <= lines


# -- what is promised --------------------------------------------------------------------------

KERNELS, LOWERINGS = "tests/test_kernels.py", "tests/test_numpy_lowering.py"
API, PACKAGES = "tests/test_public_api.py", "tests/test_packaging.py"
GRADIENTS, RECORD = "tests/test_gradients.py", "tests/test_record.py"
OPTIMIZERS = "tests/test_optimizers.py"
BACKEND, README = "tests/test_backend.py", "tests/test_readme.py"
WHOLE = "test_public_api or test_every_"
PROMISED = {
    "kernel": (400, f"isru or center or {WHOLE}", [KERNELS, API, LOWERINGS]),
    "layer": (
        200,
        f"isru or center or {WHOLE}",
        [API, GRADIENTS, RECORD, "tests/test_center.py"],
    ),
    "loss": (300, f"huber or {WHOLE}", [KERNELS, API, GRADIENTS, RECORD]),
    "optimizer": (250, f"adadelta or {WHOLE}", [KERNELS, API, GRADIENTS, RECORD, OPTIMIZERS]),
    # Its calls are NumPy's own but for relu's: the other kernels need not be tried once more.
    "backend": (200, "beads and (relu or not test_kernels)", ["tests"]),
    "backend inside": (60, "beads or test_packaging or test_the_map", [BACKEND, PACKAGES, README]),
}
"""By recipe: how many tests run at least, which, and the files they are in."""


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_tests_of_what_is_new_pass(recipe, followed):
    least, words, files = PROMISED[recipe]
    # Not on what takes longer to import than all of these to run.
    selected = f"({words}) and not (torch or jax or cupy)"
    status, said = run_tests(followed[recipe], *files, "-k", selected, "-x")
    assert status == 0, said
    assert int(re.search(r"(\d+) passed", said)[1]) >= least


def test_every_test_of_kernels_runs_on_a_new_one_on_every_backend(followed):
    listed = ["--collect-only", KERNELS, "-k", "isru or tanh and not test_edge"]
    status, said = run_tests(followed["kernel"], *listed)
    assert status == 0, said
    new, old = (
        {
            line.replace("isru", "tanh")
            for line in said.splitlines()
            if re.search(rf"[-\[]{name}[-_]", line)
        }
        for name in ("isru", "tanh")
    )
    assert new == old
    assert all(any(f"[{way}-tanh" in line for line in new) for way in WAYS)


def test_the_linter_has_nothing_to_say(followed):
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")  # it is no part of the test extra; .ci/run has it
    for recipe, tree in followed.items():
        changed = {edit.path for edit in RECIPES[recipe].values()}
        python = [path for path in changed if re.match(r"\w.*\.py$", path)]  # none elsewhere
        for command in (["check"], ["format", "--check"]):
            status, said = run(tree, "-m", "ruff", *command, "--no-cache", *python)
            assert status == 0, said


TRAIN = """
import numpy as np
import portable_nn as pnn
from portable_nn import activations, kernels

class Bent(activations.Activation):
    kernel = kernels.{kernel}

x = np.linspace(-2.0, 2.0, 64)[:, None]
network = pnn.Network([pnn.Dense(16), {layers}, pnn.Dense(1)])
options = {{"epochs": 150, "batch_size": 16, "progress": False, "standardize": True}}
network.fit(x, np.sin(2.0 * x), loss={loss}, optimizer={optimizer}, backend="{backend}", **options)
network.save("network.safetensors")
again = pnn.load("network.safetensors", backend="{backend}", custom=[Bent])
assert (again.predict(x) == network.predict(x)).all()
assert network.score(x, np.sin(2.0 * x)) > 0.9, network.history["loss"]
print(network.backend.name)
"""
USUAL = {"kernel": "tanh", "layers": "pnn.Tanh()", "loss": "'half_squared_error'"}
USUAL |= {"optimizer": "pnn.Adam(0.02)", "backend": "numpy"}
USES = {
    "kernel": {"kernel": "isru", "layers": "Bent()"},
    "layer": {"layers": "pnn.Center(), pnn.ISRU()"},
    "loss": {"loss": "'pseudo_huber'"},
    "optimizer": {"optimizer": "pnn.Adadelta(epsilon=1e-5)"},
    "backend": {"backend": "beads"},
    "backend inside": {"backend": "beads:cpu"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_new_trains_a_network_and_comes_back_from_a_file(recipe, followed):
    used = USUAL | USES[recipe]
    status, said = run(followed[recipe], "-c", TRAIN.format(**used))
    assert (status, said) == (0, f"{used['backend'].removesuffix(':cpu')}\n")


# -- what is left out is noticed ---------------------------------------------------------------

NO_GRADIENT_TEST = f"{GRADIENTS}::test_every_exported_layer_loss_and_optimizer_has_a_gradient_test"
NO_EXAMPLE = f"{RECORD}::test_every_class_and_every_field_is_among_the_examples"
NOT_EXPORTED = f"{API}::test_what_users_build_with_is_exported"
NO_NAME = f"{API}::test_whatever_has_a_name_table_stands_in_it"
LEFT_OUT = [
    ("kernel", {"export center": f"{API}::test_every_kernel_is_exported"}),
    (
        "kernel",
        {
            "cases": f"{KERNELS}::test_every_exported_kernel_has_cases",
            "table": f"{LOWERINGS}::test_every_lowering_is_in_the_table",
        },
    ),
    (
        "kernel",
        {"formulas": f"{KERNELS}::test_meaning_is_the_textbook_formula[isru-ordinary]"},
    ),
    ("layer", {"export": f"{NOT_EXPORTED}[layers]"}),
    (
        "layer",
        {
            "table": f"{NO_NAME}[activations]",
            "gradients": NO_GRADIENT_TEST,
            "record": NO_EXAMPLE,
        },
    ),
    (
        "loss",
        {
            "table": f"{NO_NAME}[losses]",
            "cases": f"{KERNELS}::test_every_exported_kernel_has_cases",
            "gradients": NO_GRADIENT_TEST,
            "record": NO_EXAMPLE,
        },
    ),
    ("optimizer", {"export": f"{NOT_EXPORTED}[optimizers]", "table": f"{NO_NAME}[optimizers]"}),
    (
        "optimizer",
        {
            "gradients": NO_GRADIENT_TEST,
            "books": f"{OPTIMIZERS}::test_every_optimizer_has_a_textbook",
            "record": NO_EXAMPLE,
        },
    ),
    ("backend", {"entry point": f"{BACKEND}::test_there_and_back[beads-float32]"}),
    (
        "backend inside",
        {
            "lists": f"{PACKAGES}::test_every_backend_package_is_built_typed_and_checked",
            "map": f"{README}::test_the_map_names_every_file_and_nothing_else",
        },
    ),
]
"""A recipe, and by edit the test that fails where it is left out."""


@pytest.mark.parametrize(("recipe", "edits"), LEFT_OUT)
def test_what_is_left_out_is_missed(recipe, edits, tmp_path):
    tree = copy_with(recipe, tmp_path, without=edits)
    status, said = run_tests(tree, *edits.values(), "--tb=line")
    assert status == 1, said
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    assert sorted(failed) == sorted(edits.values())
