"""Every addition is small: how each is counted says ``budgets.py``."""

import ast
from textwrap import dedent

import budgets
import pytest
from budgets import BUDGETS, additions, module, needed, references, statements

FOUND, SHARED = budgets.sizes()

LARGER = {
    ("activation", "GELU"): (41, "two forms, and the normal distribution, which no standard has"),
    ("activation", "HardTanh"): (11, "two numbers to set, where others have one or none"),
    ("optimizer", "LBFGS"): (40, "two published algorithms: a direction and a line search"),
    ("optimizer", "RMSProp"): (35, "plain in one fast kernel, else centred, with momentum, ..."),
    ("lowering", "embedding_grad"): (11, "NaN and codes that are none go by the meaning"),
}
"""Additions that have more, how much, and why."""


# -- the budgets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    FOUND,
    ids=[name if kind != "lowering" else f"lowered_{name}" for kind, name in FOUND],
)
def test_an_addition_is_small(kind, name):
    most, _ = LARGER.get((kind, name), (BUDGETS[kind], ""))
    assert FOUND[kind, name] <= most, "\n".join(["all of them:", *budgets.table(FOUND)])


def test_what_may_be_larger_is():
    assert {key: FOUND[key] for key in LARGER} == {key: size for key, (size, _) in LARGER.items()}
    assert all(size > BUDGETS[kind] for (kind, _), (size, _) in LARGER.items())


def test_every_name_that_a_user_may_give_is_counted():
    named = {
        kind: {value.__name__ for value in table.values()}
        for kind, table in {
            "activation": budgets.activations.ACTIVATIONS,
            "loss": budgets.losses.LOSSES,
            "optimizer": budgets.optimizers.OPTIMIZERS,
        }.items()
    }
    for kind, names in named.items():
        assert names <= {name for k, name in FOUND if k == kind}
    assert {"Dense", "PReLU", "BatchNorm"} <= {name for kind, name in FOUND if kind == "layer"}
    assert {"ClippedNorm", "LBFGS"} <= {name for kind, name in FOUND if kind == "optimizer"}
    assert min(FOUND.values()) >= 2


def test_the_table_names_every_addition():
    lines = list(budgets.table(FOUND))
    assert len(lines) == len(BUDGETS)
    for (kind, name), size in FOUND.items():
        assert any(line.startswith(kind) and f" {name} {size}" in line for line in lines)


# -- the counting --------------------------------------------------------------------------


def definition(text):
    return budgets._Code().visit(ast.parse(dedent(text))).body[-1]


def test_statements_and_decorators_are_counted_but_not_what_is_checked_or_said():
    text = """
    @dataclass(frozen=True)
    class Some:
        '''Of which much is said.'''

        rate: float = 0.1
        '''And more.'''

        def __post_init__(self) -> None:
            check(self)
            check(self, again=True)

        @property
        def twice(self) -> float:
            if self.rate > 1.0:
                return 2.0
            return 2.0 * self.rate
    """
    # class, its decorator, the field; def, its decorator, if, return, return.
    assert statements(definition(text)) == 8


def test_names_are_followed_as_python_would():
    text = """
    def update(builder: PlanBuilder, momentum: Rate, *rest: Array) -> Call:
        relu, found = momentum, [gain for gain in rest]
        return builder.scale(relu, kernels.adam, found, gain=helper(1.0))
    """
    found = references(definition(text))
    assert {names for names in found if len(names) == 1} == {("kernels",), ("helper",)}
    assert ("kernels", "adam") in found and ("builder", "scale") not in found


def test_what_only_a_check_needs_does_not_count():
    text = """
    class Some:
        size: Rate = 1.0

        def __post_init__(self) -> None:
            _check(self)
    """
    assert references(definition(text)) == set()


def reached(kind, name):
    every = additions()
    return {found for _, found in needed(*every[kind, name], whole=set(every.values()))}


def test_an_addition_has_its_kernels_their_gradients_and_helpers():
    assert {"PReLU", "prelu", "prelu_backward", "prelu_grad_slope"} <= reached("layer", "PReLU")
    assert {"gelu_tanh_backward", "normal", "_RATIO", "FAR"} <= reached("activation", "GELU")
    assert {"_sum_by_code", "_index"} <= reached("lowering", "embedding_grad")
    assert "momentum" not in reached("layer", "BatchNorm")  # its field, not the kernel
    assert "Identity" not in reached("activation", "Tanh")  # which has a gain


def test_what_two_need_counts_for_none():
    for shared in ("logistic", "tweedie_deviance", "Activation", "is_weight", "SELU_SCALE"):
        assert shared in {name for _, name in SHARED}
    for own in ("prelu", "normal", "cross_entropy", "_RATIO", "_newton"):
        assert own not in {name for _, name in SHARED}
    assert (budgets.KERNELS / "embedding.py", "embedding_grad") not in SHARED  # for its lowering


def test_every_name_leads_to_a_definition():
    path, name = additions()["layer", "Dense"]
    assert budgets.resolved(path, "kernels", "linear") == (budgets.KERNELS / "dense.py", "linear")
    assert budgets.resolved(path, name) == (path, name)
    assert budgets.resolved(path, "dataclass") is None
    assert module(path)[0]["Dense"][0] == 12
