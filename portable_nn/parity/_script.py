"""A training script, run as it is, on a backend that is looked on at."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from portable_nn import checks
from portable_nn.backend import Where, get_backend, only
from portable_nn.errors import DataError, NetworkError
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._watched import Agenda, Enough, Watched


def check_script(
    path: str | Path,
    arguments: Sequence[str] = (),
    *,
    backend: Where = None,
    steps: int = 200,
    trajectory: bool = False,
    reference: tuple[Where, str] | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Report:
    """Run a Python script as it is, and check the first updates that it trains for.

    Whatever backend the script asks for, it gets the one that is checked; it is stopped after
    the last of the steps. What is checked of them is what ``check_training`` checks, but that
    the hyper-parameters follow from the optimizer, which a script keeps to itself.

    Parameters
    ----------
    path, arguments
        The script, and its ``sys.argv[1:]``.
    backend, steps, trajectory, reference, progress
        As for ``check_training``.

    Raises
    ------
    DataError
        If there is no such file, or it trains nothing.
    NetworkError
        If the script fails.
    """
    if not Path(path).is_file():
        raise DataError(f"there is no script {str(path)!r}.")
    agenda = Agenda(checks.count(steps, "steps"), follow=trajectory, stop=True, progress=progress)
    asked = None if reference is None else (get_backend(reference[0]), reference[1])
    watched = Watched(get_backend(backend), Recorder(), agenda, asked)
    with only(watched), _as_main(path, arguments):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except Enough:
            pass
        except SystemExit as error:
            if error.code not in (None, 0):
                raise NetworkError(f"{path} ended with {error.code!r:.200}.") from error
        except Exception as error:
            kind = type(error).__name__
            raise NetworkError(f"{path} failed with {kind}: {error!s:.200}") from error
    if not agenda.updates:
        raise DataError(f"{path} has trained no network of portable_nn.")
    return watched.report()


@contextmanager
def _as_main(path: str | Path, arguments: Sequence[str]) -> Iterator[None]:
    """``sys.argv`` and ``sys.path`` as ``python path arguments`` has them."""
    argv, folders = sys.argv, sys.path
    sys.argv, sys.path = [str(path), *arguments], [str(Path(path).parent), *folders]
    try:
        yield
    finally:
        sys.argv, sys.path = argv, folders
