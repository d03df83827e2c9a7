"""Opening what ``Network.save`` wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from portable_nn.backend import Backend, Where, get_backend
from portable_nn.drivers import Driver
from portable_nn.errors import FileError
from portable_nn.files import read_model
from portable_nn.fitted import Fitted
from portable_nn.inputs import total
from portable_nn.losses import Loss
from portable_nn.network import Network
from portable_nn.optimizers import Optimizer
from portable_nn.plan import Plan
from portable_nn.record import restore
from portable_nn.scaling import Scaling
from portable_nn.session import Session
from portable_nn.tables import Columns
from portable_nn.targets import Targets

if TYPE_CHECKING:
    from portable_nn.typing import HostArray


def load(
    path: str | os.PathLike[str], *, backend: Where = None, custom: Iterable[type] = ()
) -> Network:
    """The network that ``Network.save`` wrote, on any backend.

    Parameters
    ----------
    path
        Of a file that ``Network.save`` wrote. Nothing in it is ever executed.
    backend
        Where its parameters are to live; see ``get_backend``.
    custom
        Your own classes of layers, losses and optimizers that are in it.

    Raises
    ------
    FileError
        If the file is damaged, of another kind, or of a later version.
    OSError
        If it cannot be read.
    BackendError
        If the backend is missing, or has no numbers of the network's dtype.
    """
    place = get_backend(backend)
    arrays, record = read_model(path)
    try:
        columns = record.pop("columns", None)
        restored = restore(list(record.values()), custom)
        network = _network(arrays, dict(zip(record, restored, strict=True)), place)
        network.columns = None if columns is None else Columns.from_record(columns)
        if network.columns and len(network.columns.names) != total(network._known().features):
            raise FileError("its columns are not those of its inputs.")
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    return network


def _network(arrays: Mapping[str, HostArray], record: dict[str, Any], place: Backend) -> Network:
    session = Session(place, {})
    try:
        network = Network(record.pop("layers"), record.pop("dtype"))
        network._fitted = fitted = Fitted(**record, session=session)
        plan = network.plan(mode="predict")
        wanted = plan.of_kind("parameter", "state")
        forms = {buffer.name: (buffer.bound({}), network.dtype) for buffer in wanted}
        held = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        fits = _fits(fitted, plan) and held == forms
    except Exception as error:  # whatever a record of other things than a network's leads to
        raise FileError(f"it does not hold a network: {error}") from error
    if not fits:
        raise FileError("it does not hold a network: its parts do not fit together.")
    for name, array in arrays.items():
        session.state[name] = place.asarray(array, network.dtype)
    return network


def _fits(fitted: Fitted, plan: Plan) -> bool:
    """Whether what was learned of the data is of the right kinds and sizes."""
    targets, inputs, weights = fitted.targets, fitted.inputs, fitted.class_weights
    return (
        isinstance(fitted.loss, Loss)
        and isinstance(fitted.optimizer, Optimizer | Driver | None)
        and type(targets) is fitted.loss.targets
        and targets.outputs == plan.buffers[plan.outputs["output"]].shape[-1]
        and isinstance(inputs, Scaling | None)
        and (inputs is None or inputs.mean.shape == (total(fitted.features),))
        and (weights is None or _weigh(weights, targets))
    )


def _weigh(weights: HostArray, targets: Targets) -> bool:
    """Whether there is a weight for each class."""
    return weights.shape == targets.labels().shape and bool((weights >= 0.0).all())
