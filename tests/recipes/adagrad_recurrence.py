import numpy as np


def textbook_adagrad(p, grads):
    s = 0.0
    for g in grads:
        s = s + g**2
        p = p - 0.1 * g / (np.sqrt(s) + 1e-3)
    return p
