"""Pictures, judged by the objects that matplotlib draws; GIFs, as Pillow reads them."""

import copy
import threading
from dataclasses import dataclass, replace

import fresh
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import kernels, plotting
from portable_nn.activations import Activation
from portable_nn.parity import Flip, Trajectory
from portable_nn.plotting._boundary import LIGHT
from portable_nn.surfaces import LossSurface

pyplot = pytest.importorskip("matplotlib.pyplot")
colors = pytest.importorskip("matplotlib.colors")
mplot3d = pytest.importorskip("mpl_toolkits.mplot3d")
Image = pytest.importorskip("PIL.Image")

XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
ONES = np.array([0, 1, 1, 0])
DRAWN = 401  # points of a curve


@pytest.fixture(autouse=True)
def no_window():
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")


def fit(layers, x=XOR, y=ONES, loss="binary_cross_entropy", **options):
    options = {"epochs": 3, "progress": False} | options
    return pnn.Network(layers, dtype="float64").fit(x, y, loss=loss, **options)


@pytest.fixture(scope="module")
def network():
    """2-4-1, of two classes."""
    layers = [pnn.Dense(4), pnn.Tanh(), pnn.Dropout(0.2), pnn.Dense(1), pnn.Sigmoid()]
    return fit(layers, validation=(XOR, ONES))


@pytest.fixture(scope="module")
def surface():
    a, b = np.linspace(-1.0, 2.0, 7), np.linspace(0.0, 5.0, 5)
    loss = np.add.outer((b - 2.0) ** 2, a**2)
    names = ("dense1.weight[0, 0]", "dense1.bias[1]")
    return LossSurface(a, b, loss, names, (0.5, 2.5, 0.5))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def plain():
    return pyplot.subplots()[1]


def solid():
    return pyplot.subplots(subplot_kw={"projection": "3d"})[1]


# -- histories -----------------------------------------------------------------------------


def test_a_history_is_its_losses_by_epoch_from_1_on(network):
    axes = plotting.plot_history(network)
    assert legend(axes) == ["loss", "validation loss"]
    for line, name in zip(axes.lines, ["loss", "validation_loss"], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), network.history[name])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")


def test_a_named_entry_alone_needs_no_legend(network):
    axes = plotting.plot_history(network.history, "validation_accuracy")
    assert axes.get_legend() is None
    assert axes.get_ylabel() == "validation accuracy"
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_ydata(), network.history["validation_accuracy"])


def test_epochs_are_whole_numbers_and_one_epoch_is_seen():
    axes = plotting.plot_history({"loss": [0.5, 0.25]})
    axes.figure.canvas.draw()
    assert all(tick == round(tick) for tick in axes.get_xticks())
    (line,) = plotting.plot_history({"loss": [0.5]}).lines
    assert line.get_marker() == "o"


def test_curves_without_a_common_word_have_no_label():
    axes = plotting.plot_history({"loss": [1.0], "seconds": [2.0]}, "loss", "seconds")
    assert axes.get_ylabel() == ""
    assert legend(axes) == ["loss", "seconds"]


def test_a_history_of_arrays_of_any_library(backend):
    values = backend.asarray(np.array([3.0, 1.0]), "float64")
    (line,) = plotting.plot_history({"loss": [values[0], values[1]]}).lines
    np.testing.assert_array_equal(line.get_ydata(), [3.0, 1.0])


@pytest.mark.parametrize(
    ("given", "names", "error", "message"),
    [
        (pnn.Network([pnn.Dense(1)]), (), pnn.NotFittedError, "history is empty; call fit first"),
        ({"loss": []}, (), pnn.NotFittedError, "history is empty"),
        ({"loss": [1.0], "seconds": [1.0]}, ("lost",), pnn.DataError, "loss, seconds; got 'lost'"),
        ({"seconds": [1.0]}, (), pnn.DataError, "history, seconds; got no name"),
        ([1.0, 2.0], (), pnn.DataError, r"dict of lists, or a network has it; got \[1.0"),
    ],
)
def test_what_is_no_history(given, names, error, message):
    with pytest.raises(error, match=message):
        plotting.plot_history(given, *names)
    assert not pyplot.get_fignums()


# -- learning rates ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep():
    layers = [pnn.Dense(4), pnn.Tanh(), pnn.Dense(1)]
    return pnn.find_learning_rate(pnn.Network(layers), XOR, ONES, loss="binary_cross_entropy")


def test_a_sweep_is_its_losses_by_rate_and_its_suggestion(sweep):
    axes = plotting.plot_learning_rates(sweep)
    losses, smoothed, mark = axes.lines
    for line, values in [(losses, sweep.losses), (smoothed, sweep.smoothed)]:
        np.testing.assert_array_equal(line.get_xdata(), sweep.rates)
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert set(mark.get_xdata()) == {sweep.suggestion}
    assert legend(axes)[-1] == f"steepest at {sweep.suggestion:.2g}"
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == (
        "log", "learning rate", "loss",
    )  # fmt: skip
    low, high = axes.get_ylim()
    assert low < sweep.losses.min()
    assert sweep.smoothed[0] < high < sweep.losses[0] + 2 * np.ptp(sweep.losses)
    axes = plain()
    assert plotting.plot_learning_rates(sweep, axes=axes) is axes


