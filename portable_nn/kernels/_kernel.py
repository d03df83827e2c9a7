"""What a kernel is: a named operation, its meaning, and what a plan must know about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from portable_nn.errors import NetworkError
from portable_nn.typing import Shape

Meaning = Callable[..., Any]
Shapes = Callable[..., tuple[Shape, ...]]


@dataclass(frozen=True, eq=False)
class Kernel:
    """A named operation and everything the plan, the backends and parity ask about it.

    A ``Call`` holds the kernel itself, so a kernel of your own needs no registration.

    Attributes
    ----------
    name
        How plans print it and lowerings are named after it.
    meaning
        ``meaning(xp, *inputs, **attributes)`` in array API functions only: one array, or a
        tuple of arrays. It never writes into an input.
    shapes
        ``shapes(*input_shapes, **attributes)``: the shapes of the outputs.
    backward
        ``backward(call, grads)``: the gradient calls, given the names of the gradients of
        the outputs; None where nothing is differentiated.
    donates
        Pairs ``(output, input)``: the output *may* be written over the input. It is a
        permission; ``Plan.donated`` decides where it is used.
    elementwise
        Each output element depends on the same element of the inputs and on 0-d inputs
        only, so calls on adjacent memory may be merged into one.
    magnitude
        ``magnitude(xp, *inputs, **attributes)``: for each output the size S that rounding
        errors are proportional to; None: it is found by trying changed inputs.
    length
        ``length(*input_shapes)``: number of terms summed for one output element; a tuple where
        the outputs differ in it.
    branch
        ``branch(xp, *inputs, **attributes)``: which piece of a kinked function each element took.
    cost
        ``cost(*input_shapes)``: floating point operations.
    least_rows
        The fewest rows of a batch that it is made for: 2 for a variance over the rows.
    workspace
        ``workspace(*input_shapes)``: how many numbers its meaning forms on the way, where these
        are many more than go in and come out; ``fit`` refuses a batch for which it is too large.
    """

    name: str
    meaning: Meaning
    shapes: Shapes
    backward: Callable[[Call, Sequence[str | None]], Sequence[Gradient]] | None = None
    donates: tuple[tuple[int, int], ...] = ()
    elementwise: bool = False
    magnitude: Callable[..., tuple[Any, ...]] | None = None
    length: Callable[..., int | tuple[int, ...]] = lambda *shapes: 1
    branch: Callable[..., Any] | None = None
    cost: Callable[..., int] = lambda *shapes: math.prod(shapes[0])
    least_rows: int = 1
    workspace: Callable[..., int] | None = None

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


@dataclass(frozen=True, eq=False)
class Call:
    """One line of a plan: which kernel, which buffers in, which buffers out."""

    kernel: Kernel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    section: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Gradient:
    """One call of a backward pass, or, without a kernel, a gradient that is already there.

    ``of`` are the positions of the inputs whose gradients the outputs are, in order. The
    reverse walk emits the call only if one of them is needed.
    """

    of: tuple[int, ...]
    inputs: tuple[str, ...]
    kernel: Kernel | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def kernel(**fields: Any) -> Callable[[Meaning], Kernel]:
    """Make the decorated meaning a ``Kernel`` of the same name."""
    return lambda meaning: Kernel(meaning.__name__, meaning, **fields)


def _equal_shapes(*shapes: Shape, **attributes: Any) -> tuple[Shape, ...]:
    if any(shape not in ((), shapes[0]) for shape in shapes):
        raise NetworkError(f"an elementwise kernel takes equal shapes; got {shapes}.")
    return (shapes[0],)


def elementwise(**fields: Any) -> Callable[[Meaning], Kernel]:
    """Make the decorated formula an elementwise ``Kernel``: one output, shaped as input 0.

    Defaults: the output may overwrite input 0, one operation per element.
    """
    defaults = {
        "shapes": _equal_shapes,
        "donates": ((0, 0),),
        "elementwise": True,
    }
    return kernel(**(defaults | fields))


def from_output(backward: Kernel) -> Callable[[Call, Sequence[str]], list[Gradient]]:
    """Gradient of a one-input kernel as ``backward(grad, output)``."""
    return lambda call, grads: [
        Gradient((0,), (grads[0], call.outputs[0]), backward, call.attributes)
    ]


def from_input(backward: Kernel) -> Callable[[Call, Sequence[str]], list[Gradient]]:
    """Gradient of a one-input kernel as ``backward(grad, input)``."""
    return lambda call, grads: [
        Gradient((0,), (grads[0], call.inputs[0]), backward, call.attributes)
    ]


def accurate(**fields: Any) -> Callable[[Meaning], Kernel]:
    """Make the decorated formula an elementwise ``Kernel`` that is accurate: S is its output."""

    def decorate(meaning: Meaning) -> Kernel:
        def magnitude(xp: Any, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
            return (xp.abs(meaning(xp, *inputs, **attributes)),)

        return elementwise(**({"magnitude": magnitude} | fields))(meaning)

    return decorate


def multilinear(**fields: Any) -> Callable[[Meaning], Kernel]:
    """Make the decorated formula, linear in each input but codes from 0 on, a ``Kernel``.

    Its magnitude is its own meaning on absolute values: the size of what is summed.
    """

    def decorate(meaning: Meaning) -> Kernel:
        def magnitude(xp: Any, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
            found = meaning(xp, *[xp.abs(value) for value in inputs], **attributes)
            return found if isinstance(found, tuple) else (found,)

        return kernel(**({"magnitude": magnitude} | fields))(meaning)

    return decorate
