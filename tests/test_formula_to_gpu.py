"""The page from the formula to the GPU is up to date, and right about every number on it."""

import ctypes
import importlib
import importlib.util
import re
import sys
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import fresh
import numpy as np
import pytest

from portable_nn import kernels
from portable_nn_numpy import LOWERINGS, lowering

EXAMPLES = fresh.ROOT / "examples"
PAGE = EXAMPLES / "FORMULA_TO_GPU.md"
TOLERANCE = {"float64": 1e-12, "float32": 1e-6}  # relative to the largest number
SHAPES = [
    (1, 1, 1),
    (4, 2, 1),
    (5, 3, 7),
    (33, 17, 9),
    (40, 23, 11),
    (3, 2, 150),
]  # rows, inputs, outputs
PADDING = 200  # more than the threads of a block that have nothing to do


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        yield importlib.import_module("formula_to_gpu")


@pytest.fixture(scope="module")
def compiler(example):
    return example.find_compiler() or pytest.skip("no C++ compiler: c++, g++, clang++ not found")


@pytest.fixture(scope="module", params=["float64", "float32"])
def cuda(request, example, compiler):
    """Runs the CUDA code of a kernel on the CPU: its outputs, and those of its meaning."""
    run = example.by_cuda(example.on_cpu(compiler, request.param))

    def call(name, *inputs):
        kernel = getattr(kernels, name)
        inputs = [np.array(i, i.dtype if i.dtype.kind == "i" else request.param) for i in inputs]
        wide = [i if i.dtype.kind == "i" else i.astype(np.float64) for i in inputs]
        wanted = example.by_formula(kernel, wide)
        memory = [np.full(w.size + PADDING, 7.0, request.param) for w in wanted]
        found = [m[: w.size].reshape(w.shape) for m, w in zip(memory, wanted, strict=True)]
        run(kernel, inputs, found)
        for array, w in zip(memory, wanted, strict=True):
            assert (array[w.size :] == 7.0).all(), "written past its end"
        return found, wanted, TOLERANCE[request.param]

    return call


def operands(rows, inputs, outputs):
    """Inputs of every kernel of the page."""
    draws = np.random.default_rng(rows + inputs)
    x, grad = draws.uniform(-1, 1, (rows, inputs)), draws.uniform(-1, 1, (rows, outputs))
    weight, bias = draws.uniform(-1, 1, (inputs, outputs)), draws.uniform(-1, 1, outputs)
    share, order = draws.uniform(0, 1, (rows, 1)), draws.integers(0, rows, rows + 3)
    z = np.where(draws.random(grad.shape) < 0.2, 0.0, draws.uniform(-1, 1, grad.shape))
    return {
        "take_rows": (x, order),
        "linear": (x, weight, bias),
        "relu": (z,),
        "half_squared_error": (z, grad, share, np.array(1.0 / rows)),
        "linear_grad_input": (grad, weight),
        "linear_grad_weight": (x, grad),
        "linear_grad_bias": (grad,),
        "relu_backward": (grad, z),
        "sgd": (weight, draws.uniform(-1, 1, weight.shape), np.array(0.3)),
    }


def of_decimal(value):
    """The fraction that a number of few digits stands for."""
    return Fraction(f"{value:.6g}")


KERNELS = list(operands(1, 1, 1))


