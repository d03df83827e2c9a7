"""A training step as a list of named kernel calls over named buffers.

A ``Plan`` is built without any array library and without a batch size; a backend is a way to
run it. ``print(plan)`` is a table in the four steps of a backpropagation tutorial.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from portable_nn.errors import NetworkError
from portable_nn.kernels import Call, Gradient, Kernel, add, take_rows
from portable_nn.random import Draws
from portable_nn.typing import Shape, Sizes

if TYPE_CHECKING:
    from portable_nn.typing import HostArray

Kind = Literal["parameter", "state", "fed", "value"]
Initializer = Callable[[Draws, tuple[int, ...]], "HostArray"]
SECTIONS = ("gradient", "update")


@dataclass(frozen=True)
class Initial:
    """Source of a parameter or state: its value before the first step, from stream ``stream``."""

    fill: Initializer
    stream: int = 0


@dataclass(frozen=True)
class Data:
    """Source of a fed buffer: rows the user gave (``"x"``, ``"targets"``, ``"weight"``).

    ``"rows"`` are the indices of the batch, and ``"scale"`` is one over its total weight.
    """

    field: str


@dataclass(frozen=True)
class Schedule:
    """Source of a fed 0-d buffer: hyper-parameter ``name``, one value an update."""

    name: str


@dataclass(frozen=True)
class Draw:
    """Source of a fed buffer: random numbers for ``purpose`` at ``rate`` (see ``random.py``)."""

    purpose: str
    stream: int
    rate: float


Source = Initial | Data | Schedule | Draw


@dataclass(frozen=True)
class Buffer:
    """A named array of a plan.

    Sizes are numbers or names bound later (``"n"``: rows of a step). A *parameter* and a
    *state* live from step to step, a *fed* buffer is filled by its source, a *value* is
    written by exactly one call. ``dtype`` is ``"float"`` (the plan's) or ``"index"``.
    """

    name: str
    shape: Shape
    kind: Kind
    source: Source | None = None
    dtype: Literal["float", "index"] = "float"

    def bound(self, sizes: Sizes) -> tuple[int, ...]:
        """The shape in numbers."""
        return tuple(sizes[d] if isinstance(d, str) else d for d in self.shape)


@dataclass(frozen=True, eq=False)
class Plan:
    """One step of one network: kernel calls in order, over buffers.

    Attributes
    ----------
    mode
        ``"train"``, ``"evaluate"`` (loss, nothing changes) or ``"predict"``.
    dtype
        Name of the floating dtype, ``"float32"`` or ``"float64"``.
    buffers, calls
        By name; in order.
    carry
        By section: ``{parameter or state: value}``, what changes at the section's end.
    outputs
        By role: ``"loss"``, ``"output"``.
    gradients
        ``{parameter: its gradient}``.
    """

    mode: str
    dtype: str
    buffers: Mapping[str, Buffer]
    calls: Sequence[Call]
    carry: Mapping[str, Mapping[str, str]]
    outputs: Mapping[str, str]
    gradients: Mapping[str, str]

    def section(self, name: str) -> list[Call]:
        """The calls of one section, in order."""
        return [call for call in self.calls if call.section == name]

    @cached_property
    def sections(self) -> tuple[str, ...]:
        """The sections that have calls: ``gradient``, then ``update`` in a training plan."""
        return tuple(name for name in SECTIONS if self.section(name))

    def of_kind(self, *kinds: Kind) -> list[Buffer]:
        """The buffers of these kinds, in order."""
        return [buffer for buffer in self.buffers.values() if buffer.kind in kinds]

    def reads(self, section: str) -> list[str]:
        """What a section reads and does not write itself, in order of first use."""
        calls = self.section(section)
        written = {name for call in calls for name in call.outputs}
        return list(dict.fromkeys(i for call in calls for i in call.inputs if i not in written))

    @cached_property
    def kept(self) -> frozenset[str]:
        """Values somebody wants after their section: outputs, gradients, what is carried.

        And what a later section reads.
        """
        carried = [value for carry in self.carry.values() for value in carry.values()]
        wanted = [*self.outputs.values(), *self.gradients.values(), *carried]
        crossing = [name for section in self.sections for name in self.reads(section)]
        return frozenset(n for n in wanted + crossing if self.buffers[n].kind == "value")

    @cached_property
    def last_read(self) -> Mapping[str, int]:
        """By buffer, the index of the last call that reads it (kept values: past the end)."""
        last = {name: index for index, call in enumerate(self.calls) for name in call.inputs}
        return last | dict.fromkeys(self.kept, len(self.calls))

    @cached_property
    def donated(self) -> Mapping[str, str]:
        """Liveness: ``{output: input whose memory it takes over}``.

        A kernel's ``donates`` only permits it. It happens where the input is a value that
        nobody reads later, or a parameter or state whose new value this output is.
        """
        taken: dict[str, str] = {}
        for index, call in enumerate(self.calls):
            carry = self.carry.get(call.section, {})
            for position, source in call.kernel.donates:
                output, name = call.outputs[position], call.inputs[source]
                buffer = self.buffers[name]
                dead = self.last_read[name] == index and call.inputs.count(name) == 1
                mine = buffer.kind == "value" or carry.get(name) == output
                if dead and mine and buffer.shape == self.buffers[output].shape:
                    taken[output] = name
        return taken

    def cost(self, n: int) -> int:
        """Floating point operations of one step on ``n`` rows, matrix products counted as 2."""
        sizes = {"n": n, "rows": 0}
        return sum(
            call.kernel.cost(*[self.buffers[name].bound(sizes) for name in call.inputs])
            for call in self.calls
        )

    def __str__(self) -> str:
        return _table(self)


class PlanBuilder:
    """Writes a plan: layers, losses and optimizers call it; only ``Network`` makes one."""

    def __init__(self, mode: str, dtype: str) -> None:
        self.mode, self.dtype = mode, dtype
        self.section = "gradient"
        self.outputs: dict[str, str] = {}
        self.gradients: dict[str, str] = {}
        self._buffers: dict[str, Buffer] = {}
        self._calls: list[Call] = []
        self._carry: defaultdict[str, dict[str, str]] = defaultdict(dict)
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
        """A trained array of the current layer, with a random stream of its own."""
        self._counts["parameter streams"] += 1
        source = Initial(initializer, self._counts["parameter streams"] - 1)
        name = self.buffer(self._local(name), shape, "parameter", source=source)
        self._differentiable.add(name)
        return name

    def state(self, name: str, shape: Shape, initializer: Initializer) -> str:
        """An array of the current layer or optimizer that changes only by ``carry``."""
        return self.buffer(self._local(name), shape, "state", source=Initial(initializer))

    def fed(self, name: str, shape: Shape, source: Source, **fields: Any) -> str:
        """An array filled from outside before the step, by ``source``."""
        return self.buffer(name, shape, "fed", source=source, **fields)

    def draw(self, purpose: str, x: str, rate: float) -> str:
        """Random numbers shaped as ``x``, drawn anew for every update, in a stream of their own."""
        self._counts[purpose + " streams"] += 1
        source = Draw(purpose, self._counts[purpose + " streams"] - 1, rate)
        return self.fed(self._local("draw"), self.shape(x), source)

    def data(self, name: str, features: int, **fields: Any) -> str:
        """Rows of the user's data: in training gathered from ``data.<name>``, else fed."""
        if self.mode != "train":
            return self.fed(name, ("n", features), Data(name), **fields)
        if "rows" not in self._buffers:
            self.fed("rows", ("n",), Data("rows"), dtype="index")
        whole = self.fed(f"data.{name}", ("rows", features), Data(name), **fields)
        return self.emit(take_rows, whole, "rows", names=[name])[0]

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
        dtype = self._buffers[inputs[0]].dtype
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
        self._carry[self.section][state] = value

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
            if call.kernel.backward is None or not any(needed):
                continue
            grads = [self._total(shares, name) for name in call.outputs]
            if loss not in call.outputs and not any(grads):
                continue
            for gradient in call.kernel.backward(call, grads):
                if any(needed[position] for position in gradient.of):
                    self._share(shares, call, gradient)
        for buffer in self._buffers_of("parameter"):
            total = self._total(shares, buffer.name)
            if total is None:
                raise NetworkError(f"the loss does not depend on {buffer.name}; remove its layer.")
            self.gradients[buffer.name] = total
        if not self.gradients:
            raise NetworkError("there is nothing to train: no layer has parameters.")

    def _buffers_of(self, kind: Kind) -> list[Buffer]:
        return [buffer for buffer in self._buffers.values() if buffer.kind == kind]

    def _share(self, shares: Mapping[str, list[str]], call: Call, gradient: Gradient) -> None:
        of = [call.inputs[position] for position in gradient.of]
        grads: Sequence[str] = gradient.inputs
        if gradient.kernel is not None:
            names = [f"grad_{name}" for name in of]
            grads = self.emit(gradient.kernel, *grads, names=names, **gradient.attributes)
        for name, grad in zip(of, grads, strict=True):
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
        )


