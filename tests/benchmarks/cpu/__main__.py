"""Training on the CPU beside other libraries. Run it on a quiet machine, in a clone:

``env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python -m tests.benchmarks.cpu``.

The rivals: ``pip install torch jax scikit-learn thinc keras``; with threadpoolctl and matplotlib
it also says which kind of processor NumPy takes this one for, and draws. What is missing is left
out by name. All parts take some ten minutes; ``steps`` alone, five.
"""

import argparse
import os
import time

from .contenders import CONTENDERS
from .endurance import endurance
from .fits import accuracy, fit, memory
from .imports import imports
from .jobs import MNIST
from .kernels import kernels
from .machine import description, load
from .pictures import DRAWN, plot
from .processes import refuse_settings_by_hand
from .report import begin, keep, say
from .scaling import scaling
from .steps import steps
from .workloads import WORKLOADS

PARTS = {
    part.__name__: part
    for part in [steps, fit, accuracy, memory, imports, kernels, scaling, endurance]
}


def at_least_one(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes 1 or more; got {text}")
    return int(text)


def parsed():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.cpu", description=__doc__, formatter_class=raw
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        choices=[*PARTS, "plot", []],
        help=f"of {', '.join(PARTS)}; or plot, to draw again. Without one, all are measured",
    )
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--rounds", type=at_least_one, default=11, help="of steps")
    parser.add_argument("--seconds", type=float, default=0.05, help="of a burst of steps, about")
    parser.add_argument("--fits", type=int, help="fits a rival, instead of each job's number")
    parser.add_argument("--many", type=int, default=1_000_000, help="steps of endurance")
    parser.add_argument("--mnist", help=f"folder of its four gzip files; or set {MNIST}")
    parser.add_argument("--one-thread", action="store_true", help="for each rival, and for us")
    parser.add_argument("--dry", action="store_true", help="write no files")
    return parser.parse_args()


def main():
    options = parsed()
    if options.parts == ["plot"]:
        return plot(options)
    refuse_settings_by_hand()
    if options.mnist:
        os.environ[MNIST] = options.mnist
    begin(description())
    for part in options.parts or PARTS:
        began = time.perf_counter()
        print(f"\n== {part}", flush=True)
        found = PARTS[part](options)
        say(f"\n{time.perf_counter() - began:.0f} s, load after {load()}")
        keep(part, found, not options.dry)
        if part in DRAWN and not options.dry:
            DRAWN[part](found, part)
    return None


if __name__ == "__main__":
    main()
