"""``portable-nn``: the main jobs from the shell.

Results go to standard output, progress and errors to standard error. Exit status: 0; 1 the
work failed; 2 the call was wrong, or its backend is missing; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from portable_nn import __version__, checks
from portable_nn.backend import Backend, backend_names, get_backend
from portable_nn.datasets import load_digits, split
from portable_nn.doctor.commands import add_doctor, doctor
from portable_nn.errors import (
    BackendError,
    DataError,
    FileError,
    NotFittedError,
    PortableNNError,
    ShapeError,
)
from portable_nn.layers import mlp
from portable_nn.network import DTYPES, MODES, Network
from portable_nn.optimizers import Adam
from portable_nn.parity.commands import (
    BACKEND,
    add_fingerprint,
    add_parity,
    fingerprint,
    parity,
)
from portable_nn.reading import read_csv, read_npz
from portable_nn.saved import load
from portable_nn.settings import COUNT, RATE, SEED, SIZES, read_settings
from portable_nn.tables import Columns, Table, target_values
from portable_nn.tasks import TASKS, Task, task_of

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


Command = Callable[[argparse.Namespace], int | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` is ``sys.argv[1:]`` if None. Returns the exit status.

    Raises
    ------
    SystemExit
        With status 2 if the arguments are wrong, 0 after ``--help`` and ``--version``.
    """
    arguments = _parsed(sys.argv[1:] if argv is None else argv)
    try:
        status: int = arguments.command(arguments) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, head say, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        return 1
    except (BackendError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        return _stopped(str(error), 2)
    except (PortableNNError, MemoryError, OSError) as error:
        return _stopped(str(error), 1)
    except UnicodeEncodeError as error:
        return _stopped(f"{error}; PYTHONIOENCODING=utf-8 may help", 1)
    except KeyboardInterrupt as error:
        return _stopped(f"interrupted{error}", 130)
    return status


def _stopped(why: str, status: int) -> int:
    print(f"portable-nn: {' '.join(why.split())}", file=sys.stderr)  # one line, whatever it says
    return status


# -- train ---------------------------------------------------------------------------------


def train(arguments: argparse.Namespace) -> None:
    """Train on four fifths of the rows, drawn by the seed; print the score on the rest."""
    _check_out(arguments)
    backend = get_backend(arguments.backend, threads=arguments.threads)
    task = _task(arguments)
    network = Network(mlp(arguments.hidden, outputs=task.outputs), arguments.dtype)
    with _about(arguments.data):
        x, y, x_test, y_test = split(task.x, task.y, seed=arguments.seed, every_class=task.classes)
        began = perf_counter()
        _fit(network, x, y, task, backend, arguments)
        seconds = perf_counter() - began
        score = _score(network, task, x_test, y_test)
    print(f"{arguments.data}: {task}")
    print(f"test {score} on {len(x_test)} rows not trained on")
    print(
        f"trained {arguments.epochs} epochs on {len(x)} rows in {seconds:.2f} s "
        f"(backend {backend.name}, device {backend.device}, dtype {network.dtype})"
    )
    if arguments.out:
        network.save(arguments.out)
        print(f"saved {arguments.out}")


@contextmanager
def _about(path: str) -> Iterator[None]:
    """Name the file in an error about what is in it."""
    try:
        yield
    except (DataError, ShapeError) as error:
        if str(error).startswith(path):
            raise
        raise DataError(f"{path}: {error}") from error


def _check_out(arguments: argparse.Namespace) -> None:
    """An hour of training is not to end in a folder that is not there, or eat its own data."""
    if not arguments.out:
        return
    out = Path(arguments.out)
    right = out.is_file() if out.exists() else out.parent.is_dir()
    if not right or not os.access(out if out.exists() else out.parent, os.W_OK):
        arguments.fail(f"argument --out: cannot write a file {arguments.out!r}")
    for other in (arguments.data, arguments.config):
        if other and out.exists() and Path(other).exists() and out.samefile(other):
            arguments.fail(f"argument --out: {arguments.out!r} is what the training reads")


def _fit(
    network: Network, x: HostArray, y: HostArray, task: Task, backend: Backend,
    arguments: argparse.Namespace,
) -> None:  # fmt: skip
    try:
        network.fit(
            x, y, loss="cross_entropy" if task.classes else "mean_squared_error",
            optimizer=Adam(arguments.learning_rate), epochs=arguments.epochs,
            batch_size=arguments.batch_size, standardize=task.standardize, seed=arguments.seed,
            backend=backend, progress=not arguments.quiet,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        network.columns = task.columns
        raise KeyboardInterrupt(_save_what_there_is(network, arguments.out)) from error
    network.columns = task.columns


def _save_what_there_is(network: Network, out: str | None) -> str:
    """Save a network whose training was interrupted; returns what to say of it."""
    try:
        if out:
            network.save(out)
    except NotFittedError:  # interrupted before the first step
        return ""
    epochs = len(network.history.get("loss", []))
    return f"; saved {out} as it stood after {epochs} whole epochs" if out else ""


def _score(network: Network, task: Task, x: HostArray, y: HostArray) -> str:
    score = network.score(x, y)
    if task.classes:
        return f"accuracy {score:.4f}"
    error = math.sqrt(((network.predict(x) - y) ** 2).mean())
    return f"R2 {score:.4f}, root mean squared error {error:.6g}"


def _task(arguments: argparse.Namespace) -> Task:
    data, fail = arguments.data, arguments.fail
    if data == "digits" and arguments.task == "regress":
        fail("argument --task: digits are classes")
    table = None if data == "digits" else _table(arguments, f"digits, {FILES}")
    if table is None and arguments.target:
        fail(f"argument --target: {data} has targets of its own; a text table takes --target")
    if data == "digits":
        return Task(*load_digits(), classes=True, standardize=False)
    if table is not None:
        return _columns_task(table, arguments)
    x, y = read_npz(data)
    if y is None:
        raise DataError(f"{data} has no array 'y' to learn from.")
    with _about(data):  # before rows change their places
        return task_of(checks.table(x), checks.targets(y, len(x)), arguments.task, of=f"{data}: y")


def _columns_task(table: Table, arguments: argparse.Namespace) -> Task:
    target = arguments.target
    if not target:
        arguments.fail(f"argument --target: is needed, one of {', '.join(table.columns):.300}")
    try:
        table.cells(target)
    except DataError as error:
        arguments.fail(f"argument --target: {error}")
    y, columns = target_values(table, target), Columns.learn(table, target)
    of = f"{table.path}: column {target!r:.60}"
    return task_of(columns.encode(table), y, arguments.task, of=of, columns=columns)


FILES = "a text table (.csv, .tsv, .txt, .data, also .gz) or an .npz file"


def _table(arguments: argparse.Namespace, wanted: str) -> Table | None:
    """The table of a text file; None if the data are an npz file."""
    data = arguments.data
    if not data or not Path(data).exists():
        arguments.fail(f"argument data: takes {wanted}; there is no file {data!r}")
    return None if Path(data).suffix.lower() == ".npz" else read_csv(data)


# -- the other commands ----------------------------------------------------------------------


def predict(arguments: argparse.Namespace) -> None:
    """Print a prediction for each row of the data, as CSV."""
    network = load(arguments.model, backend=arguments.backend)
    with _about(arguments.data):
        predictions = network.predict(_inputs(network, arguments))
    rows = predictions.reshape(len(predictions), -1)
    names = ["prediction"]
    if rows.shape[1] > 1:
        names = [f"prediction{k}" for k in range(1, rows.shape[1] + 1)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_text(value) for value in row] for row in rows)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _inputs(network: Network, arguments: argparse.Namespace) -> HostArray:
    table = _table(arguments, FILES)
    if table is None:
        return read_npz(arguments.data)[0]
    numbers = Columns(dict.fromkeys(table.columns))  # where nobody said what text stands for
    return (network.columns or numbers).encode(table)


def backends(arguments: argparse.Namespace) -> None:
    """Print what could run a plan here, and what keeps the rest from it."""
    names = backend_names()
    for name in names:
        try:
            state = f"usable, on {get_backend(name).device}"
        except BackendError as error:
            state = f"not usable: {error}"
        print(f"{name:<{max(map(len, names))}}  {state}")
    print(f"backend='auto' is {get_backend('auto').name} here")


def plan(arguments: argparse.Namespace) -> None:
    """Print the kernel calls of one step of a saved network."""
    print(load(arguments.model, backend="numpy").plan(mode=arguments.mode))


# -- arguments -------------------------------------------------------------------------------


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; what ``--config`` says holds where the command line says nothing."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if getattr(arguments, "config", None):
        try:
            arguments.set_defaults(**read_settings(arguments.config, arguments.options))
        except FileError as error:
            arguments.fail(f"argument --config: {error}")
        arguments = parser.parse_args(argv)
    if getattr(arguments, "data", "") is None:
        arguments.fail("the following arguments are required: data")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portable-nn", description="Train neural networks on any array API library."
    )
    parser.add_argument("--version", action="version", version=f"portable-nn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Command, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(command.__name__, help=text, description=text)
        made.set_defaults(command=command, fail=made.error)
        return made

    _add_train(add(train, "train a network on data and print its score on rows held back"))
    asking = add(predict, "print the predictions of a saved network for rows of data, as CSV")
    asking.add_argument("model", help="a file that train --out, or Network.save, wrote")
    asking.add_argument("data", help=f"{FILES} of x, with the columns of the training")
    asking.add_argument("--backend", help=BACKEND)
    add(backends, "print which backends are usable here, why not the others, and what to install")
    planning = add(plan, "print the plan of a saved network: the kernel calls of one step")
    planning.add_argument("model", help="a file that train --out, or Network.save, wrote")
    planning.add_argument("--mode", choices=MODES, default=MODES[0], help="(%(default)s)")
    checking = add(parity, "train on each backend and compare every kernel call with its formula")
    add_parity(checking)
    looking = add(fingerprint, "print what the arithmetic of a backend does, and if it is right")
    add_fingerprint(looking)
    healing = add(doctor, "print what slows training down on this machine, and what to do about it")
    add_doctor(healing)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    data = "digits (1,797 images of 8 x 8 pixels, bundled), " + FILES + " of x and y"
    text = "whether targets are classes or numbers; auto takes text, and whole numbers of at most "
    hidden = "hidden layers, with commas between; '--hidden=' for none (%(default)s)"
    seed = "of test rows, initial weights and order; same on every backend (%(default)s)"
    threads = "of NumPy's matrix products (by their size, and how busy the machine is)"
    quiet = argparse.BooleanOptionalAction
    options = [
        add("data", nargs="?", help=data),
        add("--target", metavar="COLUMN", help="of a text table: what to predict from the others"),
        add("--task", choices=TASKS, default=TASKS[0], help=f"{text}20 values, as classes"),
        add("--hidden", type=SIZES, default="256,128", metavar="SIZES", help=hidden),
        add("--epochs", type=COUNT, default=30, help="passes over the training rows (%(default)s)"),
        add("--batch-size", type=COUNT, default=64, help="rows an update (%(default)s)"),
        add("--learning-rate", type=RATE, default=1e-3, help="of Adam (%(default)s)"),
        add("--seed", type=SEED, default=0, help=seed),
        add("--backend", help=BACKEND),
        add("--threads", type=COUNT, help=threads),
        add("--dtype", choices=DTYPES, default=DTYPES[0], help="(%(default)s)"),
        add("--out", metavar="FILE", help="save the network, model.safetensors say"),
        add("--quiet", action=quiet, default=False, help="no progress on standard error"),
    ]
    add("--config", metavar="FILE", help="TOML with these settings; the command line wins")
    parser.set_defaults(options=options, set_defaults=parser.set_defaults)


if __name__ == "__main__":
    sys.exit(main())
