"""The library that NumPy's matrix products run on, and whether its kernels fit the CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from portable_nn.doctor._finding import Finding

Pools = Sequence[Mapping[str, Any]]
"""What ``threadpoolctl.threadpool_info()`` gives."""


class Level(NamedTuple):
    """A width of vectors: what NumPy calls it, and OpenBLAS's kernels that use it."""

    name: str
    features: frozenset[str]
    cores: frozenset[str]
    core: str


LEVELS = (
    Level(
        "AVX-512",
        frozenset({"X86_V4", "AVX512_SKX"}),
        frozenset({"skylakex", "cooperlake", "sapphirerapids"}),
        "SkylakeX",
    ),
    Level(
        "AVX2",
        frozenset({"X86_V3", "AVX2"}),
        frozenset({"haswell", "zen", "excavator"}),
        "Haswell",
    ),
)
"""Of x86, the widest first; NumPy 2.4 has other names for the same than NumPy 2.0."""

NARROW = frozenset(
    {"katmai", "coppermine", "northwood", "prescott", "banias", "atom", "core2", "penryn",
     "dunnington", "nehalem", "athlon", "opteron", "opteron_sse3", "barcelona", "nano", "bobcat",
     "sandybridge", "bulldozer", "piledriver", "steamroller"}
)  # fmt: skip
"""OpenBLAS's other kernels of x86, for what has neither."""

MEASURE = "portable-nn doctor --measure"


def library(pools: Pools, config: Mapping[str, Any]) -> list[Finding]:
    """Which BLAS NumPy has loaded; ``config`` is that of ``numpy.show_config("dicts")``."""
    own = numpys(pools)
    if own:
        others = [pool for pool in blas(pools) if pool is not own]
        return [
            Finding("BLAS", f"NumPy's products run on {_described(own)}"),
            *(Finding("BLAS", f"another library has loaded {_described(one)}") for one in others),
        ]
    return [_silent(config.get("Build Dependencies", {}).get("blas", {}))]


def _silent(built: Mapping[str, Any]) -> Finding:
    """Of a BLAS that threadpoolctl does not know, or none; NumPy tells what it was built with."""
    named = f"{built.get('name', 'a BLAS')} {built.get('version', '')}".strip()
    runs = f"NumPy's products run on {named}"
    slower = "many times slower than they could be"
    if not built.get("found"):
        what = f"NumPy was built without a BLAS: its products are {slower}"
    elif built.get("name") in ("blas", "cblas"):  # as distributions name it
        what = f"{runs}: if that is the reference BLAS, and most likely it is, they are {slower}"
    else:
        return Finding("BLAS", f"{runs}, which tells nothing of itself")
    do = "pip install --force-reinstall --only-binary=:all: numpy"
    return Finding("BLAS", what, fine=False, do=do)


def blas(pools: Pools) -> list[Mapping[str, Any]]:
    """The pools of threads that are a BLAS's."""
    return [pool for pool in pools if pool["user_api"] == "blas"]


def numpys(pools: Pools) -> Mapping[str, Any] | None:
    """The BLAS that lies in NumPy's folders, or else was loaded first; None if there is none."""
    folder = re.compile(r"-packages[/\\]numpy(\.libs)?[/\\]")
    loaded = blas(pools)
    own = (pool for pool in loaded if folder.search(pool.get("filepath", "")))
    return next(own, next(iter(loaded), None))


def _described(pool: Mapping[str, Any]) -> str:
    names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "flexiblas": "FlexiBLAS"}
    parts = [f"{names.get(pool['internal_api'], pool['internal_api'])} {pool['version'] or ''}"]
    if core := pool.get("architecture"):
        parts.append(f"kernels for {core}")
    if layer := pool.get("threading_layer"):
        parts.append("built without threads" if layer == "disabled" else f"threads by {layer}")
    return ", ".join(part.strip() for part in parts)


def kernels(
    pools: Pools, config: Mapping[str, Any], environment: Mapping[str, str]
) -> list[Finding]:
    """Whether the kernels that OpenBLAS chose, or was made to choose, are as wide as the CPU."""
    widest, taken = level(config), openblas(pools)
    core = str(taken.get("architecture")) if taken else ""
    rank = _rank(core)
    if widest is None or rank is None:
        return []
    if rank <= LEVELS.index(widest):
        return [Finding("kernels", f"those for {core} fit this CPU, which has {widest.name}")]
    slow = rank == len(LEVELS)
    # Products of float32, OpenBLAS 0.3.31, November 2026: AVX-512 over AVX2 1.9 on a Zen 5, 0.96 on
    # a Zen 4, which halves its vectors; AVX2 over SSE 2.6 to 5 there.
    gain = "up to 5 times as fast" if slow else "up to 1.9 times as fast, on some CPUs"
    forced = environment.get("OPENBLAS_CORETYPE")
    takes = f"OPENBLAS_CORETYPE={forced} forces" if forced else "OpenBLAS takes"
    what = f"{takes} those for {core}; those for {widest.name}, which this CPU has, are {gain}"
    mend = "unset OPENBLAS_CORETYPE" if forced else f"set OPENBLAS_CORETYPE={widest.core}"
    do = f"{mend}, before Python starts; {MEASURE} says what is faster here"
    return [Finding("kernels", what, fine=not (forced or slow), do=do)]


def level(config: Mapping[str, Any]) -> Level | None:
    """The widest vectors that NumPy found; None where it found none of these."""
    found = config.get("SIMD Extensions", {})
    features = {*found.get("baseline", ()), *found.get("found", ())}
    return next((one for one in LEVELS if one.features & features), None)


def openblas(pools: Pools) -> Mapping[str, Any] | None:
    """The pool of NumPy's BLAS, if that is OpenBLAS."""
    own = numpys(pools)
    return own if own and own["internal_api"] == "openblas" else None


def _rank(core: str) -> int | None:
    """0 for the widest kernels; None for those whose width is not known here."""
    widths = [*(one.cores for one in LEVELS), NARROW]
    return next((rank for rank, cores in enumerate(widths) if core.lower() in cores), None)
