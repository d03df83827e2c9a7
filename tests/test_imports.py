"""``import portable_nn`` is light: it does not even look for a library that a user may lack."""

import ast

import fresh
import pytest

HEAVY = {"cupy", "torch", "jax", "jaxlib", "sklearn", "scipy", "pandas", "matplotlib"}
BACKENDS = {path.parent.name for path in (fresh.ROOT / "backends").glob("*/__init__.py")}

RECORD = """
import sys

class Record:
    asked = set()

    def find_spec(self, name, path=None, target=None):
        self.asked.add(name.partition(".")[0])

sys.meta_path.insert(0, Record())
"""
REPORT = "\nprint(sorted(Record.asked))"
WALK = """
import importlib, pkgutil, portable_nn
for found in pkgutil.walk_packages(portable_nn.__path__, "portable_nn."):
    importlib.import_module(found.name)
"""


def asked(source):
    """Top-level names that an interpreter looked for while it ran ``source``.

    Names looked for, not modules found: a guarded import of what is not installed here counts.
    """
    status, out, err = fresh.run("-c", RECORD + source + REPORT)
    assert status == 0, err
    return set(ast.literal_eval(out.splitlines()[-1]))


def test_the_record_sees_a_guarded_import_of_what_is_missing():
    assert "nosuchlibrary" in asked("try: import nosuchlibrary\nexcept ImportError: pass")


@pytest.mark.parametrize("source", ["import portable_nn", WALK], ids=["the package", "every file"])
def test_importing_asks_for_no_heavy_library_and_no_backend(source):
    found = asked(source)
    assert "portable_nn" in found
    assert found.isdisjoint(HEAVY | BACKENDS)


def test_a_backend_is_imported_on_first_use():
    found = asked("import portable_nn as pnn; pnn.get_backend('numpy')")
    assert "portable_nn_numpy" in found
    assert found.isdisjoint(HEAVY)
