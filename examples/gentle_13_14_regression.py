"""Figures 13 and 14: fit a sine and an absolute value with three tanh units, row by row.

    python examples/gentle_13_14_regression.py [--figure 14] [--backend torch] [--out FOLDER]

Goes with "A Gentle Introduction to Artificial Neural Networks" (D. Stansbury, 2020), whose own
algorithm is in gentle_text.py: the same data and first values, trained by this library's plan.
Figure 0 is both.
"""

from itertools import pairwise
from typing import NamedTuple

import gentle_text as text
import numpy as np
from gentle_training import (
    AGREE,
    NAMES,
    compare,
    distance,
    learn,
    network_of,
    parameters,
    start,
)
from tutorial import options

import portable_nn as pnn

PARTS = ("#D55E00", "#009E73", "#8F3F70")
GRID = np.linspace(-5, 5, 201)[:, None]
ONE_UPDATE = 1e-12  # of numbers up to 10, after some tens of operations on them
OTHER_TANH = (np.tanh, lambda z: (1 - np.tanh(z)) * (1 + np.tanh(z)))
"""The derivative of tanh again; it differs by roundings from 1 - tanh^2, the text's and ours."""

NOTES = {
    13: """\
  Correction: each dashed line has all of b_k in it, so the three add up to the output + 2 b_k.
  Correction: the text calls run_ann_simulation; it has defined run_ann_training_simulation.
  Correction: its drawing fails at a label, f"... + b_{k}", as there is no k; and its {{hj}} writes
    "hj" where the number of the unit was meant.
  Correction: its drawing has as many points as its curve: 20, drawn anew, with other noise. It
    trains on 200, which are shown here.""",
    14: """\
  Correction: the text says that the loss follows "an erratic path". It rises in RISES of STEPS
    iterations. What is erratic are the parameters: while the rate is high, a difference of one
    rounding grows. "text, (1 - a)(1 + a)" above is the text's algorithm once more, with the
    derivative of tanh written (1 - a)(1 + a) instead of 1 - a^2: as right, and rounded otherwise.
    A difference of 0 means that all bits were the same.""",
}


class Trained(NamedTuple):
    """After each iteration: the loss, the parameters by the text's names, outputs on the grid."""

    losses: list
    states: list
    outputs: list


def contributions(theta):
    """What each hidden unit gives to the output, ``a_j w_jk + b_k``: (grid, units)."""
    return np.tanh(GRID @ theta["w_1"] + theta["b_1"]) * theta["w_2"].T + theta["b_2"]


def open_loop(figure, backend):
    """Data and network of a figure, and its training, which has not begun."""
    x, targets, theta = text.begin(figure)
    network = network_of(figure, theta)
    rate = pnn.ExponentialDecay(figure.learning_rate, 0.95)
    return x, targets, network, start(network, rate, backend)


def train(figure, backend, epochs):
    """Train as the text does: the network, and what it was after each iteration."""
    x, targets, network, step = open_loop(figure, backend)
    trained = Trained([], [], [])
    for loss in learn(step, x, targets, epochs):
        trained.losses.append(loss)
        trained.states.append(parameters(network))
        trained.outputs.append(network.outputs(GRID)[:, 0])
    return network, trained


def each_update(figure, run, backend, epochs):
    """How far one update is from the text's at most, when each begins where the text's does."""
    x, targets, network, step = open_loop(figure, backend)
    states, apart = pairwise(run.states), []
    shapes = {name: value.shape for name, value in run.states[0].items()}
    for epoch in range(epochs):
        for batch in step.batches(x, targets, epoch, shuffle=False):
            before, after = next(states)
            if not step.updates:
                step.gradient(batch)  # before the first step there is nothing to write to
            for name, value in before.items():
                step.write(NAMES[name], value.reshape(shapes[name]))
            step.step(batch)
            apart.append(distance(parameters(network), after))
    return max(apart)


def growth(states, run):
    """The largest difference of a parameter from the text's, after each iteration."""
    return [distance(*pair) for pair in zip(states, run.after_iterations(), strict=True)]


