"""A training script, run as it is, on a backend that is looked on at."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from portable_nn import checks
from portable_nn.backend import Where, get_backend, only
from portable_nn.errors import DataError, NetworkError
from portable_nn.parity._recorder import Recorder
from portable_nn.parity._report import Report
from portable_nn.parity._training import opened
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
        If the script fails, and nothing wrong was found before.
    """
    if not Path(path).is_file():
        raise DataError(f"there is no script {str(path)!r}.")
    agenda = Agenda(checks.count(steps, "steps"), follow=trajectory, stop=True, progress=progress)
    watched = Watched(get_backend(backend), Recorder(), agenda, opened(reference))
    notes = []
    with only(watched), _as_main(path, arguments):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except Enough:
            notes.append(f"{path} was stopped after update {agenda.updates}.")
        except (Exception, SystemExit) as error:
            if not isinstance(error, SystemExit) or error.code not in (None, 0):
                notes.append(_failed(path, error))
                if not watched.recorder.faults:
                    raise NetworkError(notes[0]) from error
    if not agenda.updates and not watched.recorder.faults:
        raise DataError(f"{path} has trained no network of portable_nn.")
    if (count := len(agenda.trainings)) > 1:
        notes.append(f"Its {count} trainings have one count of steps.")
    return watched.report(" ".join(notes))


def _failed(path: str | Path, error: BaseException) -> str:
    """How a script failed, and in which of its lines."""
    if isinstance(error, SystemExit):
        return f"{path} ended with {error.code!r:.200}."
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == Path(path)]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{path} failed{where} with {type(error).__name__}: {error!s:.200}".rstrip(" .:") + "."


@contextmanager
def _as_main(path: str | Path, arguments: Sequence[str]) -> Iterator[None]:
    """``sys.argv``, ``sys.path`` and modules as ``python path arguments`` has them."""
    argv, folders, modules = sys.argv, sys.path, set(sys.modules)
    folder = Path(path).resolve().parent
    sys.argv, sys.path = [str(path), *arguments], [str(folder), *folders]
    try:
        yield
    finally:
        sys.argv, sys.path = argv, folders
        for name in set(sys.modules) - modules:  # its neighbours, which the next run needs anew
            file = getattr(sys.modules[name], "__file__", None)
            if file and folder in Path(file).resolve().parents:
                del sys.modules[name]
