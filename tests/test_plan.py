"""The plan: how it reads, what the reverse walk adds, which memory may be taken over."""

from dataclasses import dataclass, replace

import array_api_compat.numpy as xp
import numpy as np
import pytest

from portable_nn import (
    SGD,
    Adam,
    CrossEntropy,
    Dense,
    Dropout,
    HalfSquaredError,
    Network,
    NetworkError,
    ReLU,
    Tanh,
    kernels,
)
from portable_nn.initializers import ones, zeros
from portable_nn.kernels import Gradient, kernel
from portable_nn.layers import Layer, chain
from portable_nn.plan import PlanBuilder
from portable_nn.runner import run, trace


@dataclass(frozen=True)
class Residual:
    """``x`` plus what the inner layers make of it."""

    inner: tuple[Layer, ...]

    def forward(self, builder, x, mode):
        return builder.call(kernels.add, x, chain(builder, self.inner, x, mode))


def plan_of(*layers, loss=None, optimizer=None, mode="train"):
    network = Network(layers, dtype="float64")
    return network.plan(loss or HalfSquaredError(), optimizer or SGD(), features=2, mode=mode)


def calls(plan, name):
    return [call for call in plan.calls if call.kernel.name == name]


# -- how it reads --------------------------------------------------------------------------

TRAIN = """\
train plan, float64, 17 calls on n rows: 131 operations a row, 54 a step
I    forward
  x                   n x 2  take_rows(data.x, rows)
  dense1              n x 4  linear(x, dense1.weight, dense1.bias)
  relu1               n x 4  relu(dense1)
  dense2              n x 3  linear(relu1, dense2.weight, dense2.bias)
  targets             n x 1  take_rows(data.targets, rows)
  weight              n x 1  take_rows(data.weight, rows)
II   error
  loss                ()     cross_entropy(dense2, targets, weight, scale)
  grad_dense2         n x 3
III  gradients
  grad_relu1          n x 4  linear_grad_input(grad_dense2, dense2.weight)
  grad_dense2.weight  4 x 3  linear_grad_weight(relu1, grad_dense2)
  grad_dense2.bias    3      linear_grad_bias(grad_dense2)
  grad_dense1         n x 4  relu_backward(grad_relu1, relu1)
  grad_dense1.weight  2 x 4  linear_grad_weight(x, grad_dense1)
  grad_dense1.bias    4      linear_grad_bias(grad_dense1)
IV   update
  dense1.weight <-    2 x 4  sgd(dense1.weight, grad_dense1.weight, *schedule)
  dense1.bias <-      4      sgd(dense1.bias, grad_dense1.bias, *schedule)
  dense2.weight <-    4 x 3  sgd(dense2.weight, grad_dense2.weight, *schedule)
  dense2.bias <-      3      sgd(dense2.bias, grad_dense2.bias, *schedule)
fed by data: rows, data.x, data.targets, data.weight, scale
fed by schedule: learning_rate"""

PREDICT = """\
predict plan, float64, 2 calls on n rows: 24 operations a row, 0 a step
I    forward
  dense1   n x 3  linear(x, dense1.weight, dense1.bias)
  softmax  n x 3  softmax(dense1)
fed by data: x"""


def test_training_plan_reads_as_the_four_steps_of_backpropagation():
    assert str(plan_of(Dense(4), ReLU(), Dense(3), loss=CrossEntropy())) == TRAIN


def test_prediction_plan_ends_in_the_link():
    plan = plan_of(Dense(3), loss=CrossEntropy(), mode="predict")
    assert str(plan) == PREDICT
    assert plan.outputs == {"output": "softmax"}


def test_every_output_of_a_call_has_a_line():
    text = str(plan_of(Dense(1), optimizer=Adam()))
    lines = [line.split("  ")[1] for line in text.splitlines() if " <-" in line]
    assert lines == [
        f"{moment}dense1.{name} <-" for name in ("weight", "bias") for moment in ("", "m.", "v.")
    ]
    assert "m.dense1.weight, v.dense1.weight, *schedule)" in text


def test_attributes_and_draws_are_shown():
    @kernel(shapes=lambda z, slope: (z,))
    def leaky(xp, z, slope):
        return xp.maximum(z, z * slope)

    class Leaky:
        def forward(self, builder, x, mode):
            return builder.call(leaky, x, slope=0.1)

    text = str(plan_of(Leaky(), Dense(2), Dropout(0.5)))
    assert "leaky(x, slope=0.1)" in text
    assert "fed by draw: dropout1.draw" in text


# -- what it is made of --------------------------------------------------------------------

