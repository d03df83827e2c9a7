"""Pictures: histories, learning rates, activations, networks, boundaries, surfaces, trajectories.

Host side. Each ``plot_*`` draws on the matplotlib ``axes`` given, or on those of a new figure, and
returns them. What it needs, ``pip install matplotlib pillow``, is imported on first use.
"""

from portable_nn.plotting._animation import animate_decision_boundary, save_animation
from portable_nn.plotting._boundary import plot_decision_boundary
from portable_nn.plotting._curves import plot_activations, plot_history
from portable_nn.plotting._diagram import plot_network
from portable_nn.plotting._rates import plot_learning_rates
from portable_nn.plotting._surface import plot_loss_surface
from portable_nn.plotting._trajectory import plot_trajectory

__all__ = [
    "animate_decision_boundary",
    "plot_activations",
    "plot_decision_boundary",
    "plot_history",
    "plot_learning_rates",
    "plot_loss_surface",
    "plot_network",
    "plot_trajectory",
    "save_animation",
]
