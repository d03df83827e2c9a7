"""Plans call by call on NumPy: relu in place where it may, values dropped after their last use."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy
import numpy as np

from portable_nn.errors import BackendError
from portable_nn.kernels import Call, relu
from portable_nn.plan import Plan
from portable_nn.runner import Watch, as_declared, same_shape

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

INDEX = "int64"


class BeadsBackend:
    """Runs plans on the CPU."""

    name = "beads"
    xp = array_api_compat.numpy
    device = "cpu"

    def asarray(self, value: Any, dtype: str) -> HostArray:
        """Copy to an array of this dtype."""
        return np.array(value, dtype=INDEX if dtype == "index" else dtype)

    def to_host(self, array: HostArray) -> HostArray:
        """Copy."""
        return np.array(array)

    def start(
        self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Watch | None = None
    ) -> BeadsStep:
        """Bind a plan to ``state``."""
        return BeadsStep(plan, state, n, watch)

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def __repr__(self) -> str:
        return "<beads on cpu>"


class BeadsStep:
    """A plan, the state it works on, and the values that it keeps."""

    def __init__(
        self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Watch | None
    ) -> None:
        self._plan, self._state, self._n, self._watch = plan, state, n, watch
        self._values: dict[str, Any] = {}

    def run(self, fed: Mapping[str, Any], section: str | None = None) -> None:
        """Run one section, or all."""
        for part in self._plan.sections if section is None else (section,):
            arrays = {**self._state, **self._values, **fed}
            for index, call in enumerate(self._plan.calls):
                if call.section == part:
                    if self._watch is not None:
                        self._watch.before((call,), [arrays[name] for name in call.inputs])
                    arrays.update(zip(call.outputs, self._outputs(call, arrays), strict=True))
                    if self._watch is not None:
                        self._watch.after((call,), [arrays[name] for name in call.outputs])
                    for name in set(call.inputs):
                        if self._plan.last_read[name] == index:
                            del arrays[name]
            carry = self._plan.carry.get(part, {})
            self._values.update((name, arrays[name]) for name in self._plan.kept & arrays.keys())
            self._state.update((name, arrays[value]) for name, value in carry.items())

    def _outputs(self, call: Call, arrays: Mapping[str, Any]) -> tuple[Any, ...]:
        inputs = [arrays[name] for name in call.inputs]
        if call.kernel is relu and call.outputs[0] in self._plan.donated:
            return (np.maximum(inputs[0], 0.0, out=inputs[0]),)
        with np.errstate(all="ignore"):
            found = call.kernel.meaning(BeadsBackend.xp, *inputs, **call.attributes)
        found = found if isinstance(found, tuple) else (found,)
        for name, array in zip(call.outputs, found, strict=True):
            self._check(call, name, array)
        return found

    def _check(self, call: Call, name: str, array: Any) -> None:
        buffer = self._plan.buffers[name]
        shape = buffer.bound({"n": self._n})
        dtype = INDEX if buffer.dtype == "index" else self._plan.dtype
        if (array.shape, array.dtype) != (shape, dtype):
            raise as_declared(call.kernel.name, array, dtype, shape)

    def read(self, name: str) -> HostArray:
        """A copy of a parameter, a state, or a kept value."""
        return np.array(self._held(name)[name])

    def write(self, name: str, value: Any) -> None:
        """Overwrite a parameter, a state, or a kept value."""
        held = self._held(name)
        same_shape(name, held[name], value)
        held[name] = np.array(value, dtype=held[name].dtype)

    def _held(self, name: str) -> MutableMapping[str, Any]:
        return self._state if name in self._state else self._values


def open_backend(device: str | None = None) -> BeadsBackend:
    """The only device is the CPU."""
    if device not in (None, "cpu"):
        raise BackendError(f"backend 'beads' runs on the CPU only; got device {device!r}.")
    return BeadsBackend()