def test_a_last_loss_of_many_times_as_much_leaves_the_curve_visible(sweep):
    blown = sweep._replace(losses=np.append(sweep.losses[:-1], 1e9))
    low, high = plotting.plot_learning_rates(blown).get_ylim()
    assert high - low < 5 * np.ptp(sweep.smoothed)


@pytest.mark.parametrize("given", [(1, 2, 3, 4), None, {"rates": [0.1]}])
def test_what_is_no_sweep(given):
    with pytest.raises(pnn.DataError, match="a sweep is what find_learning_rate returns; got"):
        plotting.plot_learning_rates(given)
    assert not pyplot.get_fignums()


# -- activations ---------------------------------------------------------------------------


def test_activations_are_those_of_the_formulas():
    axes = plotting.plot_activations(pnn.Identity(), pnn.Sigmoid(), pnn.Tanh(), pnn.ReLU())
    assert legend(axes) == ["Identity", "Sigmoid", "Tanh", "ReLU"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z", "g(z)")
    z = np.linspace(-5.0, 5.0, DRAWN)
    wanted = [z, 1.0 / (1.0 + np.exp(-z)), np.tanh(z), np.maximum(z, 0.0)]
    for line, values in zip(axes.lines, wanted, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), z)
        # some roundings of float64
        np.testing.assert_allclose(line.get_ydata(), values, rtol=1e-15, atol=0.0)


def test_derivatives_are_those_of_the_formulas():
    activations = pnn.Identity(), pnn.Sigmoid(), pnn.Tanh(), pnn.ReLU()
    axes = plotting.plot_activations(*activations, derivative=True, low=-2, high=3)
    assert axes.get_ylabel() == "g'(z)"
    z = np.linspace(-2.0, 3.0, DRAWN)
    sigmoid = 1.0 / (1.0 + np.exp(-z))
    wanted = [np.ones(DRAWN), sigmoid * (1.0 - sigmoid), 1.0 - np.tanh(z) ** 2, z > 0.0]
    for line, values in zip(axes.lines, wanted, strict=True):
        # some roundings of float64
        np.testing.assert_allclose(line.get_ydata(), values, rtol=0.0, atol=1e-15)


@kernels.elementwise()
def leaky_backward(xp, grad, a, *, slope):
    return xp.where(a > 0.0, grad, slope * grad)


@kernels.elementwise(backward=kernels.from_output(leaky_backward))
def leaky(xp, z, *, slope):
    return xp.where(z > 0.0, z, slope * z)


@dataclass(frozen=True)
class Leaky(Activation):
    kernel = leaky
    slope: float = 0.1


class Swish:
    """Two calls, and a fan-out whose gradients are added."""

    def forward(self, builder, x, mode):
        return builder.call(kernels.multiply, x, builder.call(kernels.sigmoid, x))


def test_activations_of_ones_own():
    activations = Leaky(0.25), Leaky(0.5), Swish()
    axes = plotting.plot_activations(*activations, derivative=True)
    assert legend(axes) == ["Leaky(slope=0.25)", "Leaky(slope=0.5)", "Swish"]
    z = np.linspace(-5.0, 5.0, DRAWN)
    s = 1.0 / (1.0 + np.exp(-z))
    quarter, half, swish = [line.get_ydata() for line in axes.lines]
    np.testing.assert_array_equal(quarter, np.where(z > 0.0, 1.0, 0.25))
    np.testing.assert_array_equal(half, np.where(z > 0.0, 1.0, 0.5))
    # some roundings of float64
    np.testing.assert_allclose(swish, s + z * s * (1.0 - s), rtol=0.0, atol=1e-15)
    (line,) = plotting.plot_activations(Swish()).lines
    np.testing.assert_allclose(line.get_ydata(), z * s, rtol=1e-15, atol=0.0)


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ((pnn.Softmax(),), {}, pnn.NetworkError, r"Softmax\(\) has softmax"),
        ((pnn.Dense(1),), {}, pnn.NetworkError, "has linear"),
        ((pnn.Dropout(0.5),), {}, pnn.NetworkError, "has draws"),
        ((pnn.ReLU,), {}, pnn.NetworkError, "layers are objects"),
        ((), {}, pnn.NetworkError, "got none"),
        ((pnn.Tanh(),), {"low": 2, "high": 1}, pnn.DataError, r"low below high; got \(2, 1\)"),
        ((pnn.Tanh(),), {"high": np.inf}, pnn.DataError, "two numbers"),
        ((pnn.Tanh(),), {"derivative": 2}, pnn.DataError, "True or False"),
    ],
)
def test_what_is_no_activation(given, options, error, message):
    with pytest.raises(error, match=message):
        plotting.plot_activations(*given, **options)
    assert not pyplot.get_fignums()


# -- diagrams ------------------------------------------------------------------------------


def test_a_diagram_has_a_circle_a_node_and_a_line_a_weight(network):
    axes = plotting.plot_network(network)
    assert len(axes.patches) == 2 + 4 + 1
    first, second = axes.collections
    assert (len(first.get_segments()), len(second.get_segments())) == (2 * 4, 4 * 1)
    assert [text for text in texts(axes) if text] == ["x1", "x2", "tanh", "sigmoid"]
    assert not axes.axison
    assert axes.get_aspect() == 1.0
    assert legend(axes) == ["positive weight", "negative weight"]


