"""``portable-nn``: the main job from the shell.

Results go to standard output, progress and errors to standard error. Exit status: 0; 1 the
work failed; 2 the call was wrong, or its backend is missing; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeVar

from portable_nn import __version__
from portable_nn.backend import get_backend
from portable_nn.datasets import load_digits, split
from portable_nn.errors import BackendError, PortableNNError
from portable_nn.layers import mlp
from portable_nn.network import DTYPES, Network
from portable_nn.optimizers import Adam

T = TypeVar("T")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` is ``sys.argv[1:]`` if None. Returns the exit status.

    Raises
    ------
    SystemExit
        With status 2 if the arguments are wrong, 0 after ``--help`` and ``--version``.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
    except BackendError as error:
        return _stopped(str(error), 2)
    except (PortableNNError, MemoryError) as error:
        return _stopped(str(error), 1)
    except KeyboardInterrupt:
        return _stopped("interrupted", 130)
    return 0


def _stopped(why: str, status: int) -> int:
    print(f"portable-nn: {' '.join(why.split())}", file=sys.stderr)  # one line, whatever it says
    return status


def train(arguments: argparse.Namespace) -> None:
    """Train on four fifths of the rows, drawn by the seed; print the accuracy on the rest."""
    backend = get_backend(arguments.backend)
    x, y, x_test, y_test = split(*load_digits(), seed=arguments.seed)
    network = Network(mlp(arguments.hidden, outputs=10), arguments.dtype)
    began = perf_counter()
    network.fit(
        x, y, loss="cross_entropy", optimizer=Adam(arguments.learning_rate),
        epochs=arguments.epochs, batch_size=arguments.batch_size, seed=arguments.seed,
        backend=backend, progress=not arguments.quiet,
    )  # fmt: skip
    seconds = perf_counter() - began
    accuracy = network.score(x_test, y_test)
    print(f"test accuracy {accuracy:.4f} on {len(x_test)} rows not trained on")
    print(
        f"trained {arguments.epochs} epochs on {len(x)} rows in {seconds:.2f} s "
        f"(backend {backend.name}, device {backend.device}, dtype {network.dtype})"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portable-nn", description="Train neural networks on any array API library."
    )
    parser.add_argument("--version", action="version", version=f"portable-nn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "train a network on data and print its accuracy on rows held back"
    _add_train(commands.add_parser("train", help=text, description=text))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=train)
    add = parser.add_argument
    add("data", choices=["digits"], help="digits: 1,797 images of 8 x 8 pixels, bundled")
    hidden = "hidden layers, with commas between; '--hidden=' for none (%(default)s)"
    add("--hidden", type=_SIZES, default="256,128", metavar="SIZES", help=hidden)
    add("--epochs", type=_COUNT, default=30, help="passes over the training rows (%(default)s)")
    add("--batch-size", type=_COUNT, default=64, help="rows an update (%(default)s)")
    add("--learning-rate", type=_RATE, default=1e-3, help="of Adam (%(default)s)")
    seed = "of test rows, initial weights and order; same on every backend (%(default)s)"
    add("--seed", type=_SEED, default=0, help=seed)
    backend = "numpy, torch, jax, cupy, torch:cuda:0, ... (else $PORTABLE_NN_BACKEND, else numpy)"
    add("--backend", help=backend)
    add("--dtype", choices=DTYPES, default=DTYPES[0], help="(%(default)s)")
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
