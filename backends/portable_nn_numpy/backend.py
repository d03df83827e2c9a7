"""The backend contract on NumPy, and a step as bound calls."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy
import numpy as np

from portable_nn.errors import BackendError
from portable_nn.plan import Plan
from portable_nn.runner import Watch, same_shape
from portable_nn_numpy.lowering import Op, Scratch, lower
from portable_nn_numpy.memory import DTYPES, Memory

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


class NumPyBackend:
    """Runs plans on the CPU, through NumPy alone."""

    name = "numpy"
    xp = array_api_compat.numpy
    device = "cpu"

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
        return NumPyStep(plan, state, n, watch)

    def synchronize(self) -> None:
        """Nothing to wait for: NumPy returns when the work is done."""

    def __repr__(self) -> str:
        return "<numpy on cpu>"


class NumPyStep:
    """A plan bound to memory: running it is calling ``function(*arguments)`` down a list."""

    def __init__(
        self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Watch | None = None
    ) -> None:
        memory = Memory(plan, state, n)
        stays = {buffer.name for buffer in plan.of_kind("parameter", "state")} | plan.kept
        self._open = {name: memory.arrays[name] for name in stays}
        fed = {buffer.name for buffer in plan.of_kind("fed")} - set(state)
        self._fed = {
            section: {n: memory.arrays[n] for n in plan.reads(section) if n in fed}
            for section in plan.sections
        }
        scratch = Scratch()
        self._ops = {name: _bind(plan, name, memory, scratch, watch) for name in plan.sections}

    def run(self, fed: Mapping[str, Any], section: str | None = None) -> None:
        """Copy the fed buffers into place and run one section, or all."""
        sections = self._ops if section is None else (section,)
        for part in sections:
            for name, buffer in self._fed[part].items():
                same_shape(name, buffer, fed[name])
                np.copyto(buffer, fed[name])
        with np.errstate(all="ignore"):  # a value that is not finite is found in the loss log
            for part in sections:
                for function, arguments in self._ops[part]:
                    function(*arguments)

    def read(self, name: str) -> HostArray:
        """A copy of a parameter, a state, or a value that the plan keeps."""
        return self._open[name].copy()

    def write(self, name: str, value: Any) -> None:
        """Overwrite a parameter, a state, or a kept value (a gradient, say)."""
        same_shape(name, self._open[name], value)
        np.copyto(self._open[name], value)


def _bind(
    plan: Plan, section: str, memory: Memory, scratch: Scratch, watch: Watch | None
) -> list[Op]:
    """The calls of a section as bound functions, then what it carries to other memory."""
    ops: list[Op] = []
    for call in memory.merged(section):
        bound = lower(call, scratch)
        if watch is not None:
            look = (watch.before, (call.calls, call.inputs))
            bound = [look, *bound, (watch.after, (call.calls, call.outputs))]
        ops += bound
    for name, value in plan.carry.get(section, {}).items():
        if not np.may_share_memory(memory.arrays[name], memory.arrays[value]):
            ops.append((np.copyto, (memory.arrays[name], memory.arrays[value])))
    return ops


def open_backend(device: str | None = None) -> NumPyBackend:
    """The NumPy backend; it has one device, the CPU."""
    if device not in (None, "cpu"):
        raise BackendError(f"backend 'numpy' runs on the CPU only; got device {device!r}.")
    return NumPyBackend()