def test_colour_and_width_of_a_line_are_sign_and_size_of_its_weight(network):
    axes = plotting.plot_network(network)
    centers = [patch.center for patch in axes.patches]
    positive, negative = [line.get_color() for line in axes.get_legend().get_lines()]
    weights = network.parameters
    largest = max(np.abs(weights[f"dense{k}.weight"]).max() for k in (1, 2))
    for lines, name, left, right in zip(
        axes.collections, ["dense1.weight", "dense2.weight"], [0, 2], [2, 6], strict=True
    ):
        weight = weights[name]
        widths = lines.get_linewidths()
        for k, (start, end) in enumerate(np.ndindex(weight.shape)):
            ends = [centers[left + start], centers[right + end]]
            np.testing.assert_allclose(lines.get_segments()[k], ends, rtol=0.0, atol=1e-12)
            color = negative if weight[start, end] < 0 else positive
            assert colors.same_color(lines.get_colors()[k], color)
            size = abs(weight[start, end]) / largest
            assert widths[k] == pytest.approx(0.2 + 3.0 * size)


def test_names_of_nodes(network):
    names = [["height", "weight"], ["a", "b", "c", "d"], ["yes"]]
    axes = plotting.plot_network(network, names=names)
    assert texts(axes)[:7] == ["height", "weight", "a", "b", "c", "d", "yes"]
    axes = plotting.plot_network(network, names=[[], None, ["yes"]])
    assert [text for text in texts(axes) if text] == ["yes", "tanh", "sigmoid"]


def test_long_layers_are_cut(network):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 64)), np.arange(20) % 10
    wide = fit([pnn.Dense(128), pnn.ReLU(), pnn.Dense(10)], x, y, "cross_entropy")
    axes = plotting.plot_network(wide)
    assert len(axes.patches) == 10 + 10 + 10
    assert [len(lines.get_segments()) for lines in axes.collections] == [100, 100]
    assert texts(axes).count("\u22ee") == 2
    assert texts(axes)[-1] == "softmax"
    assert {"64 inputs", "128 units\nrelu", "x10"} <= set(texts(axes))
    assert "x11" not in texts(axes)


