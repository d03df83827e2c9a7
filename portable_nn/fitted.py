"""What a network is after data has been seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portable_nn import checks
from portable_nn.arrays import cast, too_large
from portable_nn.converted import Converted
from portable_nn.drivers import Driver
from portable_nn.errors import DataError, NetworkError
from portable_nn.inputs import Features, Given, read_inputs
from portable_nn.losses import Loss
from portable_nn.optimizers import Optimizer
from portable_nn.plan import Plan
from portable_nn.scaling import Scaling
from portable_nn.session import Rows, Session, Validation
from portable_nn.targets import Targets, class_weights

if TYPE_CHECKING:
    from portable_nn.session import Table
    from portable_nn.typing import HostArray


@dataclass(frozen=True)
class Fitted:
    """How it learns, from what, and its values.

    ``inputs`` is None if they are not scaled, ``optimizer`` if the file had none,
    ``class_weights``, one number a class, if all weigh the same.
    """

    loss: Loss
    optimizer: Optimizer | Driver | None
    targets: Targets
    inputs: Scaling | None
    features: Features
    session: Session
    class_weights: HostArray | None = None

    def table(self, x: Any, plan: Plan, name: str = "x") -> Converted:
        """``x`` checked, and as the layers take it: (n, features) of the plan's dtype."""
        given = read_inputs(x, self.features, name)
        given.check(plan, self.features)
        return self.scale(given, plan.dtype)

    def scale(self, given: Given, dtype: str) -> Converted:
        """A checked table as the layers take it."""
        table = Converted(given.table, dtype, self.inputs)
        place = table.not_finite()
        if place is not None:
            row, column = place
            number, scaled = given.table[row].flat[column], self.inputs is not None
            raise too_large(given.place(row, column), number, dtype, scaled)
        return table

    def rows(
        self, x: Table, y: HostArray, dtype: str, sample_weight: Any = None, name: str = "y"
    ) -> Rows:
        """Everything a plan reads, on the host.

        ``x`` is what ``table`` or ``scale`` gave, ``y`` what ``checks.targets`` gave.
        """
        if y.dtype.kind == "f" and y.dtype != dtype:
            cast(y, dtype, name)  # predictions are of this dtype, and in these units
        encoded = self.targets.encode(y, name)
        weight = checks.weights(sample_weight, len(x))
        if self.class_weights is not None:
            together = weight * self.class_weights[encoded[:, 0]]
            what = "class_weight" if sample_weight is None else "sample_weight times class_weight"
            weight = checks.weights(together, len(x), f"{what}, for {name},")
        if self.targets.dtype == "float":
            encoded = cast(encoded, dtype, name, y)
        return Rows(x, encoded, weight)

    def validation(self, pair: Any, plan: Plan) -> Validation:
        """A pair (x, y) checked, to be measured by an evaluation plan."""
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            count = f" of {len(pair)}" if isinstance(pair, tuple | list) else ""
            raise DataError(f"validation is a pair (x, y); got {type(pair).__name__}{count}.")
        x = self.table(pair[0], plan, "validation x").settled()
        y = checks.targets(pair[1], len(x), "validation y", x.shape[1], plan.row_shape)
        rows = self.rows(x, y, plan.dtype, name="validation y")
        return Validation(plan, rows, y, self.targets)


def learn_inputs(x: Given, plan: Plan, standardize: bool, known: Fitted | None) -> Scaling | None:
    """How a training scales its inputs: as the network did before, if it goes on."""
    if known is None:
        return Scaling.learn(x.table, kept=x.codes(plan)) if standardize else None
    if standardize and known.inputs is None:
        raise NetworkError("this network was trained without standardize=True; fit it anew.")
    return known.inputs


def learn_targets(
    loss: Loss, y: HostArray, outputs: int, standardize: bool, known: Fitted | None
) -> Targets:
    """What the network knows of targets of this kind already, or learns from these."""
    if known is not None and type(known.targets) is loss.targets:
        return known.targets
    return loss.targets.learn(y, outputs, standardize)


def learn_class_weights(
    loss: Loss, y: HostArray, targets: Targets, known: Fitted | None
) -> HostArray | None:
    """The weight of each class that the loss asks for; as before, if it goes on with them."""
    asked = getattr(loss, "class_weight", None)
    if asked is None:
        return None
    if known is not None and known.targets is targets:
        before = known.class_weights
        if before is not None and asked == getattr(known.loss, "class_weight", None):
            return before
    return class_weights(asked, targets, y)
