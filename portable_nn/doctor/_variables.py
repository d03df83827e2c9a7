"""Environment variables that change how fast, how exactly or where a training runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from portable_nn.doctor._finding import Finding
from portable_nn.errors import BackendError

THREADS = {
    "OPENBLAS_NUM_THREADS": "threads of OpenBLAS, before OMP_NUM_THREADS",
    "OMP_NUM_THREADS": "threads of OpenBLAS, MKL, torch and whatever uses OpenMP",
    "MKL_NUM_THREADS": "threads of MKL, before OMP_NUM_THREADS",
    "BLIS_NUM_THREADS": "threads of BLIS, before OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS": "threads of Apple's Accelerate",
}
"""Variables that take a number of threads."""

OTHERS = {
    "PORTABLE_NN_BACKEND": "the backend where a script names none",
    "OPENBLAS_CORETYPE": "the CPU whose kernels OpenBLAS takes, whatever the CPU is",
    "OPENBLAS_L2_SIZE": "KiB of L2 cache that OpenBLAS lays its blocks out for, whatever there is",
    "NPY_DISABLE_CPU_FEATURES": "what of the CPU NumPy leaves unused",
    "CUDA_VISIBLE_DEVICES": "the GPUs that CUDA programs see, renumbered from 0",
    "CUPY_CACHE_DIR": "where CuPy keeps compiled kernels",
    "CUPY_TF32": "whether CuPy rounds inputs of float32 products to TF32",
    "NVIDIA_TF32_OVERRIDE": "whether NVIDIA's libraries may round to TF32",
    "JAX_ENABLE_X64": "whether JAX has float64",
    "JAX_PLATFORMS": "the devices that JAX looks for",
    "JAX_DISABLE_JIT": "whether JAX compiles nothing",
    "JAX_DEBUG_NANS": "whether JAX looks for NaN after every operation",
    "JAX_DEFAULT_MATMUL_PRECISION": "how exactly JAX multiplies",
    "JAX_COMPILATION_CACHE_DIR": "where JAX keeps compiled functions",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "whether JAX takes most of a GPU's memory at once",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "how much of a GPU's memory JAX takes",
    "XLA_FLAGS": "options of the compiler of JAX",
}

ON = ("1", "true", "yes", "on")
LESS = "float32 then has fewer bits in products than float32 has"
HARM: dict[str, tuple[Callable[[str], bool], str]] = {
    "NPY_DISABLE_CPU_FEATURES": (bool, "unset it; it is for tests of NumPy, and slows it down"),
    "CUPY_TF32": (lambda value: value.lower() in ON, f"unset it, unless you mean it: {LESS}"),
    "JAX_DISABLE_JIT": (lambda value: value.lower() in ON, "unset it; it is for debugging"),
    "JAX_DEBUG_NANS": (lambda value: value.lower() in ON, "unset it; it is for debugging"),
    "JAX_DEFAULT_MATMUL_PRECISION": (
        lambda value: "16" in value or "tensorfloat" in value.lower(),
        f"unset it, unless you mean it: {LESS}",
    ),
}
"""Of a variable: the values that harm, and what to do about one."""


def variables(
    environment: Mapping[str, str], usable: int, opened: Callable[[str], object]
) -> list[Finding]:
    """What is set of these variables, with ``usable`` cores.

    ``opened`` opens a backend by name, or raises a ``BackendError``.
    """
    known = THREADS | OTHERS
    found = []
    for name in known.keys() & environment.keys():
        value = environment[name]
        do = _advice(name, value, usable, opened)
        what = f"{name}={value:.60}: {known[name]}"
        found.append(Finding("variables", what, fine=do is None, do=do))
    if not found:
        return [Finding("variables", f"none of the {len(known)} that matter is set")]
    return sorted(found, key=lambda finding: list(known).index(finding.what.partition("=")[0]))


def _advice(name: str, value: str, usable: int, opened: Callable[[str], object]) -> str | None:
    """What to do about a value that harms."""
    if name in THREADS:
        return _threads_advice(value, usable)
    if name == "PORTABLE_NN_BACKEND" and value:
        try:
            opened(value)
        except BackendError as error:
            return f"unset it, or: {error}"
    harms, do = HARM.get(name, (None, None))
    return do if harms and harms(value) else None


def _threads_advice(value: str, usable: int) -> str | None:
    first = value.split(",")[0].strip()  # of OpenMP, a number for each level of nesting
    if not first:
        return None  # as if it were unset
    if not first.isdecimal() or int(first) == 0:
        return f"set it to a number from 1 to {usable}, or unset it"
    return (
        f"unset it, or set it to {usable}: no more can run at once" if int(first) > usable else None
    )