@pytest.mark.parametrize(
    ("layer", "note"),
    [
        (pnn.BatchNorm(), "batchnorm"),
        (pnn.LayerNorm(), "layernorm"),
        (pnn.PReLU(), "prelu"),
        (pnn.Dropout(0.5), ""),
        (pnn.Softmax(), "softmax"),
        (pnn.Residual([pnn.Identity()]), "residual"),  # z + z, of one value
        (pnn.Concatenate([[pnn.Tanh()]]), "concatenate"),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_what_keeps_the_number_of_features_is_a_note(layer, note):
    layers = [pnn.Dense(4), layer, pnn.ReLU(), pnn.Dense(3), layer, pnn.Dense(1), layer]
    axes = plotting.plot_network(fit(layers, loss="mean_squared_error"))
    assert len(axes.patches) == 2 + 4 + 3 + 1
    assert [len(lines.get_segments()) for lines in axes.collections] == [8, 12, 3]
    both = [name for name in (note, "relu") if name]
    assert texts(axes)[-4:] == ["", "\n".join(both), note, note]


def test_one_named_input_and_codes_are_a_column():
    named = fit([pnn.Input("a"), pnn.Dense(1)], {"a": XOR})
    assert len(plotting.plot_network(named).patches) == 2 + 1
    axes = plotting.plot_network(fit([pnn.Embedding(2, 1), pnn.Dense(1)]))
    assert len(axes.patches) == 2 + 1
    assert {"x1", "x2", "embedding"} <= set(texts(axes))


def test_a_network_of_zeros_is_drawn():
    zero = pnn.Dense(1, weight=lambda draws, shape: np.zeros(shape))
    network = pnn.Network([zero])
    list(network.start(loss="half_squared_error").batches(XOR, ONES, 0))
    (lines,) = plotting.plot_network(network).collections
    assert len(lines.get_segments()) == 2


class Skip:
    """The rows again beside themselves, so that the next layer is not fed by one layer."""

    def forward(self, builder, x, mode):
        return builder.call(twice, x)


@kernels.kernel(
    shapes=lambda z: ((*z[:-1], 2 * z[-1]),),
    backward=lambda call, grads: [kernels.Gradient((0,), (grads[0],), half)],
)
def twice(xp, z):
    return xp.concat([z, z], axis=-1)


@kernels.kernel(shapes=lambda grad: ((*grad[:-1], grad[-1] // 2),))
def half(xp, grad):
    return grad[..., : grad.shape[-1] // 2] + grad[..., grad.shape[-1] // 2 :]


class Constant:
    """A Dense layer that is fed by a parameter."""

    def forward(self, builder, x, mode):
        shapes = {"rows": (4, 2), "weight": (2, 3)}
        return builder.call(
            kernels.linear,
            *[builder.parameter(k, s, pnn.initializers.ones) for k, s in shapes.items()],
        )


D = pnn.Dense(2)
NO_CHAIN = {
    "shortcut": (
        [D, pnn.Residual([D], shortcut=[D]), D],
        XOR,
        "residual1 is made of residual1.shortcut.* and residual1.dense1",
    ),
    "residual": (
        [D, pnn.Residual([D]), D],
        XOR,
        "residual1 is made of dense1 and residual1.dense1",
    ),
    "residual last": ([D, pnn.Residual([D])], XOR, "residual1 is made of"),
    "residual first": ([pnn.Residual([D]), D], XOR, "residual1 is made of x and"),
    "branches": ([pnn.Concatenate([[D], [D]]), D], XOR, "concatenate1 is made of"),
    "inputs": (
        [pnn.Concatenate([[pnn.Input("a")], [pnn.Input("c"), pnn.Embedding(4, 2)]]), D],
        {"a": XOR, "c": np.arange(4)},
        "concatenate1 is made of concatenate1.branch1.* and concatenate1.branch2",
    ),
    "embedding": ([pnn.Embedding(2, 3), D], XOR, "embedding1 makes 6 features of 2"),
    "maxout": ([pnn.Dense(4), pnn.Maxout(), D], XOR, "maxout1 makes 2 features of 4"),
    "glu": ([pnn.Dense(4), pnn.GLU(), D], XOR, "glu1 makes 2 features of 4"),
    "glu last": ([pnn.Dense(4), pnn.SwiGLU()], XOR, "swiglu1 makes 2 features of 4"),
    "constant": ([Constant(), D], XOR, "constant1 is made of parameters"),
    "none": ([pnn.PReLU()], XOR, "here is none"),
}


@pytest.mark.parametrize(("layers", "x", "said"), NO_CHAIN.values(), ids=list(NO_CHAIN))
def test_what_is_not_one_dense_layer_after_another_has_no_diagram(layers, x, said):
    network = fit(layers, x, np.zeros((4, 2)), "mean_squared_error")
    with pytest.raises(pnn.NetworkError, match=f"each fed by the one before; {said}"):
        plotting.plot_network(network)
    assert not pyplot.get_fignums()


def test_what_has_no_diagram(network):
    with pytest.raises(pnn.NotFittedError, match="call fit first"):
        plotting.plot_network(pnn.Network([pnn.Dense(1)]))
    with pytest.raises(pnn.DataError, match="a network is a Network; got 'digits'"):
        plotting.plot_network("digits")
    with pytest.raises(pnn.NetworkError, match="each fed by the one before"):
        plotting.plot_network(fit([pnn.Dense(3), Skip(), pnn.Dense(1)]))
    for names in ([["a", "b"]], [["a", "b"], [], ["c"], []], [["a"], [], []]):
        with pytest.raises(pnn.ShapeError, match=r"lists of \[2, 4, 1\] labels"):
            plotting.plot_network(network, names=names)


# -- boundaries ----------------------------------------------------------------------------

LIMITS = ((-1.0, 2.0), (0.0, 1.5))


def grid(points):
    first, second = (np.linspace(*side, points) for side in LIMITS)
    return np.array([[a, b] for b in second for a in first])


def test_the_surface_is_the_output_of_the_network(network):
    axes = plotting.plot_decision_boundary(network, XOR, ONES, limits=LIMITS, points=30)
    (image,) = axes.images
    wanted = network.outputs(grid(30)).reshape(30, 30)
    np.testing.assert_array_equal(image.get_array(), wanted)
    assert image.get_clim() == (0.0, 1.0)
    assert (axes.get_xlim(), axes.get_ylim()) == LIMITS
    # The middle of the outermost pixels is at the limits.
    np.testing.assert_allclose(
        image.get_extent(), [-1 - 3 / 58, 2 + 3 / 58, -1.5 / 58, 1.5 + 1.5 / 58]
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")


def points(axes):
    """Of each class that is drawn: its label, its points, its colour."""
    found = [one for one in axes.collections if not one.get_label().startswith("_")]
    return {one.get_label(): (one.get_offsets(), one.get_facecolor()[0]) for one in found}


def test_the_points_are_those_of_each_class():
    words = np.where(ONES, "yes", "no")
    network = fit([pnn.Dense(1)], y=words)
    axes = plotting.plot_decision_boundary(network, XOR.tolist(), words.tolist())
    assert legend(axes) == ["no", "yes"]
    found = points(axes)
    np.testing.assert_array_equal(found["no"][0], XOR[ONES == 0])
    np.testing.assert_array_equal(found["yes"][0], XOR[ONES == 1])
    assert found["no"][1][2] > 0.5 > found["no"][1][0]  # blue, on the blue side
    assert found["yes"][1][0] > 0.5 > found["yes"][1][2]
    low, high = axes.get_xlim()
    assert -0.2 < low < 0.0
    assert 1.0 < high < 1.2


def steep(loss, labels, **options):
    """A network whose decision changes where x1 is a quarter, whatever x2."""
    dense = pnn.Dense(
        1,
        weight=lambda draws, shape: np.array([[8.0], [0.0]]),
        bias=lambda draws, shape: np.array([-2.0]),
    )
    network = pnn.Network([dense, pnn.Sigmoid()], dtype="float64")
    list(network.start(loss=loss, **options).batches(XOR, labels, 0))
    return network


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        ("binary_cross_entropy", ONES),
        ("half_squared_error", ONES),
        ("mean_squared_error", ONES[:, None]),
    ],
)
def test_a_line_is_where_the_output_is_one_half(loss, labels):
    axes = plotting.plot_decision_boundary(steep(loss, labels), XOR, labels, points=50)
    (line,) = [one for one in axes.collections if one.get_label().startswith("_")]
    (path,) = [path for path in line.get_paths() if len(path.vertices)]
    np.testing.assert_allclose(path.vertices[:, 0], 0.25, rtol=0.0, atol=2e-3)
    assert np.ptp(path.vertices[:, 1]) == pytest.approx(np.ptp(axes.get_ylim()))


def test_of_margins_the_line_is_at_0():
    network = pnn.Network([pnn.Dense(1)]).fit(XOR, XOR[:, 0] > 0.5, loss="hinge", progress=False)
    axes = plotting.plot_decision_boundary(network, XOR, XOR[:, 0] > 0.5, limits=LIMITS, points=20)
    (line,) = [one for one in axes.collections if one.get_label().startswith("_")]
    (path,) = [path for path in line.get_paths() if len(path.vertices)]
    # The output is linear, so that only float32 moves the line.
    np.testing.assert_allclose(network.outputs(path.vertices), 0.0, rtol=0.0, atol=1e-5)
    assert axes.images[0].get_clim() == (-1.0, 1.0)


def test_two_numbers_that_are_not_0_and_1():
    labels = np.where(ONES, 3.0, -1.0)
    network = fit([pnn.Dense(1)], y=labels, loss="half_squared_error", standardize=True)
    axes = plotting.plot_decision_boundary(network, XOR, labels, limits=LIMITS, points=20)
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array().ravel(), network.predict(grid(20)))
    assert image.get_clim() == (-1.0, 3.0)
    assert legend(axes) == ["-1.0", "3.0"]


def three(loss="cross_entropy", labels=None):
    rng = np.random.default_rng(0)
    code = np.arange(60) % 3
    x = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])[code] + rng.normal(0.0, 0.4, (60, 2))
    y = code if labels is None else labels(code)
    layers = [pnn.Dense(8), pnn.Tanh(), pnn.Dense(3), pnn.Softmax()]
    return fit(layers, x, y, loss, optimizer=pnn.Adam(0.05), epochs=60), x, y


def test_of_more_classes_the_most_probable_gives_the_colour_and_its_probability_how_much():
    network, x, y = three(labels=np.array(["a", "b", "c"]).__getitem__)
    axes = plotting.plot_decision_boundary(network, x, y, limits=LIMITS, points=25)
    assert legend(axes) == ["a", "b", "c"]
    probabilities = network.predict_proba(grid(25))
    best = probabilities.argmax(axis=1)
    assert len(set(best)) > 1
    sure = (3.0 * probabilities.max(axis=1) - 1.0) / 2.0
    full = np.array([colors.to_rgb(color) for color in LIGHT])[best]
    wanted = 1.0 + sure[:, None] * (full - 1.0)
    (image,) = axes.images
    np.testing.assert_allclose(np.reshape(image.get_array(), (-1, 3)), wanted, atol=1e-12)


def test_one_hot_targets_of_a_squared_error():
    network, x, y = three("mean_squared_error", np.eye(3).__getitem__)
    axes = plotting.plot_decision_boundary(network, x, y)
    assert legend(axes) == ["0", "1", "2"]
    np.testing.assert_array_equal(points(axes)["1"][0], x[y.argmax(axis=1) == 1])
    borders = [one for one in axes.collections if one.get_label().startswith("_")]
    assert len(borders) == 3


def test_data_of_any_library(backend):
    network = fit([pnn.Dense(1)])
    x, y = backend.asarray(XOR, "float64"), backend.asarray(ONES, "index")
    axes = plotting.plot_decision_boundary(network, x, y, points=5)
    np.testing.assert_array_equal(points(axes)["1"][0], XOR[1:3])
    assert axes.images[0].get_array().shape == (5, 5)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (np.ones((4, 3)), ONES, {}, pnn.ShapeError, r"takes \(n, 2\); got x \(4, 3\)"),
        (XOR, ONES[:3], {}, pnn.ShapeError, "x has 4 rows; got y"),
        (XOR, ONES + 1, {}, pnn.DataError, "y has 2, which is none of the classes"),
        (XOR, np.array(list("abba")), {}, pnn.DataError, "y has 'a', which is none"),
        (XOR, np.eye(4), {}, pnn.ShapeError, r"got \(4, 4\) and 1 outputs"),
        (XOR, ONES, {"limits": (0, 1)}, pnn.DataError, r"limits\[0\] is \(low, high\)"),
        (XOR, ONES, {"limits": 3}, pnn.DataError, r"limits are \(\(low, high\)"),
        (XOR, ONES, {"limits": ((0, 1), (1, 1))}, pnn.DataError, r"limits\[1\]"),
        (XOR, ONES, {"points": 1}, pnn.DataError, "2 or more"),
        (XOR, ONES, {"points": 2.5}, pnn.DataError, "whole number"),
    ],
)
def test_data_that_does_not_fit_a_boundary(network, x, y, options, error, message):
    with pytest.raises(error, match=message):
        plotting.plot_decision_boundary(network, x, y, **options)
    assert not pyplot.get_fignums()