SAMPLES = {
    "perceptron": [Dense(2)],
    "hidden layers": [Dense(4), ReLU(), Dense(4), Tanh(), Dense(2)],
    "no parameters at first": [Tanh(), ReLU(), Dense(2)],
    "dropout": [Dense(4), ReLU(), Dropout(0.5), Dropout(0.2), Dense(2)],
    "residual": [Dense(4), ReLU(), Residual((ReLU(), Dense(4), Tanh())), ReLU(), Dense(2)],
    "nested": [Dense(4), Residual((Residual((Tanh(),)), ReLU())), Residual(()), Dense(2)],
}
every_sample = pytest.mark.parametrize("layers", SAMPLES.values(), ids=list(SAMPLES))
every_optimizer = pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=["sgd", "adam"])


@every_sample
@every_optimizer
def test_each_value_is_written_once_and_before_it_is_read(layers, optimizer):
    plan = plan_of(*layers, optimizer=optimizer)
    known = {buffer.name for buffer in plan.of_kind("parameter", "state", "fed")}
    for call in plan.calls:
        assert known.issuperset(call.inputs)
        assert known.isdisjoint(call.outputs)
        known |= set(call.outputs)
    assert known == plan.buffers.keys()


def test_equal_layers_have_names_of_their_own():
    plan = plan_of(Dense(2), Residual((Dense(2), Dense(2))), Dense(2))
    names = [buffer.name for buffer in plan.of_kind("parameter") if "weight" in buffer.name]
    inner = ["residual1.dense1.weight", "residual1.dense2.weight"]
    assert names == ["dense1.weight", *inner, "dense2.weight"]


def test_two_parameters_of_one_name_are_an_error():
    class Twice:
        def forward(self, builder, x, mode):
            builder.parameter("weight", (2, 2), ones)
            return builder.call(kernels.linear, x, builder.parameter("weight", (2, 2), ones))

    with pytest.raises(NetworkError, match=r"twice1\.weight"):
        plan_of(Twice())


def test_parameters_have_random_streams_of_their_own():
    plan = plan_of(Dense(3), Residual((Dense(3),)), Dense(2))
    assert [buffer.source.stream for buffer in plan.of_kind("parameter")] == list(range(6))


def refuse(*args, **options):
    raise AssertionError("an array was asked for while the plan was written")


def test_plan_is_built_without_arrays():
    linear, sgd = [
        replace(k, meaning=refuse, magnitude=refuse) for k in (kernels.linear, kernels.sgd)
    ]

    class Symbolic:
        def forward(self, builder, x, mode):
            return builder.call(linear, x, builder.parameter("weight", (2, 2), refuse))

    class Update:
        def hyperparameters(self, step, epoch):
            return {"learning_rate": 1.0}

        def update(self, builder, parameter, grad, hyper):
            builder.assign([parameter], sgd, parameter, grad, *hyper)

    plan = plan_of(Symbolic(), optimizer=Update())
    assert str(plan)
    assert plan.donated
    assert plan.cost(7) > 0


def test_one_plan_serves_every_number_of_rows():
    plan = plan_of(Dense(4), ReLU(), Dense(2))
    arrays = values(plan)
    whole = run(plan, "gradient", xp, arrays | {"rows": np.arange(7)})
    parts = [
        run(plan, "gradient", xp, arrays | {"rows": part}) for part in ([0, 1, 2, 3, 4, 5], [6])
    ]
    for name in plan.gradients.values():
        # Sums of seven terms near 1 in another order.
        np.testing.assert_allclose(whole[name], parts[0][name] + parts[1][name], atol=1e-14)


def test_cost_is_six_operations_a_weight_and_row():
    # Forward, gradient of the input, gradient of the weight: a product and a sum each.
    network = Network([Dense(300), Dense(300)])
    plan = network.plan("half_squared_error", SGD(), features=300)
    first, second = 300 * 300 * 4, 300 * 300 * 6  # the first layer's input needs no gradient
    assert plan.cost(1000) == pytest.approx((first + second) * 1000, rel=0.02)


# -- the reverse walk ----------------------------------------------------------------------


def test_data_gets_no_gradient():
    plan = plan_of(Dense(4), Tanh(), Dropout(0.5), Dense(2))
    assert len(calls(plan, "linear_grad_input")) == 1
    assert len(calls(plan, "multiply")) == 2  # forward, and the gradient of its first factor
    unwanted = {"grad_x", "grad_targets", "grad_weight", "grad_dropout1.draw"}
    assert unwanted.isdisjoint(plan.buffers)


def test_what_comes_before_all_parameters_gets_no_gradient():
    plan = plan_of(Tanh(), ReLU(), Dense(2))
    assert calls(plan, "tanh_backward") + calls(plan, "relu_backward") == []