def draw(path, figure, trained, run, apart):
    """The film: the fit, the losses, and how far roundings drift apart."""
    from portable_nn.plotting import plot_history, save_animation

    x, targets, _ = text.begin(figure)
    last = len(trained.losses)
    place = {"left": 0.05, "right": 0.985, "top": 0.86, "bottom": 0.13, "wspace": 0.24}
    place |= {"hspace": 0.7, "width_ratios": (1.2, 1), "height_ratios": (1.3, 1)}

    def draw_frame(page, iteration):
        grid = page.add_gridspec(2, 2, **place)
        left, right, below = map(page.add_subplot, (grid[:, 0], grid[0, 1], grid[1, 1]))
        page.suptitle(f"{figure.problem}, {figure.hidden} hidden units: iteration {iteration}")
        draw_fit(left, x, targets, trained, iteration)
        both = {"this library": trained.losses, "the text's own": run.losses}
        plot_history({who: values[:iteration] for who, values in both.items()}, *both, axes=right)
        right.lines[0].set(color="red", linewidth=3)
        right.lines[1].set(color="black", linestyle=":")
        top = 1.05 * max(trained.losses)
        right.set(title="Loss: sum of $(a - t)^2$", xlim=(0, last + 1), ylim=(0, top))
        right.set(xlabel="iteration", ylabel="")
        right.legend(loc="upper right", fontsize="small")
        draw_growth(below, apart, iteration)

    save_animation(path, draw_frame, sorted({*range(1, last, 3), last}))


def draw_fit(axes, x, targets, trained, iteration):
    """The data, the output, and what each hidden unit gives to it."""
    axes.scatter(x, targets, s=9, color="magenta", alpha=0.6, label="data")
    axes.plot(GRID, trained.outputs[iteration - 1], color="blue", linewidth=2, label="output")
    parts = contributions(trained.states[iteration - 1])
    for unit, (part, color) in enumerate(zip(parts.T, PARTS, strict=True), 1):
        axes.plot(GRID, part, "--", color=color, label=f"$a_{unit} w_{unit} + b$")
    axes.set(title="Data and prediction", xlabel="x", xlim=(-5, 5), ylim=(-2, 9))
    axes.legend(loc="upper center", ncols=3, fontsize="small")


def draw_growth(axes, apart, iteration):
    """Differences of parameters from the text's own, on a logarithmic axis."""
    for (label, values), color in zip(apart.items(), ("red", "black"), strict=True):
        shown = np.maximum(values[:iteration], 1e-17)  # 0 has no logarithm
        axes.plot(range(1, iteration + 1), shown, color=color, label=label)
    axes.set(yscale="log", ylim=(1e-18, 1e10), xlim=(0, len(values) + 1), xlabel="iteration")
    axes.set_yticks([1e-16, 1e-8, 1])
    axes.set_title("Parameters: difference from the text's", fontsize="medium")
    axes.legend(loc="upper right", ncols=2, fontsize="small")
    axes.grid(alpha=0.3)


def report_parts(trained):
    """Print that the dashed lines have b_k once each, the output once."""
    last = trained.states[-1]
    total = contributions(last).sum(axis=1) - 2 * last["b_2"]
    apart = max(abs(total - trained.outputs[-1]))
    print(f"  the sum of the dashed lines, less 2 b_k, is the output within {apart:.1e}")
    if not apart <= ONE_UPDATE:
        raise SystemExit("these should agree")


def report_growth(apart, epochs):
    """Print the differences after some iterations."""
    shown = [iteration for iteration in (1, 2, 3, 5, 10, 50, 100) if iteration <= epochs]
    print("  largest difference of a parameter from the text's after iteration")
    print(f"    {'':<20}" + "".join(f"{iteration:>9}" for iteration in shown))
    for label, values in apart.items():
        print(f"    {label:<20}" + "".join(f"{values[k - 1]:9.0e}" for k in shown))


def main(backend=None, out=None, epochs=100, figure=0):
    """Train for each figure beside the text's algorithm; see how rounding differences grow."""
    for number in [figure] if figure else (13, 14):
        given = text.FIGURES[number]
        rate, units = given.learning_rate, given.hidden
        print(f"\nFigure {number}: {given.problem}, {units} hidden units, rate {rate} x 0.95^k")
        network, trained = train(given, backend, epochs)
        run = text.train(given, epochs)
        losses_apart = compare(network, trained.losses, run)
        one = each_update(given, run, backend, epochs)
        print(f"  largest difference of one update from the text's own state: {one:.1e}")
        # Of ABS only single updates have to agree: its rounding differences grow.
        if not one <= ONE_UPDATE or (number == 13 and not losses_apart <= AGREE):
            raise SystemExit("these should agree")
        report_parts(trained)
        other = text.train(given, epochs, functions=[OTHER_TANH, text.LINEAR])
        apart = {
            "this library": growth(trained.states, run),
            "text, (1 - a)(1 + a)": growth(other.after_iterations(), run),
        }
        report_growth(apart, epochs)
        rises = np.sum(np.diff(run.losses) > 0)
        print(NOTES[number].replace("RISES", str(rises)).replace("STEPS", str(epochs - 1)))
        if out:
            draw(out / f"gentle_figure_{number}.gif", given, trained, run, apart)


if __name__ == "__main__":
    main(**options(__doc__, epochs=100, figure=(0, 13, 14)))
