"""Training on the CPU beside other libraries. Run it on a quiet machine, in a clone:

``env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python -m tests.benchmarks.cpu``.
"""

import argparse

from .machine import description, load
from .processes import refuse_settings_by_hand
from .report import keep, say
from .steps import steps
from .workloads import WORKLOADS

PARTS = {"steps": steps}


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cpu", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--contenders", nargs="+", help="ours and the control, and these")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="of a burst, about")
    parser.add_argument("--one-thread", action="store_true", help="one thread for each library")
    parser.add_argument("--dry", action="store_true", help="write no files")
    options = parser.parse_args()
    refuse_settings_by_hand()
    say(*description())
    for part in options.parts or PARTS:
        say(f"\n== {part}")
        found = PARTS[part](options)
        if not options.dry:
            keep(part, found)
    say(f"\nload after {load()}")


if __name__ == "__main__":
    main()