def test_fan_out_is_summed():
    plan = plan_of(Dense(2), Residual((Tanh(),)), Dense(2))
    total = calls(plan, "add")[1]  # the first is the layer itself
    through = calls(plan, "tanh_backward")[0].outputs[0]
    around = calls(plan, "linear_grad_input")[0].outputs[0]
    assert sorted(total.inputs) == sorted([around, through])
    assert plan.gradients["dense1.bias"] in [c.outputs[0] for c in calls(plan, "linear_grad_bias")]
    assert total.outputs[0] in calls(plan, "linear_grad_bias")[-1].inputs


def test_fan_out_of_four_takes_three_sums():
    class Four:
        def forward(self, builder, x, mode):
            parts = [builder.call(kernels.tanh, x) for _ in range(4)]
            while len(parts) > 1:
                parts = [*parts[2:], builder.call(kernels.multiply, *parts[:2])]
            return parts[0]

    assert len(calls(plan_of(Dense(2), Four(), Dense(2)), "add")) == 3


def test_branch_that_leads_nowhere_gets_no_gradient():
    class Idle:
        def forward(self, builder, x, mode):
            builder.call(kernels.tanh, x)
            return x

    plan = plan_of(Dense(2), Idle(), Dense(2))
    assert len(calls(plan, "tanh")) == 1
    assert calls(plan, "tanh_backward") == []


def test_unread_output_has_no_gradient():
    asked = []

    def backward(call, grads):
        asked.append(grads)
        return [Gradient((0,), (grads[0],))]

    two = kernel(shapes=lambda x: (x, x), backward=backward)(lambda xp, x: (x, x))

    class Two:
        def forward(self, builder, x, mode):
            return builder.call(two, x)

    plan = plan_of(Dense(2), Two(), Dense(2))
    grad_of_first = calls(plan, "linear_grad_input")[0].outputs[0]
    assert asked == [[grad_of_first, None]]


def unused(builder, x):
    builder.parameter("gain", (2,), ones)
    return x


def used_for_nothing(builder, x):
    builder.call(kernels.tanh, builder.parameter("gain", (2,), ones))
    return x


@pytest.mark.parametrize("formula", [unused, used_for_nothing])
def test_parameter_that_does_not_reach_the_loss_is_an_error(formula):
    class Strange:
        def forward(self, builder, x, mode):
            return formula(builder, x)

    with pytest.raises(NetworkError, match=r"loss does not depend on strange1\.gain"):
        plan_of(Dense(2), Strange(), Dense(2))


def test_gradient_that_meets_a_kernel_without_a_rule_is_an_error():
    @kernel(shapes=lambda x: (x,))
    def opaque(xp, x):
        return x * x

    class Opaque:
        def forward(self, builder, x, mode):
            return builder.call(opaque, x)

    # Leaving this share out would train on a wrong gradient and say nothing.
    with pytest.raises(NetworkError, match="opaque"):
        plan_of(Dense(2), Residual((Opaque(),)), Dense(2))


def test_nothing_to_train_is_an_error():
    with pytest.raises(NetworkError, match="nothing to train"):
        plan_of(Tanh())


def test_sections_read_what_is_there():
    plan = plan_of(Dense(4), ReLU(), Dense(2), optimizer=Adam())
    assert plan.sections == ("gradient", "update")
    outlives = {b.name for b in plan.of_kind("parameter", "state", "fed")} | plan.kept
    for section in plan.sections:
        assert outlives.issuperset(plan.reads(section))
    assert plan_of(Dense(2), mode="evaluate").sections == ("gradient",)


# -- liveness ------------------------------------------------------------------------------


def values(plan, rows=7):
    """Something for all that the plan does not write itself."""
    rng = np.random.default_rng(0)
    known = {"rows": np.arange(rows), "data.targets": rng.normal(size=(rows, 2))}
    for buffer in plan.of_kind("parameter", "state", "fed"):
        size = buffer.bound({"n": rows, "rows": rows})
        known.setdefault(buffer.name, np.asarray(rng.uniform(0.1, 1.0, size)))
        if buffer.kind == "parameter":
            known[buffer.name] = rng.normal(size=size)
    return known


def trace_in_place(plan, arrays):
    """Run a plan as a lowering may: every donated input is overwritten by the output."""
    arrays = {name: value.copy() for name, value in arrays.items()}
    for call in plan.calls:
        outputs = call.kernel.meaning(xp, *[arrays[name] for name in call.inputs])
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for name, value in zip(call.outputs, outputs, strict=True):
            place = arrays[plan.donated[name]] if name in plan.donated else np.empty_like(value)
            place[...] = value
            arrays[name] = place
    return arrays


