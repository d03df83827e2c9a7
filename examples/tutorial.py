"""What the tutorial scripts share: their options, and numbers side by side."""

import argparse
from pathlib import Path

import numpy as np

from portable_nn.plan import Schedule

TOLERANCE = 1e-12  # float64, relative to the larger of 1 and the largest number compared


def options(description, **defaults):
    """Read ``--backend``, ``--out`` and an option for each default: a dict for ``main``.

    A default that is a tuple names all choices, the default first.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", help="numpy (the default), cupy, torch, jax, ...")
    parser.add_argument("--out", type=Path, help="folder to write to; without it nothing is drawn")
    for name, given in defaults.items():
        value, *others = given if isinstance(given, tuple) else (given,)
        choices = [value, *others] if others else None
        look = {"type": type(value), "choices": choices, "help": f"default {value}"}
        parser.add_argument(f"--{name}", default=value, **look)
    given = vars(parser.parse_args())
    if given["out"]:
        given["out"].mkdir(parents=True, exist_ok=True)
    return given


def fixed(values):
    """An initializer that gives these values, whatever the seed."""
    return lambda draws, shape: np.reshape(values, shape)


def line(plan, name):
    """The line of a plan that writes a buffer, or the next value of a parameter or state."""
    becomes = {name: value for carry in plan.carry.values() for name, value in carry.items()}
    value = becomes.get(name, name)
    (call,) = [call for call in plan.calls if value in call.outputs]
    scheduled = [name for name in call.inputs if isinstance(plan.buffers[name].source, Schedule)]
    inputs = [name for name in call.inputs if name not in scheduled]
    inputs += ["*schedule"] if scheduled else []
    return f"{', '.join(call.outputs)} = {call.kernel.name}({', '.join(inputs)})"


def side_by_side(equation, call, by_hand, from_plan):
    """Print an equation, the call that computes it, and the numbers of both.

    Numbers that are further apart than ``TOLERANCE`` end the script: then one is wrong.
    """
    both = [np.asarray(values, np.float64) for values in (by_hand, from_plan)]
    print(f"\n{equation}\n  plan:    {call}")
    for who, values in zip(["by hand", "plan"], both, strict=True):
        first = " ".join(f"{value:.15g}" for value in values.ravel()[:3])
        print(f"  {who + ':':<8} {first}{' ...' if values.size > 3 else ''}")
    by_hand, from_plan = both
    if by_hand.shape != from_plan.shape:
        raise SystemExit(f"{by_hand.shape} by hand, {from_plan.shape} by the plan: {equation}")
    with np.errstate(invalid="ignore"):
        apart = np.abs(by_hand - from_plan).max()
    print(f"  largest difference of {by_hand.size} numbers: {apart:.1e}")
    if not apart <= TOLERANCE * max(1.0, np.abs(from_plan).max()) < np.inf:
        raise SystemExit(f"these should agree: {equation}")
