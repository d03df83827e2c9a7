"""How much code each activation, loss, layer, optimizer and lowering takes, in statements.

Of an addition are counted its class (of a lowering its function) and every function, class and
constant of its own file and of ``portable_nn/kernels/`` (of a lowering: of its own file) that it
refers to, directly or through others, and that no other addition of any kind refers to: its
kernels, their gradients, sizes and branches, and the helpers of these. What two additions refer to
is a mechanism, and counts for none; how much that is, is printed too. Other files (initializers,
schedules, what ``y`` may be, the builder of plans) are no part of an addition.

A name is followed as Python would: through the imports of its file, and not where an argument,
a local name, a field or an attribute is called the same. Annotations refer to nothing.

Counted are statements, ``def``, ``class``, fields and constants among them, and decorators.
Not counted are docstrings, and ``__post_init__`` with whatever only it needs: what an object
refuses at the door.
"""

import ast
import symtable
from collections import defaultdict
from functools import cache
from pathlib import Path

import portable_nn
import portable_nn_numpy.lowering as lowering
from portable_nn import activations, drivers, layers, losses, optimizers, wrappers

BUDGETS = {"activation": 10, "loss": 15, "layer": 25, "optimizer": 25, "lowering": 8}
MODULES = {
    activations: "activation",
    losses: "loss",
    layers: "layer",
    optimizers: "optimizer",
    wrappers: "optimizer",
    drivers: "optimizer",
}
METHODS = {"forward", "update", "advance"}
BASES = {"Activation", "Loss", "Wrapper"}
KERNELS = Path(portable_nn.__file__).parent / "kernels"
LOWERING = Path(lowering.__file__)


class _Code(ast.NodeTransformer):
    """Without annotations, docstrings and what is refused at the door."""

    def visit_arg(self, node):
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node):
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Expr(self, node):
        return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.returns = None
        return None if node.name == "__post_init__" else self.generic_visit(node)


def statements(node):
    """Statements of a definition, and its decorators."""
    found = [n for n in ast.walk(node) if isinstance(n, ast.stmt) and not isinstance(n, ast.Pass)]
    return len(found) + sum(len(getattr(n, "decorator_list", ())) for n in found)


def _free(table):
    """The names that a definition takes from its module."""
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _free(inner)


def references(node):
    """Names that a definition refers to, and pairs such as ``("kernels", "relu")``."""
    names = set(_free(symtable.symtable(ast.unparse(node), "definition", "exec")))
    dotted = {
        (n.value.id, n.attr)
        for n in ast.walk(node)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id in names
    }
    return {(name,) for name in names} | dotted


def _names(node):
    """What a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    every = [n for target in targets if target for n in ast.walk(target)]
    return [n.id for n in every if isinstance(n, ast.Name)]


def _file(module):
    """The file of a module of ours, None of another's."""
    for root in (KERNELS.parents[1], LOWERING.parents[1]):
        path = root / module.replace(".", "/")
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return file
    return None


@cache
def module(path):
    """``({name: (statements, references)}, {name: (file, its name there)})`` of a file."""
    defined, imported = {}, {}
    for node in _Code().visit(ast.parse(path.read_text(encoding="utf-8"))).body:
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                inner, outer = _file(f"{node.module}.{each.name}"), _file(node.module)
                imported[each.asname or each.name] = (inner, None) if inner else (outer, each.name)
        names = _names(node)
        for name in names:  # of several names of one statement the first one has it
            defined[name] = statements(node) * (name == names[0]), references(node)
    return defined, imported


def resolved(path, name, *attributes):
    """The ``(file, name)`` of a definition that a reference leads to, or None."""
    while path:
        defined, imported = module(path)
        if name in defined:
            return path, name
        path, name = imported.get(name, (None, None))
        if path and name is None:  # a module
            if not attributes:
                return None
            name, *attributes = attributes
    return None


def needed(path, name, whole):
    """Every definition that one needs, itself included; ``whole`` are those not to look into."""
    files = {path, *(() if path == LOWERING else KERNELS.glob("*.py"))}
    reached, waiting = set(), [(path, name)]
    while waiting:
        found = waiting.pop()
        reached.add(found)
        for reference in module(found[0])[0][found[1]][1]:
            other = resolved(found[0], *reference)
            if other and other[0] in files and other not in reached and other not in whole:
                waiting.append(other)
    return reached


def additions():
    """``{(kind, name): (file, name)}`` of everything that has a budget."""
    found = {}
    for name in portable_nn.__all__:
        value = getattr(portable_nn, name)
        home = next((m for m in MODULES if _module_of(value).startswith(m.__name__)), None)
        if isinstance(value, type) and home and METHODS & set(dir(value)) and name not in BASES:
            found[MODULES[home], name] = _file(value.__module__), name
    for function in lowering.LOWERINGS.values():
        found["lowering", function.__name__] = LOWERING, function.__name__
    return found


def _module_of(value):
    return getattr(value, "__module__", None) or ""


@cache
def sizes():
    """Statements of each addition (kind, name), and of each definition (file, name) shared."""
    every = additions()
    users = defaultdict(set)
    for addition, place in every.items():
        for definition in needed(*place, whole=set(every.values())):
            users[definition].add(addition)
    found, shared = dict.fromkeys(every, 0), {}
    for (path, name), of in users.items():
        size = module(path)[0][name][0]
        if len(of) == 1:
            found[next(iter(of))] += size
        else:
            shared[path, name] = size
    return found, shared


def table(found, most=None):
    """The sizes as lines, the largest of each kind first, ``most`` of them."""
    for kind, budget in BUDGETS.items():
        mine = sorted(((n, c) for (k, c), n in found.items() if k == kind), reverse=True)
        rows = ", ".join(f"{name} {size}" for size, name in mine[:most])
        more = ", ..." if len(mine[:most]) < len(mine) else ""
        yield f"{kind}: {budget} statements; {len(mine)} additions: {rows}{more}"
