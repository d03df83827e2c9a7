"""``portable-nn doctor``: what it says of made-up machines, and of this one."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import fresh
import pytest

from portable_nn.backend import get_backend
from portable_nn.cli import main
from portable_nn.doctor import _blas, _here, _machine, _measure, _product, _software, _variables
from portable_nn.doctor._finding import Finding
from portable_nn.doctor._limits import core_limit, memory_limits
from portable_nn.doctor._machine import Cores
from portable_nn.errors import BackendError

AVX512, AVX2 = ["X86_V3", "X86_V4"], ["X86_V3"]


def pool(**changes):
    openblas = {
        "user_api": "blas", "internal_api": "openblas", "version": "0.3.31", "num_threads": 2,
        "architecture": "SkylakeX", "threading_layer": "pthreads",
    }  # fmt: skip
    return openblas | changes


def config(features=AVX512, **blas):
    dependency = {"name": "scipy-openblas", "version": "0.3.31", "found": True} | blas
    simd = {"baseline": ["X86_V2"], "found": features}
    return {"SIMD Extensions": simd, "Build Dependencies": {"blas": dependency}}


def only(findings):
    (finding,) = findings
    assert finding.fine or finding.do
    assert "\n" not in f"{finding.what}{finding.do}"
    return finding


# -- BLAS ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        (pool(), "OpenBLAS 0.3.31, kernels for SkylakeX, threads by pthreads"),
        (pool(threading_layer="disabled"), "kernels for SkylakeX, built without threads"),
        (
            {"user_api": "blas", "internal_api": "mkl", "version": "2024.2", "num_threads": 4,
             "threading_layer": "intel"},
            "MKL 2024.2, threads by intel",
        ),
        (pool(internal_api="blis", version=None, architecture="zen3"), "BLIS, kernels for zen3"),
    ],
)  # fmt: skip
def test_the_loaded_blas_is_named(loaded, said):
    openmp = {"user_api": "openmp", "internal_api": "openmp", "version": None, "num_threads": 2}
    finding = only(_blas.library([openmp, loaded], config()))
    assert finding.fine and said in finding.what


def test_a_blas_that_threadpoolctl_does_not_know_is_the_one_numpy_was_built_with():
    finding = only(_blas.library([], config(name="accelerate", version="unknown")))
    assert finding.fine and "accelerate unknown" in finding.what


@pytest.mark.parametrize("name", ["blas", "cblas"])
def test_a_silent_blas_of_a_distribution_is_taken_for_the_slow_one(name):
    finding = only(_blas.library([], config(name=name, version="3.12.0")))
    assert not finding.fine and finding.do.startswith("pip install --force-reinstall")
    assert f"run on {name} 3.12.0: if that is the reference BLAS" in finding.what


PACKAGES = "/v/lib/python3.13/site-packages"


@pytest.mark.parametrize(
    ("numpys", "others"),
    [
        (f"{PACKAGES}/numpy.libs/libopenblas.so", f"{PACKAGES}/scipy.libs/libmkl.so"),
        (f"{PACKAGES}/numpy/.dylibs/libopenblas.dylib", "/opt/numpy/lib/libmkl.dylib"),
        (r"C:\v\site-packages\numpy.libs\libopenblas.dll", r"C:\v\Library\bin\mkl_rt.dll"),
    ],
)
def test_of_two_blas_the_one_in_numpys_folders_is_numpys(numpys, others):
    other = pool(internal_api="mkl", architecture=None, filepath=others)
    own, another = _blas.library([other, pool(filepath=numpys)], config())
    assert own.what.startswith("NumPy's products run on OpenBLAS 0.3.31")
    assert another.what.startswith("another library has loaded MKL") and another.fine
    assert _blas.kernels([other, pool(filepath=numpys)], config(), {})


def test_of_two_blas_elsewhere_the_first_is_numpys():
    pools = [pool(internal_api="mkl", architecture=None), pool(architecture="Nehalem")]
    own, another = _blas.library(pools, config())
    assert "run on MKL" in own.what and "has loaded OpenBLAS" in another.what
    assert _blas.kernels(pools, config(), {}) == []


def test_a_numpy_without_blas_is_to_be_replaced():
    finding = only(_blas.library([], config(found=False, name="none")))
    assert not finding.fine and finding.do.startswith("pip install --force-reinstall")


@pytest.mark.parametrize(
    ("core", "features", "forced", "fine", "do"),
    [
        ("SkylakeX", AVX512, None, True, None),
        ("Cooperlake", ["AVX512F", "AVX512_SKX"], "Cooperlake", True, None),
        ("Haswell", AVX2, "Haswell", True, None),
        ("Zen", ["AVX2", "FMA3"], None, True, None),
        ("SkylakeX", AVX2, None, True, None),  # features that NumPy was told not to use
        ("Haswell", AVX512, "Haswell", False, "unset OPENBLAS_CORETYPE"),
        ("Haswell", AVX512, None, True, "set OPENBLAS_CORETYPE=SkylakeX"),
        ("Zen", ["AVX2", "AVX512F", "AVX512_SKX"], None, True, "set OPENBLAS_CORETYPE=SkylakeX"),
        ("Nehalem", AVX512, None, False, "set OPENBLAS_CORETYPE=SkylakeX"),
        ("Prescott", AVX2, None, False, "set OPENBLAS_CORETYPE=Haswell"),
        ("Sandybridge", AVX2, "Sandybridge", False, "unset OPENBLAS_CORETYPE"),
    ],
)
def test_kernels_narrower_than_the_cpu_are_found(core, features, forced, fine, do):
    environment = {"OPENBLAS_CORETYPE": forced} if forced else {}
    finding = only(_blas.kernels([pool(architecture=core)], config(features), environment))
    assert finding.fine is fine
    assert finding.do is None if do is None else finding.do.startswith(f"{do}, before Python")
    assert f"for {core}" in finding.what
    assert (f"OPENBLAS_CORETYPE={core} forces" in finding.what) is (bool(forced) and not fine)


def test_the_readme_shows_what_is_said():
    forced = {"OPENBLAS_CORETYPE": "Haswell"}
    finding = only(_blas.kernels([pool(architecture="Haswell")], config(), forced))
    assert f"\n{finding}\n" in (fresh.ROOT / "README.md").read_text(encoding="utf-8")


def test_features_that_numpy_was_built_for_count_too():
    native = {"SIMD Extensions": {"baseline": ["X86_V2", "X86_V3"], "found": []}}
    assert not only(_blas.kernels([pool(architecture="Nehalem")], native, {})).fine


@pytest.mark.parametrize(
    ("loaded", "features"),
    [
        (pool(internal_api="mkl"), AVX512),
        (pool(), ["ASIMD", "SVE"]),
        (pool(architecture=None), AVX512),
        (pool(architecture="unknown"), AVX512),
        (pool(architecture="Widest2030"), AVX512),
    ],
)
def test_kernels_that_are_not_known_here_are_not_judged(loaded, features):
    assert _blas.kernels([loaded], config(features), {}) == []


# -- cores, threads, load, memory --------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "usable"),
    [(Cores(8, 8), 8), (Cores(8, 4), 4), (Cores(8, 8, 1.5), 2), (Cores(8, 2, 6.0), 2)],
)
def test_usable_cores_are_those_that_threads_can_run_on_at_once(cores, usable):
    assert cores.usable == usable


@pytest.mark.parametrize(
    ("count", "cores", "fine", "do"),
    [
        (8, Cores(8, 8), True, None),
        (64, Cores(64, 64, 2.0), False, "portable-nn train --threads 2, get_backend("),
        (8, Cores(8, 1), False, "portable-nn train --threads 1, get_backend("),
        (1, Cores(8, 8), True, "large networks may gain from more threads"),
    ],
)
def test_threads_are_held_against_the_cores(count, cores, fine, do):
    finding = only(_machine.threads([pool(num_threads=count)], cores))
    assert finding.fine is fine
    assert finding.what.startswith(f"BLAS uses {count}; ")
    assert finding.do is None if do is None else finding.do.startswith(do)


def test_of_a_blas_that_is_silent_only_the_cores_are_said():
    finding = only(_machine.threads([], Cores(8, 4, 2.0)))
    assert finding.what == "this process may use 4 of 8 cores, of which a container allows 2"
    assert finding.fine


@pytest.mark.parametrize(
    ("count", "average", "fine", "advised"),
    [
        (2, 0.4, True, False), (2, 0.6, True, True), (2, 2.5, True, True), (2, 2.6, False, True),
        (1, 40.0, True, False), (16, 4.0, True, False), (16, 5.0, True, True),
        (16, 21.0, False, True),
    ],
)  # fmt: skip
def test_a_busy_machine_wants_one_thread(count, average, fine, advised):
    cores = Cores(max(count, 2), 2)
    finding = only(_machine.load([pool(num_threads=count)], cores, average))
    assert finding.fine is fine
    assert finding.what.startswith(f"load average {average:.1f} of the last minute, on ")
    assert ("portable-nn train --threads 1" in (finding.do or "")) is advised
    assert ("one thread by themselves" in (finding.do or "")) is advised


@pytest.mark.parametrize(
    ("sizes", "fine", "said"),
    [
        ((16, 8), True, "8.0 of 16.0 GiB"),
        ((16, 1), False, "1.0 of 16.0 GiB"),
        ((16, 8, (4, 3)), True, "3.0 of 4.0 GiB"),  # a container's limit
        ((16, 8, (4, 0)), False, "0.0 of 4.0 GiB"),
        ((16, 8, (4, 3), (12, 2)), True, "2.0 of 4.0 GiB"),  # one in another, which is fuller
        ((16, 8, (32, 32)), True, "8.0 of 16.0 GiB"),
    ],
)
def test_memory_is_what_is_free_of_what_there_is(sizes, fine, said):
    total, available, *limits = sizes
    limits = [(limit * 2**30, free * 2**30) for limit, free in limits]
    finding = only(_machine.memory(total * 2**30, available * 2**30, limits))
    assert finding.fine is fine and finding.what.startswith(said)
    assert fine or "micro_batch_size" in finding.do


def groups(root, lines, **files):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_limits_of_a_group_and_of_those_around_it_count(tmp_path):
    groups(
        tmp_path, "0::/user/job\n",
        **{"user/job/cpu.max": "300000 100000\n", "user/cpu.max": "150000 100000\n",
           "cpu.max": "max 100000\n",
           "user/job/memory.max": "max\n", "memory.max": "4096\n", "memory.current": "4095\n",
           "memory.stat": "anon 3000\nactive_file 90\ninactive_file 5\n"},
    )  # fmt: skip
    assert core_limit(tmp_path) == 1.5
    assert memory_limits(tmp_path) == [(4096, 96)]  # pages of files are given up when needed


def test_more_than_the_limit_is_full(tmp_path):
    groups(tmp_path, "0::/\n", **{"memory.max": "4096\n", "memory.current": "5000\n"})
    assert memory_limits(tmp_path) == [(4096, 0)]


def test_limits_of_the_first_version_of_groups(tmp_path):
    groups(
        tmp_path, "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n3:pids:/other\n",
        **{"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n",
           "cpu/other/cpu.cfs_quota_us": "1\n", "cpu/other/cpu.cfs_period_us": "1\n",
           "memory/docker/1/memory.limit_in_bytes": "2048\n",
           "memory/docker/1/memory.usage_in_bytes": "1500\n",
           "memory/docker/1/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n"},
    )  # fmt: skip
    assert core_limit(tmp_path) == 3.0
    assert memory_limits(tmp_path) == [(2048, 1048)]


def test_without_groups_or_a_limit_there_is_none(tmp_path):
    assert core_limit(tmp_path) is None and memory_limits(tmp_path) == []
    groups(tmp_path, "5:cpu:/\n", **{"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "9"})
    assert core_limit(tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="groups are Linux's, where names are any bytes")
def test_names_of_groups_are_any_bytes(tmp_path):
    name = os.fsdecode(b"us\xffer")
    groups(tmp_path, "", **{f"{name}/cpu.max": "200000 100000\n"})
    (tmp_path / "proc/self/cgroup").write_bytes(b"not a group\n0::/us\xffer\n")
    assert core_limit(tmp_path) == 2.0


@pytest.mark.parametrize("text", ["100000\n", "", "max\n", "much 100000\n", "100000 0\n"])
def test_a_limit_that_cannot_be_read_is_none(tmp_path, text):
    groups(tmp_path, "0::/\n", **{"cpu.max": text, "memory.max": "much\n"})
    assert core_limit(tmp_path) is None and memory_limits(tmp_path) == []


def test_memory_that_the_system_does_not_tell_is_left_out(tmp_path):
    file = tmp_path / "meminfo"
    assert _here._memory(file) == []
    file.write_text("MemTotal: 1000 kB\nMemFree: 5 kB\n")
    assert _here._memory(file) == []
    file.write_text("MemTotal: 1000 kB\nMemAvailable: 5 kB\nHugePages_Total: 0\n")
    assert not only(_here._memory(file)).fine


# -- environment variables ---------------------------------------------------------------------


def variables(**environment):
    return _variables.variables(environment, 4, get_backend)


def test_no_variable_is_said_to_be_none():
    assert only(variables(HOME="/root")).what.startswith("none of the 22 ")


@pytest.mark.parametrize("name", [*_variables.THREADS, *_variables.OTHERS])
def test_every_variable_that_is_set_is_explained(name):
    finding = only(variables(**{name: "numpy" if name == "PORTABLE_NN_BACKEND" else "0"}))
    value, _, meaning = finding.what.partition(": ")
    assert value.startswith(f"{name}=") and len(meaning) > 15


@pytest.mark.parametrize("name", _variables.THREADS)
@pytest.mark.parametrize(
    ("value", "do"),
    [
        ("4", None),
        ("2,8", None),
        ("", None),
        (" ", None),
        ("5", "unset it, or set it to 4: "),
        ("0", "set it to a number from 1 to 4"),
        ("all", "set it to a number from 1 to 4"),
    ],
)
def test_numbers_of_threads_are_held_against_the_cores(name, value, do):
    finding = only(variables(**{name: value}))
    assert finding.fine is (do is None)
    assert do is None or finding.do.startswith(do)


@pytest.mark.parametrize(
    ("name", "harmful", "harmless"),
    [
        ("NPY_DISABLE_CPU_FEATURES", "AVX512_SKX", ""),
        ("CUPY_TF32", "1", "0"),
        ("JAX_DISABLE_JIT", "True", "0"),
        ("JAX_DEBUG_NANS", "1", "false"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16", "highest"),
    ],
)
def test_values_that_harm_are_to_be_unset(name, harmful, harmless):
    wrong, right = only(variables(**{name: harmful})), only(variables(**{name: harmless}))
    assert not wrong.fine and wrong.do.startswith("unset it")
    assert right.fine and right.do is None


def test_every_harm_is_of_a_variable_and_tested_above():
    (marks,) = test_values_that_harm_are_to_be_unset.pytestmark
    assert {name for name, *_ in marks.args[1]} == set(_variables.HARM) <= set(_variables.OTHERS)


def test_a_backend_that_cannot_be_opened_is_said_in_its_own_words():
    finding = only(variables(PORTABLE_NN_BACKEND="nunpy"))
    assert not finding.fine
    assert finding.do.startswith("unset it, or: backend 'nunpy'") and "'numpy'" in finding.do


def test_variables_come_in_the_order_of_the_table():
    found = variables(XLA_FLAGS="", OMP_NUM_THREADS="1", CUPY_TF32="0", OPENBLAS_NUM_THREADS="1")
    names = [finding.what.partition("=")[0] for finding in found]
    assert names == ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "CUPY_TF32", "XLA_FLAGS"]


# -- GPU, caches, versions ---------------------------------------------------------------------


def gpu(opened=None, *, driver=True, cupy=True, **environment):
    return only(_software.gpu(opened, environment, driver=driver, cupy=cupy))


def failing(message):
    def opened():
        raise BackendError(message)

    return opened


def test_a_machine_without_a_gpu_is_fine():
    finding = gpu(driver=False, cupy=False)
    assert finding.fine and finding.do is None


@pytest.mark.parametrize(
    ("here", "message", "what", "do"),
    [
        ({"cupy": False}, "It needs CuPy. Install it with: pip (now)", "It needs CuPy",
         "Install it with: pip (now)"),
        ({"driver": False}, "CuPy 14.2.0 finds no GPU. See: nvidia-smi", "CuPy 14.2.0 finds no GPU",
         "See: nvidia-smi"),
        ({}, "Do this", "Do this", "Do this"),
    ],
)  # fmt: skip
def test_half_of_a_gpu_is_told_as_the_backend_tells_it(here, message, what, do):
    finding = gpu(failing(message), **here)
    assert (finding.fine, finding.what, finding.do) == (False, what, do)


def test_hidden_gpus_are_not_looked_for():
    for value in ("", "-1"):
        finding = gpu(failing("never asked"), CUDA_VISIBLE_DEVICES=value)
        assert finding.fine and finding.do.startswith("unset it")
    assert not gpu(failing("asked"), CUDA_VISIBLE_DEVICES="1").fine


def test_a_gpu_is_described_by_its_backend():
    backend = SimpleNamespace(device="gpu 0", describe=lambda: "a GPU of 80 GiB")
    assert gpu(lambda: backend) == Finding("GPU", "a GPU of 80 GiB")
    assert gpu(lambda: SimpleNamespace(device="gpu 0")) == Finding("GPU", "gpu 0")


def test_caches_are_sized(tmp_path):
    (tmp_path / ".cupy/kernel_cache").mkdir(parents=True)
    assert _software.caches({}, tmp_path) == []
    (tmp_path / ".cupy/kernel_cache/a.cubin").write_bytes(bytes(3 * 2**20))
    finding = only(_software.caches({}, tmp_path))
    assert finding.fine and "1 files, 3.0 MiB; delete" in finding.what
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax/b").write_bytes(b"")
    cupy, jax = _software.caches({"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax")}, tmp_path)
    assert cupy == finding and jax.what.startswith(f"JAX keeps compiled code in {tmp_path / 'jax'}")


def test_a_cache_in_a_bucket_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gs:/some/bucket").mkdir(parents=True)
    (tmp_path / "gs:/some/bucket/file").write_text("")
    assert _software.caches({"JAX_COMPILATION_CACHE_DIR": "gs://some/bucket"}, tmp_path) == []


def test_a_cache_that_cannot_be_written_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    finding = only(_software.caches({"CUPY_CACHE_DIR": str(tmp_path / "file" / "in")}, tmp_path))
    assert not finding.fine and "CuPy compiles anew" in finding.what
    assert _software.caches({"CUPY_CACHE_DIR": str(tmp_path / "new" / "one")}, tmp_path) == []


def test_a_cache_on_no_drive_cannot_be_written(monkeypatch):
    monkeypatch.setattr(_software.os, "access", lambda *_: False)
    finding = only(_software.caches({"CUPY_CACHE_DIR": "/no/such/drive"}, None))
    assert not finding.fine and "cannot be written" in finding.what


def test_a_user_without_a_home_has_no_cache_there(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(_here.Path, "home", home)
    assert _here._home() is None
    assert _software.caches({}, _here._home()) == []


def test_versions_are_of_what_is_installed():
    (finding,) = _software.versions()
    assert f"numpy {sys.modules['numpy'].__version__}" in finding.what
    assert "threadpoolctl" in finding.what and "cupy" not in finding.what
    twice = _software.versions(["cupy-cuda12x", "cupy-cuda13x"], version=lambda name: "14.0")
    assert "cupy-cuda13x 14.0" in twice[0].what
    assert not twice[1].fine and twice[1].do.startswith("pip uninstall cupy-cuda12x cupy-cuda13x")


# -- measuring ---------------------------------------------------------------------------------

HERE = {None: "Haswell", "": "SkylakeX", "SkylakeX": "SkylakeX", "Haswell": "Haswell"}
SECONDS = {"Haswell": 0.002, "SkylakeX": 0.001}


def measured(seconds=None, *, counts=(1,), now=1, speedup=1.0, choices=tuple(HERE)):
    seconds = SECONDS if seconds is None else seconds
    asked = []

    def sample(choice, count):
        asked.append((choice, count))
        core = HERE[choice]
        if core not in seconds:
            return None
        return core, seconds[core], 2 * seconds[core] / (speedup if count > 1 else 1.0)

    rows = _measure.measure(choices, counts, sample, lambda: None, rounds=3)
    return _measure.judged(rows, now), asked


def test_each_kind_of_kernels_is_timed_once_a_round_in_turns():
    _, asked = measured()
    assert asked == [(choice, 1) for choice in [*HERE, None, "", None, ""]]


def test_kernels_that_are_faster_are_to_be_taken():
    (finding,), _ = measured()
    assert not finding.fine and finding.do == "unset OPENBLAS_CORETYPE"
    assert "1 thread: Haswell as it is 2.00 ms (2.00 to 2.00, 103 GFLOP/s), " in finding.what
    assert finding.what.endswith(", SkylakeX 1.00 ms (1.00 to 1.00, 206 GFLOP/s)")
    (finding,), _ = measured(choices=(None, "SkylakeX", "Haswell"))
    assert finding.do.startswith("set OPENBLAS_CORETYPE=SkylakeX")


def test_kernels_that_are_not_faster_by_enough_change_nothing():
    (finding,), _ = measured({"Haswell": 0.002, "SkylakeX": 0.0019})
    assert finding.fine and finding.do is None


def test_kernels_that_are_faster_in_some_rounds_only_change_nothing():
    rows = [
        _measure.Row(None, "Haswell", 1, [2.0, 2.0, 2.0], [2.0, 2.0, 2.0]),
        _measure.Row("", "SkylakeX", 1, [1.0, 1.0, 2.1], [1.0, 1.0, 1.0]),
    ]
    (finding,) = _measure.judged(rows, 1)
    assert finding.fine


def test_kernels_that_do_not_run_are_left_out():
    (finding,), asked = measured({"Haswell": 0.002})
    assert finding.fine and "SkylakeX" not in finding.what
    assert asked.count(("", 1)) == 1


def test_a_round_that_fails_took_for_ever():
    samples = iter([("Haswell", 1.0, 1.0), ("SkylakeX", 0.5, 0.5), ("Haswell", 1.0, 1.0), None])
    rows = _measure.measure([None, ""], [1], lambda *_: next(samples), lambda: None, rounds=2)
    assert [row.least for row in rows] == [[1.0, 1.0], [0.5, float("inf")]]
    assert _measure.judged(rows, 1)[0].fine


@pytest.mark.parametrize(
    ("speedup", "now", "fine", "do"),
    [
        (1.9, 2, True, None),
        (1.9, 1, True, "for networks as wide as this, or wider: portable-nn train --threads 2"),
        (0.5, 2, False, "portable-nn train --threads 1"),
        (0.5, 1, True, None),
        (1.0, 2, True, None),
    ],
)
def test_one_thread_is_held_against_all(speedup, now, fine, do):
    found, _ = measured(counts=(1, 2), now=now, speedup=speedup, choices=(None,))
    assert len(found) == 3
    took = f"{4.0 / speedup:.2f} ms on 2 threads, 4.00 on 1"
    assert found[-1].fine is fine and found[-1].what.endswith(took)
    assert found[-1].do is None if do is None else found[-1].do.startswith(do)


def test_what_is_tried_fits_the_cpu():
    forced = {"OPENBLAS_CORETYPE": "Zen"}
    assert _measure.choices([pool()], config(), {}) == [None, "SkylakeX", "Haswell"]
    assert _measure.choices([pool()], config(AVX2), forced) == [None, "", "Haswell"]
    assert _measure.choices([pool()], config(["ASIMD"]), forced) == [None]
    assert _measure.choices([pool(internal_api="mkl")], config(), {}) == [None]


def test_a_product_is_timed_with_the_environment_asked_for(monkeypatch):
    seen = []

    def run(command, *, env, **options):
        seen.append(env)
        return subprocess.CompletedProcess(command, 0, '["Zen", 0.5, 0.7]')

    monkeypatch.setattr(_measure.subprocess, "run", run)
    environment = {"HOME": "/", "OPENBLAS_CORETYPE": "Zen", "OMP_NUM_THREADS": "7"}
    for choice in (None, "", "Haswell"):
        assert _measure.run_product(environment, choice, 2) == ("Zen", 0.5, 0.7)
    assert [env.get("OPENBLAS_CORETYPE") for env in seen] == ["Zen", None, "Haswell"]
    assert all(env[name] == "2" for env in seen for name in _variables.THREADS)
    assert environment["OMP_NUM_THREADS"] == "7"


def test_a_process_that_dies_is_no_sample(monkeypatch):
    monkeypatch.setattr(_measure, "COMMAND", [sys.executable, "-c", "import os; os.abort()"])
    assert _measure.run_product({}, None, 1) is None


def test_a_process_that_does_not_end_is_no_sample(monkeypatch):
    monkeypatch.setattr(_measure, "COMMAND", [sys.executable, "-c", "import time; time.sleep(20)"])
    monkeypatch.setattr(_measure, "PATIENCE", 0.05)
    assert _measure.run_product({}, None, 1) is None


def test_products_that_fail_as_things_are_are_wrong():
    for seconds in ({}, {"SkylakeX": 0.001}):  # with other kernels they may run
        (finding,), _ = measured(seconds)
        assert not finding.fine and finding.do.endswith("_product.py")


def test_a_product_is_timed(capsys):
    _product.main(calls=2)
    _, least, usual = json.loads(capsys.readouterr().out)
    assert 0.0 < least < usual < 10.0


# -- the command, on this machine ----------------------------------------------------------------


def run(*options, **variables):
    status, out, err = fresh.run("-m", "portable_nn.cli", "doctor", *options, **variables)
    assert err == ""
    return status, out


def test_the_command_says_what_is_here():
    status, out = run()
    lines = out.splitlines()
    topics = {line.split()[1] for line in lines[:-1] if not line.startswith(" ")}
    assert {"BLAS", "threads", "versions", "GPU"} <= topics
    assert "cannot be looked at" not in out
    wrong = sum(line.startswith("mend ") for line in lines)
    assert status == (1 if wrong else 0)
    assert lines[-1].startswith(f"{wrong} of ") if wrong else lines[-1] == "Nothing to mend."


def test_a_topic_that_fails_leaves_the_others(monkeypatch):
    def fails():
        raise KeyError("a\nb")

    monkeypatch.setattr(_here, "_memory", fails)
    found = {one.topic: one for one in _here.findings()}
    assert {"BLAS", "memory", "versions"} <= found.keys()
    assert "cannot be looked at here: KeyError" in only([found["memory"]]).what


@pytest.mark.skipif(os.name == "nt", reason="values are text there, not bytes")
def test_values_that_standard_output_cannot_take_are_escaped():
    _, out = run(XLA_FLAGS=os.fsdecode(b"\xff\xc3\xbc"), PYTHONIOENCODING="ascii:strict")
    assert r"XLA_FLAGS=\udcff\xfc: options" in out


def test_json_has_the_same_findings_and_status():
    status, out = run("--json", OMP_NUM_THREADS="100000")
    found = json.loads(out)
    assert status == 1 and found["fine"] is False
    assert all(one.keys() == {"topic", "what", "fine", "do"} for one in found["findings"])
    (threads,) = [one for one in found["findings"] if "OMP_NUM_THREADS=" in one["what"]]
    assert threads["fine"] is False and threads["do"].startswith("unset it, or set it to ")


def test_measuring_takes_the_place_of_the_guess(monkeypatch):
    seconds = {"SkylakeX": 0.001, "Haswell": 0.002}
    monkeypatch.setattr(
        _measure, "run_product", lambda _, choice, count: (choice, seconds.get(choice, 1.0), 1.0)
    )
    plain, timed = _here.findings(), _here.findings(measured=True)
    assert not [one for one in plain if one.topic == "measured"]
    assert [one for one in timed if one.topic == "measured"]
    assert not [one for one in timed if one.topic == "kernels"]


def test_measuring_for_real():
    status, out = run("--measure", "--quiet", "--json")
    found = [one["what"] for one in json.loads(out)["findings"] if one["topic"] == "measured"]
    assert found and "1 thread: " in found[0] and " as it is " in found[0]
    assert status in (0, 1)


def test_the_exit_status_is_1_if_something_is_to_be_mended(monkeypatch, capsys):
    wrong = Finding("some", "is off", fine=False, do="this")
    for found, status, end in (
        ([Finding("a", "b")], 0, "Nothing to mend."),
        ([wrong], 1, "1 of 1"),
    ):
        monkeypatch.setattr("portable_nn.doctor.commands.findings", lambda found=found, **_: found)
        assert main(["doctor"]) == status
        assert capsys.readouterr().out.splitlines()[-1].startswith(end)
    assert str(wrong) == "mend  some       is off\n                 -> this"
    assert str(Finding("some", "is so", do="this?")).startswith("ok    some       is so\n")