def test_networks_without_a_boundary():
    with pytest.raises(pnn.NotFittedError):
        plotting.plot_decision_boundary(pnn.Network([pnn.Dense(1)]), XOR, ONES)
    with pytest.raises(pnn.ShapeError, match="2 inputs; this one has 1"):
        plotting.plot_decision_boundary(fit([pnn.Dense(1)], XOR[:, :1]), XOR, ONES)
    numbers = fit([pnn.Dense(1)], y=ONES * 1.0, loss="half_squared_error")
    with pytest.raises(pnn.DataError, match=r"learned numbers.* got 4 different"):
        plotting.plot_decision_boundary(numbers, XOR, np.arange(4.0))
    network, x, y = three("mean_squared_error", np.eye(3).__getitem__)
    with pytest.raises(pnn.DataError, match="one-hot: in each row"):
        plotting.plot_decision_boundary(network, x, y + 1.0)


# -- loss surfaces -------------------------------------------------------------------------


@pytest.fixture
def sheets(monkeypatch):
    """What is drawn as a surface in 3-D, which keeps no numbers of it that are public."""
    found, draw = [], mplot3d.Axes3D.plot_surface

    def look(axes, *sheet, **options):
        found.append(sheet)
        return draw(axes, *sheet, **options)

    monkeypatch.setattr(mplot3d.Axes3D, "plot_surface", look)
    return found


