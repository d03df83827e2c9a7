"""What is said goes to standard output at once, and with its raw numbers to files at the end."""

import json
from pathlib import Path

from .machine import today

RESULTS = Path(__file__).parents[1] / "results"
_head, _said = [], []


def begin(lines):
    """What stands at the head of every file."""
    _head.extend(lines)
    print(*lines, sep="\n", flush=True)


def say(*lines):
    for line in lines:
        print(line, flush=True)
        _said.append(line)


def path(name):
    """Of a file of today among the results."""
    return RESULTS / f"{today()}-cpu-{name}"


def keep(part, raw, write):
    """Write what was said of a part, and its raw numbers, if files are wanted."""
    if write:
        path(f"{part}.txt").write_text("\n".join([*_head, "", *_said]) + "\n")
        path(f"{part}.json").write_text(json.dumps(raw) + "\n")
        print(f"written: {path(part)}.txt, .json", flush=True)
    _said.clear()
