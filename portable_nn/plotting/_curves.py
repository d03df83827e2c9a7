"""Curves: what each epoch did, and activations with their derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn import checks, kernels
from portable_nn.arrays import brief
from portable_nn.errors import DataError, NetworkError, NotFittedError
from portable_nn.layers import Dense, Layer
from portable_nn.losses import Loss
from portable_nn.network import Network
from portable_nn.plan import Draw, Plan
from portable_nn.plotting._axes import open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from portable_nn.typing import Array, HostArray, Namespace


def plot_history(
    history_or_network: Network | Mapping[str, Sequence[float]],
    *names: str,
    axes: Axes | None = None,
) -> Axes:
    """Entries of a history as curves, by epoch from 1 on.

    Parameters
    ----------
    history_or_network
        A network after its fit, its ``history``, or other lists by name.
    names
        Which entries; if none are given, all with "loss" in their names.

    Raises
    ------
    NotFittedError, DataError
        If there is nothing in it; if it has no such entry.
    """
    curves = _entries(getattr(history_or_network, "history", history_or_network), names)
    axes = open_axes(axes)
    for name, values in curves.items():
        epochs, alone = range(1, len(values) + 1), len(values) == 1
        axes.plot(epochs, values, marker="o" if alone else "", label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel=_common_end([name.split("_") for name in curves]))
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend()
    return axes


def _entries(history: Any, names: Sequence[str]) -> dict[str, list[float]]:
    if not isinstance(history, Mapping):
        raise DataError(f"a history is a dict of lists, or a network has it; got {brief(history)}.")
    if not any(len(values) for values in history.values()):
        raise NotFittedError("the history is empty; call fit first.")
    chosen = names or [name for name in history if "loss" in name]
    unknown = [name for name in chosen if not isinstance(name, str) or name not in history]
    if unknown or not chosen:
        got = brief(unknown[0]) if unknown else "no name"
        raise DataError(f"name entries of the history, {', '.join(history)}; got {got}.")
    return {name: [float(value) for value in history[name]] for name in chosen}


def _common_end(names: Sequence[Sequence[str]]) -> str:
    """The words in which all names end."""
    words = []
    for last in zip(*[reversed(name) for name in names], strict=False):
        if len(set(last)) > 1:
            break
        words.append(last[0])
    return " ".join(reversed(words))


def plot_activations(
    *activations: Layer,
    derivative: bool = False,
    low: float = -5.0,
    high: float = 5.0,
    axes: Axes | None = None,
) -> Axes:
    """Activations ``g(z)``, or their derivatives, for ``z`` from ``low`` to ``high``.

    Both are computed by a plan in float64, so an activation of your own is drawn as a network
    would train with it.

    Raises
    ------
    NetworkError
        If one is no layer, or does more than to give each ``z`` its value: ``Softmax()``.
    """
    checks.flag(derivative, "derivative")
    z = np.linspace(*checks.interval((low, high), "the range of z"), 401)
    if not activations:
        raise NetworkError("name activations, for example Tanh(); got none.")
    curves = [_unit(activation, z)[bool(derivative)] for activation in activations]
    axes, kinds = open_axes(axes), [type(activation).__name__ for activation in activations]
    for activation, kind, values in zip(activations, kinds, curves, strict=True):
        axes.plot(z, values, label=kind if kinds.count(kind) == 1 else repr(activation))
    axes.set(xlabel="z", ylabel="g'(z)" if derivative else "g(z)")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


@kernels.loss_kernel()
def _total(
    xp: Namespace, z: Array, targets: Array, weight: Array, scale: Array
) -> tuple[Array, Array]:
    """The sum of all outputs, whatever the targets: each has the gradient 1."""
    return xp.sum(z, axis=(-2, -1)), xp.ones_like(z)


class _Total(Loss):
    kernel = _total


def _unit(activation: Layer, z: HostArray) -> tuple[HostArray, HostArray]:
    """``g(z)`` and ``g'(z)``, (n,), of a unit with one input and the weight 1."""
    dense = Dense(1, use_bias=False, weight=lambda draws, shape: np.ones(shape))
    network = Network([dense, activation], dtype="float64")
    training = network.plan(_Total(), "sgd", features=1)
    _check_elementwise(activation, training, network.plan(_Total(), features=1, mode="predict"))
    step = network.start(loss=_Total(), batch_size=None, backend="numpy")
    (batch,) = step.batches(z[:, np.newaxis], np.zeros(len(z)), epoch=0, shuffle=False)
    plan, found = step.plan, step.trace(batch)
    output = _writer(plan, plan.outputs["loss"]).inputs[0]
    grad_z = _writer(plan, plan.gradients["dense1.weight"]).inputs[1]
    return found[output][:, 0], found[grad_z][:, 0]


def _check_elementwise(activation: Layer, training: Plan, prediction: Plan) -> None:
    does = [call.kernel.name for call in prediction.calls[1:] if not call.kernel.elementwise]
    does += ["draws" for buffer in training.of_kind("fed") if isinstance(buffer.source, Draw)]
    if does:
        raise NetworkError(
            f"a curve is of an activation that gives each z its value; {brief(activation)} "
            f"has {does[0]}."
        )


def _writer(plan: Plan, name: str) -> kernels.Call:
    return next(call for call in plan.calls if name in call.outputs)