def test_a_surface_in_3d(surface, sheets):
    axes = plotting.plot_loss_surface(surface)
    assert axes.name == "3d"
    labels = axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()
    assert labels == ("dense1.weight[0, 0]", "dense1.bias[1]", "loss")
    (point,) = axes.lines
    assert [values[0] for values in point.get_data_3d()] == [0.5, 2.5, 0.5]
    ((a, b, loss),) = sheets
    np.testing.assert_array_equal(a, np.tile(surface.a, (5, 1)))
    np.testing.assert_array_equal(b, np.tile(surface.b[:, None], (1, 7)))
    np.testing.assert_array_equal(loss, surface.loss)


def test_contours_on_plain_axes(surface):
    axes = plotting.plot_loss_surface(surface, axes=plain())
    (point,) = axes.lines
    assert (*point.get_xdata(), *point.get_ydata()) == (0.5, 2.5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("dense1.weight[0, 0]", "dense1.bias[1]")
    bar = axes.figure.axes[1]
    assert bar.get_ylabel() == "loss"
    (filled,) = axes.collections
    assert filled.levels[0] <= surface.loss.min()
    assert filled.levels[-1] >= surface.loss.max()
    assert (axes.get_xlim(), axes.get_ylim()) == ((-1.0, 2.0), (0.0, 5.0))


@pytest.mark.parametrize("make", [plain, solid])
@pytest.mark.parametrize("here", [(2.5, 2.5, 0.5), (0.5, -0.1, 0.5), (np.nan, 2.5, 0.5)])
def test_a_network_out_of_the_range_is_not_marked(surface, make, here):
    axes = plotting.plot_loss_surface(replace(surface, here=here), axes=make())
    assert not axes.lines


@pytest.fixture
def ribbon(surface):
    return replace(
        surface, b=np.zeros(1), loss=surface.loss[:1], names=("w", ""), here=(0.5, 0.0, 0.3)
    )


def test_one_parameter_is_a_curve_or_a_ribbon(ribbon, sheets):
    axes = plotting.plot_loss_surface(ribbon, axes=plain())
    curve, point = axes.lines
    np.testing.assert_array_equal(curve.get_xdata(), ribbon.a)
    np.testing.assert_array_equal(curve.get_ydata(), ribbon.loss[0])
    assert (*point.get_xdata(), *point.get_ydata()) == (0.5, 0.3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("w", "loss")
    axes = plotting.plot_loss_surface(ribbon)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("w", "", "loss")
    assert not len(axes.get_yticks())
    ((a, b, loss),) = sheets
    for row in range(len(b)):
        np.testing.assert_array_equal(a[row], ribbon.a)
        np.testing.assert_array_equal(loss[row], ribbon.loss[0])
    assert (np.diff(b, axis=0) > 0.0).all()


def test_a_surface_of_a_network(network):
    found = pnn.loss_surface(network, XOR, ONES, "dense1.weight[0, 1]", points=5)
    (curve, point) = plotting.plot_loss_surface(found, axes=plain()).lines
    assert point.get_xdata()[0] == pytest.approx(network.parameters["dense1.weight"][0, 1])
    assert len(curve.get_xdata()) == 5


def test_what_is_no_surface():
    with pytest.raises(pnn.DataError, match=r"what pnn\.loss_surface gives; got 3"):
        plotting.plot_loss_surface(3)


# -- axes ----------------------------------------------------------------------------------


def drawings(network, surface):
    return [
        lambda axes: plotting.plot_history(network, axes=axes),
        lambda axes: plotting.plot_activations(pnn.Tanh(), axes=axes),
        lambda axes: plotting.plot_network(network, axes=axes),
        lambda axes: plotting.plot_decision_boundary(network, XOR, ONES, points=5, axes=axes),
        lambda axes: plotting.plot_loss_surface(surface, axes=axes),
    ]


@pytest.mark.parametrize("which", range(5))
def test_every_picture_is_on_the_axes_given_or_new_ones(network, surface, which):
    draw = drawings(network, surface)[which]
    axes = plain()
    assert draw(axes) is axes
    assert len(pyplot.get_fignums()) == 1
    assert axes.has_data()
    new = draw(None)
    assert len(pyplot.get_fignums()) == 2
    assert new.figure is pyplot.gcf()
    for wrong in (pyplot.subplots(2)[1], pyplot.figure(), "axes"):
        with pytest.raises(pnn.DataError, match=r"axes are one matplotlib Axes.*; got "):
            draw(wrong)
    if which < 4:
        with pytest.raises(pnn.DataError, match="flat; got 3-D axes"):
            draw(solid())


def test_without_matplotlib_the_error_says_what_to_install():
    blocked = "import sys; sys.modules['matplotlib'] = None; import portable_nn as pnn\n"
    blocked += "from portable_nn import plotting\n"
    for call in ("plot_history({'loss': [1.0]})", "save_animation('a.gif', print, [1])"):
        status, _, err = fresh.run("-c", f"{blocked}plotting.{call}")
        assert status == 1
        assert "ImportError: pictures need matplotlib: pip install matplotlib pillow" in err


# -- animations ----------------------------------------------------------------------------


def bars(figure, height):
    figure.subplots().bar([0, 1], [height, 1.0], color=["#123456", "red"])


def durations(path):
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(image.info["duration"])
        return found, image.size, image.info.get("loop")


def frames(path):
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            yield np.asarray(image.convert("RGB"))


def test_an_animation_as_pillow_reads_it(tmp_path):
    path = tmp_path / "bars.gif"
    heights = (height / 10 for height in range(12))  # a generator
    plotting.save_animation(path, bars, heights, size=(4, 3), dpi=50, interval=0.05, hold=1.5)
    assert durations(path) == ([50] * 11 + [1500], (200, 150), 0)
    assert not pyplot.get_fignums()


def test_areas_keep_their_colours_in_every_frame(tmp_path):
    path = tmp_path / "bars.gif"
    plotting.save_animation(str(path), bars, [0.2, 0.5, 0.9], size=(4, 3), dpi=50)
    for frame in frames(path):
        assert frame[0, 0].min() >= 254  # white
        colors = np.unique(frame.reshape(-1, 3), axis=0).astype(int)
        for wanted in [(0x12, 0x34, 0x56), (255, 0, 0)]:
            assert np.abs(colors - wanted).max(axis=1).min() <= 2
        assert len(colors) <= 64


def test_each_frame_is_drawn_on_an_empty_figure(tmp_path):
    seen = []

    def draw(figure, number):
        seen.append((number, len(figure.axes), figure.get_size_inches().tolist()))
        bars(figure, number)

    plotting.save_animation(tmp_path / "a.gif", draw, [1, 2, 3])
    assert seen == [(1, 0, [9.0, 4.5]), (2, 0, [9.0, 4.5]), (3, 0, [9.0, 4.5])]
    assert durations(tmp_path / "a.gif") == ([100, 100, 2000], (720, 360), 0)


def test_nothing_is_written_if_a_drawing_fails(tmp_path):
    path = tmp_path / "a.gif"
    path.write_bytes(b"old")

    def draw(figure, number):
        bars(figure, 1 / number)

    with pytest.raises(ZeroDivisionError):
        plotting.save_animation(path, draw, [2, 1, 0])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "given", "options", "error", "message"),
    [
        ("a.gif", [], {}, pnn.DataError, "one frame or more; got none"),
        ("a.mp4", [1], {}, pnn.FileError, "a .gif file; got"),
        ("no/a.gif", [1], {}, pnn.FileError, "there is no folder .*; make it first"),
        ("a.gif", [1], {"interval": 0}, pnn.DataError, "interval is a number of seconds"),
        ("a.gif", [1], {"hold": "2"}, pnn.DataError, "hold is a number of seconds"),
    ],
)
def test_what_is_no_animation(tmp_path, name, given, options, error, message):
    with pytest.raises(error, match=message):
        plotting.save_animation(tmp_path / name, bars, given, **options)
    assert not list(tmp_path.iterdir())


