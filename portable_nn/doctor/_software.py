"""Versions, the GPU as CuPy finds it, and folders of compiled code."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from portable_nn import __version__
from portable_nn.backend import Backend
from portable_nn.doctor._finding import Finding
from portable_nn.errors import BackendError

NEEDED = ("numpy", "array-api-compat", "threadpoolctl", "safetensors", "tqdm")
OPTIONAL = ("torch", "jax", "array-api-strict", "matplotlib", "pillow")


def versions(
    cupy: Sequence[str] = (), version: Callable[[str], str] = metadata.version
) -> list[Finding]:
    """What is installed; ``cupy`` are the distributions that bring CuPy."""
    found = [f"Python {platform.python_version()}", f"portable_nn {__version__}"]
    for name in (*NEEDED, *cupy, *OPTIONAL):
        try:
            found.append(f"{name} {version(name)}")
        except metadata.PackageNotFoundError:
            continue
    findings = [Finding("versions", ", ".join(found))]
    if len(cupy) > 1:
        what = f"CuPy is installed {len(cupy)} times, over each other: {', '.join(cupy)}"
        do = f"pip uninstall {' '.join(cupy)}; then install the one that fits the driver"
        findings.append(Finding("versions", what, fine=False, do=do))
    return findings


def gpu(
    opened: Callable[[], Backend], environment: Mapping[str, str], *, driver: bool, cupy: bool
) -> list[Finding]:
    """What ``opened``, which opens the CuPy backend, finds.

    ``driver`` and ``cupy`` say whether there is anything of either here.
    """
    if not driver and not cupy:
        return [Finding("GPU", "no NVIDIA driver and no CuPy here; backend 'auto' is NumPy")]
    if environment.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        hidden = "CUDA_VISIBLE_DEVICES hides every GPU; backend 'auto' is NumPy"
        return [Finding("GPU", hidden, do="unset it to train on a GPU")]
    try:
        backend = opened()
    except BackendError as error:
        what, _, do = str(error).rpartition(". ")  # the last sentence of an error is what to do
        return [Finding("GPU", what or do, fine=False, do=do)]
    describe = getattr(backend, "describe", lambda: str(backend.device))
    return [Finding("GPU", describe())]


def caches(environment: Mapping[str, str], home: Path | None) -> list[Finding]:
    """The folders of compiled code that are there, or should be; not every user has a home."""
    jax, cupy = "JAX_COMPILATION_CACHE_DIR", "CUPY_CACHE_DIR"
    usual = str(home / ".cupy" / "kernel_cache") if home else ""
    folders = {cupy: environment.get(cupy) or usual}
    folders |= {jax: environment.get(jax, "")}
    found = []
    for name, folder in folders.items():
        if folder and "://" not in folder:  # JAX's may be in a bucket
            found += _cache(name, Path(folder), given=name in environment)
    return found


def _cache(name: str, folder: Path, *, given: bool) -> list[Finding]:
    whose = name.partition("_")[0].replace("CUPY", "CuPy")
    if given and not _writable(folder):
        what = f"{name}={folder} cannot be written: {whose} compiles anew in every process"
        return [Finding("cache", what, fine=False, do="set it to a folder of yours")]
    sizes = []
    for file in folder.rglob("*"):
        with suppress(OSError):  # another process may empty it now
            sizes += [file.stat().st_size] if file.is_file() else []
    if not sizes:
        return []
    size = f"{len(sizes):,} files, {sum(sizes) / 2**20:,.1f} MiB"
    what = f"{whose} keeps compiled code in {folder}: {size}; delete the folder to empty it"
    return [Finding("cache", what)]


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or it in one that is there."""
    folders = (folder, *folder.absolute().parents)
    there = next((one for one in folders if os.access(one, os.F_OK)), None)  # no such drive
    return there is not None and there.is_dir() and os.access(there, os.W_OK)
