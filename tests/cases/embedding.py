"""Rows looked up by codes: inputs, and the textbook formulas."""

import numpy as np

from cases.drawing import case, given, normal, spread
from portable_nn import kernels


def codes(n, m, categories):
    """Whole numbers as floats; 0 is the first."""

    def draw(rng):
        found = rng.integers(0, categories, (n, m)).astype(float)
        found[0, 0] = 0.0
        return found

    return draw


def textbook_embedding(codes, table):
    return np.array([np.concatenate([table[int(c)] for c in row]) for row in codes])


def textbook_embedding_grad(codes, grad, table):
    total = np.zeros_like(table)
    for row, parts in zip(codes, grad, strict=True):
        for code, part in zip(row, np.split(parts, len(row)), strict=True):
            total[int(code)] += part
    return total


CASES = {
    kernels.embedding: [
        case("ordinary", codes(24, 1, 40), normal(40, 10)),
        case("three codes a row", codes(16, 3, 5), spread(5, 8)),
        case("one row", codes(1, 1, 40), normal(40, 10)),
        case("the last code", given([[4.0], [0.0], [4.0]]), normal(5, 3)),
    ],
    kernels.embedding_grad: [
        case("ordinary", codes(24, 1, 40), normal(24, 10), normal(40, 10)),
        case("three codes a row", codes(16, 3, 5), spread(16, 24), normal(5, 8)),
        case("one row", codes(1, 1, 40), normal(1, 10), normal(40, 10)),
        case("one code", given([[3.0]] * 24), normal(24, 10), normal(40, 10)),
    ],
}

TEXTBOOK = {
    kernels.embedding: textbook_embedding,
    kernels.embedding_grad: textbook_embedding_grad,
}
