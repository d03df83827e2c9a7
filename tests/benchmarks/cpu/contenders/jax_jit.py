"""JAX: the whole step compiled, its old values donated to the new ones."""

from functools import partial
from itertools import cycle

from tests.benchmarks.cpu.workloads import CUT

from ._contender import Contender, stepwise


def forward(weights, x):
    import jax

    for weight, bias in weights[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = weights[-1]
    return x @ weight + bias


def loss_of(weights, x, y, labels):
    import jax
    from jax import numpy as jnp

    z = forward(weights, x)
    if labels:
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()
    return jnp.mean((z - y) ** 2)


def adam(state, gradients, learning_rate, beta1, beta2, epsilon):
    import jax
    from jax import numpy as jnp

    weights, first, second, count = state
    count, each = count + 1, jax.tree.map
    first = each(lambda m, g: beta1 * m + (1 - beta1) * g, first, gradients)
    second = each(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, gradients)
    rate, size = learning_rate / (1 - beta1**count), 1 / (1 - beta2**count)
    move = partial(each, lambda w, m, v: w - rate * m / (jnp.sqrt(v * size) + epsilon))
    return move(weights, first, second), first, second, count


def sgd(state, gradients, learning_rate, momentum):
    import jax

    weights, velocity, _, count = state
    velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradients)
    weights = jax.tree.map(lambda w, v: w - learning_rate * v, weights, velocity)
    return weights, velocity, (), count


def beginning(workload, seed=1):
    """``(weights, first moments, second moments, count)``."""
    import jax
    from jax import numpy as jnp

    weights = jax.tree.map(jnp.asarray, workload.weights(seed))
    zeros = jax.tree.map(jnp.zeros_like, weights)
    second = jax.tree.map(jnp.zeros_like, weights) if workload.optimizer == "adam" else ()
    return weights, zeros, second, jnp.float32(0)


def one_step(workload):
    """``(state, x, y) -> (state, loss)``, a pure function."""
    import jax

    update = partial(adam if workload.optimizer == "adam" else sgd, **workload.hyper)

    def step(state, x, y):
        loss, gradients = jax.value_and_grad(loss_of)(state[0], x, y, workload.labels)
        return update(state, gradients), loss

    return step


def jax_step(workload):
    """A call a step."""
    import jax
    from jax import numpy as jnp

    compiled, state = jax.jit(one_step(workload), donate_argnums=0), beginning(workload)

    def step(x, y):
        nonlocal state
        state, loss = compiled(state, x, y)
        return loss

    batches = [tuple(map(jnp.asarray, batch)) for batch in workload.batches()]
    return stepwise(step, cycle(batches), wait=lambda loss: jax.block_until_ready((state, loss)))


def jax_scan(workload):
    """A call is an epoch: ``lax.scan`` over the pre-cut batches in turn."""
    import jax
    from jax import numpy as jnp

    step, state = one_step(workload), beginning(workload)
    stacked = [jnp.stack(arrays) for arrays in zip(*workload.batches(), strict=True)]

    def many(state, x, y, steps):
        return jax.lax.scan(lambda s, k: step(s, x[k % CUT], y[k % CUT]), state, jnp.arange(steps))

    compiled = jax.jit(many, donate_argnums=0, static_argnums=3)

    def call(steps):
        nonlocal state
        state, losses = compiled(state, *stacked, steps)
        return jax.block_until_ready(losses)

    def run(n):
        for _ in range(n // workload.epoch):
            call(workload.epoch)

    return Contender(run, lambda n: call(n).tolist(), multiple=workload.epoch)