def sections(page):
    """By kernel: what the page says about it."""
    _, *parts = re.split(r"^## (\w+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def fenced(text, language):
    return re.findall(rf"^```{language}\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)


# -- the CUDA kernels ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_a_cuda_kernel_computes_the_meaning(cuda, name, shape):
    found, wanted, tolerance = cuda(name, *operands(*shape)[name])
    for output, meant in zip(found, wanted, strict=True):
        limit = tolerance * max(1.0, np.abs(meant).max())  # the order of sums is another
        np.testing.assert_allclose(output, meant, rtol=0.0, atol=limit)


@pytest.mark.parametrize("name", KERNELS)
def test_nan_goes_where_the_meaning_has_it(cuda, name):
    """One in each input in turn, in the middle of it."""
    given = operands(5, 3, 7)[name]
    for position, array in enumerate(given):
        if array.dtype.kind == "f":
            poisoned = array.copy()
            poisoned.reshape(-1)[array.size // 2] = np.nan
            found, wanted, _ = cuda(name, *given[:position], poisoned, *given[position + 1 :])
            for output, meant in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(np.isnan(output), np.isnan(meant))
    assert name == "relu_backward" or any(np.isnan(meant).any() for meant in wanted)


@pytest.mark.parametrize("name", KERNELS)
def test_an_equal_launch_gives_equal_bits(cuda, name):
    given = operands(33, 17, 9)[name]
    for first, second in zip(cuda(name, *given)[0], cuda(name, *given)[0], strict=True):
        np.testing.assert_array_equal(first, second)


def test_no_kernel_is_left_out(example):
    in_source = re.findall(r"^__global__ void (\w+)\(", example.SOURCE.read_text(), re.MULTILINE)
    assert sorted(in_source) == sorted(KERNELS)
    assert set(KERNELS) == set(example.SIZES) == set(example.EQUATIONS) == set(example.WORDS)


class StandIn:
    """What the script uses of CuPy, with the kernels on the CPU: arrays only come and go."""

    class Array:
        def __init__(self, host):
            self.host = np.array(host)

        def get(self):
            return self.host

    asarray = Array

    def __init__(self, launch, seen):
        self.launch, self.seen = launch, seen

    def RawModule(self, *, code, options):
        self.seen.append((code, options))
        return self

    def get_function(self, name):
        def run(grid, block, arguments):
            arrays = [a.host for a in arguments if isinstance(a, self.Array)]
            sizes = [a for a in arguments[len(arrays) :] if isinstance(a, np.int32)]
            assert len(arrays) + len(sizes) == len(arguments)
            self.seen.append(block)
            (blocks,) = grid
            self.launch(name, blocks, arrays, [], [int(size) for size in sizes])

        return run


@pytest.mark.parametrize("name", KERNELS)
def test_the_launch_on_a_gpu_on_a_stand_in(name, example, compiler, monkeypatch):
    """Arrays, sizes, grid and what comes back are right; nothing here is a GPU."""
    seen, launch = [], example.on_cpu(compiler, "float64")
    monkeypatch.setitem(sys.modules, "cupy", StandIn(launch, seen))
    run = example.by_cuda(example.on_gpu(nullcontext(), "float64"))
    kernel, given = getattr(kernels, name), operands(33, 17, 9)[name]
    wanted = example.by_formula(kernel, given)
    found = [np.full(w.shape, np.nan) for w in wanted]
    run(kernel, given, found)
    assert seen == [(example.SOURCE.read_text(), ("-DREAL=double",)), (example.THREADS,)]
    for output, meant in zip(found, wanted, strict=True):
        # Float64, with sums of up to 33 numbers in another order.
        np.testing.assert_allclose(output, meant, rtol=0.0, atol=1e-12)


def nvrtc():
    """NVIDIA's run-time compiler, of a wheel or of the system."""
    found = importlib.util.find_spec("nvidia")
    folders = map(Path, found.submodule_search_locations) if found else ()
    wheels = [path for folder in folders for path in folder.glob("*/lib/libnvrtc.so.*")]
    for name in [*wheels, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(str(name))
        except OSError:
            continue
    return pytest.skip("no NVRTC: pip install nvidia-cuda-nvrtc-cu12")


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_nvidias_compiler_takes_the_kernels(example, architecture, real):
    """Down to machine code; what they compute on a GPU is another question."""
    library, program, size = nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    options = [f"--gpu-architecture={architecture}".encode(), f"-DREAL={real}".encode()]
    options = (ctypes.c_char_p * 2)(*options)
    source = example.SOURCE.read_bytes()
    created = library.nvrtcCreateProgram(ctypes.byref(program), source, b"", 0, None, None)
    status = library.nvrtcCompileProgram(program, 2, options)
    log = ctypes.create_string_buffer(100_000)
    library.nvrtcGetProgramLog(program, log)
    assert (created, status, log.value.decode()) == (0, 0, "")
    assert library.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
    code = ctypes.create_string_buffer(size.value)
    assert library.nvrtcGetCUBIN(program, code) == 0
    assert all(f".text.{name}\0".encode() in code.raw for name in KERNELS)


# -- the page ------------------------------------------------------------------------------


def test_the_page_is_what_the_script_writes(example, compiler, tmp_path, capsys):
    example.main(backend="numpy", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [PAGE.name]
    assert (tmp_path / PAGE.name).read_text() == PAGE.read_text()
    assert capsys.readouterr().out.startswith("largest difference")


def test_the_page_says_what_has_not_run(example):
    text = " ".join(PAGE.read_text().split())
    assert "These kernels have not run on a GPU yet." in text
    assert "The CuPy backend of this project does not run these CUDA kernels." in text


def test_the_page_has_every_line_of_the_plan_with_all_numbers(example):
    page = PAGE.read_text()
    plan, _ = fenced(page.split("## take_rows")[0], "text")
    lines = [line.strip() for line in plan.splitlines() if line.startswith("  ")]
    shown = [line for part in sections(page).values() for line in fenced(part, "text")]
    rows = [line for block in shown for line in block.splitlines()]
    assert sorted(row for row in rows if not row.startswith(" ")) == sorted(lines)
    assert len(rows) == 4 * len(lines)
    for first in range(0, len(rows), 4):
        pairs = [row.split(maxsplit=1) for row in rows[first + 1 : first + 4]]
        assert [way for way, _ in pairs] == ["formula", "NumPy", "CUDA"]
        assert len({numbers for _, numbers in pairs}) == 1, pairs


def test_the_code_on_the_page_is_in_the_sources(example):
    page, cuda = PAGE.read_text(), example.SOURCE.read_text()
    numpy = Path(lowering.__file__).read_text()
    meanings = (fresh.ROOT / "portable_nn" / "kernels" / "loss.py").read_text()
    assert list(sections(page)) == KERNELS
    for name, text in sections(page).items():
        (from_numpy,), (from_cuda,) = fenced(text, "python"), fenced(text, "cuda")
        lowered = getattr(kernels, name) in LOWERINGS
        assert lowered != ("no lowering" in text)
        assert f"\ndef {name}(" in f"\n{from_numpy}"
        assert from_numpy in (numpy if lowered else meanings)
        assert from_cuda.startswith(f"__global__ void {name}(")
        assert from_cuda in cuda


def test_no_number_of_the_page_is_on_the_edge_of_rounding(example):
    """Each has six digits at most before it is rounded, so its last bits change no digit."""
    *_, given, values = example.one_step("numpy")
    for name, array in (given | values).items():
        for value in np.ravel(array):
            assert float(f"{value:.6g}") == pytest.approx(value, rel=1e-12, abs=1e-15), name


def test_the_numbers_of_a_step_are_those_of_exact_fractions(example):
    """The whole step again, in fractions: forward, backward, update."""
    *_, given, values = example.one_step("numpy")
    exact = {
        name: np.vectorize(of_decimal, otypes=[object])(array) for name, array in given.items()
    }
    x, t = (exact[f"data.{name}"][given["rows"]] for name in ("x", "targets"))
    w1, b1, w2, b2 = (exact[f"dense{k}.{name}"] for k in (1, 2) for name in ("weight", "bias"))
    z1 = x @ w1 + b1
    a1 = np.maximum(z1, 0)
    error = a1 @ w2 + b2 - t
    grad2 = error / 4
    grad1 = grad2 @ w2.T * (z1 > 0)
    rate = of_decimal(0.1)
    wanted = {
        "loss": np.sum(error**2) / 8,
        "grad_dense1": grad1,
        "new_dense1.weight": w1 - rate * (x.T @ grad1),
        "new_dense1.bias": b1 - rate * grad1.sum(axis=0),
        "new_dense2.weight": w2 - rate * (a1.T @ grad2),
        "new_dense2.bias": b2 - rate * grad2.sum(axis=0),
    }
    for name, value in wanted.items():
        value = np.asarray(value).astype(np.float64)
        # Numbers below 2 after a few operations of float64: some roundings of 1e-16.
        np.testing.assert_allclose(values[name], value, rtol=0.0, atol=1e-15, err_msg=name)


# -- the script ----------------------------------------------------------------------------


def test_the_script_on_every_backend(backend, example, capsys):
    example.main(backend=backend)
    out = capsys.readouterr().out
    apart = re.search(r"^largest difference of any number from the formula: (\S+)$", out, re.M)[1]
    assert 0.0 < float(apart) < 1e-14
    shown = re.findall(r"^  (\w+) +-?\d.*$", out, re.MULTILINE)
    assert shown.count("formula") == shown.count("NumPy") == 18
    expected = 0 if backend.name == "numpy" else 18
    assert shown.count(backend.name) == expected
    assert ("a whole step on" in out) == bool(expected)


def test_without_a_compiler_the_column_is_left_out(example, monkeypatch, capsys):
    monkeypatch.setattr(example.shutil, "which", lambda name: None)
    example.main(backend="numpy")
    out = capsys.readouterr().out
    assert "- **CUDA** is left out: there is no C++ compiler (c++, g++ or clang++) here.\n" in out
    assert "  NumPy    0.249575\n" in out
    assert "  CUDA " not in out


def test_a_wrong_number_ends_the_script(example, monkeypatch):
    right = example.by_numpy

    def wrong(kernel, inputs, outputs):
        right(kernel, inputs, outputs)
        outputs[-1][...] += 1e-9 * (kernel.name == "linear_grad_bias")

    monkeypatch.setattr(example, "by_numpy", wrong)
    with pytest.raises(SystemExit, match="NumPy should give what the formula gives"):
        example.main(backend="numpy")
