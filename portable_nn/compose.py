"""From layers, loss and optimizer to the plan of one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portable_nn.activations import Activation, Identity
from portable_nn.drivers import Driver
from portable_nn.errors import NetworkError
from portable_nn.layers import Layer, Reshape, chain
from portable_nn.losses import Loss
from portable_nn.optimizers import Optimizer
from portable_nn.plan import Plan, PlanBuilder, Schedule
from portable_nn.wrappers import transformed


def compose(
    layers: Sequence[Layer],
    loss: Loss,
    optimizer: Optimizer | Driver | None,
    *,
    mode: str,
    dtype: str,
    features: int | Mapping[str, int],
    frozen: Sequence[str] = (),
) -> Plan:
    """The plan of one step: ``"train"`` with an optimizer, ``"evaluate"`` or ``"predict"``.

    Raises ``NetworkError`` if layers and loss do not fit together.
    """
    builder = PlanBuilder(mode, dtype, frozen)
    z = chain(builder, _before_link(layers, loss), builder.table(features), mode)
    builder.end(z)
    if loss.link is not None and builder.written_by(z) is loss.link.kernel:
        raise NetworkError(
            f"{type(loss).__name__} has {loss.link.__name__} built in; here it would be "
            f"applied twice."
        )
    if mode != "train":
        link = loss.link() if loss.link is not None else Identity()
        builder.outputs["output"] = link.forward(builder, z, mode)
    if mode != "predict":
        builder.outputs["loss"] = loss.forward(builder, z)
    if optimizer is not None:
        builder.backward(builder.outputs["loss"])
    if isinstance(optimizer, Optimizer):
        _add_updates(builder, optimizer)
    plan, width = builder.build(), builder.features(z)
    if plan.row_shape is not None and loss.targets.width(width) != width:
        raise NetworkError(
            f"{type(loss).__name__} does not learn a number for each output, so a row of y cannot "
            f"have the shape {plan.row_shape}; leave the last layer out."
        )
    return plan


def _add_updates(builder: PlanBuilder, optimizer: Optimizer) -> None:
    builder.section = "update"
    names = optimizer.hyperparameters(1, 0.0)
    hyper = [builder.fed(name, (), Schedule(name)) for name in names]
    gradients = transformed(optimizer, builder, builder.gradients, hyper)
    for parameter, grad in gradients.items():
        optimizer.update(builder, parameter, grad, hyper)


def _before_link(layers: Sequence[Layer], loss: Loss) -> Sequence[Layer]:
    """The layers whose output the loss takes: without the link that it has built in."""
    while layers and isinstance(layers[-1], Identity):
        layers = layers[:-1]
    last = layers[-1] if layers else None
    if isinstance(last, loss.refused):
        raise NetworkError(
            f"{type(loss).__name__} takes outputs of both signs; this network ends in "
            f"{type(last).__name__}(), which has one."
        )
    if isinstance(last, Reshape):  # no call, whatever comes before
        return [*_before_link(layers[:-1], loss), last]
    if loss.link is None or not isinstance(last, Activation):
        return layers
    if type(last) is loss.link:
        return layers[:-1]
    raise NetworkError(
        f"{type(loss).__name__} goes with a last layer {loss.link.__name__}() or with none "
        f"(it takes logits); this network ends in {type(last).__name__}()."
    )
