"""Random numbers: the same words, and the same made of them, on every machine for good."""

import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest

from portable_nn import random
from portable_nn.random import PURPOSES, Draws, log, normal_quantile


def sha256(array):
    little = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


# -- golden: a change here changes every run anybody has recorded --------------------------

GOLDEN = {
    "words": (
        lambda: Draws(42, "initialize", 3, 7).words(1000),
        "bfe88d7fbd600acb9a953fbe5ed419e5e04df7dce85724df5d99492d0df74edb",
    ),
    "uniform": (
        lambda: Draws(42, "initialize", 3, 7).uniform((50, 20)),
        "72a0bbe9978107648006644ba9d597b34f0cca9b9cd9af5d81e1252ae2181805",
    ),
    "normal": (
        lambda: Draws(42, "initialize", 3, 7).normal((50, 20)),
        "9bb47e8b2c7b18f4edd9c9d383f399b0083664315f5f4d07694fde4ccd593fc5",
    ),
    "permutation": (
        lambda: Draws(42, "shuffle", 0, 7).permutation(1000),
        "9e69fef95dafdfa0257b57b64294fa648b828e272b6929bd94a1b940fb38b16d",
    ),
    "keep_mask": (
        lambda: Draws(42, "dropout", 1, 7).keep_mask(50, 37, 0.3),
        "b66a2d579fce8ae9c3e0021dfbfeedefe236f1bded52f7ef658ecc7d7f0b089f",
    ),
    "noise": (
        lambda: Draws(42, "noise", 1, 7).noise(50, 37, 0.3),
        "ee59443192e18054143adcc59b1d73a6141f82c857933be2f54cea81b1d1bef8",
    ),
    "log": (
        lambda: log(np.arange(1, 3001) / 1024),
        "545329b083991892c753f1f6ad7dd7a1fd17366109bf7402829391b1c185eb99",
    ),
}


@pytest.mark.parametrize(("draw", "digest"), GOLDEN.values(), ids=list(GOLDEN))
def test_golden(draw, digest):
    assert sha256(draw()) == digest


def test_purposes_keep_their_numbers():
    known = {"initialize": 0, "shuffle": 1, "dropout": 2, "split": 3, "direction": 4, "noise": 5}
    assert known == PURPOSES


# -- the generator -------------------------------------------------------------------------

FULL = 2**64 - 1
KNOWN = [  # Random123's kat_vectors, philox4x64 10: counter, key, output
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (FULL, FULL, FULL, FULL),
        (FULL, FULL),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN, ids=["zeros", "ones", "pi"])
def test_known_answers(monkeypatch, counter, key, words):
    # Block j of a draw has Philox counter (j + 1, step, stream, purpose); 0 is after the end.
    whole = sum(word << 64 * place for place, word in enumerate(counter))
    block, step, stream, purpose = [(whole - 1) % 2**256 >> 64 * place & FULL for place in range(4)]
    monkeypatch.setattr(random, "_key", lambda seed: np.array(key, dtype=np.uint64))
    monkeypatch.setitem(PURPOSES, "known", purpose)
    found = Draws(0, "known", stream, step).words(4, block)
    assert [hex(word) for word in found] == [hex(word) for word in words]


def test_words_are_addressed_by_block():
    draws = Draws(5, "dropout", 2, 9)
    np.testing.assert_array_equal(draws.words(8, block=3), draws.words(20)[12:])


@pytest.mark.parametrize(
    "other",
    [
        Draws(6, "initialize", 2, 9),
        Draws(5, "shuffle", 2, 9),
        Draws(5, "initialize", 3, 9),
        Draws(5, "initialize", 2, 10),
        Draws(5, "initialize", 9, 2),
    ],
    ids=["seed", "purpose", "stream", "step", "stream and step swapped"],
)
def test_draws_share_no_word(other):
    mine = Draws(5, "initialize", 2, 9).words(4000)
    assert np.intersect1d(mine, other.words(4000)).size == 0


# -- numbers made of words -----------------------------------------------------------------


def test_uniform_never_reaches_its_ends(monkeypatch):
    extremes = np.array([0, FULL], dtype=np.uint64)
    monkeypatch.setattr(Draws, "words", lambda self, count: extremes)
    np.testing.assert_array_equal(Draws(0, "split").uniform((2,)), [2.0**-53, 1.0 - 2.0**-53])


