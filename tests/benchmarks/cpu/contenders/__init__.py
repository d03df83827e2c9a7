"""Who takes part, each ``(workload) -> Contender``.

To add a rival, write such a function and put it in ``CONTENDERS``. It imports its library inside,
so that one that is not installed is left out by name; any other error is reported the same way.
"""

from .floors import numpy_products, torch_products
from .jax_jit import jax_scan, jax_step
from .naive import naive
from .ours import ours_epochs, ours_steps
from .pytorch import torch_compiled, torch_eager
from .sklearn_mlp import scikit_learn
from .thinc_chain import thinc

OURS = "ours_epochs"  # the headline figure
CONTENDERS = {
    contender.__name__: contender
    for contender in [
        ours_epochs,
        ours_steps,
        naive,
        jax_step,
        jax_scan,
        torch_eager,
        torch_compiled,
        scikit_learn,
        thinc,
        numpy_products,
        torch_products,
    ]
}
TITLES = {
    "ours_epochs": "portable_nn, whole epochs",
    "ours_steps": "portable_nn, step by step",
    "naive": "naive array API on NumPy",
    "jax_step": "JAX jit, step by step",
    "jax_scan": "JAX jit, lax.scan",
    "torch_eager": "torch eager, fused",
    "torch_compiled": "torch.compile, fused",
    "scikit_learn": "scikit-learn",
    "thinc": "thinc",
    "numpy_products": "floor: products, NumPy",
    "torch_products": "floor: products, torch",
}
