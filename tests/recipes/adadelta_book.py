import numpy as np


def textbook_adadelta(p, g, t, memory, learning_rate, rho, epsilon):
    s = memory["s"] = rho * memory.get("s", 0.0) + (1 - rho) * g**2
    d = memory.get("d", 0.0)
    move = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g
    memory["d"] = rho * d + (1 - rho) * move**2
    return p - learning_rate * move
