"""What is said goes to standard output at once, and to a file at the end."""

import json
from pathlib import Path

from .machine import today

RESULTS = Path(__file__).parents[1] / "results"
_said = []


def say(*lines):
    for line in lines:
        print(line, flush=True)
        _said.append(line)


def path(name):
    """Of a file of today among the results."""
    return RESULTS / f"{today()}-cpu-{name}"


def keep(name, raw):
    """Write what was said, and the raw samples beside it."""
    path(f"{name}.txt").write_text("\n".join(_said) + "\n")
    path(f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n")
    print(f"written: {path(name)}.txt, .json")
