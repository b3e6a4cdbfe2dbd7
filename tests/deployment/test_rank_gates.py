"""Gates of ranks count right: every small gate, and counters at their edges, in every runtime."""

import re
import shutil

import numpy as np
import pytest

from bimonn_jax.deployment.c.writer import export_c
from bimonn_jax.deployment.packed import PackedNetwork, _at_least
from bimonn_jax.deployment.verilog import export_verilog
from bimonn_jax.deployment.yosys import estimate_resources
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import layer_of
from bimonn_jax.neurons.params import RankNeurons
from tests.support import runtimes
from tests.support.c_counters import tried_and_wrong
from tests.support.neuron_oracles import all_inputs

QUICK = {
    "itself": runtimes.itself,
    "packed": runtimes.packed,
    "C": runtimes.c,
    "C, one sample": runtimes.c_image,
    "ONNX": runtimes.onnx,
    "StableHLO": runtimes.stablehlo,
    "Python": runtimes.python,
    "Verilog": runtimes.verilog,
    "Verilog, pipelined": runtimes.verilog_pipelined,
}
COMPILED = {
    "Verilator": runtimes.verilator,
    "Verilator, pipelined": runtimes.verilator_pipelined,
}
# Icarus Verilog starts quickly; Verilator also says what it has to say of the code.
ALL = [
    *QUICK,
    *(pytest.param(name, marks=pytest.mark.slow) for name in COMPILED),
]
RUNTIMES = QUICK | COMPILED


def all_gates(n):
    """Footprint, rank and complement of every gate of n literals, bool (n, M), int and bool (M,).

    Ranks go from -1, always set, to n + 2, never set.
    """
    footprints = all_inputs(n)
    rank, footprint, complement = np.meshgrid(
        np.arange(-1, n + 3), np.arange(len(footprints)), [False, True], indexing="ij"
    )
    return footprints[footprint.ravel()].T, rank.ravel().astype(np.int32), complement.ravel()


def holds(literals, footprint, rank, complement):
    """What gates give where literals hold, bool (N, n), counted."""
    return (literals.astype(int) @ footprint.astype(int) >= rank) ^ complement


def layer(kind, part, footprint, rank, complement, **options):
    neurons = RankNeurons(footprint, rank, complement)
    return BooleanNetwork((layer_of(kind, "a", **options),), {"a": {part: neurons}})


@pytest.mark.parametrize("n", [1, 4, 5])
@pytest.mark.parametrize("runtime", ALL)
def test_all_dense_gates(runtime, n, tmp_path):
    gates, x = all_gates(n), all_inputs(n)
    run = RUNTIMES[runtime](layer("lui", "lui", *gates), (n,), tmp_path)
    np.testing.assert_array_equal(run(x), holds(x, *gates))


@pytest.mark.parametrize("runtime", ALL)
def test_all_dense_gates_of_inverted_literals(runtime, tmp_path):
    """Also gates that read a bit and its complement, of which one always holds."""
    gates, x = all_gates(4), all_inputs(2)
    run = RUNTIMES[runtime](layer("hit_or_miss", "lui", *gates), (2,), tmp_path)
    np.testing.assert_array_equal(run(x), holds(np.concatenate([x, ~x], axis=1), *gates))


@pytest.mark.parametrize("window", [(1, 2), (2, 1)])
@pytest.mark.parametrize("runtime", ALL)
def test_all_sliding_gates_of_inverted_literals(runtime, window, tmp_path):
    footprint, rank, complement = all_gates(4)
    network = layer(
        "hit_or_miss_conv", "lui", footprint.reshape(*window, 2, -1), rank, complement,
        padding="SAME", border="zero", pool=1,
    )  # fmt: skip
    x = all_inputs(4).reshape(-1, 2, 2, 1)
    run = RUNTIMES[runtime](network, (2, 2, 1), tmp_path)
    # An even window reaches one pixel further at its end.
    far = np.roll(x, -1, axis=1 if window == (2, 1) else 2)
    far[(slice(None), -1) if window == (2, 1) else (slice(None), slice(None), -1)] = False
    literals = np.stack([x, ~x, far, ~far], axis=-1).reshape(-1, 4)
    expected = holds(literals, footprint, rank, complement).reshape(len(x), 2, 2, -1)
    np.testing.assert_array_equal(run(x), expected)


