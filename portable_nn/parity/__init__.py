"""Parity: whether a backend computes what the formulas say, and where it does not.

Every kernel call of a real training is compared with its formula, evaluated in a wider type on
the call's own inputs; the first that is further off than rounding explains is named. The
exact network has no tolerances: steps that nothing has to round. The fingerprint says what the
arithmetic of a backend does before anything is trained.
"""

from portable_nn.parity._checks import (
    Reports,
    check_kernel,
    check_layer,
    check_loss,
    check_optimizer,
)
from portable_nn.parity._exact import ExactResult, exact_network
from portable_nn.parity._fingerprint import Fingerprint, fingerprint
from portable_nn.parity._measure import Errors, Measured, measure
from portable_nn.parity._report import Report
from portable_nn.parity._script import check_script
from portable_nn.parity._training import check_training
from portable_nn.parity._trajectory import Flip, Trajectory

__all__ = [
    "Errors",
    "ExactResult",
    "Fingerprint",
    "Flip",
    "Measured",
    "Report",
    "Reports",
    "Trajectory",
    "check_kernel",
    "check_layer",
    "check_loss",
    "check_optimizer",
    "check_script",
    "check_training",
    "exact_network",
    "fingerprint",
    "measure",
]
