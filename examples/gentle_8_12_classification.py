"""Figures 8 to 12: learn OR, AND, XOR and RING row by row, and watch the boundary move.

    python examples/gentle_8_12_classification.py [--figure 11] [--backend torch] [--out FOLDER]

Goes with "A Gentle Introduction to Artificial Neural Networks" (D. Stansbury, 2020), whose own
algorithm is in gentle_text.py: the same data and first values, trained by this library's plan.
Figure 0 is all of them.
"""

from copy import deepcopy

import gentle_text as text
import numpy as np
from gentle_training import AGREE, compare, learn, network_of, start
from tutorial import options

import portable_nn as pnn

LIMITS = ((-0.5, 1.5), (-0.5, 1.5))
NOTES = {
    8: """\
  Correction: the text's E is 1/2 (a - t)^2, and its gradients are of that. Its loss history and
    its figures, and so the losses here, are sums of (a - t)^2.
  Correction: n_obs_per_class=50 is copies of each point of the table, not rows of a class: for OR
    50 rows of class 0 and 150 of class 1. The text trains on 50 copies and shows 30 of them;
    here all 50 are drawn.
  Correction: the caption says that class 1 is black and class 0 white on the map, the text that
    they are green and blue. Its code leaves its colormap "spring" unused and draws yellow and
    dark blue, stretched anew for every frame; here a shade is the same probability in all.
  Correction: the text's loss curve ends one iteration before the one in its title.""",
    10: """\
  As the text says, one line does not separate XOR.""",
    11: """\
  Correction: the caption says that this network captures "a linear decision function". It is
    nonlinear; a linear one is what fails in figure 10.""",
    12: """\
  Correction: the text says that the middle is class 1 and the ring class 0; its code has the
    middle 0 and the ring 1.
  Correction: the text says that this is learned "in a 40 iterations or so". With its code as
    printed it hardly is: {mean:.4f}, the mean of the targets, as the answer to everything has a
    loss of {constant:.4f} and an accuracy of {mean:.4f}.
  Correction: a comment of the code says that annealing helps learning. Here it prevents it, as
    the rate is down to {rate:.2f} after 40 iterations. Left out, the rest as it was:""",
}


def learn_beside_text(figure, learning_rate, annealing, backend, epochs):
    """Train as for a figure; its losses have to agree with those of the text's algorithm.

    Returns the network after each iteration, and the loss of each.
    """
    x, targets, theta = text.begin(figure)
    network, losses, networks = network_of(figure, theta), [], []
    for loss in learn(start(network, learning_rate, backend), x, targets, epochs):
        losses.append(loss)
        networks.append(deepcopy(network))
    if not compare(network, losses, text.train(figure, epochs, annealing)) <= AGREE:
        raise SystemExit("the losses should agree")
    accuracy = np.mean((network.outputs(x)[:, 0] > 0.5) == targets)
    print(f"  accuracy in the end {accuracy:.4f}")
    return networks, losses


def draw(path, figure, networks, losses, note=""):
    """The film: every third iteration, and the last."""
    from portable_nn.plotting import animate_decision_boundary

    x, targets, _ = text.begin(figure)
    units = f"{figure.hidden or 'no'} hidden units{note}"
    look = {"limits": LIMITS, "every": 3, "title": f"{figure.problem}, {units}: iteration {{}}"}
    animate_decision_boundary(path, networks, x, targets, losses, **look)


def main(backend=None, out=None, epochs=100, figure=0):
    """Train for each figure beside the text's algorithm; RING once more so that it learns."""
    for number in [figure] if figure else range(8, 13):
        given = text.FIGURES[number]
        rate, hidden = given.learning_rate, given.hidden or "no"
        print(f"\nFigure {number}: {given.problem}, {hidden} hidden units, rate {rate} x 0.95^k")
        annealed = pnn.ExponentialDecay(rate, 0.95)
        result = learn_beside_text(given, annealed, 0.95, backend, epochs)
        if out:
            draw(out / f"gentle_figure_{number}.gif", given, *result)
        targets = text.begin(given)[1]
        mean, constant = targets.mean(), np.sum((targets - targets.mean()) ** 2)
        if number in NOTES:
            print(NOTES[number].format(mean=mean, constant=constant, rate=annealed(40)))
        if number == 12:
            result = learn_beside_text(given, rate, 1.0, backend, epochs)
            if out:
                draw(out / "gentle_figure_12_learns.gif", given, *result, ", not annealed")


if __name__ == "__main__":
    main(**options(__doc__, epochs=100, figure=(0, 8, 9, 10, 11, 12)))
