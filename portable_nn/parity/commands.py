"""``portable-nn parity`` and ``portable-nn fingerprint``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from portable_nn.activations import ACTIVATIONS
from portable_nn.backend import get_backend
from portable_nn.datasets import load_digits
from portable_nn.errors import DataError, NetworkError
from portable_nn.layers import Dense, mlp
from portable_nn.network import DTYPES
from portable_nn.parity._checks import check_layer, check_loss, check_optimizer
from portable_nn.parity._exact import exact_network
from portable_nn.parity._fingerprint import fingerprint as look_at
from portable_nn.parity._report import Report
from portable_nn.parity._script import check_script
from portable_nn.parity._training import check_training
from portable_nn.progress import Progress
from portable_nn.settings import COUNT, SEED, SIZES, Kind

BACKEND = "numpy, cupy, auto, torch, jax, cupy:1, ... (else $PORTABLE_NN_BACKEND, else numpy)"


def parity(arguments: argparse.Namespace) -> int:
    """Train on each backend; print where it departs from the formulas. 1 if one does."""
    _check_script(arguments)
    said, equal = [], True
    for name, _ in arguments.backends:
        get_backend(name)  # before the first is trained on
    for name, dtype in arguments.backends:
        report = _parity_of(name, dtype, arguments)
        exact = exact_network(name, report.dtype)
        edges = _edges_of(name, report.dtype, arguments)
        right = exact.equal and report.ok and all(one.ok for one in edges)
        said.append(f"{name} {report.dtype} is {'equal' if right else 'not equal'}")
        equal = equal and right
        found = report.to_dict() | {"exact": exact.equal, "exact_verdict": str(exact)}
        found["edges"] = [one.verdict for one in edges if not one.ok]
        lines = [str(exact), *map(_edge_line, edges), str(report), ""]
        print(json.dumps(found) if arguments.json else "\n".join(lines), flush=True)
    if len(said) > 1 and not arguments.json:
        print(f"{', '.join(said)}.")
    return 0 if equal else 1


def _check_script(arguments: argparse.Namespace) -> None:
    """What makes the network of the digits says nothing about a script, and the other way round."""
    given = [name for name in OF_DIGITS if getattr(arguments, name) is not None]
    if arguments.script and given:
        name = given[0].replace("_", "-")
        arguments.fail(f"argument --{name}: not allowed with argument --script")
    if arguments.arguments and not arguments.script:
        arguments.fail("argument --script: is needed for arguments of a script")
    for name, value in OF_DIGITS.items():
        setattr(arguments, name, value if name not in given else getattr(arguments, name))


OF_DIGITS = {"hidden": [64, 64], "activation": "relu", "batch_size": 128, "seed": 0}
"""Options of the network that learns digits, with their defaults."""


def _parity_of(name: str, dtype: str, arguments: argparse.Namespace) -> Report:
    show, x, y = not arguments.quiet, *load_digits()
    with Progress(1, arguments.steps, show=show) as bar:
        options: dict[str, Any] = {
            "backend": name, "steps": arguments.steps, "trajectory": arguments.trajectory,
            "reference": arguments.reference, "progress": lambda: bar.steps(1),
        }  # fmt: skip
        if arguments.script:
            return _parity_of_script(dtype, arguments, options)
        layers = mlp(arguments.hidden, outputs=10, activation=arguments.activation)
        return check_training(
            layers, x, y, loss="cross_entropy", dtype=dtype or DTYPES[0],
            batch_size=arguments.batch_size, seed=arguments.seed, **options,
        )  # fmt: skip


def _edges_of(name: str, dtype: str, arguments: argparse.Namespace) -> list[Report]:
    """The kernels of the network of digits, alone, on inputs at the edge."""
    if arguments.script or not arguments.edges:
        return []
    where: dict[str, Any] = {"backend": name, "dtype": dtype}
    activation = ACTIVATIONS[arguments.activation]()
    found = [check_layer(layer, **where) for layer in (Dense(8), activation)]
    found += [check_loss("cross_entropy", **where), check_optimizer("adam", **where)]
    return [report for reports in found for report in reports]


def _edge_line(report: Report) -> str:
    kernels = {one.kernel for one in report.worst if one.check.startswith("edge")}
    alone = f"{', '.join(sorted(kernels))}: right at the edges, in {report.calls} calls."
    return f"{report.backend} {report.dtype}: {alone}" if report.ok else report.verdict


def _parity_of_script(
    dtype: str, arguments: argparse.Namespace, options: Mapping[str, Any]
) -> Report:
    """What a script prints goes to standard error, and nowhere if that is to be quiet."""
    script, fail = arguments.script, arguments.fail
    with ExitStack() as stack:
        there = stack.enter_context(Path(os.devnull).open("w")) if arguments.quiet else sys.stderr
        stack.enter_context(redirect_stdout(there))
        if arguments.quiet:
            stack.enter_context(redirect_stderr(there))
        try:
            report = check_script(script, arguments.arguments, **options)
        except (DataError, NetworkError) as error:
            wrong = str(error)
        else:
            wrong = "" if dtype in ("", report.dtype) else f"{script} trains in {report.dtype}"
    if wrong:
        fail(f"argument --script: {wrong}")
    return report


def fingerprint(arguments: argparse.Namespace) -> int:
    """Print what the arithmetic of a backend does; 1 if it is not as it should be."""
    name, dtype = _backend_and_dtype(arguments.backend or "")
    found = look_at(name or None, dtype or arguments.dtype)
    print(json.dumps(found.to_dict()) if arguments.json else found)
    return 0 if found.ok else 1


def _backend_and_dtype(text: str) -> tuple[str, str]:
    """``("torch:cuda:0", "float64")`` of ``"torch:cuda:0:float64"``; no dtype if none is said."""
    name, _, dtype = text.rpartition(":")
    return (name, dtype) if dtype in DTYPES and name else (text, "")


BACKENDS = Kind(
    "names of backends, separated by commas",
    (str,),
    lambda text: [_backend_and_dtype(name) for name in text.split(",")],
    lambda names: all(name for name, _ in names),
)
REFERENCE = Kind(
    "a backend and a dtype, numpy:float64 say",
    (str,),
    _backend_and_dtype,
    lambda found: bool(found[1]),
)


def add_parity(parser: argparse.ArgumentParser) -> None:
    """The options of ``parity``."""
    add = parser.add_argument
    names = "with commas between; numpy:float64, torch:cuda:0, ... (%(default)s)"
    usual = os.environ.get("PORTABLE_NN_BACKEND") or "numpy"
    add("--backends", type=BACKENDS, default=usual, metavar="NAMES", help=names)
    wider = "what formulas are evaluated in, numpy:float64 say (NumPy in a wider type)"
    add("--reference", type=REFERENCE, metavar="NAME", help=wider)
    add("--steps", type=COUNT, default=200, help="updates that are looked at (%(default)s)")
    hidden = "hidden layers of a network that learns digits (64,64)"
    add("--hidden", type=SIZES, metavar="SIZES", help=hidden)
    add("--activation", choices=sorted(ACTIVATIONS), help="(relu)")
    add("--batch-size", type=COUNT, help="rows an update (128)")
    add("--seed", type=SEED, help="of initial weights and order (0)")
    script = "a training script instead, run as it is on each backend until the last of the steps"
    add("--script", metavar="FILE", help=script)
    add("arguments", nargs="*", help="arguments of the script; '--' before the first")
    follow = "follow the whole training with one by the formulas, which takes a while (on)"
    add("--trajectory", action=argparse.BooleanOptionalAction, default=True, help=follow)
    edges = "call kernels alone too, on large, tiny, equal, one row, ... (on; slow where compiled)"
    add("--edges", action=argparse.BooleanOptionalAction, default=True, help=edges)
    add("--json", action="store_true", help="a line of JSON for each backend")
    add("--quiet", action="store_true", help="no progress on standard error")


def add_fingerprint(parser: argparse.ArgumentParser) -> None:
    """The options of ``fingerprint``."""
    parser.add_argument("backend", nargs="?", help=BACKEND)
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
