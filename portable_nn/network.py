"""The network: layers in a list, trained, asked, and laid open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from portable_nn import checks
from portable_nn.backend import Backend, Where, get_backend
from portable_nn.compose import compose
from portable_nn.drivers import Driver
from portable_nn.errors import NetworkError, NonFiniteError, NotFittedError, ShapeError
from portable_nn.files import write_model
from portable_nn.fitted import Fitted, learn_class_weights, learn_inputs, learn_targets
from portable_nn.fitting import fit
from portable_nn.inputs import Features, check_features, check_workspace, read_inputs, total
from portable_nn.layers import Layer, check_layers
from portable_nn.losses import Loss, as_loss
from portable_nn.optimizers import Adam, Optimizer, as_optimizer, check_hyperparameters
from portable_nn.plan import Kind, Plan
from portable_nn.progress import Progress
from portable_nn.record import describe, made_of_library
from portable_nn.session import Session
from portable_nn.tables import Columns
from portable_nn.training import History, Training

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

DTYPES = ("float32", "float64")
MODES = ("train", "evaluate", "predict")


class Network:
    """A stack of layers.

    Parameters
    ----------
    layers
        From input to output. The number of input features comes from the data.
    dtype
        ``"float32"`` or ``"float64"``: of parameters, data and results.

    Attributes
    ----------
    history
        Of the last fit, lists with one entry an epoch: ``history["loss"][-1]`` is the last loss
        (mean over the rows of the epoch, each batch before its update, of standardized numbers
        if they are standardized); ``"seconds"``; with a
        validation set ``"validation_loss"``, and ``"validation_accuracy"`` or
        ``"validation_r2"``.
    columns
        How the columns of a table became ``x``, if somebody set it after the fit
        (``tables.Columns``); it is saved with the network, which does not use it.

    Examples
    --------
    >>> network = Network([Dense(16), ReLU(), Dense(3)])
    >>> network.fit(x, y, loss=CrossEntropy(), epochs=20).score(x_test, y_test)
    """

    def __init__(self, layers: Sequence[Layer], dtype: str = "float32") -> None:
        self.layers = check_layers(layers)
        dtype = getattr(dtype, "__name__", getattr(dtype, "name", dtype))  # NumPy's own, too
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise NetworkError(f"dtype is one of {', '.join(DTYPES)}; got {dtype!r:.60}.")
        self.dtype = dtype
        self.history: History = {}
        self.columns: Columns | None = None
        self._fitted: Fitted | None = None
        self._plans: dict[Any, tuple[Plan, Loss, Optimizer | Driver | None]] = {}

    # -- plans ---------------------------------------------------------------------------

    def plan(
        self,
        loss: Loss | str | None = None,
        optimizer: Optimizer | Driver | str | None = None,
        *,
        features: Features | None = None,
        mode: str = "train",
        frozen: str | Sequence[str] = (),
    ) -> Plan:
        """The kernel calls of one step; ``print`` it.

        Parameters
        ----------
        loss, optimizer
            Objects or names; those of the last fit if None.
        features
            Number of input features, or ``{input: number}``; that of the last fit if None.
        mode
            ``"train"``, ``"evaluate"`` (loss and outputs) or ``"predict"`` (outputs).
        frozen
            As for ``fit``.

        Raises
        ------
        NetworkError
            If layers, loss and optimizer do not fit together, or something is not known yet.
        DataError
            If ``features`` is not a whole number, 1 or more, nor one by name.
        """
        if mode not in MODES:
            raise NetworkError(f"mode is one of {', '.join(MODES)}; got {mode!r}.")
        last = self._fitted
        loss = last.loss if loss is None and last else loss
        features = last.features if features is None and last else features
        if features is not None:
            features = check_features(features)
        optimizer = optimizer or (last and last.optimizer) or Adam()
        if features is None or loss is None:
            raise NetworkError("before a fit, say plan(loss=..., features=...).")
        step_by = as_optimizer(optimizer) if mode == "train" else None
        chosen = as_loss(loss)
        columns = tuple(features.items()) if isinstance(features, Mapping) else features
        names = checks.patterns(frozen, "frozen")
        key = (mode, id(chosen), id(step_by), columns, names)
        if key not in self._plans:  # which keeps the objects, so that their ids stay theirs
            plan = compose(
                self.layers, chosen, step_by, mode=mode, dtype=self.dtype, features=features,
                frozen=names,
            )  # fmt: skip
            self._plans[key] = (plan, chosen, step_by)
        return self._plans[key][0]

    # -- training ------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        loss: Loss | str,
        optimizer: Optimizer | Driver | str = "adam",
        epochs: int = 10,
        batch_size: int | None = 64,
        micro_batch_size: int | None = None,
        validation: tuple[Any, Any] | None = None,
        sample_weight: Any = None,
        shuffle: bool = True,
        standardize: bool = False,
        seed: int = 0,
        backend: Where = None,
        warm_start: bool = False,
        frozen: str | Sequence[str] = (),
        progress: bool = True,
    ) -> Network:
        """Train from the first value of every parameter, drawn from ``seed``.

        Parameters
        ----------
        x : (n, features) numbers
            NumPy arrays are read where they lie, so do not change them while the fit runs; only
            what is not C-contiguous and of the network's dtype, or is standardized, is converted
            into a copy. One table in a file, ``np.load(path, mmap_mode="r")``, may be larger
            than the memory: its rows are converted batch by batch. Copied as a whole are ``y``,
            inputs by name, and on another backend than NumPy all. Rows in random order come
            slowly from a disk, if they do not fit into memory; see ``shuffle``.
            Or several inputs by name, ``{"numbers": (n, 8), "city": (n,)}``, which ``Input``
            layers take; or (n, any, shape), if the first layer is ``Flatten``.
        y : (n,) labels or numbers, or (n, outputs) numbers
            Or (n, any, shape), if the last layer is ``Reshape``.
        loss, optimizer
            Objects, or their names: ``"cross_entropy"``, ``"adam"``.
        epochs
            Passes over the data.
        batch_size
            Rows an update; None takes all (batch gradient descent), 1 is per sample.
        micro_batch_size
            Rows at a time: the gradients of a batch are summed over such parts of it, for the
            memory of a part and the update of the whole (but for ``BatchNorm``, which then takes
            the mean of each part). None takes a batch at once.
        validation : (x, y)
            Measured after each epoch; never trained on.
        sample_weight : (n,) not negative
            Weight of each row in loss and gradient, relative to the others; a row of weight
            0 counts for nothing there, but keeps its place in a batch.
        shuffle
            New order every epoch; False keeps the order given, which is how to read a file
            that is mapped into memory and does not fit into it.
        standardize
            Bring every column of ``x``, and ``y`` if it is numbers, to mean 0 and standard
            deviation 1 of these rows; the network does so from then on wherever it is given
            data, and predicts in the units of ``y``. Columns of 0 and 1 stay as they are, and
            so do the ``y`` of a deviance, and codes: what ``Embedding`` takes, and named inputs
            of an integer dtype. What a loss is told in units of ``y``, the ``delta`` of
            ``Huber`` say, is then in deviations.
        seed
            Of initial parameters, order and dropout: the same bits on every backend.
        backend
            ``"numpy"``, ``"cupy"``, ``"auto"``, ``"torch"``, ...; see ``get_backend``. If
            None, where the arrays given live; with NumPy arrays, ``PORTABLE_NN_BACKEND``, else
            NumPy.
        warm_start
            Keep the parameters there are, if any, the classes and the standardization; the
            optimizer and its schedule start anew.
        frozen
            Names of layers or parameters, with ``*`` and ``?``, whose values stay as they are:
            ``warm_start=True, frozen="dense1"`` trains the rest of a network that was trained
            before. ``parameters`` has the names. The layers work as in training, so ``Dropout``
            drops and means over batches move.
        progress
            A line an epoch, and on a terminal a bar, on standard error.

        Returns
        -------
        Network
            This network; see ``history``.

        Raises
        ------
        ShapeError, DataError, NetworkError, BackendError
            Before the first step, if something does not fit.
        NonFiniteError
            If the loss becomes infinite or NaN; the parameters are those from before its epoch.
        KeyboardInterrupt
            On Ctrl-C, after the running step, or some hundredths of a second of short ones; the
            parameters are those it left.
        """
        epochs = checks.count(epochs, "epochs")
        x = dict(x) if isinstance(x, Mapping) else x  # one may make new arrays at each look
        for name, value in {"shuffle": shuffle, "progress": progress}.items():
            checks.flag(value, name)
        before = self._fitted, self.history, self.columns
        training = self.start(
            loss=loss,
            optimizer=optimizer,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            standardize=standardize,
            seed=seed,
            backend=backend,
            warm_start=warm_start,
            frozen=frozen,
        )
        training.copies = False  # nobody can change the data while this runs
        try:
            rows = training.open(x, y, sample_weight)
            check = None
            if validation is not None:
                evaluated = self.plan(mode="evaluate")
                check = self._known().validation(validation, evaluated)
            count = len(rows.weight)
            steps = -(-count // int(batch_size or count))
            entries = ["loss", *(check.names() if check else ()), "seconds"]
            check_hyperparameters(as_optimizer(optimizer), self.dtype, epochs, steps, entries)
            show = Progress(epochs, steps, show=progress)
        except BaseException:
            self._fitted, _, self.columns = before  # a mistake at the door costs nothing
            raise
        self.history = training.history

        data = {"x": x, "y": y, "sample_weight": sample_weight, "shuffle": shuffle}
        try:
            fit(training, data, epochs, check, show)
        except NonFiniteError:
            if before[0] is not None and not self.history:  # nothing came of it
                self._fitted, self.history, self.columns = before
            raise
        finally:
            self._keep_values(training.session)
        return self

    def start(
        self,
        *,
        loss: Loss | str,
        optimizer: Optimizer | Driver | str = "adam",
        batch_size: int | None = 64,
        micro_batch_size: int | None = None,
        standardize: bool = False,
        seed: int = 0,
        backend: Where = None,
        warm_start: bool = False,
        frozen: str | Sequence[str] = (),
    ) -> Training:
        """The loop laid open; parameters as for ``fit``.

        Between two steps the data is yours, so arrays that can be written to are copied when they
        are first seen; a read-only table, and one mapped with ``mmap_mode="r"``, is not.

        Examples
        --------
        >>> step = network.start(loss=CrossEntropy(), optimizer=Adam(1e-3), batch_size=64)
        >>> for batch in step.batches(x, y, epoch=0):
        ...     loss = step.gradient(batch)  # forward, loss, backward
        ...     step.update()
        """
        if batch_size is not None:
            batch_size = checks.count(batch_size, "batch_size")
        if micro_batch_size is not None:
            micro_batch_size = checks.count(micro_batch_size, "micro_batch_size")
        for name, value in {"standardize": standardize, "warm_start": warm_start}.items():
            checks.flag(value, name)
        checks.seed(seed)
        names = checks.patterns(frozen, "frozen")
        chosen, step_by = as_loss(loss), as_optimizer(optimizer)
        asked = None if backend is None else get_backend(backend)
        self._plans = {}  # those of earlier fits are not asked for again

        def opener(x: Any, y: Any, sample_weight: Any, session: Session | None, copy: bool) -> Any:
            known = self._fitted if session is not None or warm_start else None
            place = asked or checks.backend_of(x=x, y=y, sample_weight=sample_weight)
            given = read_inputs(x, known.features if known else None, copy=copy)
            features = known.features if known else given.features
            plan = self.plan(chosen, step_by, features=features, frozen=names)
            given.check(plan, features)
            n, columns = len(given.table), total(given.features)
            check_workspace(plan, min(n, batch_size or n, micro_batch_size or n))
            labels = checks.targets(y, n, columns=columns, row_shape=plan.row_shape, copy=copy)
            evaluated = self.plan(chosen, features=features, mode="evaluate")
            outputs = int(evaluated.buffers[evaluated.outputs["output"]].shape[-1])
            inputs = learn_inputs(given, plan, standardize, known)
            targets = learn_targets(chosen, labels, outputs, standardize, known)
            if session is None:
                place = place or get_backend()
                session = Session(place, self._values(place, plan) if known else {})
            weights = learn_class_weights(chosen, labels, targets, known)
            fitted = Fitted(chosen, step_by, targets, inputs, features, session, weights)
            table = fitted.scale(given, self.dtype).settled()
            rows = fitted.rows(table, labels, self.dtype, sample_weight)
            session.initialize(plan, seed)

            def keep() -> None:
                self._fitted, self.columns = fitted, self.columns if known else None

            return (plan, session, rows), keep

        def owner() -> Session | None:
            return self._fitted.session if self._fitted else None

        return Training(opener, owner, step_by, batch_size, micro_batch_size, seed)

    def _values(self, backend: Backend, plan: Plan) -> dict[str, Any]:
        """Copy the parameters and state that the plan needs to a backend."""
        held = {buffer.name for buffer in plan.of_kind("parameter", "state")}
        # Of these, what layers have: the optimizer's state is read by the update alone.
        wanted = [name for name in plan.reads("gradient") if name in held]
        host = self._known().session.host_values(wanted)
        return {name: backend.asarray(value, self.dtype) for name, value in host.items()}

    def _keep_values(self, session: Session) -> None:
        """Let go of the training data and the optimizer's state."""
        wanted = {buffer.name for buffer in self.plan(mode="predict").buffers.values()}
        for name in set(session.state) - wanted:
            del session.state[name]
        session.step.cache_clear()

    # -- files ---------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers, parameters and what ``fit`` learned of the data to a file.

        A safetensors file, which ``portable_nn.load`` opens on any backend. ``path`` holds the
        old file or the whole new one, whenever the process ends. The optimizer's state and
        the history are not saved, nor is an optimizer that has an object of a class of your own.

        Raises
        ------
        NetworkError
            If a layer or the loss is an object that cannot be written down.
        FileError, OSError
            If the file cannot be written.
        """
        fitted = self._known()
        optimizer = fitted.optimizer if made_of_library(fitted.optimizer) else None
        record = {
            "layers": self.layers, "dtype": self.dtype, "loss": fitted.loss,
            "optimizer": optimizer, "targets": fitted.targets, "inputs": fitted.inputs,
            "features": fitted.features,
        }  # fmt: skip
        if fitted.class_weights is not None:
            record["class_weights"] = fitted.class_weights
        described = {name: describe(value) for name, value in record.items()}
        described["columns"] = None if self.columns is None else self.columns.to_record()
        write_model(path, self._host_values("parameter", "state"), described)

    # -- results -------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, HostArray]:
        """Copies of all parameters on the host, by their names in the plan."""
        return self._host_values("parameter")

    def _host_values(self, *kinds: Kind) -> dict[str, HostArray]:
        session = self._known().session
        buffers = self.plan(mode="predict").of_kind(*kinds)
        return session.host_values(buffer.name for buffer in buffers)

    @property
    def classes(self) -> HostArray:
        """The classes, in the order in which ``predict_proba`` has them; no and yes are two."""
        return self._known().targets.labels()

    @property
    def backend(self) -> Backend:
        """Where the parameters live: the backend of the last fit."""
        return self._known().session.backend

    def outputs(self, x: Any, *, backend: Where = None) -> Any:
        """What the last layer gives, the loss's link applied: (n, outputs).

        Runs where the network was trained, or on ``backend``. This and every prediction comes
        back as an array of the library and device of ``x``; text, and numbers that the library
        cannot hold, stay NumPy arrays.
        """
        return checks.like(x, self._shaped(self._outputs(x, backend)))

    def predict(self, x: Any, *, backend: Where = None) -> Any:
        """Labels or numbers, in the form ``y`` had in ``fit``: (n,) or (n, outputs)."""
        return checks.like(x, self._shaped(self._predict(x, backend)))

    def predict_proba(self, x: Any, *, backend: Where = None) -> Any:
        """Probability of each class, (n, classes), in the order of ``classes``.

        Of yes in each column, (n, outputs), if ``y`` was yes and no, (n, outputs), in ``fit``.
        Raises ``DataError`` if the network predicts numbers.
        """
        found = self._known().targets.probabilities(self._outputs(x, backend))
        return checks.like(x, self._shaped(found))

    def predict_std(self, x: Any, *, backend: Where = None) -> Any:
        """Standard deviation of each prediction, in the form and the units of ``y``.

        As the network has learned it. Raises ``DataError`` unless its loss is of the kind of
        ``GaussianNLL``.
        """
        return checks.like(x, self._known().targets.deviations(self._outputs(x, backend)))

    def score(self, x: Any, y: Any, *, backend: Where = None) -> float:
        """Accuracy for labels, R2 for numbers, by scikit-learn's definitions."""
        predictions = self._predict(x, backend)
        shape = self.plan(mode="predict").row_shape
        y = checks.targets(y, len(predictions), row_shape=shape)
        if y.shape != predictions.shape:
            raise ShapeError(f"predictions are {predictions.shape}; got y {y.shape}.")
        return self._known().targets.score(y, predictions)

    def _outputs(self, x: Any, backend: Where) -> HostArray:
        fitted, plan = self._known(), self.plan(mode="predict")
        inputs = fitted.table(x, plan)
        return self._session(plan, backend).concatenate(plan, {"x": inputs})

    def _session(self, plan: Plan, backend: Where) -> Session:
        """Where the network lives, or a copy of what the plan needs on another backend."""
        session = self._known().session
        place = session.backend if backend is None else get_backend(backend)
        return session if place is session.backend else Session(place, self._values(place, plan))

    def _predict(self, x: Any, backend: Where) -> HostArray:
        return self._known().targets.decode(self._outputs(x, backend))

    def _shaped(self, rows: HostArray) -> HostArray:
        """Results (n, outputs), or (n,), in the shape that a last layer ``Reshape`` has."""
        shape = self.plan(mode="predict").row_shape
        return rows if shape is None else rows.reshape(len(rows), *shape)

    def _known(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError("this network has no parameters yet; call fit first.")
        return self._fitted

    def __getstate__(self) -> dict[str, Any]:
        """For ``pickle``: what a file holds too; plans are made again when they are needed."""
        state = {**vars(self), "_plans": {}}
        if self._fitted is not None:
            session = self._fitted.session.only(self.plan(mode="predict"))
            state["_fitted"] = replace(self._fitted, session=session)
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        """A network of its own, with the parameters as they stand now; for "the best so far"."""
        twin = copy(self)
        twin.history, twin._plans = deepcopy(self.history, memo), dict(self._plans)
        if self._fitted is not None:
            session = self._fitted.session.only(self.plan(mode="predict"))
            twin._fitted = replace(self._fitted, session=session.copy())
        return twin

    def __repr__(self) -> str:
        return f"Network({list(self.layers)!r}, dtype={self.dtype!r})"
