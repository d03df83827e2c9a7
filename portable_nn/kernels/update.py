"""One optimizer step of one parameter: ``parameter, state -> parameter, state``.

Every hyper-parameter is a 0-d input, formed on the host in float64 and rounded once: formed
in float32, ``1 - beta2`` alone would be 216 rounding units off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from portable_nn.kernels._kernel import Kernel, Meaning, kernel
from portable_nn.typing import Array, Namespace


def update_kernel(
    states: int = 0, operations: int = 1, **fields: Any
) -> Callable[[Meaning], Kernel]:
    """Make the decorated recurrence an elementwise ``Kernel`` that writes over what it renews.

    It is ``(parameter, grad, *states, *hyper-parameters) -> (parameter, *states)``, with so many
    operations for one number. What rounding errors are proportional to is what it gives for
    sizes, where all it takes off a parameter adds up.
    """

    def decorate(meaning: Meaning) -> Kernel:
        def magnitude(xp: Namespace, parameter: Array, *others: Array) -> tuple[Array, ...]:
            found = meaning(xp, -xp.abs(parameter), *map(xp.abs, others))
            return tuple(map(xp.abs, found if states else (found,)))

        return kernel(
            shapes=lambda parameter, *others: (parameter,) * (1 + states),
            donates=((0, 0), *[(k, k + 1) for k in range(1, 1 + states)]),
            elementwise=True,
            magnitude=magnitude,
            cost=lambda parameter, *others: operations * math.prod(parameter),
            **fields,
        )(meaning)

    return decorate


@update_kernel(operations=2)
def sgd(xp: Namespace, parameter: Array, grad: Array, learning_rate: Array) -> Array:
    """``p <- p - learning_rate * grad``, gradient descent."""
    return parameter - grad * learning_rate


@update_kernel(states=1, operations=4)
def momentum(
    xp: Namespace, parameter: Array, grad: Array, velocity: Array, momentum: Array, rate: Array
) -> tuple[Array, Array]:
    """``v <- momentum v + rate g``, ``p <- p - v``.

    Source: Polyak 1964, as in Sutskever et al. 2013, eq. 1 and 2. Differs from PyTorch, where
    the rate stands outside the velocity.
    """
    velocity = velocity * momentum + grad * rate
    return parameter - velocity, velocity


@update_kernel(states=1, operations=6)
def nesterov(
    xp: Namespace, parameter: Array, grad: Array, velocity: Array, momentum: Array, rate: Array
) -> tuple[Array, Array]:
    """``v <- momentum v + rate g``, ``p <- p - (momentum v + rate g)``.

    Source: Sutskever et al. 2013, eq. 3 and 4, with p the point they look ahead to.
    """
    move = grad * rate
    velocity = velocity * momentum + move
    return parameter - (velocity * momentum + move), velocity


@update_kernel(states=1, operations=9)
def rmsprop(
    xp: Namespace, parameter: Array, grad: Array, mean_square: Array, *numbers: Array
) -> tuple[Array, Array]:
    """``s <- beta s + (1-beta) g^2``, ``p <- p - learning_rate * g / sqrt(s + epsilon)``.

    numbers are beta, ``1 - beta``, learning_rate, epsilon. Source: Hinton 2012, lecture 6e;
    epsilon inside the root (PyTorch: outside).
    """
    beta, rest, learning_rate, epsilon = numbers
    mean_square = mean_square * beta + grad * grad * rest
    return parameter - grad * learning_rate / xp.sqrt(mean_square + epsilon), mean_square


@update_kernel(states=1, operations=8)
def divide_by_root(
    xp: Namespace, grad: Array, deviation: Array, squares: Array, *numbers: Array
) -> tuple[Array, Array]:
    """``s <- beta s + rest d^2``, and ``g / (sqrt(s + inside) + outside)``: what to descend along.

    numbers are beta, rest, inside, outside. d is g itself or its deviation from a mean; inside
    or outside is 0.
    """
    beta, rest, inside, outside = numbers
    squares = squares * beta + deviation * deviation * rest
    return grad / (xp.sqrt(squares + inside) + outside), squares


def _moments(grad: Array, m: Array, v: Array, *numbers: Array) -> tuple[Array, Array]:
    """Running means of a gradient and of its square; numbers are beta1, its rest, beta2, ..."""
    beta1, rest1, beta2, rest2 = numbers
    return m * beta1 + grad * rest1, v * beta2 + grad * grad * rest2


@update_kernel(states=2, operations=12)
def adam(
    xp: Namespace, parameter: Array, grad: Array, m: Array, v: Array, *numbers: Array
) -> tuple[Array, Array, Array]:
    """``m <- beta1 m + (1-beta1) g``, ``v <- beta2 v + (1-beta2) g^2``, a scaled step along m.

    ``p <- p - step_size * m / (sqrt(v) + epsilon)``, where the host has put the bias
    corrections into ``step_size`` and ``epsilon``; numbers are beta1, ``1 - beta1``, beta2,
    ``1 - beta2``, step_size, epsilon.
    Source: Kingma and Ba 2015, algorithm 1 in the form at the end of section 2.
    """
    *decays, step_size, epsilon = numbers
    m, v = _moments(grad, m, v, *decays)
    return parameter - step_size * m / (xp.sqrt(v) + epsilon), m, v


@update_kernel(states=2, operations=14)
def adamw(
    xp: Namespace, parameter: Array, grad: Array, m: Array, v: Array, *numbers: Array
) -> tuple[Array, Array, Array]:
    """``p <- p - decay p``, then as ``adam``; numbers are those of adam, and decay.

    Source: Loshchilov and Hutter 2019, algorithm 2.
    """
    *numbers_of_adam, decay = numbers
    decayed = parameter - parameter * decay
    moved: tuple[Array, Array, Array] = adam.meaning(xp, decayed, grad, m, v, *numbers_of_adam)
    return moved


@update_kernel(states=3, operations=13)
def amsgrad(
    xp: Namespace, parameter: Array, grad: Array, m: Array, v: Array, most: Array, *numbers: Array
) -> tuple[Array, Array, Array, Array]:
    """``adam`` with the largest v so far under the root; numbers as there.

    Source: Reddi et al. 2018, algorithm 2, with the bias corrections in the numbers.
    """
    *decays, step_size, epsilon = numbers
    m, v = _moments(grad, m, v, *decays)
    most = xp.maximum(most, v)
    return parameter - step_size * m / (xp.sqrt(most) + epsilon), m, v, most


@update_kernel(states=2, operations=13)
def radam(
    xp: Namespace, parameter: Array, grad: Array, m: Array, v: Array, *numbers: Array
) -> tuple[Array, Array, Array]:
    """``adam`` with ``p <- p - step_size * m / (sqrt(v) * rectified + epsilon)``.

    numbers are those of adam, with rectified before epsilon: 1, or, with epsilon 1, 0 for a step
    along m as it is. Source: Liu et al. 2020, algorithm 2.
    """
    *decays, step_size, rectified, epsilon = numbers
    m, v = _moments(grad, m, v, *decays)
    return parameter - step_size * m / (xp.sqrt(v) * rectified + epsilon), m, v


def _lion_direction(xp: Namespace, grad: Array, m: Array, beta1: Array, rest1: Array) -> Array:
    return xp.sign(m * beta1 + grad * rest1)


@update_kernel(
    states=1,
    operations=8,
    branch=lambda xp, p, grad, m, *numbers: _lion_direction(xp, grad, m, *numbers[:2]),
)
def lion(
    xp: Namespace, parameter: Array, grad: Array, m: Array, *numbers: Array
) -> tuple[Array, Array]:
    """``p <- p - learning_rate * sign(beta1 m + (1-beta1) g)``, ``m <- beta2 m + (1-beta2) g``.

    numbers are beta1, ``1 - beta1``, beta2, ``1 - beta2``, learning_rate. Source: Chen et al.
    2023, algorithm 2; the sign of 0 is 0.
    """
    beta1, rest1, beta2, rest2, learning_rate = numbers
    direction = _lion_direction(xp, grad, m, beta1, rest1)
    return parameter - direction * learning_rate, m * beta2 + grad * rest2
