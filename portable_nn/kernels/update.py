"""One optimizer step of one parameter: ``parameter, state -> parameter, state``.

Every hyper-parameter is a 0-d input, formed on the host in float64 and rounded once: formed
in float32, ``1 - beta2`` alone would be 216 rounding units off.
"""

from __future__ import annotations

import math

from portable_nn.kernels._kernel import kernel
from portable_nn.typing import Array, Namespace


@kernel(
    shapes=lambda parameter, *others: (parameter,),
    donates=((0, 0),),
    elementwise=True,
    magnitude=lambda xp, p, g, learning_rate: (xp.abs(p) + xp.abs(g) * learning_rate,),
    cost=lambda parameter, *others: 2 * math.prod(parameter),
)
def sgd(xp: Namespace, parameter: Array, grad: Array, learning_rate: Array) -> Array:
    """``p <- p - learning_rate * grad``, gradient descent."""
    return parameter - grad * learning_rate


def _velocity_magnitude(
    xp: Namespace, p: Array, g: Array, v: Array, momentum: Array, learning_rate: Array
) -> tuple[Array, Array]:
    velocity = xp.abs(v) * momentum + xp.abs(g) * learning_rate
    return xp.abs(p) + velocity, velocity


@kernel(
    shapes=lambda parameter, *others: (parameter, parameter),
    donates=((0, 0), (1, 2)),
    elementwise=True,
    magnitude=_velocity_magnitude,
    cost=lambda parameter, *others: 4 * math.prod(parameter),
)
def momentum(
    xp: Namespace,
    parameter: Array,
    grad: Array,
    velocity: Array,
    momentum: Array,
    learning_rate: Array,
) -> tuple[Array, Array]:
    """``v <- momentum v + learning_rate g``, ``p <- p - v``.

    Source: Polyak 1964, as in Sutskever et al. 2013, eq. 1 and 2. Differs from PyTorch, where
    the rate stands outside the velocity.
    """
    velocity = velocity * momentum + grad * learning_rate
    return parameter - velocity, velocity


def _nesterov_magnitude(
    xp: Namespace, p: Array, g: Array, v: Array, momentum: Array, learning_rate: Array
) -> tuple[Array, Array]:
    _, velocity = _velocity_magnitude(xp, p, g, v, momentum, learning_rate)
    return xp.abs(p) + velocity * momentum + xp.abs(g) * learning_rate, velocity


@kernel(
    shapes=lambda parameter, *others: (parameter, parameter),
    donates=((0, 0), (1, 2)),
    elementwise=True,
    magnitude=_nesterov_magnitude,
    cost=lambda parameter, *others: 6 * math.prod(parameter),
)
def nesterov(
    xp: Namespace,
    parameter: Array,
    grad: Array,
    velocity: Array,
    momentum: Array,
    learning_rate: Array,
) -> tuple[Array, Array]:
    """``v <- momentum v + learning_rate g``, ``p <- p - (momentum v + learning_rate g)``.

    Source: Sutskever et al. 2013, eq. 3 and 4, with p the point they look ahead to.
    """
    move = grad * learning_rate
    velocity = velocity * momentum + move
    return parameter - (velocity * momentum + move), velocity


def _rmsprop_magnitude(
    xp: Namespace,
    p: Array,
    g: Array,
    mean_square: Array,
    beta: Array,
    rest: Array,
    learning_rate: Array,
    epsilon: Array,
) -> tuple[Array, Array]:
    square = mean_square * beta + g * g * rest
    return xp.abs(p) + xp.abs(g) * learning_rate / xp.sqrt(square + epsilon), square


@kernel(
    shapes=lambda parameter, *others: (parameter, parameter),
    donates=((0, 0), (1, 2)),
    elementwise=True,
    magnitude=_rmsprop_magnitude,
    cost=lambda parameter, *others: 9 * math.prod(parameter),
)
def rmsprop(
    xp: Namespace,
    parameter: Array,
    grad: Array,
    mean_square: Array,
    beta: Array,
    rest: Array,
    learning_rate: Array,
    epsilon: Array,
) -> tuple[Array, Array]:
    """``s <- beta s + (1-beta) g^2``, ``p <- p - learning_rate * g / sqrt(s + epsilon)``.

    rest is ``1 - beta``. Source: Hinton 2012, lecture 6e; epsilon inside the root (PyTorch:
    outside).
    """
    mean_square = mean_square * beta + grad * grad * rest
    return parameter - grad * learning_rate / xp.sqrt(mean_square + epsilon), mean_square


def _adam_magnitude(
    xp: Namespace,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    beta1: Array,
    rest1: Array,
    beta2: Array,
    rest2: Array,
    step_size: Array,
    epsilon: Array,
) -> tuple[Array, Array, Array]:
    moment = xp.abs(m) * beta1 + xp.abs(g) * rest1
    square = v * beta2 + g * g * rest2
    return xp.abs(p) + step_size * moment / (xp.sqrt(square) + epsilon), moment, square


@kernel(
    shapes=lambda parameter, *others: (parameter, parameter, parameter),
    donates=((0, 0), (1, 2), (2, 3)),
    elementwise=True,
    magnitude=_adam_magnitude,
    cost=lambda parameter, *others: 12 * math.prod(parameter),
)
def adam(
    xp: Namespace,
    parameter: Array,
    grad: Array,
    m: Array,
    v: Array,
    beta1: Array,
    rest1: Array,
    beta2: Array,
    rest2: Array,
    step_size: Array,
    epsilon: Array,
) -> tuple[Array, Array, Array]:
    """``m <- beta1 m + (1-beta1) g``, ``v <- beta2 v + (1-beta2) g^2``, a scaled step along m.

    ``p <- p - step_size * m / (sqrt(v) + epsilon)``, where the host has put the bias
    corrections into ``step_size`` and ``epsilon``; rest1 and rest2 are ``1 - beta``.
    Source: Kingma and Ba 2015, algorithm 1 in the form at the end of section 2.
    """
    m = m * beta1 + grad * rest1
    v = v * beta2 + grad * grad * rest2
    return parameter - step_size * m / (xp.sqrt(v) + epsilon), m, v
