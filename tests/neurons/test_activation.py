import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from bimonn_jax.binarization.rounding import host_neurons, rounding_of, sum_error
from bimonn_jax.neurons.activation import activation, activation_on_host
from bimonn_jax.neurons.params import RealNeurons, real_parameters
from bimonn_jax.neurons.reparam import BIASES, WEIGHTS, check_names
from bimonn_jax.neurons.thresholds import THRESHOLDS
from tests.support.neuron_oracles import all_inputs, fires, operator_tables

TABLES = {n: operator_tables(n) for n in range(1, 9)}


def allowed(weight, bias):
    try:
        check_names(weight, bias, "step" if weight == "boolean" else "tanh")
    except ValueError:
        return False
    return True


NAMES = [(w, b) for w in WEIGHTS for b in BIASES if allowed(w, b)]


def assert_no_false_answer(W, B, p):
    """Compares `activation` with the enumeration of each column of W (n, N)."""
    n = W.shape[0]
    result = activation(*(jnp.asarray(a) for a in (W, B, p)))
    result = jax.tree.map(np.asarray, result)
    for name, value in vars(activation_on_host(W, B, p)).items():
        if name not in ("lower", "upper"):
            np.testing.assert_array_equal(value, getattr(result, name))
    tables = fires(W, B, p)
    for k in range(W.shape[1]):
        operator = TABLES[n].get(tables[:, k].tobytes())
        assert bool(result.is_activated[k]) == (operator is not None), (W[:, k], B[k], p[k])
        if operator is not None:
            assert (int(result.rank[k]), result.footprint[:, k].tobytes()) == operator
    size = result.footprint.sum(axis=0)
    return int((result.is_activated & (result.rank > 1) & (result.rank < size)).sum())


def random_neurons(rng, n, count):
    W = rng.normal(rng.uniform(-0.5, 1.5, count), rng.uniform(0.1, 1.5, count), (n, count))
    W = np.where(rng.uniform(size=W.shape) < 0.2, 0.05 * W, W)
    # Weights of some that are nearly constant, as ranks between the ends have them.
    W = np.where(rng.uniform(size=count) < 0.3, np.where(W > 0.5, 1 + 0.02 * W, 0.02 * W), W)
    low, high = np.minimum(W, 0).sum(axis=0), np.maximum(W, 0).sum(axis=0)
    B = low - 0.2 + rng.uniform(size=count) * (high - low + 0.4)
    return W.astype(np.float32), B.astype(np.float32), rng.choice([-2.0, 1.5], count)


def test_forty_thousand_neurons_of_any_sign_have_no_false_answer_either_way():
    rng, seen, between = np.random.default_rng(0), 0, 0
    for n in range(1, 9):
        W, B, p = random_neurons(rng, n, 5000)
        between += assert_no_false_answer(W, B, p)
        seen += W.shape[1]
    assert seen == 40_000
    assert between > 1000


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_ties_are_decided_exactly(n):
    rng = np.random.default_rng(n)
    W = rng.integers(-2, 4, (n, 3000)) / 2
    B = rng.integers(-6, 4 * n + 4, 3000) / 4
    assert_no_false_answer(W.astype(np.float32), B.astype(np.float32), rng.choice([-1, 1], 3000))


