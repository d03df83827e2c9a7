"""The public names: sorted, complete, and each with a docstring."""

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass

import pytest

import portable_nn as pnn
from portable_nn import (
    activations,
    drivers,
    errors,
    initializers,
    kernels,
    layers,
    losses,
    optimizers,
    schedules,
    wrappers,
)

MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(pnn.__path__, "portable_nn.")
]
PUBLIC = [
    pytest.param(value, id=f"{module.__name__}.{name}")
    for module in MODULES
    for name, value in sorted(vars(module).items())
    if not name.startswith("_")
    and (inspect.isclass(value) or inspect.isfunction(value))
    and value.__module__ == module.__name__
]
FACES = [pnn, kernels]


def in_order(name):
    """Constants, then classes, then functions, each in alphabetical order."""
    return (not name.isupper(), not name[0].isupper(), name)


@pytest.mark.parametrize("module", FACES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_without_repeats(module):
    assert list(module.__all__) == sorted(set(module.__all__), key=in_order)


@pytest.mark.parametrize("module", FACES, ids=lambda module: module.__name__)
def test_all_is_what_the_module_offers(module):
    offered = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(module.__all__) == offered


def classes(module):
    """Public classes that a module defines itself."""
    return {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__.startswith(module.__name__)
        and name[0] != "_"
    }


def concrete(module, *bases):
    """Those that users make objects of: dataclasses that are no base of another."""
    return {name for name in classes(module) - set(bases) if is_dataclass(getattr(module, name))}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(concrete(layers), id="layers"),
        pytest.param(concrete(activations, "Activation"), id="activations"),
        pytest.param(concrete(losses, "Loss"), id="losses"),
        pytest.param(concrete(optimizers), id="optimizers"),
        pytest.param(concrete(wrappers, "Wrapper"), id="wrappers"),
        pytest.param(concrete(schedules), id="schedules"),
        pytest.param(concrete(initializers), id="initializers"),
        pytest.param(classes(errors), id="errors"),
    ],
)
def test_what_users_build_with_is_exported(names):
    assert len(names) >= 2
    assert names <= set(pnn.__all__)


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (activations.ACTIVATIONS, concrete(activations, "Activation")),
        (losses.LOSSES, concrete(losses, "Loss")),
        (optimizers.OPTIMIZERS, concrete(optimizers) | concrete(drivers)),
    ],
    ids=["activations", "losses", "optimizers"],
)
def test_whatever_has_a_name_table_stands_in_it(table, wanted):
    assert {made.__name__ for made in table.values()} == wanted
    assert {name.replace("_", "") for name in table} == {
        made.__name__.lower() for made in table.values()
    }


def test_every_kernel_is_exported():
    modules = [module for module in MODULES if module.__name__.startswith("portable_nn.kernels.")]
    defined = {
        value.name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, kernels.Kernel) and not name.startswith("_")
    }
    exported = {name for name in kernels.__all__ if isinstance(vars(kernels)[name], kernels.Kernel)}
    assert len(defined) >= 20
    assert defined == exported


@pytest.mark.parametrize("value", PUBLIC)
def test_every_public_class_and_function_has_a_docstring(value):
    doc = value.__doc__ or ""
    assert doc.strip()
    assert not doc.startswith(f"{value.__name__}("), "a dataclass's own listing is no docstring"


@pytest.mark.parametrize("module", [pnn, *MODULES], ids=lambda module: module.__name__)
def test_every_module_says_what_it_is_for(module):
    assert (module.__doc__ or "").strip()


@pytest.mark.parametrize(
    "name", [name for name in kernels.__all__ if isinstance(vars(kernels)[name], kernels.Kernel)]
)
def test_every_kernel_has_the_docstring_of_its_meaning(name):
    kernel = vars(kernels)[name]
    assert kernel.name == name
    assert (kernel.meaning.__doc__ or "").strip()
