"""Votes are counted right: every total, every structure of a head, in every runtime.

Totals are enumerated, as random inputs hardly ever fill the last digit of a counter.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.deployment.c.writer import export_c
from bimonn_jax.deployment.circuit import circuit_of
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import PopcountLayer, TernaryLayer
from bimonn_jax.neurons.heads import TernaryWeights, popcount_scores, ternary_scores
from tests.support import runtimes
from tests.support.c_counters import tried_and_wrong

MOST = 600
QUICK = {
    "itself": runtimes.itself,
    "packed": runtimes.packed,
    "C": runtimes.c,
    "C, one sample": runtimes.c_image,
    "ONNX": runtimes.onnx,
    "StableHLO": runtimes.stablehlo,
}
# One input at a time, or a program that takes long to compile.
SLOW = {
    "Python": (runtimes.python, runtimes.python),
    "Verilog": (runtimes.verilog, runtimes.verilator),
    "Verilog, pipelined": (runtimes.verilog_pipelined, runtimes.verilator_pipelined),
}
# Around powers of two and multiples of seven, where counters carry.
EDGES = [0, 1, 2, 3, 7, 8, 14, 15, 16, 31, 32, 127, 128, 255, 256, 423, 424, 511, 512, 599, 600]


def ternary(votes):
    """A head and nothing else: votes are -1, 0 or 1, (n, classes)."""
    head = TernaryWeights(jnp.asarray(votes > 0), jnp.asarray(votes < 0))
    return BooleanNetwork((TernaryLayer("head"),), {"head": {"head": head}})


def mirrored():
    """600 votes for class 0 that are against class 1, and 600 the other way around."""
    votes = np.repeat([[1, -1], [-1, 1]], MOST, axis=0)
    return ternary(votes), (2 * MOST,)


def reaching(i, j):
    """Inputs that set i of the first 600 features and j of the others, for arrays of i and j."""
    index = np.arange(MOST)
    return np.concatenate([index < i[:, None], index < j[:, None]], axis=1)


@pytest.mark.parametrize("runtime", QUICK)
def test_all_totals(runtime, tmp_path):
    run = QUICK[runtime](*mirrored(), tmp_path)
    totals = np.arange(MOST + 1)
    for some in np.split(totals, range(25, MOST, 25)):
        i, j = (axis.ravel() for axis in np.meshgrid(some, totals))
        difference = i - j
        found = run(reaching(i, j))
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, np.stack([difference, -difference], axis=1))


@pytest.mark.parametrize(
    ("runtime", "totals"),
    [(name, EDGES) for name in SLOW]
    + [pytest.param(name, range(MOST + 1), marks=pytest.mark.slow) for name in SLOW],
    ids=[f"{name}, {size}" for size in ("edges", "all") for name in SLOW],
)
def test_totals_where_inputs_are_slow(runtime, totals, tmp_path):
    run = SLOW[runtime][len(totals) > MOST](*mirrored(), tmp_path)
    i, j = (axis.ravel() for axis in np.meshgrid(totals, totals))
    difference = i - j
    np.testing.assert_array_equal(run(reaching(i, j)), np.stack([difference, -difference], axis=1))


# Heads whose largest total is all ones in binary.
FULL = [(3, 4), (28, 3), (0, 31), (31, 0), (64, 63), (255, 0), (1, 254)]


@pytest.mark.parametrize(("f", "a"), FULL)
@pytest.mark.parametrize("runtime", {**QUICK, **SLOW})
def test_totals_that_fill_the_last_digit(runtime, f, a, tmp_path):
    prepare = QUICK.get(runtime) or SLOW[runtime][0]
    votes = np.repeat([[1, 0], [-1, 0]], [f, a], axis=0)
    i, j = (axis.ravel() for axis in np.meshgrid(np.arange(f + 1), np.arange(a + 1)))
    x = np.concatenate([np.arange(f) < i[:, None], np.arange(a) < j[:, None]], axis=1)
    found = prepare(ternary(votes), (f + a,), tmp_path)(x)
    np.testing.assert_array_equal(found, np.stack([i - j, 0 * i], axis=1))


@pytest.mark.parametrize("mode", ["batch", "image"])
def test_classes_of_all_totals(mode, tmp_path):
    library = runtimes.c(*mirrored(), tmp_path, mode=mode)
    j = np.arange(MOST + 1)
    for i in range(MOST + 1):
        # Of equal scores the first class counts.
        np.testing.assert_array_equal(library.classify(reaching(np.full_like(j, i), j)), j > i)


# All heads of F votes for and A against a class, on 64 samples: everything set, nothing set, only
# one kind, and random bits. What is expected is counted sample by sample.
_STRUCTURES = """
enum { MOST = 600, CLASSES = 1 };
static int32_t MOST_AGAINST;
static literal votes[2 * MOST];
static uint32_t votes_for[1], votes_against[1], votes_end[1];

