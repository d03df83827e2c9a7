"""What the doctor says: one finding, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line on this machine; ``do`` is advice, needed where ``fine`` is False."""

    topic: str
    what: str
    fine: bool = True
    do: str | None = None

    def __str__(self) -> str:
        lines = [f"{'ok' if self.fine else 'mend':<6}{self.topic:<11}{self.what}"]
        return "\n".join([*lines, f"{'':<17}-> {self.do}"] if self.do else lines)
