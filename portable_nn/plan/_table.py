"""A plan as text: its calls under the four steps of backpropagation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from portable_nn.kernels import Call
from portable_nn.plan._buffers import Schedule

if TYPE_CHECKING:
    from portable_nn.plan._plan import Plan


def table(plan: Plan) -> str:
    """The calls under the four steps of backpropagation, then who fills the fed buffers."""
    rows = [(title, line) for title, call in _steps(plan) for line in _lines(plan, call)]
    widths = [max(len(line[column]) for _, line in rows) for column in (0, 1)]
    fixed, a_row = plan.cost(0), plan.cost(1) - plan.cost(0)
    cost = f"{a_row:,} operations a row, {fixed:,} a step"
    text = [f"{plan.mode} plan, {plan.dtype}, {len(plan.calls)} calls on n rows: {cost}"]
    for index, (title, (name, shape, call)) in enumerate(rows):
        if index == 0 or rows[index - 1][0] != title:
            text.append(title)
        text.append(f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {call}".rstrip())
    fed = defaultdict(list)
    for buffer in plan.of_kind("fed"):
        fed[type(buffer.source).__name__.lower()].append(buffer.name)
    return "\n".join([*text, *[f"fed by {who}: {', '.join(what)}" for who, what in fed.items()]])


def _steps(plan: Plan) -> Iterator[tuple[str, Call]]:
    loss = plan.outputs.get("loss")
    title = "I    forward"
    for call in plan.calls:
        if loss in call.outputs:
            yield "II   error", call
            title = "III  gradients"
        else:
            yield "IV   update" if call.section == "update" else title, call


def _lines(plan: Plan, call: Call) -> Iterator[tuple[str, str, str]]:
    """One line an output: its name (or what it becomes), its shape; the call on the first."""
    becomes = {value: name for name, value in plan.carry.get(call.section, {}).items()}
    scheduled = [name for name in call.inputs if isinstance(plan.buffers[name].source, Schedule)]
    inputs = [name for name in call.inputs if name not in scheduled]
    options = [f"{name}={value!r}" for name, value in call.attributes.items()]
    arguments = ", ".join([*inputs, *(["*schedule"] if scheduled else []), *options])
    text = f"{call.kernel.name}({arguments})"
    for name in call.outputs:
        shape = " x ".join(map(str, plan.buffers[name].shape)) or "()"
        yield f"{becomes[name]} <-" if name in becomes else name, shape, text
        text = ""