# Around powers of two, and where counters take sixteen and seven literals at a time.
SIZES = [3, 4, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 48, 63, 64, 65, 127, 128, 129]


def of_sizes(sizes):
    """Gates of the first so many inputs, with every rank at an edge of a counter."""
    pairs = [
        (size, rank)
        for size in sizes
        for rank in sorted({1, 2, 3, size // 2, (size + 1) // 2, size - 1, size,
                            *(2**d + e for d in range(8) for e in (-1, 0, 1))})
        if 1 <= rank <= size
    ]  # fmt: skip
    size, rank = np.array(pairs, np.int32).T
    return np.arange(max(sizes))[:, None] < size, rank, np.arange(len(rank)) % 2 == 1


@pytest.mark.parametrize("kind", ["lui", "hit_or_miss"])
@pytest.mark.parametrize("runtime", ALL)
def test_counts_at_edges(runtime, kind, tmp_path):
    footprint, rank, complement = of_sizes(SIZES)
    most = len(footprint)
    # Every count of every size, from either side.
    steps = np.arange(most + 1)[:, None]
    x = np.concatenate([np.arange(most) < steps, np.arange(most) >= steps])
    literals, bits = x, x
    if kind == "hit_or_miss":
        # All literals inverted.
        literals = ~x
        footprint = np.concatenate([np.zeros_like(footprint), footprint])
    run = RUNTIMES[runtime](layer(kind, "lui", footprint, rank, complement), (most,), tmp_path)
    mine = footprint[-most:]
    np.testing.assert_array_equal(run(bits), holds(literals, mine, rank, complement))


@pytest.mark.parametrize("runtime", ["packed", "C", "C, one sample"])
def test_many_literals(runtime, tmp_path):
    """More words of features than are counted in one loop, and a long counter."""
    features = 5000
    rng = np.random.default_rng(0)
    footprint = rng.random((2 * features, 12)) < np.linspace(0.01, 0.5, 12)
    size = footprint.sum(axis=0)
    rank, complement = (size // 2).astype(np.int32), rng.random(12) < 0.5
    x = rng.random((70, features)) < 0.5
    run = QUICK[runtime](layer("hit_or_miss", "lui", footprint, rank, complement), (features,),
                         tmp_path)  # fmt: skip
    expected = holds(np.concatenate([x, ~x], axis=1), footprint, rank, complement)
    np.testing.assert_array_equal(run(x), expected)
    assert 0.2 < expected.mean() < 0.8


def test_slices_and_population_counts_agree(monkeypatch):
    gates, x = of_sizes([9, 16, 33]), all_inputs(10)
    x = np.concatenate([x, np.zeros_like(x), x, x[:, :3]], axis=1)
    network = layer("lui", "lui", *gates)
    for most in (0, 10**6):
        monkeypatch.setattr("bimonn_jax.deployment.packed._MOST_SLICES", most)
        np.testing.assert_array_equal(PackedNetwork(network, (33,))(x), holds(x, *gates))


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65])
def test_slices_count_for_all_ranks_and_counts(size):
    # Sample c has c bits set: the first ones, the last ones, and every other one first.
    count, i = np.arange(size + 1), np.arange(size)[:, None]
    orders = [i, size - 1 - i, np.argsort(np.argsort(i % 2, axis=0, kind="stable"), axis=0)]
    bits = np.concatenate([order < count for order in orders], axis=1)
    for rank in range(1, size + 1):
        found = np.asarray(_at_least(list(bits), rank))
        np.testing.assert_array_equal(found, np.tile(count >= rank, 3))