@every_sample
@every_optimizer
def test_overwriting_what_is_donated_changes_nothing(layers, optimizer):
    plan = plan_of(*layers, optimizer=optimizer)
    arrays = values(plan)
    pure = trace(plan, "update", xp, trace(plan, "gradient", xp, arrays))
    found = trace_in_place(plan, arrays)
    for name in plan.kept:
        np.testing.assert_array_equal(found[name], pure[name], err_msg=name)
    for carry in plan.carry.values():
        for state, new in carry.items():
            np.testing.assert_array_equal(found[state], pure[new], err_msg=state)


def test_dead_value_is_taken_over():
    plan = plan_of(Dense(4), ReLU(), Dense(2))
    assert plan.donated["relu1"] == "dense1"  # relu_backward reads the output, not the input
    assert plan.donated["grad_dense2"] == "dense2"
    assert plan.donated["grad_dense1"] == "grad_relu1"


def test_value_read_later_is_not_taken_over():
    plan = plan_of(Dense(2), Residual((ReLU(),)), Dense(2))
    (relu,) = calls(plan, "relu")
    assert relu.inputs == ("dense1",)
    assert relu.outputs[0] not in plan.donated  # dense1 is yet to be added
    assert plan.donated[calls(plan, "add")[0].outputs[0]] == "dense1"


def test_value_the_backward_pass_reads_is_not_taken_over():
    plan = plan_of(Dense(2), Tanh(), ReLU(), Dense(2))
    (relu,) = calls(plan, "relu")
    assert relu.inputs == ("tanh1",)
    assert relu.outputs[0] not in plan.donated


def written(write, mode="train"):
    """A plan that ``write(builder, x)`` writes on a value ``x`` of shape (n, 2)."""
    builder = PlanBuilder(mode, "float64")
    write(builder, builder.call(kernels.tanh, builder.fed("given", ("n", 2), None)))
    return builder.build()


def test_fed_buffers_and_parameters_are_not_taken_over():
    def write(builder, x):
        scale = builder.parameter("scale", (2,), ones)
        builder.call(kernels.relu, scale)

    assert written(write).donated == {}  # tanh did not take over what it was fed, either


def test_kept_value_is_not_taken_over():
    def write(builder, x):
        builder.outputs["output"] = x
        builder.call(kernels.relu, x)

    assert written(write).donated == {}


def test_value_read_twice_by_its_call_is_not_taken_over():
    assert written(lambda builder, x: builder.call(kernels.multiply, x, x)).donated == {}


def test_value_of_another_shape_is_not_taken_over():
    narrow = kernel(shapes=lambda x: ((x[0], 1),), donates=((0, 0),))(lambda xp, x: x[:, :1])
    assert written(lambda builder, x: builder.call(narrow, x)).donated == {}


def test_second_reader_in_a_row_may_take_over():
    def write(builder, x):
        builder.call(kernels.relu, builder.call(kernels.relu, x))
        builder.call(kernels.sigmoid, x)

    assert written(write).donated == {"relu.2": "relu", "sigmoid": "tanh"}


@every_optimizer
def test_updates_are_in_place(optimizer):
    plan = plan_of(Dense(4), ReLU(), Dense(2), optimizer=optimizer)
    carry = plan.carry["update"]
    assert carry.keys() == {buffer.name for buffer in plan.of_kind("parameter", "state")}
    assert {plan.donated[new]: new for new in carry.values()} == carry


def test_state_read_after_its_new_value_is_not_overwritten():
    def write(builder, x):
        mean = builder.state("mean", (2,), zeros)
        new = builder.call(kernels.tanh, mean)
        builder.carry(mean, new)
        builder.call(kernels.add, mean, new)

    assert written(write).donated == {}


def test_state_is_overwritten_only_by_what_it_becomes():
    def write(builder, x):
        mean = builder.state("mean", (2,), zeros)
        builder.carry(mean, builder.call(kernels.tanh, builder.call(kernels.sigmoid, mean)))

    assert written(write).donated == {"tanh.2": "sigmoid"}


def test_gradients_are_not_taken_over():
    def write(builder, x):
        z = builder.call(kernels.linear, x, builder.parameter("weight", (2, 3), ones))
        fields = [builder.fed(name, ("n", 3), None) for name in ("targets", "row_weight")]
        scale = builder.fed("scale", (), None)
        builder.backward(builder.call(kernels.half_squared_error, z, *fields, scale))
        builder.call(kernels.tanh, builder.gradients["weight"])

    plan = written(write)
    assert plan.donated == {"half_squared_error.half_squared_error1": "linear"}
    assert plan.gradients["weight"] in plan.kept
