"""Processes that take turns: each one does a burst of work when it is asked, and rests between.

A process that has finished its burst is stopped until its next turn, as the threads of its matrix
products would otherwise go on spinning for up to 0.2 s and slow the next one down.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's thread pools
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
BY_HAND = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", *ONE_THREAD]
PAUSE = 0.3  # seconds, where a process cannot be stopped


def environment(one_thread=False):
    """This tree's packages first, whatever is installed."""
    paths = [str(ROOT), str(ROOT / "backends"), os.environ.get("PYTHONPATH", "")]
    known = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return os.environ | known | (ONE_THREAD if one_thread else {})


def refuse_settings_by_hand():
    """End with a message if threads or the kind of processor are set: that is no user's case."""
    if found := [name for name in BY_HAND if name in os.environ]:
        without = " ".join(f"-u {name}" for name in found)
        sys.exit(
            f"{', '.join(found)} set by hand: the figures would not be what users get. Run "
            f"env {without} python -m tests.benchmarks.cpu {' '.join(sys.argv[1:])}"
        )


class Process:
    """A module run as a process that answers each line with one of JSON."""

    def __init__(self, module, *arguments, one_thread=False):
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in end()
        command = [sys.executable, "-m", f"tests.benchmarks.cpu.{module}", *map(str, arguments)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=ROOT,
            env=environment(one_thread),
        )

    def answer(self):
        """Its next line; ``{"failed": ...}`` if it ended instead."""
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self.errors.seek(0)
        last = self.errors.read().strip().splitlines()[-1:]
        return {"failed": " ".join(last)[:200] or f"ended with {self._process.wait()}"}

    def ask(self):
        """Let it work, and stop it again."""
        self._signal("SIGCONT")
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        answer = self.answer()
        self.rest()
        return answer

    def rest(self):
        if not self._signal("SIGSTOP"):
            time.sleep(PAUSE)

    def end(self):
        self._signal("SIGCONT")
        self._process.kill()
        self._process.communicate()
        self.errors.close()

    def _signal(self, name):
        number = getattr(signal, name, None)
        if number is not None and self._process.poll() is None:
            self._process.send_signal(number)
        return number is not None