def test_an_animation_in_a_thread(tmp_path):
    def work(name):
        plotting.save_animation(tmp_path / name, bars, [0.1, 0.9], size=(2, 1))

    threads = [threading.Thread(target=work, args=(f"{k}.gif",)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, *others = [(tmp_path / f"{k}.gif").read_bytes() for k in range(3)]
    assert all(other == first for other in others)


@pytest.fixture(scope="module")
def trained():
    network = pnn.Network([pnn.Dense(4), pnn.Tanh(), pnn.Dense(1)])
    step = network.start(loss="binary_cross_entropy", optimizer=pnn.Adam(0.1))
    networks, losses = [], []
    for epoch in range(4):
        for batch in step.batches(XOR, ONES, epoch):
            losses.append(float(step.step(batch)))
        networks.append(copy.deepcopy(network))
    return networks, losses


@pytest.fixture
def drawn(monkeypatch):
    """The figures of an animation, which is not written."""
    figures = []

    def look(path, draw, numbers, **options):
        for number in numbers:
            figures.append(pyplot.figure())
            draw(figures[-1], number)

    monkeypatch.setattr("portable_nn.plotting._animation.save_animation", look)
    return figures


def test_a_boundary_that_is_learned(trained, drawn):
    networks, losses = trained
    plotting.animate_decision_boundary("a.gif", networks, XOR, ONES, losses, title="Step {}")
    assert [figure.get_suptitle() for figure in drawn] == ["Step 1", "Step 2", "Step 3", "Step 4"]
    limits = {
        tuple(map(tuple, (left.get_xlim(), left.get_ylim(), right.get_xlim(), right.get_ylim())))
        for left, right in (figure.axes for figure in drawn)
    }
    assert len(limits) == 1
    for number, (left, right) in enumerate((figure.axes for figure in drawn), 1):
        np.testing.assert_array_equal(right.lines[0].get_xdata(), range(1, number + 1))
        np.testing.assert_array_equal(right.lines[0].get_ydata(), losses[:number])
        assert right.get_xlabel() == "step"
        assert right.get_xlim()[1] > len(losses)
        assert right.get_ylim()[1] > max(losses)
        side = np.linspace(*left.get_xlim(), 100)
        wanted = networks[number - 1].outputs(np.stack([side, np.full(100, left.get_ylim()[0])], 1))
        np.testing.assert_allclose(left.images[0].get_array()[0], wanted[:, 0], atol=1e-6)


def test_the_file_of_a_boundary_that_is_learned(trained, tmp_path):
    path = tmp_path / "xor.gif"
    plotting.animate_decision_boundary(path, *[trained[0], XOR, ONES, trained[1]], interval=0.2)
    assert durations(path) == ([200, 200, 200, 2000], (720, 360), 0)
    assert path.stat().st_size < 100_000


@pytest.mark.parametrize(("every", "shown"), [(1, [1, 2, 3, 4]), (2, [1, 3, 4]), (9, [1, 4])])
def test_every_so_many_networks_and_the_last(every, shown, trained, drawn):
    options = {"every": every, "title": "XOR: round {}"}
    networks, losses = trained
    plotting.animate_decision_boundary("a.gif", networks, XOR, ONES, losses, **options)
    assert [figure.get_suptitle() for figure in drawn] == [f"XOR: round {k}" for k in shown]
    for number, figure in zip(shown, drawn, strict=True):
        assert figure.axes[1].get_xlabel() == "round"
        np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), losses[:number])