def _table(plan: Plan) -> str:
    """The calls under the four steps of backpropagation, then who fills the fed buffers."""
    rows = [(title, line) for title, call in _steps(plan) for line in _lines(plan, call)]
    widths = [max(len(line[column]) for _, line in rows) for column in (0, 1)]
    text = [f"{plan.mode} plan, {plan.dtype}, {len(plan.calls)} calls on n rows"]
    for index, (title, (name, shape, call)) in enumerate(rows):
        if index == 0 or rows[index - 1][0] != title:
            text.append(title)
        text.append(f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {call}".rstrip())
    fed = defaultdict(list)
    for buffer in plan.of_kind("fed"):
        fed[type(buffer.source).__name__.lower()].append(buffer.name)
    return "\n".join([*text, *[f"fed by {who}: {', '.join(what)}" for who, what in fed.items()]])


def _steps(plan: Plan) -> Iterator[tuple[str, Call]]:
    loss = plan.outputs.get("loss")
    title = "I    forward"
    for call in plan.calls:
        if loss in call.outputs:
            yield "II   error", call
            title = "III  gradients"
        else:
            yield "IV   update" if call.section == "update" else title, call


def _lines(plan: Plan, call: Call) -> Iterator[tuple[str, str, str]]:
    """One line an output: its name (or what it becomes), its shape; the call on the first."""
    becomes = {value: name for name, value in plan.carry.get(call.section, {}).items()}
    scheduled = [name for name in call.inputs if isinstance(plan.buffers[name].source, Schedule)]
    inputs = [name for name in call.inputs if name not in scheduled]
    options = [f"{name}={value!r}" for name, value in call.attributes.items()]
    arguments = ", ".join([*inputs, *(["*schedule"] if scheduled else []), *options])
    text = f"{call.kernel.name}({arguments})"
    for name in call.outputs:
        shape = " x ".join(map(str, plan.buffers[name].shape)) or "()"
        yield f"{becomes[name]} <-" if name in becomes else name, shape, text
        text = ""
