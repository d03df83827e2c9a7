"""What Linux lets this process use: the limits of its control groups, as containers have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def core_limit(root: Path = Path("/")) -> float | None:
    """How many cores' worth of time this process may use; None if there is no limit."""
    shares = []
    for group in _groups("cpu", root):
        quota, period = _numbers(group / "cpu.max") or (
            *_numbers(group / "cpu.cfs_quota_us"),
            *_numbers(group / "cpu.cfs_period_us"),
        ) or (-1, 1)  # fmt: skip
        if quota > 0:
            shares.append(quota / period)
    return min(shares, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """How many bytes this process may use; None if there is no limit."""
    files = ("memory.max", "memory.limit_in_bytes")
    found = [_numbers(group / file) for group in _groups("memory", root) for file in files]
    return min((limit for (limit, *_) in filter(None, found) if limit > 0), default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's groups, and of all groups that these are in."""
    lines = _text(root / "proc/self/cgroup").splitlines()
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        own = top / path.strip("/")
        yield from [own, *own.parents][: len(own.parts) - len(top.parts) + 1]


def _numbers(file: Path) -> tuple[int, ...]:
    """The numbers in a file, -1 for ``max``; none if there is no such file."""
    return tuple(-1 if word == "max" else int(word) for word in _text(file).split())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
