"""The recipes of CONTRIBUTING.md as edits of files; the code that they add stands in this folder.

Each example is something that the library lacks. When it has it one day, take another one.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from test_public_api import in_order

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Edit:
    """What some steps of a recipe do to one file; of a file that is not there the text is empty."""

    steps: tuple[int, ...]
    path: str
    change: Callable[[str], str]


# -- ways to change a file ---------------------------------------------------------------------


def importing(source, module, names):
    """``source``, with these names of a module of this library imported too."""
    tree = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    same = [node for node in tree if node.module == module]
    before = [n for n in tree if not n.module.startswith("portable_nn") or n.module < module]
    names = {*names, *[alias.name for node in same for alias in node.names]}
    alike = sorted(names, key=lambda name: (*in_order(name)[:2], name.lower()))
    line = f"from {module} import {', '.join(alike)}"
    if len(line) > 100:
        line = line.replace("import ", "import (\n    ").replace(", ", ",\n    ") + ",\n)"
    lines = source.split("\n")
    place = before[-1].end_lineno if before else tree[0].lineno - 1
    span = (same[0].lineno - 1, same[0].end_lineno) if same else (place, place)
    lines[slice(*span)] = [line]
    return "\n".join(lines)


def code(steps, path, snippet, before=None):
    """Add a file of this folder at the end, or before the line that begins so."""
    text = (HERE / snippet).read_text(encoding="utf-8")
    tree = ast.parse(text).body
    imports = [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]
    body = "\n".join(text.split("\n")[imports[-1].end_lineno :]).strip("\n")
    itself = path.removeprefix("backends/").removesuffix(".py").replace("/", ".")

    def change(source):
        if not source:
            return text
        for node in imports:
            module = getattr(node, "module", "")
            if module.startswith("portable_nn") and module != itself:
                source = importing(source, module, [alias.name for alias in node.names])
        if before is None:
            return f"{source}\n\n{body}\n"
        assert source.count(f"\n{before}") == 1, before
        return source.replace(f"\n{before}", f"\n{body}\n\n\n{before}")

    return Edit(steps, path, change)


def entry(steps, path, table, *lines):
    """Add lines to a table: ``table = {``, ``table: kind = [``, ``for it in (``."""
    opening = re.compile(rf"^( *){re.escape(table)}\b.*?(?:=|in) [\[{{(]", re.MULTILINE)

    def change(source):
        (found,) = opening.finditer(source)
        head, tail = source[: found.end()], source[found.end() :]
        if not tail.startswith("\n"):  # all on one line: now an entry a line
            inside, _, rest = tail.partition("\n")
            each = "".join(f"    {value},\n" for value in inside[:-1].split(", "))
            tail = f"\n{each}{inside[-1]}\n{rest}"
        end = re.search(rf"^{found[1]}[\]}})]", tail, re.MULTILINE).start()
        added = "".join(f"{found[1]}    {line}\n" for line in lines)
        return head + tail[:end] + added + tail[end:]

    return Edit(steps, path, change)


def export(steps, path, module, *names):
    """Import names from a module, and list them in ``__all__``."""

    def change(source):
        head, opening, rest = importing(source, module, names).partition("__all__ = [\n")
        listed, closing, tail = rest.partition("]\n")
        every = sorted({*ast.literal_eval(f"[{listed}]"), *names}, key=in_order)
        return head + opening + "".join(f'    "{name}",\n' for name in every) + closing + tail

    return Edit(steps, path, change)


def beside(steps, path, pattern, between):
    """Say of ``portable_nn_beads`` what is said of ``portable_nn_cupy``, just before it."""

    def again(match):
        return re.sub("cupy|CuPy", "beads", match[0]) + between + match[0]

    def change(source):
        assert re.search(pattern, source, re.MULTILINE), pattern
        return re.sub(pattern, again, source, flags=re.MULTILINE)

    return Edit(steps, path, change)


def instead(steps, path, old, new):
    """Replace what stands there once."""

    def change(source):
        assert source.count(old) == 1, old
        return source.replace(old, new)

    return Edit(steps, path, change)


def whole(steps, path, text):
    """A file of this text."""
    return Edit(steps, path, lambda source: text)


# -- the recipes -------------------------------------------------------------------------------

EXPORTS, KERNELS = "portable_nn/__init__.py", "portable_nn/kernels/__init__.py"
CASES = "tests/cases/{}.py"
LAYER_EXPORTS = "portable_nn/layers/__init__.py"
GRADIENTS, RECORDS = "tests/test_gradients.py", "tests/test_record.py"
BOOKS = "tests/test_optimizers.py"
ACTIVATIONS, LAYERS = "portable_nn/activations.py", "portable_nn/layers/_center.py"
LOSSES, OPTIMIZERS = "portable_nn/losses.py", "portable_nn/optimizers.py"
LOWERINGS = "backends/portable_nn_numpy/lowering.py"

ELSEWHERE = "../elsewhere"  # beside the tree: another project
PROJECT = """[project]
name = "portable_nn_beads"
version = "1.0"

[project.entry-points."portable_nn.backends"]
beads = "portable_nn_beads"
"""

KERNEL = {
    "isru": code((1, 2, 3), "portable_nn/kernels/activation.py", "isru.py"),
    "center": code((1, 2, 3), "portable_nn/kernels/dense.py", "center.py"),
    "export": export((4,), KERNELS, "portable_nn.kernels.activation", "isru", "isru_backward"),
    "export center": export((4,), KERNELS, "portable_nn.kernels.dense", "center", "center_mean"),
    "cases": entry(
        (4,),
        CASES.format("activation"),
        "CASES",
        "kernels.isru: activation(),",
        "kernels.isru_backward: [",
        '    case("ordinary", normal(24, 10), uniform(-1.0, 1.0, 24, 10)),',
        '    case("one row", normal(1, 10), uniform(-1.0, 1.0, 1, 10)),',
        '    case("edge", MIXED, given([[1.0, -1.0, 0.0, 0.99999994]] * 3)),',
        "],",
    ),
    "cases center": entry(
        (4,),
        CASES.format("dense"),
        "CASES",
        'kernels.center: [case("ordinary", normal(24, 10), normal(10), normal(10))],',
        'kernels.center_mean: [case("ordinary", normal(10), normal(24, 10))],',
    ),
    "formulas": entry(
        (4,),
        CASES.format("activation"),
        "TEXTBOOK",
        "kernels.isru: lambda z: np.sin(np.arctan(z)),",
        "kernels.isru_backward: lambda grad, a: grad * np.cos(np.arcsin(a)) ** 3,",
    ),
    "formulas center": entry(
        (4,),
        CASES.format("dense"),
        "TEXTBOOK",
        "kernels.center: lambda x, mean, shift: x - mean + shift,",
        "kernels.center_mean: lambda mean, x: 0.9 * mean + 0.1 * x.mean(0),",
    ),
    "lowering": code((5,), LOWERINGS, "isru_lowering.py", before="LOWERINGS:"),
    "table": entry((5,), LOWERINGS, "for lowering", "isru,"),
}
LAYER = {
    "activation": code((1,), ACTIVATIONS, "isru_layer.py", before="ACTIVATIONS:"),
    "layer": code((1, 2, 3), LAYERS, "center_layer.py"),
    "export layer": export((4,), LAYER_EXPORTS, "portable_nn.layers._center", "Center"),
    "export": export((4,), EXPORTS, "portable_nn.layers", "Center"),
    "export activation": export((4,), EXPORTS, "portable_nn.activations", "ISRU"),
    "table": entry((4,), ACTIVATIONS, "ACTIVATIONS", '"isru": ISRU,'),
    "gradients": entry(
        (5,),
        GRADIENTS,
        "LAYERS",
        "pnn.Center: between(pnn.Center()),",
        "pnn.ISRU: between(pnn.ISRU()),",
    ),
    "record": entry((5,), RECORDS, "EXAMPLES", "layers.Center(0.25),", "activations.ISRU(),"),
    "values": code((5,), "tests/test_center.py", "center_values.py"),
}
LOSS = {
    "kernel": code((1, 2), "portable_nn/kernels/loss.py", "pseudo_huber.py"),
    "export kernel": export((2,), KERNELS, "portable_nn.kernels.loss", "pseudo_huber"),
    "cases": entry(
        (2,), CASES.format("loss"), "CASES", "kernels.pseudo_huber: _loss(normal, _NEAR_TARGETS),"
    ),
    "formula": entry(
        (2,),
        CASES.format("loss"),
        "TEXTBOOK",
        "kernels.pseudo_huber: textbook_mean(",
        "    lambda z, t: (np.hypot(1.0, z - t) - 1.0, (z - t) / np.hypot(1.0, z - t))",
        "),",
    ),
    "loss": code((3,), LOSSES, "pseudo_huber_loss.py", before="LOSSES:"),
    "table": entry((4,), LOSSES, "LOSSES", '"pseudo_huber": PseudoHuber,'),
    "export": export((4,), EXPORTS, "portable_nn.losses", "PseudoHuber"),
    "gradients": entry(
        (5,), GRADIENTS, "LOSSES", "pnn.PseudoHuber: lambda rng, k: rng.normal(size=(ROWS, k)),"
    ),
    "record": entry((5,), RECORDS, "EXAMPLES", "losses.PseudoHuber(0.5),"),
}
OPTIMIZER = {
    "kernel": code((1,), "portable_nn/kernels/update.py", "adadelta.py"),
    "export kernel": export((1,), KERNELS, "portable_nn.kernels.update", "adadelta"),
    "cases": entry(
        (1,),
        CASES.format("update"),
        "CASES",
        "kernels.adadelta: [",
        '    case("ordinary", *[normal(9, 5)] * 2, *[square(9, 5)] * 2, *_INSIDE[:3], given(1.0)),',
        '    case("a bias", *[normal(9)] * 2, *[square(9)] * 2, *_INSIDE[:3], given(1.0)),',
        "],",
    ),
    "textbook": entry(
        (1,),
        CASES.format("update"),
        "TEXTBOOK",
        "kernels.adadelta: textbook_adadelta,",
    ),
    "formula": code((1,), CASES.format("update"), "adadelta_formula.py", before="CASES = "),
    "optimizer": code((2, 3, 4), OPTIMIZERS, "adadelta_optimizer.py", before="OPTIMIZERS: "),
    "table": entry((5,), OPTIMIZERS, "OPTIMIZERS", '"adadelta": Adadelta,'),
    "export": export((5,), EXPORTS, "portable_nn.optimizers", "Adadelta"),
    "recurrence": code((5,), GRADIENTS, "adadelta_recurrence.py", before="OPTIMIZERS = "),
    "gradients": entry(
        (5,),
        GRADIENTS,
        "OPTIMIZERS",
        "(pnn.Adadelta(0.5, rho=0.8, epsilon=1e-3), textbook_adadelta),",
    ),
    "book": code((5,), BOOKS, "adadelta_book.py", before="BOOKS = "),
    "books": entry((5,), BOOKS, "BOOKS", '"adadelta": textbook_adadelta,'),
    "record": entry((5,), RECORDS, "EXAMPLES", "optimizers.Adadelta(0.5, 0.8, 1e-3),"),
}
WAY = entry(
    (5,), "tests/ways.py", "WAYS", '"beads": Way(lambda: get_backend("beads"), lowered=True),'
)
BACKEND = {
    "package": code((2, 3), f"{ELSEWHERE}/portable_nn_beads/__init__.py", "beads.py"),
    "entry point": whole((4,), f"{ELSEWHERE}/pyproject.toml", PROJECT),
    "way": WAY,
}
BACKEND_INSIDE = {
    "package": code((2, 3, 4), "backends/portable_nn_beads/__init__.py", "beads.py"),
    "typed": whole((4,), "backends/portable_nn_beads/py.typed", ""),
    "built in": entry((4,), "portable_nn/backend.py", "BUILT_IN", '"beads": "portable_nn_beads",'),
    "banned": beside((4,), "pyproject.toml", r'^"portable_nn_cupy"\..*', "\n"),
    "lists": beside((4,), "pyproject.toml", r'"(backends/)?portable_nn_cupy"(?!\.)', ", "),
    "build": beside((4,), ".ci/run", r"'?(backends/)?portable_nn_cupy[^\s']*'?", " "),
    "map": beside((4,), "README.md", r"^\| `backends/portable_nn_cupy/` .*", "\n"),
    "way": WAY,
}
RECIPES = {
    "kernel": KERNEL,
    "layer": LAYER,
    "loss": LOSS,
    "optimizer": OPTIMIZER,
    "backend": BACKEND,
    "backend inside": BACKEND_INSIDE,
}
"""By recipe, the edits it takes; the kernels of the layer are those of the first recipe."""