QUANTILES = {  # to 20 digits by root finding in 40
    0.5: 0.0,
    0.6: 0.2533471031357997988,
    0.75: 0.6744897501960817432,
    0.9: 1.281551565544600467,
    0.95: 1.6448536269514727149,
    0.975: 1.9599639845400542355,
    1e-5: -4.2648907939228246285,
    1e-10: -6.3613409024040562047,
    2.0**-53: -8.2095361516013868556,
    1e-100: -21.273453560965324295,
    1e-300: -37.047096299361199237,
}


def test_normal_quantiles():
    found = normal_quantile(np.array(list(QUANTILES)))
    # AS 241 is good to 1e-16, and some twenty operations round: a few units of 1.1e-16.
    np.testing.assert_allclose(found, list(QUANTILES.values()), rtol=1e-15)


def test_normal_quantile_is_odd():
    u = np.arange(1, 512) / 1024
    np.testing.assert_array_equal(normal_quantile(1.0 - u), -normal_quantile(u))


def test_log_is_the_logarithm():
    wide, near = 2.0 ** np.arange(-1000, 1000, 37.3), 1.0 + np.arange(-9, 9) * 2.0**-10
    x = np.concatenate([wide, near, np.linspace(0.5, 2.0, 1001)])
    # A handful of roundings of 1.1e-16 each; near 1 it must hold relative to log x itself.
    np.testing.assert_allclose(log(x), [math.log(value) for value in x], rtol=1e-15)


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_permutation(count):
    found = Draws(1, "shuffle").permutation(count)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(np.sort(found), np.arange(count))


def test_permutation_reaches_every_order():
    orders = {tuple(Draws(1, "shuffle", step=k).permutation(3).tolist()) for k in range(100)}
    assert len(orders) == 6  # each is missed with probability (5/6)^100 = 1e-8


# -- masks ---------------------------------------------------------------------------------

MASK = Draws(3, "dropout", 1, 4)
COLUMNS = [1, 16, 17, 37]


@pytest.mark.parametrize("columns", COLUMNS)
def test_short_batch_draws_what_the_whole_batch_draws(columns):
    whole = MASK.keep_mask(64, columns, 0.3)
    np.testing.assert_array_equal(MASK.keep_mask(21, columns, 0.3), whole[:21])


@pytest.mark.parametrize("columns", COLUMNS)
def test_micro_batches_draw_what_the_whole_batch_draws(columns):
    whole = MASK.keep_mask(64, columns, 0.3)
    starts = [0, 16, 17, 40, 64]
    parts = [MASK.keep_mask(stop - start, columns, 0.3, start) for start, stop in pairwise(starts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_mask_keeps_its_share_and_the_mean(rate):
    mask = MASK.keep_mask(400, 250, rate)
    kept = mask > 0.0
    # 100,000 draws: the share is within five standard deviations of 1 - rate.
    assert abs(kept.mean() - (1.0 - rate)) < 5 * math.sqrt(rate * (1 - rate) / kept.size)
    np.testing.assert_allclose(mask[kept], 1.0 / (1.0 - rate), rtol=2.0**-16 / (1.0 - rate))
    assert len(np.unique(mask)) == 2


def test_mask_of_a_rate_too_small_to_draw_keeps_everything():
    np.testing.assert_array_equal(MASK.keep_mask(50, 40, 1e-6), np.ones((50, 40)))


def test_rows_of_a_mask_differ():
    mask = MASK.keep_mask(100, 64, 0.5)
    assert len(np.unique(mask, axis=0)) == 100


# -- noise ---------------------------------------------------------------------------------

NOISE = Draws(3, "noise", 1, 4)


@pytest.mark.parametrize("columns", [1, 4, 5, 37])
def test_parts_of_a_batch_draw_the_noise_of_the_whole_batch(columns):
    whole = NOISE.noise(64, columns, 0.3)
    np.testing.assert_array_equal(NOISE.noise(21, columns, 0.3), whole[:21])
    starts = [0, 16, 17, 40, 64]
    parts = [NOISE.noise(stop - start, columns, 0.3, start) for start, stop in pairwise(starts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(np.unique(whole)) == 64 * columns


def test_noise_is_normal():
    noise = NOISE.noise(400, 250, 0.3) / 0.3
    # 100,000 draws: moments within five standard deviations of theirs.
    for power, (mean, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        assert abs(np.mean(noise**power) - mean) < 5 * math.sqrt(variance / noise.size)


def test_noise_is_its_own_purpose_and_scales_with_the_deviation():
    one = NOISE.noise(8, 5, 1.0)
    np.testing.assert_array_equal(NOISE.noise(8, 5, 2.0), 2.0 * one)
    assert not np.isin(one, Draws(3, "initialize", 1, 4).normal((8, 8))).any()
