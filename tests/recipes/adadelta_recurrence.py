import numpy as np


def textbook_adadelta(p, grads):
    s = d = 0.0
    for g in grads:
        s = 0.8 * s + 0.2 * g**2
        move = np.sqrt((d + 1e-3) / (s + 1e-3)) * g
        p, d = p - 0.5 * move, 0.8 * d + 0.2 * move**2
    return p
