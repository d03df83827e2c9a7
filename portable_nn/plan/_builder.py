"""Writing a plan: buffers and calls, then the reverse walk that adds the gradients."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from portable_nn.errors import NetworkError
from portable_nn.kernels import Call, Gradient, Kernel, add, take_features, take_rows
from portable_nn.plan._buffers import Buffer, Data, Draw, Initial, Initializer, Kind, Source
from portable_nn.plan._plan import Columns, Plan
from portable_nn.random import DRAWS
from portable_nn.typing import Shape


class PlanBuilder:
    """Writes a plan: layers, losses and optimizers call it; only ``Network`` makes one."""

    def __init__(self, mode: str, dtype: str, frozen: Sequence[str] = ()) -> None:
        self.mode, self.dtype, self.frozen = mode, dtype, frozen
        self.section = "gradient"
        self.outputs: dict[str, str] = {}
        self.gradients: dict[str, str] = {}
        self.inputs: dict[str, Columns] = {}
        self.taken: set[str] = set()
        self._columns: dict[str, Columns] = {}
        self._codes: dict[Columns, int] = {}
        self._flattened: set[Columns] = set()
        self._reshaped: tuple[str, tuple[int, ...], str] | None = None
        self._buffers: dict[str, Buffer] = {}
        self._calls: list[Call] = []
        self._carry: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._replaced: dict[str, str] = {}
        self._differentiable: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._scopes: list[str] = []

    # -- names ---------------------------------------------------------------------------

    @contextmanager
    def scope(self, kind: str) -> Iterator[None]:
        """Name what is made inside ``kind1``, ``kind2`` and so on, within the outer scope."""
        path = [*self._scopes[-1:], kind]
        self._counts[".".join(path)] += 1
        path[-1] += str(self._counts[".".join(path)])
        self._scopes.append(".".join(path))
        yield
        self._scopes.pop()

    def _local(self, name: str) -> str:
        return ".".join([*self._scopes[-1:], name])

    def _unused(self, name: str) -> str:
        if name not in self._buffers:
            return name
        self._counts[name] += 1
        return self._unused(f"{name}.{self._counts[name] + 1}")

    # -- buffers -------------------------------------------------------------------------

    def shape(self, name: str) -> Shape:
        """Shape of a buffer; sizes not yet known are names."""
        return self._buffers[name].shape

    def written_by(self, name: str) -> Kernel | None:
        """The kernel that writes a buffer; None for what is given."""
        return next((call.kernel for call in self._calls if name in call.outputs), None)

    def parameters(self) -> list[str]:
        """Those there are so far, frozen ones too."""
        return [b.name for b in self._buffers.values() if b.kind == "parameter"]

    def features(self, name: str) -> int:
        """Size of a buffer's last axis."""
        return int(self.shape(name)[-1])

    def buffer(self, name: str, shape: Shape, kind: Kind, **fields: Any) -> str:
        """Add a buffer under a name not used yet; returns the name."""
        if name in self._buffers:
            raise NetworkError(f"two buffers of a plan are called {name!r}; names are unique.")
        self._buffers[name] = Buffer(name, shape, kind, **fields)
        return name

    def parameter(self, name: str, shape: Shape, initializer: Initializer) -> str:
        """An array of the current layer, with a random stream of its own; trained unless frozen."""
        self._counts["parameter streams"] += 1
        source = Initial(initializer, self._counts["parameter streams"] - 1)
        name = self.buffer(self._local(name), shape, "parameter", source=source)
        if not any(matches(pattern, name) for pattern in self.frozen):
            self._differentiable.add(name)
        return name

    def state(self, name: str, shape: Shape, initializer: Initializer) -> str:
        """An array of the current layer or optimizer that changes only by ``carry``."""
        self._counts["state streams"] += 1
        # Far from the streams of parameters, which adding a state must not move.
        source = Initial(initializer, (1 << 32) + self._counts["state streams"])
        return self.buffer(self._local(name), shape, "state", source=source)

    def fed(self, name: str, shape: Shape, source: Source, **fields: Any) -> str:
        """An array filled from outside before the step, by ``source``."""
        return self.buffer(name, shape, "fed", source=source, **fields)

    def draw(self, purpose: str, x: str, rate: float) -> str:
        """Random numbers shaped as ``x``, drawn anew for every update, in a stream of their own.

        In training only, and one for each row and feature: ``x`` is (n, k).
        """
        if self.mode != "train" or len(self.shape(x)) != 2 or self.shape(x)[0] != "n":
            raise NetworkError(
                f"{purpose} is drawn in training, for rows (n, k); got mode {self.mode!r} and "
                f"shape {self.shape(x)}."
            )
        if purpose not in DRAWS:
            raise NetworkError(f"{purpose!r} is no purpose of draws; those are {list(DRAWS)}.")
        self._counts[purpose + " streams"] += 1
        source = Draw(purpose, self._counts[purpose + " streams"] - 1, rate)
        return self.fed(self._unused(self._local("draw")), self.shape(x), source)

    def data(self, name: str, features: int, **fields: Any) -> str:
        """Rows of the user's data: in training gathered from ``data.<name>``, else fed."""
        if self.mode != "train":
            return self.fed(name, ("n", features), Data(name), **fields)
        if "rows" not in self._buffers:
            self.fed("rows", ("n",), Data("rows"), dtype="index")
        whole = self.fed(f"data.{name}", ("rows", features), Data(name), **fields)
        return self.emit(take_rows, whole, "rows", names=[name])[0]

    # -- the table x ---------------------------------------------------------------------

    def table(self, features: int | Mapping[str, int]) -> str:
        """The data ``x``: so many columns, or those of several named inputs side by side."""
        stop = 0
        for name, width in features.items() if isinstance(features, Mapping) else ():
            self.inputs[name] = (stop, stop + width)
            stop += width
        x = self.data("x", features if isinstance(features, int) else stop)
        self._columns[x] = (0, self.features(x))
        return x

    def columns(self, x: str, asked_by: str) -> Columns:
        """Which columns of the data ``x`` is; an error if it is something else."""
        if x not in self._columns:
            raise NetworkError(
                f"{asked_by} takes the data themselves, so it is the first layer, or comes right "
                f"after an Input; here it would get {x}."
            )
        return self._columns[x]

    def input(self, name: str, x: str, asked_by: str) -> str:
        """The columns of a named input, of ``x``, which is the data."""
        columns = self.columns(x, asked_by)
        if name not in self.inputs:
            known = ", ".join(map(repr, self.inputs))
            what = f"has the inputs {known}" if known else "is one table without names"
            raise NetworkError(
                f"{asked_by} takes an input of this name, but x {what}; give x as a dict "
                f"{{name: array}} that has {name!r}."
            )
        self.taken.add(name)
        start, stop = self.inputs[name]
        if columns == (start, stop):
            return x
        if columns in self.inputs.values():
            raise NetworkError(f"{asked_by} comes first in its branch, not after an Input.")
        found = self.call(take_features, x, start=start, stop=stop)
        self._columns[found] = (start, stop)
        return found

    def codes(self, x: str, categories: int, asked_by: str) -> None:
        """Columns ``x`` of the data are to be whole numbers 0 to ``categories - 1``."""
        columns = self.columns(x, asked_by)
        self._codes[columns] = min(categories, self._codes.get(columns, categories))

    def flatten(self, x: str, asked_by: str) -> None:
        """Rows of ``x``, columns of the data, may be given in any shape."""
        self._flattened.add(self.columns(x, asked_by))

    def reshape(self, x: str, shape: tuple[int, ...], asked_by: str) -> None:
        """``x``, which is to be the output of the network, has rows of this shape."""
        if self._reshaped is not None:
            raise NetworkError(f"{asked_by} is the last layer of a network; there is another.")
        self._reshaped = (x, shape, asked_by)

    def end(self, z: str) -> None:
        """``z`` is the output of the last layer; check what layers asked for, and ``frozen``."""
        parameters = self.parameters()
        for pattern in self.frozen:
            if not any(matches(pattern, name) for name in parameters):
                raise NetworkError(
                    f"frozen names no parameter with {pattern!r:.60}; there are "
                    f"{', '.join(parameters)}."
                )
        unused = [repr(name) for name in self.inputs if name not in self.taken]
        if unused:
            raise NetworkError(
                f"no layer takes the input{'s' * (len(unused) > 1)} {', '.join(unused)} of x; a "
                f"branch that takes one begins with Input({unused[0]})."
            )
        if self._reshaped is not None and self._reshaped[0] != z:
            raise NetworkError(
                f"{self._reshaped[2]} is the last layer of a network, as layers pass on "
                f"rows of features; here others come after it."
            )

    # -- calls ---------------------------------------------------------------------------

    def call(self, kernel: Kernel, *inputs: str, **attributes: Any) -> str:
        """Add a call; returns the name of its first output."""
        return self.emit(kernel, *inputs, **attributes)[0]

    def emit(
        self, kernel: Kernel, *inputs: str, names: Sequence[str] | None = None, **attributes: Any
    ) -> tuple[str, ...]:
        """Add a call; returns the names of all its outputs, ``names`` where they are unused."""
        shapes = kernel.shapes(*[self.shape(name) for name in inputs], **attributes)
        if names is None:
            first = self._scopes[-1] if self._scopes else kernel.name
            first = self._local(kernel.name) if first in self._buffers else first
            names = [first, *[f"{first}.{kernel.name}{k}" for k in range(1, len(shapes))]]
        kinds = {self._buffers[name].dtype for name in inputs}
        dtype = "float" if "float" in kinds else "index"
        outputs = tuple(
            self.buffer(self._unused(name), shape, "value", dtype=dtype)
            for name, shape in zip(names, shapes, strict=True)
        )
        if not self._differentiable.isdisjoint(inputs):
            self._differentiable.update(outputs)
        self._calls.append(Call(kernel, inputs, outputs, self.section, attributes))
        return outputs

    def carry(self, state: str, value: str) -> None:
        """At the end of the current section, ``state`` (or a parameter) becomes ``value``."""
        if self._buffers[value].kind != "value":
            raise NetworkError(f"{state} can only become what a call wrote; got {value}.")
        if self.shape(value) != self.shape(state):
            raise NetworkError(
                f"{state} is {self.shape(state)}; {value} is {self.shape(value)} and cannot follow."
            )
        self._carry[self.section][state] = value

    def carried(self, state: str) -> str:
        """What ``state`` (or a parameter) becomes at the end of the current section, so far."""
        return self._carry[self.section][state]

    def replace_at_end(self, parameter: str, state: str) -> None:
        """When the training ends, and for each validation, ``state`` stands for ``parameter``."""
        if parameter in self._replaced:
            raise NetworkError(f"{parameter} has two averages, one inside the other; take one.")
        self._replaced[parameter] = state

    def assign(self, targets: Sequence[str], kernel: Kernel, *inputs: str) -> None:
        """Call a kernel whose outputs are the new values of ``targets``, in order."""
        outputs = self.emit(kernel, *inputs, names=[f"new_{name}" for name in targets])
        for target, output in zip(targets, outputs, strict=True):
            self.carry(target, output)

    # -- backward ------------------------------------------------------------------------

    def backward(self, loss: str) -> None:
        """Walk the calls in reverse and add the calls that give each parameter's gradient.

        Contributions that meet at a fan-out are summed by ``add``; gradients that nobody
        needs are not computed. The kernel that wrote ``loss`` starts the walk.
        """
        shares: defaultdict[str, list[str]] = defaultdict(list)
        for call in reversed(self._calls[:]):
            needed = [name in self._differentiable for name in call.inputs]
            if not any(needed):
                continue
            grads = [self._total(shares, name) for name in call.outputs]
            if loss not in call.outputs and not any(grads):
                continue
            if call.kernel.backward is None:
                raise NetworkError(
                    f"{call.kernel.name} has no backward rule, but parameters before it are to "
                    f"be trained; give the kernel one."
                )
            if loss in call.outputs and len(call.outputs) < 2:
                raise NetworkError(
                    f"{call.kernel.name} wrote the loss without its gradient; the loss is "
                    f"written by a kernel made with loss_kernel."
                )
            for gradient in call.kernel.backward(call, grads):
                if any(needed[position] for position in gradient.of):
                    self._share(shares, call, gradient)
        parameters = self.parameters()
        for name in parameters:
            if name not in self._differentiable:
                continue
            total = self._total(shares, name)
            if total is None:
                raise NetworkError(f"the loss does not depend on {name}; remove its layer.")
            self.gradients[name] = total
        if not self.gradients:
            why = "all parameters are frozen" if parameters else "no layer has parameters"
            raise NetworkError(f"there is nothing to train: {why}.")

    def _share(self, shares: Mapping[str, list[str]], call: Call, gradient: Gradient) -> None:
        of = [call.inputs[position] for position in gradient.of]
        grads: Sequence[str] = gradient.inputs
        if gradient.kernel is not None:
            names = [f"grad_{name}" for name in of]
            grads = self.emit(gradient.kernel, *grads, names=names, **gradient.attributes)
        for name, grad in zip(of, grads, strict=True):
            if self.shape(grad) != self.shape(name):
                raise NetworkError(
                    f"{name} is {self.shape(name)}, but the gradient that {call.kernel.name} "
                    f"gives it is {self.shape(grad)}."
                )
            shares[name].append(grad)

    def _total(self, shares: Mapping[str, list[str]], name: str) -> str | None:
        parts = shares[name]
        while len(parts) > 1:
            parts[:2] = self.emit(add, *parts[:2], names=[f"grad_{name}.sum"])
        return parts[0] if parts else None

    def build(self) -> Plan:
        """The finished plan."""
        return Plan(
            self.mode,
            self.dtype,
            dict(self._buffers),
            tuple(self._calls),
            dict(self._carry),
            dict(self.outputs),
            dict(self.gradients),
            dict(self._codes),
            frozenset(self._flattened),
            self._reshaped[1] if self._reshaped else None,
            dict(self._replaced),
        )


def matches(pattern: str, parameter: str) -> bool:
    """Whether a pattern names a parameter, or a layer it is in."""
    return fnmatchcase(parameter, pattern) or fnmatchcase(parameter, f"{pattern}.*")
