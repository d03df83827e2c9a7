"""What is right: calls and trainings judged by ``portable_nn.parity``, and central differences."""

import array_api_compat.numpy as xp
import numpy as np

from portable_nn import Network, kernels, parity


def floating(array):
    return array.dtype.kind == "f"


def meaning(kernel, inputs):
    """The outputs of a kernel's meaning on host arrays."""
    with np.errstate(all="ignore"):
        outputs = kernel.meaning(xp, *inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


# -- one call ------------------------------------------------------------------------------


def measured(kernel, inputs, outputs, dtype):
    """``parity.measure`` of one call, given on the host."""
    names = tuple(f"input{k}" for k in range(len(inputs)))
    call = kernels.Call(kernel, names, ("output",), "gradient")
    return parity.measure(call, inputs, outputs, dtype)


def faults(kernel, inputs, outputs, dtype):
    """Sentences about every output that is further off than rounding explains."""
    return [
        f"{kernel.name} output {k}: {found.share:.3g} of its limit, {found.errors}"
        for k, found in enumerate(measured(kernel, inputs, outputs, dtype))
        if not found.share <= 1.0
    ]


# -- a training ----------------------------------------------------------------------------


class Kept:
    """A backend that can tell what the step that ran last has left."""

    def __init__(self, backend):
        self._backend, self.last, self.left = backend, None, []

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def start(self, plan, state, n, watch=None):
        return KeptStep(self, plan, self._backend.start(plan, state, n, watch=watch))

    def keep(self):
        """Add loss, gradients, parameters and state to ``left``, as host arrays by name."""
        plan = self.last.plan
        names = [*plan.kept, *(buffer.name for buffer in plan.of_kind("parameter", "state"))]
        self.left.append({name: self.to_host(self.last.read(name)) for name in names})


class KeptStep:
    def __init__(self, backend, plan, step):
        self._backend, self.plan, self._step = backend, plan, step
        self.read, self.write = step.read, step.write

    def run(self, fed, section=None):
        self._backend.last = self
        self._step.run(fed, section)


def assert_trains_by_the_formulas(layers, x, y, *, backend, dtype, steps, batch_size, **options):
    """Each call of each step is watched, and steps that are not watched leave the same bits.

    So there is no tolerance here but that of ``parity``.
    """
    watched, plain = Kept(backend), Kept(backend)
    report = parity.check_training(
        layers, x, y, backend=watched, dtype=dtype, steps=steps, batch_size=batch_size,
        watch=range(1, steps + 1), progress=watched.keep, **options,
    )  # fmt: skip
    assert report.ok, report.verdict
    training = Network(layers, dtype).start(backend=plain, batch_size=batch_size, **options)
    for epoch in range(steps):
        for batch in training.batches(x, y, epoch):
            if training.updates < steps:
                training.step(batch)
                plain.keep()
    assert len(watched.left) == len(plain.left) == steps
    for found, expected in zip(plain.left, watched.left, strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name, strict=True)


# -- a gradient ----------------------------------------------------------------------------


def central_differences(function, point, width=6e-6):
    """The gradient of ``function`` (host array -> float) at ``point``, a coordinate at a time.

    The width is about the cube root of the unit roundoff, where the error of the formula
    (width squared) and that of the subtraction (roundoff / width) are both near 1e-10.
    """
    gradient = np.zeros_like(point)
    for place in np.ndindex(point.shape):
        values = []
        for sign in (1.0, -1.0):
            moved = point.copy()
            moved[place] += sign * width
            values.append(function(moved))
        gradient[place] = (values[0] - values[1]) / (2.0 * width)
    return gradient
