"""How long a process takes to import each library, and to end."""

import subprocess
import sys
import time
from statistics import median

from .processes import environment
from .report import say

MODULES = ["", "numpy", "portable_nn", "jax", "sklearn.neural_network", "torch", "thinc.api"]
ROUNDS = 3


def seconds(module):
    """None if it is not installed."""
    code = f"import {module}" if module else "pass"
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=False
    )
    return time.perf_counter() - began if done.returncode == 0 else None


def imports(options):
    """In turn, after one round that fills the caches of the disk."""
    rounds = [{name: seconds(name) for name in MODULES} for _ in range(ROUNDS + 1)][1:]
    found = {name: [row[name] for row in rounds if row[name]] for name in MODULES}
    bare = median(found[""])
    say(f"seconds of a process, median of {ROUNDS}; more: than one that imports nothing")
    say(f"{'import':26}{'median':>9}{'more':>9}")
    for name, times in found.items():
        figures = f"{median(times):9.3f}{median(times) - bare:9.3f}" if times else " not installed"
        say(f"{name or 'nothing':26}{figures}")
    return found