#define ENGINE_VOTES 1
#define ENGINE_CLASSIFY 1
#include "engine.c"

static block features[2 * MOST];
static int32_t set_for[MOST + 1][64], set_against[MOST + 1][64];

static int digits_for(int most)
{
    int digits = 0;
    for (; most; most >>= 1)
        digits++;
    return digits < 3 ? 3 : digits;
}

/* Votes for are the last of the first 600 features, votes against the first of the others. */
static long wrong_of(int f, int a, int most_against)
{
    int32_t scores[64];
    long wrong = 0;
    MOST_AGAINST = most_against;
    votes_for[0] = (uint32_t)(MOST - f);
    votes_against[0] = MOST;
    votes_end[0] = (uint32_t)(MOST + a);
    write_outputs(features, 64, scores);
    for (int s = 0; s < 64; s++)
        wrong += scores[s] != set_for[f][s] - set_against[a][s];
    return wrong;
}

int main(void)
{
    uint64_t state = 1;
    long structures = 0, wrong = 0;
    for (int v = 0; v < 2 * MOST; v++) {
        uint64_t word = 0;
        votes[v] = (literal)v;
        for (int s = 0; s < 64; s++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            word |= (uint64_t)((state >> 33) % 64 < (uint64_t)s) << s;
        }
        /* Sample 0 has nothing, 1 has everything, 2 only votes for, 3 only votes against. */
        features[v].lane[0] = (word & ~(uint64_t)15) | 2 | (v < MOST ? 4 : 8);
    }
    for (int count = 0; count < MOST; count++)
        for (int s = 0; s < 64; s++) {
            set_for[count + 1][s] =
                set_for[count][s] + (int)(features[MOST - 1 - count].lane[0] >> s & 1);
            set_against[count + 1][s] =
                set_against[count][s] + (int)(features[MOST + count].lane[0] >> s & 1);
        }
    for (int f = 0; f <= MOST; f++)
        for (int a = 0; a <= MOST; a++) {
            /* The class with the most votes against it, and one beside such a class. */
            if (digits_for(f + a) == DIGITS + MISSING) {
                structures++;
                wrong += wrong_of(f, a, a);
            }
            if (digits_for(f + MOST) == DIGITS + MISSING) {
                structures++;
                wrong += wrong_of(f, a, MOST);
            }
        }
    printf("%ld %ld\\n", structures, wrong);
    return 0;
}
"""


def test_c_counts_for_all_structures_of_a_head(tmp_path):
    tried = 0
    for digits in range(3, 12):
        count, wrong = tried_and_wrong(_STRUCTURES, tmp_path, digits)
        assert count > 0
        assert wrong == 0
        tried += count
    assert tried == 2 * (MOST + 1) ** 2


def test_one_digit_less_would_not_do(tmp_path):
    assert tried_and_wrong(_STRUCTURES, tmp_path, 11, missing=1)[1] > 0


@pytest.mark.parametrize(
    ("features", "most_against", "digits"),
    [(1, 0, 3), (7, 0, 3), (8, 0, 4), (31, 3, 5), (32, 3, 6), (600, 600, 10), (1200, 600, 11)],
)
def test_digits_hold_the_largest_total(features, most_against, digits, tmp_path):
    votes = np.ones((features, 1), int)
    votes[:most_against] = -1
    source = export_c(ternary(votes), tmp_path / "n.c", (features,))
    assert f"DIGITS = {digits}, MOST_AGAINST = {most_against} " in source.read_text()


def popcount(size):
    """(A popcount head of groups of a size or one more, its features, edges of its inputs)."""
    features = 3 * size + size % 3
    network = BooleanNetwork((PopcountLayer(classes=3),), {})
    index = np.arange(features)
    votes_for = index // 3 % 2 == 0
    # All totals of all classes: more and more of those that vote for, and that vote against.
    steps = np.arange(features + 1)[:, None]
    x = [(index < steps) & votes_for, (index < steps) & ~votes_for]
    x += [np.ones((1, features), bool), index < steps, index >= steps]
    return network, (features,), np.concatenate(x)


def counted(x):
    """Scores of `popcount`, feature by feature."""
    scores = np.zeros((len(x), 3), np.int32)
    for feature in range(x.shape[1]):
        against = feature // 3 % 2
        scores[:, feature % 3] += np.where(x[:, feature], -1 if against else 1, 0)
    return scores


OF_GROUPS = {**QUICK, **{name: pair[0] for name, pair in SLOW.items()}}
SIZES = [1, 2, 7, 32, 33, 65, 128]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("runtime", OF_GROUPS)
def test_popcounts_of_groups(runtime, size, tmp_path):
    network, shape, x = popcount(size)
    np.testing.assert_array_equal(OF_GROUPS[runtime](network, shape, tmp_path)(x), counted(x))


@pytest.mark.slow
@pytest.mark.parametrize("size", sorted({*range(1, 131)} - set(SIZES)))
@pytest.mark.parametrize("runtime", OF_GROUPS)
def test_popcounts_of_groups_of_all_sizes(runtime, size, tmp_path):
    network, shape, x = popcount(size)
    np.testing.assert_array_equal(OF_GROUPS[runtime](network, shape, tmp_path)(x), counted(x))


@pytest.mark.parametrize("runtime", OF_GROUPS)
def test_more_classes_than_features(runtime, tmp_path):
    network = BooleanNetwork((PopcountLayer(classes=5),), {})
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], bool)
    expected = np.pad(x, [(0, 0), (0, 3)]).astype(np.int32)
    np.testing.assert_array_equal(OF_GROUPS[runtime](network, (2,), tmp_path)(x), expected)


@pytest.mark.parametrize("runtime", OF_GROUPS)
def test_a_vote_both_for_and_against_counts_for_nothing(runtime, tmp_path):
    both = np.ones((9, 2), bool)
    head = TernaryWeights(jnp.asarray(both), jnp.asarray(both))
    network = BooleanNetwork((TernaryLayer("head"),), {"head": {"head": head}})
    x = np.arange(9) < np.arange(10)[:, None]
    found = OF_GROUPS[runtime](network, (9,), tmp_path)(x)
    np.testing.assert_array_equal(found, np.zeros((10, 2), np.int32))


def test_more_features_than_float32_counts_are_refused():
    features = 2**24
    fits, larger = (jax.ShapeDtypeStruct((1, n), bool) for n in (features, features + 1))
    head = [jax.ShapeDtypeStruct((n, 2), bool) for n in (features, features + 1)]
    assert jax.eval_shape(ternary_scores, TernaryWeights(head[0], head[0]), fits).shape == (1, 2)
    message = r"at most 16,777,216 features exactly; got 16,777,217"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(ternary_scores, TernaryWeights(head[1], head[1]), larger)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda x: popcount_scores(x, 2), larger)
    network = BooleanNetwork((PopcountLayer(classes=2),), {})
    with pytest.raises(ValueError, match=message):
        circuit_of(network.architecture, network.params, (features + 1,))
