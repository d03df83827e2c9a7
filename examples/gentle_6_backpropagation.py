"""Figures 1, 3 and 6: one network, and the four steps of backpropagation on one row of data.

    python examples/gentle_6_backpropagation.py [--backend torch] [--out FOLDER]

Goes with "A Gentle Introduction to Artificial Neural Networks" (D. Stansbury, 2020): its equations
of Steps I to IV in its own notation, beside the calls of this library's plan. The network is that
of figure 11 before its first update: two inputs, four sigmoid units, one sigmoid output.
"""

from gentle_text import FIGURES, begin, sigmoid
from gentle_training import network_of, start
from tutorial import line, options, side_by_side

RATE = 2.0
CORRECTION = """
Correction: the text calls E'(theta) = a_k - t_k the derivative "with respect to the model
parameters theta". It is dE/da_k, with respect to the output; the parameters come in Step III."""


def by_hand(a_i, t_k, theta):
    """The text's equations: their numbers by the name of the buffer that has them in the plan."""
    w_ij, b_j, w_jk, b_k = (theta[name] for name in ("w_1", "b_1", "w_2", "b_2"))
    a_j = sigmoid(a_i @ w_ij + b_j)
    a_k = sigmoid(a_j @ w_jk + b_k)
    delta_k = a_k * (1 - a_k) * (a_k - t_k)
    delta_j = a_j * (1 - a_j) * (delta_k @ w_jk.T)
    return {
        "dense1": ("I    z_j = b_j + sum_i a_i w_ij", a_i @ w_ij + b_j),
        "sigmoid1": ("I    a_j = g(z_j)", a_j),
        "dense2": ("I    z_k = b_k + sum_j a_j w_jk", a_j @ w_jk + b_k),
        "sigmoid2": ("I    a_k = g(z_k)", a_k),
        "loss": ("II   E = 1/2 (a_k - t_k)^2", (0.5 * (a_k - t_k) ** 2)[0, 0]),
        "grad_sigmoid2": ("II   E' = a_k - t_k", a_k - t_k),
        "grad_dense2": ("II   delta_k = g'(z_k) E'", delta_k),
        "grad_dense1": ("II   delta_j = g'(z_j) sum_k delta_k w_jk", delta_j),
        "grad_dense2.weight": ("III  dE/dw_jk = a_j delta_k", a_j.T * delta_k),
        "grad_dense2.bias": ("III  dE/db_k = delta_k", delta_k[0]),
        "grad_dense1.weight": ("III  dE/dw_ij = a_i delta_j", a_i.T * delta_j),
        "grad_dense1.bias": ("III  dE/db_j = delta_j", delta_j[0]),
        "dense2.weight": ("IV   w_jk <- w_jk - eta dE/dw_jk", w_jk - RATE * a_j.T * delta_k),
        "dense2.bias": ("IV   b_k <- b_k - eta dE/db_k", b_k - RATE * delta_k[0]),
        "dense1.weight": ("IV   w_ij <- w_ij - eta dE/dw_ij", w_ij - RATE * a_i.T * delta_j),
        "dense1.bias": ("IV   b_j <- b_j - eta dE/db_j", b_j - RATE * delta_j[0]),
    }


def by_the_plan(step, batch):
    """The same by the library: one step, and every buffer of it by name, on the host."""
    found, to_host = step.trace(batch), step.session.backend.to_host
    step.gradient(batch)
    for name in [*step.plan.outputs.values(), *step.plan.gradients.values()]:
        found[name] = to_host(step.read(name))
    step.update()
    return found | {name: to_host(step.read(name)) for name in step.plan.gradients}


def draw(network, found, path):
    """The network, with the error signal of every unit."""
    from matplotlib.figure import Figure

    from portable_nn.plotting import plot_network

    figure = Figure((8, 4.2), dpi=100, layout="constrained")
    hidden = [f"$\\delta_j$\n{1000 * delta:+.1f}" for delta in found["grad_dense1"][0]]
    output = [f"$\\delta_k$ {1000 * delta:+.1f}" for delta in found["grad_dense2"][0]]
    inputs = [f"$a_i$ {value:.2f}" for value in found["x"][0]]
    axes = plot_network(network, names=[inputs, hidden, output], axes=figure.add_subplot())
    axes.set_title("Error signals (in thousandths) of one row, from right to left")
    figure.savefig(path)


def main(backend=None, out=None):
    """One update on the first row of the data: each equation beside its call."""
    x, targets, theta = begin(FIGURES[11])
    network = network_of(FIGURES[11], theta)
    step = start(network, RATE, backend)
    found = by_the_plan(step, next(step.batches(x[:1], targets[:1], epoch=0)))
    for name, (equation, numbers) in by_hand(x[:1], targets[0], theta).items():
        side_by_side(equation, line(step.plan, name), numbers, found[name])
    print(CORRECTION)
    if out:
        draw(network, found, out / "gentle_figure_6.png")


if __name__ == "__main__":
    main(**options(__doc__))
