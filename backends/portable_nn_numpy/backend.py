"""The backend contract on NumPy, and a step as bound calls."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy
import numpy as np

from portable_nn.errors import BackendError
from portable_nn.kernels import (
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
)
from portable_nn.plan import Plan
from portable_nn.runner import Watch, same_shape
from portable_nn_numpy.binding import Binding
from portable_nn_numpy.memory import DTYPES, Memory
from portable_nn_numpy.threads import Threads, check_threads
from portable_nn_numpy.window import Window

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


class NumPyBackend:
    """Runs plans on the CPU, through NumPy alone.

    Parameters
    ----------
    threads
        How many BLAS may use for matrix products while a step runs; what it used before is put
        back afterwards. None is one for small products and all for large ones, unless the
        machine is busy. The last bits of a product differ with their number. More than there are
        cores is warned of.

    Raises
    ------
    BackendError
        If it is not a whole number, 1 or more, or the BLAS here cannot be told.
    """

    name = "numpy"
    xp = array_api_compat.numpy
    device = "cpu"
    on_host = True

    def __init__(self, threads: int | None = None) -> None:
        self.threads = check_threads(threads)

    def with_threads(self, threads: int) -> NumPyBackend:
        """The same with another number of threads."""
        return NumPyBackend(threads)

    def asarray(self, value: Any, dtype: str) -> HostArray:
        """Copy to an array of this dtype, C-contiguous."""
        return np.array(value, dtype=DTYPES[dtype], order="C")

    def to_host(self, array: HostArray) -> HostArray:
        """Copy; the host is where the array already is."""
        return np.array(array)

    def start(
        self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Watch | None = None
    ) -> NumPyStep:
        """Lay out memory for ``n`` rows and bind every call; state moves to flat arrays."""
        return NumPyStep(plan, state, n, self.threads, watch)

    def synchronize(self) -> None:
        """Nothing to wait for: NumPy returns when the work is done."""

    def __repr__(self) -> str:
        told = f", threads={self.threads}" if self.threads else ""
        return f"<numpy on cpu{told}>"


class NumPyStep:
    """A plan bound to memory: running it is calling ``function(*arguments)`` down a list."""

    def __init__(
        self,
        plan: Plan,
        state: MutableMapping[str, Any],
        n: int,
        threads: int | None,
        watch: Watch | None,
    ) -> None:
        self._threads = Threads(threads, _largest_product(plan, n))
        memory = self._memory = Memory(plan, state, n)
        stays = {buffer.name for buffer in plan.of_kind("parameter", "state")} | plan.kept
        self._open = {name: memory.arrays[name] for name in stays}
        fed = {buffer.name for buffer in plan.of_kind("fed")} - set(state)
        self._fed = {
            section: {n: memory.arrays[n] for n in plan.reads(section) if n in fed}
            for section in plan.sections
        }
        self._plan, self._binding = plan, Binding(plan, memory, watch)
        self._ops = {name: self._binding.ops(name, memory.arrays) for name in plan.sections}

    def run(self, fed: Mapping[str, Any], section: str | None = None) -> None:
        """Copy the fed buffers into place and run one section, or all."""
        sections = self._ops if section is None else (section,)
        for part in sections:
            for name, buffer in self._fed[part].items():
                if getattr(fed[name], "shape", None) != buffer.shape:  # cheaper than the call
                    same_shape(name, buffer, fed[name])
                np.copyto(buffer, fed[name])
        # A value that is not finite is found in the loss log.
        with self._threads, np.errstate(all="ignore"):
            for part in sections:
                for function, arguments in self._ops[part]:
                    function(*arguments)

    def repeat(self, fed: Mapping[str, Any]) -> HostArray:
        """Run all sections once for each entry of the fed arrays; the losses (k,)."""
        self._window.done = 0
        with self._threads, np.errstate(all="ignore"):
            return self._window.run(fed)

    @property
    def done(self) -> int:
        """How many of the runs of the last ``repeat`` have ended."""
        return self._window.done

    @cached_property
    def _window(self) -> Window:
        """Made when it is asked for: the open loop has no use for it."""
        fed = {name: array for part in self._fed.values() for name, array in part.items()}
        return Window(self._plan, self._memory, fed, self._binding)

    def read(self, name: str) -> HostArray:
        """A copy of a parameter, a state, or a value that the plan keeps."""
        return self._open[name].copy()

    def write(self, name: str, value: Any) -> None:
        """Overwrite a parameter, a state, or a kept value (a gradient, say)."""
        same_shape(name, self._open[name], value)
        np.copyto(self._open[name], value)


PRODUCTS = {linear, linear_grad_bias, linear_grad_input, linear_grad_weight}


def _largest_product(plan: Plan, n: int) -> int:
    """Operations of the largest one in a step on ``n`` rows."""
    sizes = {"n": n, "rows": 0}
    return max(
        (
            call.kernel.cost(*[plan.buffers[name].bound(sizes) for name in call.inputs])
            for call in plan.calls
            if call.kernel in PRODUCTS
        ),
        default=0,
    )


def open_backend(device: str | None = None) -> NumPyBackend:
    """The NumPy backend; it has one device, the CPU."""
    if device not in (None, "cpu"):
        raise BackendError(f"backend 'numpy' runs on the CPU only; got device {device!r}.")
    return NumPyBackend()
