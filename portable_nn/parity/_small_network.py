"""The smallest network that has a layer, a loss or an optimizer, to check them in training."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy
import numpy as np

from portable_nn.backend import Where
from portable_nn.kernels import Call, Kernel
from portable_nn.layers import Layer
from portable_nn.losses import Loss
from portable_nn.network import Network
from portable_nn.optimizers import SGD, Optimizer
from portable_nn.parity._one_call import Place, Sample
from portable_nn.parity._recorder import Finding
from portable_nn.parity._report import Report
from portable_nn.parity._slopes import slope
from portable_nn.parity._training import check_training
from portable_nn.plan import Plan
from portable_nn.runner import Reference, Watch

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

BATCH = 8
XP: Any = array_api_compat.numpy


@dataclass(frozen=True, eq=False)
class SmallNetwork:
    """Layers, what trains them, and targets: for full batches, and one of ``rows`` more."""

    layers: Sequence[Layer]
    loss: Loss
    optimizer: Optimizer
    y: HostArray
    seed: int
    steps: int
    features: int = 5
    rows: int = 1

    @cached_property
    def x(self) -> HostArray:
        """Normal numbers."""
        return np.random.default_rng(self.seed).normal(size=(len(self.y), self.features))

    def plan(self, mode: str = "train", **fields: Any) -> Plan:
        """Of the network, or of one that differs in these fields."""
        other = replace(self, **fields)
        network = Network(other.layers, dtype="float64")
        return network.plan(other.loss, other.optimizer, features=self.features, mode=mode)

    def samples(self, kernels: Collection[Kernel]) -> list[Sample]:
        """Of these kernels, with what they were given in training and in prediction."""
        seen = _Seen()
        self._fit(seen, "float64").predict(self.x[: -self.rows])
        return [one for one in seen.samples.values() if one.kernel in kernels]

    def slopes(self) -> Iterator[Finding]:
        """The gradient of every parameter against central differences of the loss in float64."""
        rows = len(self.x) - self.rows
        training = Network(self.layers, dtype="float64").start(
            loss=self.loss, optimizer=SGD(0.1), batch_size=rows, seed=self.seed,
            backend=Reference("numpy", XP),
        )  # fmt: skip
        (batch,) = training.batches(self.x[:rows], self.y[:rows], epoch=0)
        training.step(batch)
        plan, read = training.plan, training.read
        start: dict[str, Any] = {b.name: read(b.name) for b in plan.of_kind("parameter", "state")}
        training.gradient(batch)  # what it carries is put back before each of the others
        gradients: dict[str, Any] = {k: read(g) for k, g in plan.gradients.items()}
        for name, gradient in gradients.items():

            def loss(moved: HostArray, name: str = name) -> float:
                for key, value in (start | {name: moved}).items():
                    training.write(key, value)
                return float(np.asarray(training.gradient(batch)))

            writer = next(c.kernel.name for c in plan.calls if plan.gradients[name] in c.outputs)
            found = slope(f"gradient of {name}", writer, loss, start[name], gradient)
            if found is not None:
                yield found

    def train(self, place: Place) -> Report:
        """Compare every step."""
        return check_training(
            self.layers, self.x, self.y, loss=self.loss, optimizer=self.optimizer,
            backend=place.backend, dtype=place.dtype, steps=self.steps, batch_size=BATCH,
            seed=self.seed, watch=range(1, self.steps + 1),
        )  # fmt: skip

    def predict(self, place: Place) -> None:
        """Note whether rows predicted one by one are those predicted together."""
        network, rows = self._fit(place.backend, place.dtype), self.x[:4]
        whole = network.outputs(self.x)[: len(rows)]
        single = np.concatenate([network.outputs(row[np.newaxis]) for row in rows])
        limit = 2.0**10 * float(np.finfo(place.dtype).eps) * float(np.max(np.abs(whole)))
        error = float(np.max(np.abs(whole - single)))
        share = 0.0 if np.array_equal(whole, single, equal_nan=True) else error / limit
        share = share if math.isfinite(share) else math.inf
        off = f"rows predicted one by one differ from all at once by {error:.3g}"
        last = network.plan(mode="predict").calls[-1].kernel.name
        text = off if share > 1.0 else ""
        place.recorder.note(Finding("prediction", 0, "output", last, share, text=text))

    def _fit(self, backend: Where, dtype: str) -> Network:
        """Two epochs of full batches, and an evaluation."""
        x, y = self.x[: -self.rows], self.y[: -self.rows]
        return Network(self.layers, dtype=dtype).fit(
            x, y, loss=self.loss, optimizer=self.optimizer, epochs=2, batch_size=BATCH,
            validation=(x, y), seed=self.seed, backend=backend, progress=False,
        )  # fmt: skip


def targets(loss: Loss, rows: int, outputs: int, seed: int) -> HostArray:
    """Of the kind that a loss learns from."""
    return loss.targets.typical(np.random.default_rng(seed + 1).normal(size=(rows, outputs)))


class _Seen(Reference):
    """The formulas on NumPy; the inputs of the last call of each kernel are kept."""

    def __init__(self) -> None:
        super().__init__("numpy", XP)
        self.samples: dict[tuple[Kernel, str], Sample] = {}

    def start(self, plan: Plan, state: Any, n: int, watch: Watch | None = None) -> Any:
        return super().start(plan, state, n, watch=self)

    def before(self, calls: Sequence[Call], inputs: Sequence[Any]) -> None:
        (call,) = calls
        key = call.kernel, repr(call.attributes)
        self.samples[key] = Sample(call.kernel, list(map(np.array, inputs)), call.attributes)

    def after(self, calls: Sequence[Call], outputs: Sequence[Any]) -> None: ...