# All gates of up to 150 literals, the first ones as they are and the others inverted, of every
# rank between the ends, on 64 samples: none hold, all hold, as many as the rank or one less, and
# random ones. What is expected is counted sample by sample.
_COUNTERS = """
enum { MOST = 150, OUTPUTS = 1 };

#define ENGINE_BITS 1
#define ENGINE_RANKS 1
#include "engine.c"

static int digits_for(int size, int rank)
{
    int most = rank - 1 > size - rank ? rank - 1 : size - rank, digits = 1;
    for (; most; most >>= 1)
        digits++;
    return digits < 3 ? 3 : digits;
}

int main(void)
{
    static literal literals[MOST];
    static block features[MOST];
    static int32_t held[MOST + 1][64];
    uint64_t state = 1;
    long tried = 0, wrong = 0;
    for (int i = 0; i < MOST; i++)
        literals[i] = (literal)i;
    for (int size = 3; size <= MOST; size++)
        for (int clear = 0; clear <= size; clear += size < 40 ? 1 : size / 2)
            for (int rank = 2; rank < size; rank++) {
                if (digits_for(size, rank) != DIGITS + MISSING)
                    continue;
                for (int i = 0; i < size; i++) {
                    uint64_t word = 0;
                    for (int s = 4; s < 64; s++) {
                        state = state * 6364136223846793005u + 1442695040888963407u;
                        word |= (uint64_t)((state >> 33) % 64 < (uint64_t)s) << s;
                    }
                    /* Sample 0 has nothing that holds, 1 everything, 2 and 3 what it takes. */
                    word |= 2 | (uint64_t)(i < rank) << 2 | (uint64_t)(i >= size - rank + 1) << 3;
                    for (int s = 0; s < 64; s++)
                        held[i + 1][s] = held[i][s] + (int)(word >> s & 1);
                    features[i].lane[0] = i < clear ? word : ~word;
                }
                rank_gate gate = {0, 0, (uint32_t)clear, (uint32_t)size, (uint32_t)rank, 0};
                block found = {{0}};
                apply_ranks(features, 1, 1, 1, 1, 1, 1, &gate, 1, literals, &found);
                tried++;
                for (int s = 0; s < 64; s++)
                    wrong += (int)(found.lane[0] >> s & 1) != (held[size][s] >= rank);
            }
    printf("%ld %ld\\n", tried, wrong);
    return 0;
}
"""


def test_c_counts_for_all_sizes_and_ranks(tmp_path):
    tried = 0
    for digits in range(3, 10):
        count, wrong = tried_and_wrong(_COUNTERS, tmp_path, digits)
        assert count > 0
        assert wrong == 0
        tried += count
    # A number of set literals for each: all of small gates, three of large ones.
    numbers = [len(range(0, size + 1, 1 if size < 40 else size // 2)) for size in range(3, 151)]
    assert tried == sum((size - 2) * n for size, n in zip(range(3, 151), numbers, strict=True))


def test_one_digit_less_would_not_do(tmp_path):
    assert tried_and_wrong(_COUNTERS, tmp_path, 8, missing=1)[1] > 0


@pytest.mark.parametrize(
    ("size", "rank", "digits"),
    [(3, 2, 3), (8, 4, 4), (8, 5, 4), (9, 5, 4), (16, 8, 5), (17, 9, 5), (25, 13, 5), (32, 2, 6),
     (33, 32, 6), (34, 33, 7), (34, 2, 7), (784, 392, 10), (784, 2, 11)],
)  # fmt: skip
def test_digits_hold_rank_and_what_is_left_above(size, rank, digits, tmp_path):
    gate = np.ones((size, 1), bool), np.full(1, rank, np.int32), np.zeros(1, bool)
    network = layer("lui", "lui", *gate)
    text = export_c(network, tmp_path / "n.c", (size,)).read_text()
    assert int(re.search(r"DIGITS = (\d+)", text)[1]) == digits
    # One digit less: a rank above 2^(digits - 1), or so many left above it that they overflow.
    assert max(rank - 1, size - rank) < 2 ** (digits - 1)
    assert digits == 3 or max(rank - 1, size - rank) >= 2 ** (digits - 2)


def test_gates_of_no_middle_rank_need_no_counter(tmp_path):
    footprint, rank, complement = all_gates(3)
    is_end = (rank <= 1) | (rank >= footprint.sum(axis=0))
    ends = layer("lui", "lui", footprint[:, is_end], rank[is_end], complement[is_end])
    for mode in ("batch", "image"):
        text = export_c(ends, tmp_path / mode, (3,), mode=mode).read_text()
        assert not re.search("rank_gate|counter|DIGITS", text)


@pytest.mark.parametrize("pipelined", [False, True])
def test_yosys_takes_sums(pipelined, tmp_path):
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed")
    gate = np.ones((9, 1), bool), np.full(1, 5, np.int32), np.zeros(1, bool)
    path = export_verilog(layer("lui", "lui", *gate), tmp_path / "n.v", (9,), pipelined=pipelined)
    found = estimate_resources(path)
    assert 1 < found.luts < 30
    assert found.registers == pipelined
