"""The values of one network on one backend, and running plans over all rows of some data.

Host side: data is cut into chunks here and sent to the device, outputs are fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.backend import Backend, Step, get_backend
from portable_nn.converted import Converted
from portable_nn.errors import NetworkError
from portable_nn.plan import Initial, Plan
from portable_nn.random import Draws
from portable_nn.targets import Targets
from portable_nn.typing import Array

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

    Table = HostArray | Converted

CHUNK = 1024
"""Rows at a time outside training."""


@dataclass(frozen=True)
class Rows:
    """Checked data on the host: x (n, k), targets (n, m) as the loss reads them, weight (n,)."""

    x: Table
    targets: HostArray
    weight: HostArray

    def fed(self) -> dict[str, Table]:
        """What a plan of a mode other than ``"train"`` is fed with, for all rows."""
        scale = np.asarray(1.0 / self.weight.sum())
        weight = self.weight[:, np.newaxis]
        return {"x": self.x, "targets": self.targets, "weight": weight, "scale": scale}

    def on_device(self) -> Rows:
        """What is still needed on the host when the rest is on a device: the weights."""
        nothing = np.empty((0, 0))
        return Rows(nothing, nothing, self.weight)


class Session:
    """The values of one network on one backend, and the steps started on them.

    ``state`` is shared by all steps, so training, validation and prediction see the same
    parameters without copying them.
    """

    def __init__(self, backend: Backend, state: MutableMapping[str, Any]) -> None:
        self.backend, self.state = backend, state
        self.step = lru_cache(maxsize=8)(self._start)

    def __getstate__(self) -> dict[str, HostArray]:
        """The values on the host: a pickle holds no device and no library."""
        return {name: self.backend.to_host(array) for name, array in self.state.items()}

    def __setstate__(self, values: dict[str, HostArray]) -> None:
        """Open them where ``get_backend`` says, as ``load`` does."""
        backend = get_backend()
        state = {
            name: backend.asarray(value, value.dtype.name if value.dtype.kind == "f" else "index")
            for name, value in values.items()
        }
        self.__init__(backend, state)  # type: ignore[misc]

    def only(self, plan: Plan) -> Session:
        """The same parameters and state of a plan: no data, nothing of an optimizer."""
        names = [buffer.name for buffer in plan.of_kind("parameter", "state")]
        return Session(self.backend, {k: self.state[k] for k in names if k in self.state})

    def copy(self) -> Session:
        """The same values in memory of their own."""
        asarray = self.backend.xp.asarray
        return Session(self.backend, {k: asarray(v, copy=True) for k, v in self.state.items()})

    def host_values(self, names: Iterable[str]) -> dict[str, HostArray]:
        """Copies on the host of those that are there."""
        held = {name: self.state[name] for name in names if name in self.state}
        return {name: self.backend.to_host(array) for name, array in held.items()}

    def _start(self, plan: Plan, n: int) -> Step:
        for buffer in plan.of_kind("parameter", "state"):
            if buffer.name not in self.state:
                raise NetworkError(
                    f"to {plan.mode}, {buffer.name} is needed, which training does not have; a "
                    f"layer asks for the same parameters and state in every mode."
                )
        before = dict(self.state)
        step = self.backend.start(plan, self.state, n)
        if any(self.state[name] is not array for name, array in before.items()):
            self.step.cache_clear()  # earlier steps know the arrays that were there before
        return step

    def initialize(self, plan: Plan, seed: int) -> None:
        """Give every parameter and state of the plan that has no value its first one."""
        for buffer in plan.of_kind("parameter", "state"):
            if buffer.name not in self.state and isinstance(buffer.source, Initial):
                draws = Draws(seed, "initialize", buffer.source.stream)
                shape = buffer.bound({})
                values = _drawn(buffer.name, buffer.source, draws, shape)
                if not _fits(values, shape, plan.dtype):
                    raise NetworkError(
                        f"the initializer of {buffer.name} gave {values.dtype} {values.shape}; "
                        f"{shape} numbers that {plan.dtype} can hold are needed."
                    )
                self.state[buffer.name] = self.backend.asarray(values, plan.dtype)

    def bind(self, plan: Plan, rows: Rows) -> None:
        """Put data where the plan gathers its batches from: on the device.

        Rows in the host's memory stay where they lie if the backend computes there, and are
        then not to be changed as long as it does.
        """
        for name, values in rows.fed().items():
            if values.ndim:
                self.state[f"data.{name}"] = self._hold(plan, f"data.{name}", values)
        self.step.cache_clear()  # steps may have bound the arrays that were there before

    def _hold(self, plan: Plan, name: str, values: Table) -> Array:
        if not getattr(self.backend, "on_host", False) or plan.buffers[name].dtype != "float":
            return self._put(plan, name, values)
        held: Any = values
        if not isinstance(values, Converted):
            held = np.require(values, plan.dtype, ["C", "A"])
        found: Array = held
        return found

    def _put(self, plan: Plan, name: str, values: Table) -> Array:
        kind = plan.buffers[name].dtype
        return self.backend.asarray(values, plan.dtype if kind == "float" else kind)

    def chunks(self, plan: Plan, fed: Mapping[str, Table]) -> Iterator[dict[str, Array]]:
        """What a plan is fed with, cut into ``CHUNK`` rows and put on the device.

        0-d entries go to every chunk.
        """
        total = max(len(values) for values in fed.values() if values.ndim)
        for first in range(0, total, CHUNK):
            chunk = {k: v[first : first + CHUNK] if v.ndim else v for k, v in fed.items()}
            yield {name: self._put(plan, name, values) for name, values in chunk.items()}

    def outputs(self, plan: Plan, fed: Mapping[str, Table]) -> dict[str, list[HostArray]]:
        """Run a plan over all rows in chunks: ``{role: [host array of each chunk]}``."""
        found: dict[str, list[HostArray]] = {role: [] for role in plan.outputs}
        for chunk in self.chunks(plan, fed):
            step = self.step(plan, chunk["x"].shape[0])
            step.run(chunk)
            for role, name in plan.outputs.items():
                found[role].append(self.backend.to_host(step.read(name)))
        return found

    def concatenate(self, plan: Plan, fed: Mapping[str, Table]) -> HostArray:
        """The outputs of a prediction plan over all rows, (n, outputs)."""
        return np.concatenate(self.outputs(plan, fed)["output"])

    def evaluate(self, plan: Plan, rows: Rows) -> tuple[float, HostArray]:
        """Loss over all rows, and the outputs; ``plan`` is an evaluation plan."""
        found = self.outputs(plan, rows.fed())
        return float(np.sum(found["loss"], dtype=np.float64)), np.concatenate(found["output"])


def _drawn(name: str, source: Initial, draws: Draws, shape: tuple[int, ...]) -> HostArray:
    try:
        return np.asarray(source.fill(draws, shape))
    except NetworkError:
        raise
    except Exception as error:  # it may be the user's own
        raise NetworkError(
            f"the initializer of {name} takes (draws, shape) and gives an array; it failed with "
            f"{type(error).__name__}: {error}"
        ) from error


def _fits(values: HostArray, shape: tuple[int, ...], dtype: str) -> bool:
    """Whether these are numbers of this shape that the dtype can hold."""
    with np.errstate(over="ignore"):
        numeric = values.dtype.kind in "biuf" and values.shape == shape
        return numeric and bool(np.isfinite(values.astype(dtype)).all())


@dataclass(frozen=True)
class Validation:
    """Rows to measure the loss and the score on after each epoch."""

    plan: Plan
    rows: Rows
    y: HostArray
    targets: Targets

    def names(self) -> tuple[str, str]:
        """The entries of ``history`` that it measures."""
        return "validation_loss", f"validation_{self.targets.metric}"

    def measure(self, session: Session) -> dict[str, float]:
        """Loss and score, named for ``history``."""
        loss, outputs = session.evaluate(self.plan, self.rows)
        score = self.targets.score(self.y, self.targets.decode(outputs))
        return dict(zip(self.names(), (loss, score), strict=True))
