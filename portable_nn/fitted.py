"""What a network is after data has been seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portable_nn import checks
from portable_nn.losses import Loss
from portable_nn.optimizers import Optimizer
from portable_nn.scaling import Scaling
from portable_nn.session import Rows, Session
from portable_nn.targets import Targets

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


@dataclass(frozen=True)
class Fitted:
    """How it learns, from what, and its values; ``inputs`` is None if they are not scaled."""

    loss: Loss
    optimizer: Optimizer
    targets: Targets
    inputs: Scaling | None
    features: int
    session: Session

    def table(self, x: Any, dtype: str, name: str = "x") -> HostArray:
        """``x`` checked, and as the layers take it: (n, features) of ``dtype``."""
        return self.scale(checks.table(x, self.features, name), dtype, name)

    def scale(self, table: HostArray, dtype: str, name: str = "x") -> HostArray:
        """A checked table as the layers take it."""
        scaled = table if self.inputs is None else self.inputs.apply(table)
        return checks.cast(scaled, dtype, name)

    def rows(self, x: HostArray, y: Any, dtype: str, sample_weight: Any = None) -> Rows:
        """Everything a plan reads, on the host; ``x`` is what ``table`` or ``scale`` gave."""
        encoded = self.targets.encode(checks.targets(y, len(x)))
        if self.targets.dtype == "float":
            encoded = checks.cast(encoded, dtype, "y")
        return Rows(x, encoded, checks.weights(sample_weight, len(x)))