@pytest.mark.parametrize(("weight", "bias"), NAMES)
@given(
    data=st.data(),
    n=st.integers(2, 8),
    negative=st.booleans(),
    threshold=st.sampled_from(["tanh", "sigmoid", "erf", "arctan"]),
)
def test_the_theorem_holds_for_every_reparametrization(weight, bias, data, n, negative, threshold):
    numbers = st.floats(-3, 3, width=32)
    if weight == "boolean":
        numbers, threshold = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), "step"
    omega = np.array(data.draw(st.lists(numbers, min_size=n, max_size=n)), np.float32)
    beta = np.float32(data.draw(numbers))
    scale = np.float32([-2.0 if negative else 2.0])
    free = (jnp.asarray(a) for a in (omega[:, None], beta[None], scale))
    params = RealNeurons(*free, weight, bias, threshold)
    W, B, p = (np.asarray(a) for a in real_parameters(params))
    margin = sum_error(host_neurons(params, W, B, rounding_of(params)), rounding_of(params))
    sums = all_inputs(n).astype(np.float64) @ W.astype(np.float64)
    # Float32 cannot decide these; the ties have a test of their own.
    assume(weight == "boolean" or np.abs(sums - B).min() > margin[0])
    assert_no_false_answer(W, B, p)
    if weight == "boolean":
        assert activation(*(jnp.asarray(a) for a in (W, B, p))).is_activated.all()


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf", "arctan"])
def test_on_almost_binary_inputs_the_output_is_the_operator_and_keeps_its_dead_zone(name):
    rng, n, count = np.random.default_rng(3), 5, 4000
    W, B, p = random_neurons(rng, n, count)
    v1 = rng.uniform(0, 0.2, (n, count)).astype(np.float32)
    v2 = rng.uniform(0.8, 1, (n, count)).astype(np.float32)
    result = activation(*(jnp.asarray(a) for a in (W, B, p)), v1=v1, v2=v2, margin=1e-4)
    keep = np.asarray(result.is_activated)
    assert keep.sum() > 100
    W, B, p, v1, v2 = W[:, keep], B[keep], p[keep], v1[:, keep], v2[:, keep]
    S, rank, lower, upper = (
        np.asarray(a)[..., keep]
        for a in (result.footprint, result.rank, result.lower, result.upper)
    )
    assert ((rank > 1) & (rank < S.sum(axis=0))).sum() > 50
    ends = np.asarray(jnp.stack([THRESHOLDS[name].forward(p * (e - B)) for e in (lower, upper)]))
    for bits in all_inputs(n):
        for corner in (True, False):  # Extreme values first, then values inside of the ranges.
            t = np.ones((n, keep.sum())) if corner else rng.uniform(size=(n, keep.sum()))
            inward = rng.integers(0, 2, t.shape) if corner else t
            low, high = v1 * inward, v2 + (1 - v2) * inward
            x = np.where(bits[:, None], high, low)
            y = np.asarray(THRESHOLDS[name].forward(jnp.asarray(p * ((x * W).sum(axis=0) - B))))
            hits = (bits[:, None] & S).sum(axis=0) >= rank
            np.testing.assert_array_equal(y > 0.5, hits ^ (p < 0))
            assert (
                np.where(hits ^ (p < 0), y - ends.max(axis=0), ends.min(axis=0) - y) > -1e-5
            ).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_dead_zones_are_decided_exactly_by_the_intervals_of_all_sums(n):
    rng, count = np.random.default_rng(n), 3000
    # Of sixteenths and powers of two, so that every sum is exact and ties are frequent.
    W = rng.integers(-1, 5, (n, count)) / 4 + rng.integers(0, 2, (n, count)) / 16
    B = rng.integers(-4, 8 * n, count) / 16
    p = rng.choice([-1.0, 1.0], count)
    v1, v2 = rng.integers(0, 3, (n, count)) / 16, 1 - rng.integers(0, 3, (n, count)) / 16
    result = activation_on_host(W, B, p, v1=v1, v2=v2)
    bits = all_inputs(n)[:, :, None]
    low = np.where(bits, np.where(W > 0, v2, 1) * W, np.where(W > 0, 0, v1) * W).sum(axis=1)
    high = np.where(bits, np.where(W > 0, 1, v2) * W, np.where(W > 0, v1, 0) * W).sum(axis=1)
    always, sometimes = (np.where(p > 0, t > B, t >= B) for t in (low, high))
    is_decided = (always == sometimes).all(axis=0)
    activated = 0
    for k in range(count):
        operator = TABLES[n].get(always[:, k].tobytes()) if is_decided[k] else None
        assert result.is_activated[k] == (operator is not None)
        if operator is not None:
            assert (result.rank[k], result.footprint[:, k].tobytes()) == operator
            # The ends of the gap: the largest sum that gives 0, and the smallest that gives 1.
            zeros, ones = high[~always[:, k], k], low[always[:, k], k]
            assert result.lower[k] == zeros.max(initial=-np.inf)
            assert result.upper[k] == ones.min(initial=np.inf)
            activated += 1
    assert activated > 100


def test_zero_scale_is_never_activated_and_a_batch_may_be_mapped():
    W, B = jnp.array([[1.0, 1.0], [1.0, 1.0]]), jnp.array([0.5, 0.5])
    result = activation(W, B, jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(result.is_activated, [False, True])
    stacked = jax.vmap(activation)(W[None], B[None], jnp.array([[0.0, 1.0]]))
    np.testing.assert_array_equal(stacked.is_activated[0], result.is_activated)


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"weight has shape \(3, 2\) and bias \(3,\)"):
        activation(jnp.ones((3, 2)), jnp.ones(3), jnp.ones(3))
