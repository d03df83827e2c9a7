import numpy as np


def textbook_adadelta(p, g, s, d, rho, rest, epsilon, learning_rate):
    s = rho * s + rest * g**2
    move = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g
    return p - learning_rate * move, s, rho * d + rest * move**2
