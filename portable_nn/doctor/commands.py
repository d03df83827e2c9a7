"""``portable-nn doctor``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from portable_nn.doctor._here import findings


def doctor(arguments: argparse.Namespace) -> int:
    """Print what was found on this machine; 1 if something should be mended."""
    found = findings(measured=arguments.measure, progress=not arguments.quiet)
    wrong = sum(not finding.fine for finding in found)
    if arguments.json:
        print(json.dumps({"fine": not wrong, "findings": [asdict(one) for one in found]}))
    else:
        end = f"{wrong} of {len(found)} findings to mend." if wrong else "Nothing to mend."
        print(_printable("\n".join([*map(str, found), end])))
    return 1 if wrong else 0


def _printable(text: str) -> str:
    """With escapes for what standard output cannot take, as values of variables may be anything."""
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """The options of ``doctor``."""
    add = parser.add_argument
    timed = (
        "time a product with each kind of OpenBLAS's kernels that fits, on one thread and on all"
    )
    add("--measure", action="store_true", help=f"{timed}; takes seconds")
    add("--json", action="store_true", help="one line of JSON")
    add("--quiet", action="store_true", help="no progress on standard error")
