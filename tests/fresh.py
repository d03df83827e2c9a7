"""A fresh interpreter that sees this working tree, whatever is installed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def start(*arguments, cwd=ROOT, **variables):
    """``python arguments...``, in warnings-as-errors mode, with both streams piped as text.

    ``variables`` are added to the environment.
    """
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PORTABLE_NN_")}
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env=environment | {"PYTHONPATH": path} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, cwd=ROOT, **variables):
    """``start``, waited for: ``(exit status, standard output, standard error)``."""
    with start(*arguments, cwd=cwd, **variables) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err
