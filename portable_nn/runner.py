"""The reference way to run a plan: call the meanings, on any array API library.

``run`` is a pure function from ``{name: array}`` to ``{name: array}``, so ``jax.jit`` or
``torch.compile`` of it is a lowering already (``Reference(compile=...)``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from portable_nn.errors import BackendError, NetworkError, ShapeError
from portable_nn.kernels import Call
from portable_nn.plan import Plan
from portable_nn.typing import Array, Namespace, Shape

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Arrays = Mapping[str, Any]
Section = Callable[[Arrays], dict[str, Any]]


class Watch(Protocol):
    """Looks on while a step runs, call by call.

    ``calls`` is one call, or several that the backend runs as one: then each array is flat
    and holds theirs, one after another. The arrays are the backend's own, to be copied.
    """

    def before(self, calls: Sequence[Call], inputs: Sequence[Any]) -> None:
        """Called when ``calls`` are to run on ``inputs``."""

    def after(self, calls: Sequence[Call], outputs: Sequence[Any]) -> None:
        """Called when they have run."""


def trace(
    plan: Plan, section: str, xp: Namespace, arrays: Arrays, watch: Watch | None = None
) -> dict[str, Any]:
    """Run the calls of a section through their meanings; returns every buffer by name."""
    arrays, float_dtype = dict(arrays), getattr(xp, plan.dtype)
    for call in plan.section(section):
        inputs = [arrays[name] for name in call.inputs]
        if watch is not None:
            watch.before((call,), inputs)
        outputs = call.kernel.meaning(xp, *inputs, **call.attributes)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for name, array in zip(call.outputs, outputs, strict=True):
            buffer = plan.buffers[name]
            same_type = buffer.dtype == "index" or array.dtype == float_dtype
            if not (same_type and _fits(array.shape, buffer.shape)):
                raise as_declared(call.kernel.name, array, plan.dtype, buffer.shape)
            arrays[name] = array
        if watch is not None:
            watch.after((call,), outputs)
    return arrays


def _fits(shape: Shape, declared: Shape) -> bool:
    """Equal from the end, where the declared size is a number; leading axes are free."""
    trailing = shape[len(shape) - len(declared) :]
    return len(shape) >= len(declared) and all(
        isinstance(wanted, str) or size == wanted
        for size, wanted in zip(trailing, declared, strict=True)
    )


def as_declared(kernel: str, array: Any, dtype: str, shape: Shape) -> NetworkError:
    """The error of a kernel that gives something else than its ``shapes`` or its inputs say."""
    return NetworkError(
        f"{kernel} gave {tuple(array.shape)} {array.dtype}, but its shapes and the network's "
        f"dtype say {shape} {dtype}."
    )


def run(
    plan: Plan, section: str, xp: Namespace, arrays: Arrays, watch: Watch | None = None
) -> dict[str, Any]:
    """Run a section: ``arrays`` holds what it ``reads``; returns what outlives it.

    That is: the values somebody keeps, and the new value of each parameter and state that
    the section carries. A pure function; nothing in ``arrays`` is changed.
    """
    after = trace(plan, section, xp, arrays, watch)
    kept = {name: after[name] for name in plan.kept if name in after}
    return kept | {name: after[value] for name, value in plan.carry.get(section, {}).items()}


class ReferenceStep:
    """A plan bound to state that it shares with every other step started on that state."""

    def __init__(
        self,
        plan: Plan,
        xp: Namespace,
        state: MutableMapping[str, Any],
        sections: Mapping[str, Section],
    ) -> None:
        self._xp, self._state, self._sections = xp, state, sections
        self._reads = {name: plan.reads(name) for name in sections}
        self._values: dict[str, Any] = {}

    def run(self, fed: Arrays, section: str | None = None) -> None:
        """Run one section, or all, on the fed buffers; unused ones are ignored."""
        for name in self._sections if section is None else (section,):
            known = {**self._state, **self._values, **fed}
            with np.errstate(all="ignore"):  # what is not finite is found in the loss log
                after = self._sections[name]({key: known[key] for key in self._reads[name]})
            for key, value in after.items():
                (self._state if key in self._state else self._values)[key] = value

    def read(self, name: str) -> Any:
        """A copy of a parameter, a state, or a value the plan keeps."""
        return self._xp.asarray(self._held(name)[name], copy=True)

    def write(self, name: str, value: Any) -> None:
        """Set a parameter, a state, or a kept value (a gradient, say), in its own dtype."""
        held = self._held(name)
        same_shape(name, held[name], value)
        held[name] = self._xp.astype(value, held[name].dtype)

    def _held(self, name: str) -> MutableMapping[str, Any]:
        """Where the array of this name is; a ``KeyError`` if it is not kept."""
        return self._state if name in self._state else self._values


class Reference:
    """Backend of any array API namespace: the meanings themselves, one call after another.

    Parameters
    ----------
    name
        Shown to users.
    xp
        The namespace, standard 2024.12 or later: ``array_api_compat.torch``, ``jax.numpy``.
    device
        One of the namespace's devices; None is its default.
    compile
        Applied to the pure function of each section, ``jax.jit`` for example.
    """

    def __init__(
        self,
        name: str,
        xp: Namespace,
        device: Any = None,
        compile: Callable[[Section], Section] | None = None,
    ) -> None:
        if not (hasattr(xp, "__array_namespace_info__") and (compile is None or callable(compile))):
            raise BackendError(
                f"Reference takes an array API namespace (2024.12 or later), such as jax.numpy or "
                f"array_api_compat.torch, and a function as compile; got {xp!r:.60} and "
                f"{compile!r:.60}."
            )
        self.name, self.xp, self._compile = name, xp, compile
        info = xp.__array_namespace_info__()
        try:
            here = getattr(xp.zeros((), device=device), "device", info.default_device())
        except Exception as error:  # each library raises its own kind for a device it lacks
            raise BackendError(f"{name} cannot use the device {device!r:.60}: {error}") from error
        self.device = here if device is None else device
        self._dtypes = dict(info.dtypes(device=device, kind=("real floating", "integral")))
        self._sections = lru_cache(maxsize=16)(self._compiled)  # compiling may take seconds
        indexing = info.default_dtypes(device=device)["indexing"]
        self._index = next(key for key, dtype in self._dtypes.items() if dtype == indexing)

    def asarray(self, value: Any, dtype: str) -> Array:
        """Copy a host array to the device as ``dtype``; ``"index"`` is the library's own.

        Raises
        ------
        BackendError
            If the library has no such dtype here (float64 in JAX without x64, on MPS).
        """
        name = self._index if dtype == "index" else dtype
        if name not in self._dtypes:
            raise BackendError(
                f"{self.name} has no {name} on {self.device}: enable it in that library (JAX: set "
                f"JAX_ENABLE_X64=1), or use a Network of another dtype."
            )
        # Cast on the host: some libraries would do it silently in another precision.
        host = np.asarray(value, dtype=name)
        return self.xp.asarray(host, dtype=self._dtypes[name], device=self.device, copy=True)

    def to_host(self, array: Any) -> HostArray:
        """A copy in host memory, of the same dtype. Waits until the value is there."""
        return to_host(array)

    def start(
        self, plan: Plan, state: MutableMapping[str, Any], n: int, watch: Watch | None = None
    ) -> ReferenceStep:
        """Bind a plan to ``state``; the meanings take their sizes from the arrays, not ``n``."""
        if watch is None:
            return ReferenceStep(plan, self.xp, state, self._sections(plan))
        if self._compile is not None:
            raise BackendError(f"{self.name} compiles whole sections, which cannot be watched.")
        sections = {name: partial(run, plan, name, self.xp, watch=watch) for name in plan.sections}
        return ReferenceStep(plan, self.xp, state, sections)

    def _compiled(self, plan: Plan) -> dict[str, Section]:
        sections: dict[str, Section]
        sections = {name: partial(run, plan, name, self.xp) for name in plan.sections}
        if self._compile is None:
            return sections
        return {name: self._compile(section) for name, section in sections.items()}

    def synchronize(self) -> None:
        """Wait for the work queued so far: device queues are worked off in order."""
        self.to_host(self.xp.zeros((1,), device=self.device))

    def __repr__(self) -> str:
        return f"<{self.name} on {self.device}>"


def same_shape(name: str, held: Any, value: Any) -> None:
    """Raise ``ShapeError`` unless ``value`` may be written where ``held`` is."""
    if np.shape(value) != np.shape(held):
        raise ShapeError(f"{name} is {tuple(np.shape(held))}; got {tuple(np.shape(value))}.")


CPU = (1, 0)  # DLPack's kDLCPU, device 0


class _OnHost:
    """An array on a device that hands out its host copy through DLPack, also to NumPy 2.0."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**{**options, "dl_device": CPU, "copy": True})

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU


def to_host(array: Any) -> HostArray:
    """A copy of any library's array, or of a list or table, in host memory."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        return np.array(array)
    here = tuple(array.__dlpack_device__()) == CPU
    return np.array(np.from_dlpack(array if here else _OnHost(array)))
