"""Which calls of a plan a wrong value may come from."""

from __future__ import annotations

from collections.abc import Iterable

from portable_nn.plan import Plan


def writer(plan: Plan, name: str) -> int:
    """Which call of a plan writes a buffer, or the next value of a parameter or state."""
    becomes = {state: value for carry in plan.carry.values() for state, value in carry.items()}
    value = becomes.get(name, name)
    return next(k for k, call in enumerate(plan.calls) if value in call.outputs)


def suspects(plan: Plan, wrong: str, right: Iterable[str]) -> tuple[str, ...]:
    """The kernels before the writer of a wrong buffer that may be the cause, in order.

    Those that contribute to it and to nothing that was found right.
    """
    calls = sorted(_before(plan, [wrong]) - _before(plan, right))
    names = [plan.calls[k].kernel.name for k in calls if k != writer(plan, wrong)]
    return tuple(dict.fromkeys(names))


def _before(plan: Plan, names: Iterable[str]) -> set[int]:
    """The calls that write these buffers, or that contribute to them."""
    found = {writer(plan, name) for name in names}
    needed = {name for k in found for name in plan.calls[k].inputs}
    for k in reversed(range(max(found, default=0))):
        if not needed.isdisjoint(plan.calls[k].outputs):
            found.add(k)
            needed.update(plan.calls[k].inputs)
    return found