def test_networks_and_losses_go_together(trained, tmp_path):
    networks, losses = trained
    given = [tmp_path / "a.gif", networks, XOR, ONES, losses[1:]]
    with pytest.raises(pnn.ShapeError, match="one loss a network; got 4 and 3 losses"):
        plotting.animate_decision_boundary(*given)
    with pytest.raises(pnn.DataError, match="one frame or more"):
        plotting.animate_decision_boundary(tmp_path / "a.gif", [], XOR, ONES, [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda networks: networks[0], "networks come in a list"),
        (lambda networks: [*networks[:3], None], "networks come in a list"),
        (lambda networks: [networks[0]] * 4, "deepcopy"),
    ],
)
def test_what_is_no_list_of_copies(change, words, trained, tmp_path):
    networks, losses = trained
    with pytest.raises(pnn.DataError, match=words):
        plotting.animate_decision_boundary(tmp_path / "a.gif", change(networks), XOR, ONES, losses)


def test_frames_that_nothing_is_drawn_on(tmp_path):
    def elsewhere(figure, number):
        pyplot.plot([1, 2])

    with pytest.raises(pnn.DataError, match="a frame is empty"):
        plotting.save_animation(tmp_path / "a.gif", elsewhere, [1, 2])
    with pytest.raises(pnn.DataError, match="frames come in a list"):
        plotting.save_animation(tmp_path / "a.gif", elsewhere, 3)
    assert not list(tmp_path.iterdir())


def test_what_is_no_activation_and_no_name():
    with pytest.raises(pnn.NetworkError, match="gives each z its value"):
        plotting.plot_activations(pnn.Dense(3))
    with pytest.raises(pnn.DataError, match="name entries of the history"):
        plotting.plot_history({"loss": [1.0]}, ["loss"])


# -- trajectories --------------------------------------------------------------------------


def test_a_trajectory_has_three_curves_and_a_mark_at_each_flip():
    found = Trajectory(
        loss=[2.0, 1.0, 0.5],
        distance=[1e-8, 2e-8, 3e-8],
        limit=[1e-7, 2e-7, 3e-7],
        free_distance=[1e-8, 2e-8, 1e-4],
        flips=[Flip(3, "dense1", 1, 0.1), Flip(3, "dense2", 2, 0.2)],
    )
    axes = plotting.plot_trajectory(found)
    free, pinned, limit, marks = axes.get_lines()
    for line, values in (
        (free, found.free_distance),
        (pinned, found.distance),
        (limit, found.limit),
    ):
        np.testing.assert_array_equal(line.get_ydata(), values)
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    assert (list(marks.get_xdata()), list(marks.get_ydata())) == ([3], [1e-4])
    assert axes.get_yscale() == "log"
    assert legend(axes)[-1] == "a unit on the other side of 0"
    found.flips.clear()
    assert len(plotting.plot_trajectory(found, axes=pyplot.subplots()[1]).get_lines()) == 3


@pytest.mark.parametrize("given", [None, Trajectory(), [1.0]])
def test_what_is_no_trajectory(given):
    with pytest.raises(pnn.DataError, match="a trajectory is that of a parity report"):
        plotting.plot_trajectory(given)
