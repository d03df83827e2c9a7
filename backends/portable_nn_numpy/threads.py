"""How many threads BLAS may use while a step runs; afterwards it is as it was before.

BLAS has one number of threads for the whole process. It is set when a step begins and put back
when it ends, also where several steps run in threads of the caller's own.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from portable_nn.errors import BackendError

NO_THREADS, ALL_THREADS = 2 * 9_216, 8_000_000
"""Operations of the largest product: below the first BLAS takes one thread by itself, below the
second one is at least as fast, and does not wait for others on a busy machine."""

SECONDS = 2.0
"""How long what is known of the load of the machine is taken for true."""

_lock = threading.RLock()  # a signal's handler may run a step, too
_before: list[int] = []
_holders: set[int | None] = set()


@lru_cache(maxsize=1)
def _libraries() -> Sequence[Any]:
    """The BLAS libraries of this process whose threads can be set."""
    found: Sequence[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return found


def check_threads(threads: int | None) -> int | None:
    """The number given, if it is one and BLAS can be told; None stands for the default."""
    if threads is None:
        return None
    whole = isinstance(threads, int | np.integer) and not isinstance(threads, bool)
    if not whole or not 1 <= threads <= 1024:
        raise BackendError(f"threads is a whole number, 1 to 1024, or None; got {threads!r:.60}.")
    if not _libraries():
        raise BackendError(
            "the BLAS that NumPy uses here does not let itself be told how many threads to take; "
            "leave threads out."
        )
    if threads > (usable := _cores()):
        warnings.warn(
            f"threads={threads}, but this process may use {usable} cores; matrix products wait for "
            f"threads that do not run, which can take a hundred times as long.",
            stacklevel=4,
        )
    return int(threads)


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads:
    """A context in which BLAS takes ``threads`` threads, or what fits products of this size.

    ``operations`` are those of the largest product. Those of tiny ones BLAS does by itself on
    one thread, small ones are told to take one; large ones take all that BLAS had before, unless
    these are slower together than one, as where other programs need the cores (OpenBLAS: up to a
    hundred times).
    """

    def __init__(self, threads: int | None, operations: int) -> None:
        self._threads, self._operations = threads, operations
        self._idle = threads is None and (operations < NO_THREADS or not _libraries())

    def _wanted(self) -> int | None:
        """How many threads; None leaves BLAS as it is."""
        if self._threads is not None:
            return self._threads
        return 1 if self._operations < ALL_THREADS or _crowded() else None

    def __enter__(self) -> None:
        if not self._idle and (wanted := self._wanted()) is not None:
            try:
                _hold(wanted)
            except BaseException:  # Ctrl-C, say
                _release()
                raise

    def __exit__(self, *error: object) -> None:
        if not self._idle:
            _release()


def _hold(threads: int) -> None:
    """Set the number for this thread; what was set before the first is kept."""
    with _lock:
        _holders.intersection_update(thread.ident for thread in threading.enumerate())
        _holders.add(threading.get_ident())
        if not _before:
            _before[:] = [library.get_num_threads() for library in _libraries()]
        for library in _libraries():
            library.set_num_threads(threads)


def _release() -> None:
    """Put back what was set before, if no other thread holds it."""
    with _lock:
        _holders.discard(threading.get_ident())
        if _holders or not _before:
            return
        for library, threads in zip(_libraries(), _before, strict=True):
            library.set_num_threads(threads)
        _before.clear()


def _begin_anew() -> None:
    """In a child process only the thread that forked is there, and nobody has the lock."""
    global _lock
    _lock = threading.RLock()
    _holders.intersection_update([threading.get_ident()])
    if not _holders:
        _release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


_known = [-SECONDS, False]


def _crowded() -> bool:
    """Whether all threads together are slower than one, as measured a moment ago."""
    if perf_counter() - _known[0] >= SECONDS:
        several = max(library.get_num_threads() for library in _libraries()) > 1
        _known[:] = perf_counter(), several and _measured()
    return bool(_known[1])


def _measured() -> bool:
    a = np.ones((256, 256), np.float32)
    out = np.empty_like(a)
    with Threads(1, 0):
        alone = min(_seconds(a, out) for _ in range(3))
    return all(_seconds(a, out) > alone for _ in range(3))


def _seconds(a: Any, out: Any) -> float:
    began = perf_counter()
    a.dot(a, out)
    return perf_counter() - began
