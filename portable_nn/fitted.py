"""What a network is after data has been seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portable_nn import checks
from portable_nn.arrays import cast
from portable_nn.errors import DataError, NetworkError
from portable_nn.losses import Loss
from portable_nn.optimizers import Optimizer
from portable_nn.plan import Plan
from portable_nn.scaling import Scaling
from portable_nn.session import Rows, Session, Validation
from portable_nn.targets import Targets

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


@dataclass(frozen=True)
class Fitted:
    """How it learns, from what, and its values.

    ``inputs`` is None if they are not scaled, ``optimizer`` if the file had none.
    """

    loss: Loss
    optimizer: Optimizer | None
    targets: Targets
    inputs: Scaling | None
    features: int
    session: Session

    def table(self, x: Any, dtype: str, name: str = "x") -> HostArray:
        """``x`` checked, and as the layers take it: (n, features) of ``dtype``."""
        return self.scale(checks.table(x, self.features, name), dtype, name)

    def scale(self, table: HostArray, dtype: str, name: str = "x") -> HostArray:
        """A checked table as the layers take it."""
        if self.inputs is None:
            return cast(table, dtype, name)
        return cast(self.inputs.apply(table), dtype, name, table)

    def rows(
        self, x: HostArray, y: HostArray, dtype: str, sample_weight: Any = None, name: str = "y"
    ) -> Rows:
        """Everything a plan reads, on the host.

        ``x`` is what ``table`` or ``scale`` gave, ``y`` what ``checks.targets`` gave.
        """
        if y.dtype.kind == "f":
            cast(y, dtype, name)  # predictions are of this dtype, and in these units
        encoded = self.targets.encode(y, name)
        if self.targets.dtype == "float":
            encoded = cast(encoded, dtype, name, y)
        return Rows(x, encoded, checks.weights(sample_weight, len(x)))

    def validation(self, pair: Any, plan: Plan, dtype: str) -> Validation:
        """A pair (x, y) checked, to be measured by an evaluation plan."""
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            count = f" of {len(pair)}" if isinstance(pair, tuple | list) else ""
            raise DataError(f"validation is a pair (x, y); got {type(pair).__name__}{count}.")
        x = self.table(pair[0], dtype, "validation x")
        y = checks.targets(pair[1], len(x), "validation y", x.shape[1])
        rows = self.rows(x, y, dtype, name="validation y")
        return Validation(plan, rows, y, self.targets)


def learn_inputs(x: HostArray, standardize: bool, known: Fitted | None) -> Scaling | None:
    """How a training scales its inputs: as the network did before, if it goes on."""
    if known is None:
        return Scaling.learn(x) if standardize else None
    if standardize and known.inputs is None:
        raise NetworkError("this network was trained without standardize=True; fit it anew.")
    return known.inputs


def learn_targets(
    loss: Loss, y: HostArray, outputs: int, standardize: bool, known: Fitted | None
) -> Targets:
    """What the network knows of targets of this kind already, or learns from these."""
    if known is not None and isinstance(known.targets, loss.targets):
        return known.targets
    return loss.targets.learn(y, outputs, standardize)
