"""What a fit shows while it runs: a bar over the steps, and one line an epoch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Lines and bar go to standard error; the bar only to a terminal; off shows nothing."""

    def __init__(self, epochs: int, steps: int, *, show: bool) -> None:
        # A program without a console has no standard error, or a closed one.
        self._epochs = epochs
        self._show = show and sys.stderr is not None and not sys.stderr.closed
        self._bar = tqdm(
            total=epochs * steps,
            unit="step",
            leave=False,
            disable=not (self._show and sys.stderr.isatty()),
        )

    def steps(self, count: int) -> None:
        """So many more steps are done."""
        self._bar.update(count)

    def epoch(self, number: int, entry: Mapping[str, float]) -> None:
        """One more epoch is done, with these entries of the history."""
        if self._show:
            width = len(str(self._epochs))
            figures = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in entry.items()]
            self._bar.write(
                f"epoch {number:>{width}}/{self._epochs}  {'  '.join(figures)}", file=sys.stderr
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
