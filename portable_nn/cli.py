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
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from portable_nn import __version__
from portable_nn.backend import backend_names, get_backend
from portable_nn.datasets import load_digits, split
from portable_nn.errors import BackendError, DataError, PortableNNError
from portable_nn.layers import mlp
from portable_nn.network import DTYPES, MODES, Network
from portable_nn.optimizers import Adam
from portable_nn.saved import load
from portable_nn.tables import Columns, as_classes, is_classes, read_csv, read_npz, target_values

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

T = TypeVar("T")
TASKS = ("auto", "classify", "regress")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` is ``sys.argv[1:]`` if None. Returns the exit status.

    Raises
    ------
    SystemExit
        With status 2 if the arguments are wrong, 0 after ``--help`` and ``--version``.
    """
    arguments = _parsed(sys.argv[1:] if argv is None else argv)
    try:
        arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, head say, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush
        return 1
    except (BackendError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        return _stopped(str(error), 2)
    except (PortableNNError, MemoryError, OSError) as error:
        return _stopped(str(error), 1)
    except KeyboardInterrupt as error:
        return _stopped(f"interrupted{error}", 130)
    return 0


def _stopped(why: str, status: int) -> int:
    print(f"portable-nn: {' '.join(why.split())}", file=sys.stderr)  # one line, whatever it says
    return status


# -- train ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What to learn: inputs (n, features), targets, and how the columns of a file became inputs."""

    x: HostArray
    y: HostArray
    classes: bool
    standardize: bool
    columns: Columns | None = None

    @property
    def outputs(self) -> int:
        """One for each class, or for each number of a row."""
        return len(set(self.y.tolist())) if self.classes else self.y[:1].size

    def __str__(self) -> str:
        kind = f"{self.outputs} classes" if self.classes else "numbers to predict"
        return f"{len(self.x)} rows, {self.x.shape[1]} inputs, {kind}"


def train(arguments: argparse.Namespace) -> None:
    """Train on four fifths of the rows, drawn by the seed; print the score on the rest."""
    _check_out(arguments)
    backend, task = get_backend(arguments.backend), _task(arguments)
    x, y, x_test, y_test = split(task.x, task.y, seed=arguments.seed, every_class=task.classes)
    network = Network(mlp(arguments.hidden, outputs=task.outputs), arguments.dtype)
    network.columns = task.columns
    began = perf_counter()
    try:
        network.fit(
            x, y, loss="cross_entropy" if task.classes else "mean_squared_error",
            optimizer=Adam(arguments.learning_rate), epochs=arguments.epochs,
            batch_size=arguments.batch_size, standardize=task.standardize, seed=arguments.seed,
            backend=backend, progress=not arguments.quiet,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(_save_what_there_is(network, arguments.out)) from error
    seconds = perf_counter() - began
    print(f"{arguments.data}: {task}")
    print(f"test {_score(network, task, x_test, y_test)} on {len(x_test)} rows not trained on")
    print(
        f"trained {arguments.epochs} epochs on {len(x)} rows in {seconds:.2f} s "
        f"(backend {backend.name}, device {backend.device}, dtype {network.dtype})"
    )
    if arguments.out:
        network.save(arguments.out)
        print(f"saved {arguments.out}")


def _check_out(arguments: argparse.Namespace) -> None:
    """An hour of training is not to end in a folder that is not there."""
    out = arguments.out and Path(arguments.out)
    if out and (out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK)):
        arguments.fail(f"argument --out: cannot write a file {arguments.out!r}")


def _save_what_there_is(network: Network, out: str | None) -> str:
    """Save a network whose training was interrupted; returns what to say of it."""
    if not out or not network.history:
        return ""
    network.save(out)
    return f"; saved {out} after {len(network.history['loss'])} epochs"


def _score(network: Network, task: Task, x: HostArray, y: HostArray) -> str:
    score = network.score(x, y)
    if task.classes:
        return f"accuracy {score:.4f}"
    error = math.sqrt(((network.predict(x) - y) ** 2).mean())
    return f"R2 {score:.4f}, root mean squared error {error:.4g}"


def _task(arguments: argparse.Namespace) -> Task:
    data, suffix = arguments.data, Path(arguments.data or "").suffix.lower()
    if arguments.target and suffix != ".csv":
        arguments.fail("argument --target: goes with a .csv file")
    if data == "digits":
        return Task(*load_digits(), classes=True, standardize=False)
    if suffix not in READERS:
        arguments.fail(f"argument data: is digits, a .csv file or an .npz file; got {data!r}")
    x, y, columns = READERS[suffix](arguments)
    classes = is_classes(y) if arguments.task == "auto" else arguments.task == "classify"
    return Task(x, as_classes(y) if classes else y, classes, standardize=True, columns=columns)


def _csv(arguments: argparse.Namespace) -> tuple[HostArray, HostArray, Columns]:
    table = read_csv(arguments.data)
    if not arguments.target:
        arguments.fail(f"argument --target: is needed, one of {', '.join(table.columns)}")
    y = target_values(table, arguments.target)
    columns = Columns.learn(table, arguments.target)
    return columns.encode(table), y, columns


def _npz(arguments: argparse.Namespace) -> tuple[HostArray, HostArray, None]:
    x, y = read_npz(arguments.data)
    if y is None:
        raise DataError(f"{arguments.data} has no array 'y' to learn from.")
    return x, y, None


READERS: dict[str, Callable[[argparse.Namespace], tuple[HostArray, HostArray, Any]]] = {
    ".csv": _csv,
    ".npz": _npz,
}

# -- the other commands ----------------------------------------------------------------------


def predict(arguments: argparse.Namespace) -> None:
    """Print a prediction for each row of the data, as CSV."""
    network = load(arguments.model, backend=arguments.backend)
    predictions = network.predict(_inputs(network, arguments))
    rows = predictions.reshape(len(predictions), -1)
    names = ["prediction"]
    if rows.shape[1] > 1:
        names = [f"prediction{k}" for k in range(1, rows.shape[1] + 1)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([str(value) for value in row] for row in rows)


def _inputs(network: Network, arguments: argparse.Namespace) -> HostArray:
    suffix = Path(arguments.data).suffix.lower()
    if suffix == ".npz":
        return read_npz(arguments.data)[0]
    if suffix != ".csv":
        arguments.fail(f"argument data: is a .csv file or an .npz file; got {arguments.data!r}")
    table = read_csv(arguments.data)
    return (network.columns or Columns.learn(table)).encode(table)


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
    print(load(arguments.model).plan(mode=arguments.mode))


# -- arguments -------------------------------------------------------------------------------


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; the settings of ``--config`` stand before those of the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if getattr(arguments, "config", None):
        command, *rest = argv
        arguments = parser.parse_args([command, *_settings(arguments), *rest])
    if getattr(arguments, "data", "") is None:
        arguments.fail("the following arguments are required: data")
    return arguments


def _settings(arguments: argparse.Namespace) -> list[str]:
    """The settings of a TOML file as words of the command line."""
    path, given = arguments.config, vars(arguments)
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        arguments.fail(f"argument --config: {path}: {error}")
    names = [name.replace("_", "-") for name in given if name not in ("command", "fail", "config")]
    words = []
    for name, value in settings.items():
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
            arguments.fail(f"argument --config: {path} has a setting {name!r}; {hint}")
        if name == "data":
            words += [str(value)] if given["data"] is None else []
        elif isinstance(given[name.replace("-", "_")], bool):
            words += _flag(arguments, name, value)
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"--{name}={text}")
    return words


def _flag(arguments: argparse.Namespace, name: str, value: Any) -> list[str]:
    if not isinstance(value, bool):
        arguments.fail(f"argument --config: {name} is true or false; got {value!r}")
    return [f"--{name}"] if value else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portable-nn", description="Train neural networks on any array API library."
    )
    parser.add_argument("--version", action="version", version=f"portable-nn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(command.__name__, help=text, description=text)
        made.set_defaults(command=command, fail=made.error)
        return made

    _add_train(add(train, "train a network on data and print its score on rows held back"))
    asking = add(predict, "print the predictions of a saved network for rows of data, as CSV")
    asking.add_argument("model", help="a file that train --out, or Network.save, wrote")
    asking.add_argument("data", help=".csv with the columns of the training, or .npz with x")
    asking.add_argument("--backend", help=BACKEND)
    add(backends, "print which backends are usable here, why not the others, and what to install")
    planning = add(plan, "print the plan of a saved network: the kernel calls of one step")
    planning.add_argument("model", help="a file that train --out, or Network.save, wrote")
    planning.add_argument("--mode", choices=MODES, default=MODES[0], help="(%(default)s)")
    return parser


BACKEND = "numpy, cupy, auto, torch, jax, cupy:1, ... (else $PORTABLE_NN_BACKEND, else numpy)"


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    data = "digits (1,797 images of 8 x 8 pixels, bundled), a .csv file, or an .npz file of x and y"
    add("data", nargs="?", help=data)
    add("--target", metavar="COLUMN", help="of a .csv file: what to predict from the others")
    text = "whether targets are classes or numbers; auto takes text, and whole numbers of at most "
    add("--task", choices=TASKS, default=TASKS[0], help=f"{text}20 values, as classes")
    hidden = "hidden layers, with commas between; '--hidden=' for none (%(default)s)"
    add("--hidden", type=_SIZES, default="256,128", metavar="SIZES", help=hidden)
    add("--epochs", type=_COUNT, default=30, help="passes over the training rows (%(default)s)")
    add("--batch-size", type=_COUNT, default=64, help="rows an update (%(default)s)")
    add("--learning-rate", type=_RATE, default=1e-3, help="of Adam (%(default)s)")
    seed = "of test rows, initial weights and order; same on every backend (%(default)s)"
    add("--seed", type=_SEED, default=0, help=seed)
    add("--backend", help=BACKEND)
    add("--dtype", choices=DTYPES, default=DTYPES[0], help="(%(default)s)")
    add("--out", metavar="FILE", help="save the network, model.safetensors say")
    add("--config", metavar="FILE", help="TOML with these settings; the command line wins")
    add("--quiet", action="store_true", help="no progress on standard error")


def _checked(
    convert: Callable[[str], T], holds: Callable[[T], bool], wanted: str
) -> Callable[[str], T]:
    """The argument type of texts that ``convert`` to a value for which something ``holds``."""

    def parse(text: str) -> T:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not holds(value):
            raise argparse.ArgumentTypeError(f"takes {wanted}; got {text!r}")
        return value

    return parse


_COUNT = _checked(int, lambda count: count >= 1, "a whole number, 1 or more")
_SEED = _checked(int, lambda seed: seed >= 0, "a whole number, 0 or more")
_RATE = _checked(float, lambda rate: 0.0 < rate < math.inf, "a number above 0")
_SIZES = _checked(
    lambda text: [int(size) for size in text.split(",") if text],
    lambda sizes: all(size >= 1 for size in sizes),
    "sizes of 1 or more, separated by commas",
)

if __name__ == "__main__":
    sys.exit(main())
