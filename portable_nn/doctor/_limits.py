"""What Linux lets this process use: the limits of its control groups, as containers have them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def core_limit(root: Path = Path("/")) -> float | None:
    """How many cores' worth of time this process may use; None if there is no limit."""
    shares = []
    for group in _groups("cpu", root):
        first = _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        numbers = _numbers(group / "cpu.max") or first
        if len(numbers) == 2 and min(numbers) > 0:
            shares.append(numbers[0] / numbers[1])
    return min(shares, default=None)


MEMORY = (
    ("memory.max", "memory.current", ("active_file", "inactive_file")),
    (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
)
"""Of both versions of groups: the limit, what is in use, and what of it holds files' pages."""


def memory_limits(root: Path = Path("/")) -> list[tuple[int, int]]:
    """Of each group that has a limit: how many bytes it is, and how many of them are free."""
    found = []
    for group in _groups("memory", root):
        for most, used, files in MEMORY:
            limit = sum(_numbers(group / most))
            if limit > 0:
                held = max(0, sum(_numbers(group / used)) - _pages(group, files))
                found.append((limit, max(0, limit - held)))
    return found


def _pages(group: Path, names: Sequence[str]) -> int:
    """Bytes of files' pages, which a group gives up when it needs memory."""
    words = (line.split() for line in _text(group / "memory.stat").splitlines())
    return sum(int(word[1]) for word in words if word[0] in names)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's groups, and of all groups that these are in."""
    lines = _text(root / "proc/self/cgroup").split("\n")
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        own = top / path.strip("/")
        yield from [own, *own.parents][: len(own.parts) - len(top.parts) + 1]


def _numbers(file: Path) -> tuple[int, ...]:
    """The numbers in a file, -1 for ``max``; none if there is no such file, or other words."""
    try:
        return tuple(-1 if word == "max" else int(word) for word in _text(file).split())
    except ValueError:
        return ()


def _text(file: Path) -> str:
    try:
        return os.fsdecode(file.read_bytes())  # names of groups are any bytes, as those of files
    except OSError:
        return ""
