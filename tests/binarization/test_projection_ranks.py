from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax.binarization import binarize, constant_set, project, project_ranks
from bimonn_jax.binarization.projection import ranks as ranks_module
from bimonn_jax.binarization.projection.qp import nearest_of_rank, super_level_sets
from bimonn_jax.binarization.projection.rank_program import Choices, SortedRows, dual
from bimonn_jax.neurons.activation import activation_on_host
from bimonn_jax.neurons.params import BooleanNeurons, RankNeurons, RealNeurons
from tests.support.projection_oracles import hard_neurons


def slow(n):
    return pytest.param(n, marks=pytest.mark.slow)


def rank_neurons(rng, n, count):
    """Hard neurons, and such whose bias lies near a count of nearly equal weights."""
    W, B = hard_neurons(rng, n, count)
    S = rng.random((n, count)) < 0.6
    near = S + rng.normal(0, 0.2, S.shape)
    is_near = rng.random(count) < 0.5
    counts = rng.integers(0, n + 1, count) + rng.uniform(-0.6, 0.6, count)
    return np.where(is_near, near, W), np.where(is_near, counts, B)


def pairs(n):
    return [(j, k) for j in range(1, n + 1) for k in range(1, j + 1)]


def misses(nearest):
    """By how much each neuron misses the inequalities, written out by sorting."""
    found = []
    columns = zip(nearest.weight.T, nearest.bias, nearest.footprint.T, nearest.rank, strict=True)
    for w, b, S, k in columns:
        assert 1 <= k <= S.sum()
        inside, outside = np.sort(w[S]), w[~S]
        lower = inside[inside.size - (k - 1) :].sum() + outside.sum()
        found.append(max(lower - b, b - inside[:k].sum(), -w.min()))
    return np.array(found)


def near(found, expected, size):
    """Squared distances that agree to 1e-6, or are both 0 beside the size of the neuron."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * size)


@pytest.mark.parametrize("n", [1, 2, 3, slow(4)])
def test_no_footprint_and_no_rank_is_nearer(n):
    W, B = rank_neurons(np.random.default_rng(n), n, 8)
    nearest = project_ranks(W, B)
    footprints = [np.array(S) for S in product((False, True), repeat=n) if any(S)]
    for w, b, distance in zip(W.T, B, nearest.squared_distance, strict=True):
        best = min(
            nearest_of_rank(w, b, S, k).squared_distance
            for S in footprints
            for k in range(1, S.sum() + 1)
        )
        near(distance, best, w @ w + b * b)


@pytest.mark.parametrize("few", [0, 16])
@pytest.mark.parametrize("n", [5, 8])
def test_it_is_the_best_quadratic_program(n, few, monkeypatch):
    monkeypatch.setattr(ranks_module, "_FEW", few)
    W, B = rank_neurons(np.random.default_rng(10 * n), n, 5)
    nearest = project_ranks(W, B)
    for i, (w, b) in enumerate(zip(W.T, B, strict=True)):
        sets = super_level_sets(w)
        solved = [nearest_of_rank(w, b, sets[j - 1], k) for j, k in pairs(n)]
        best = min(solved, key=lambda s: s.squared_distance)
        size = w @ w + b * b
        near(nearest.squared_distance[i], best.squared_distance, size)
        mine = nearest_of_rank(w, b, nearest.footprint[:, i], int(nearest.rank[i]))
        near(nearest.squared_distance[i], mine.squared_distance, size)
        np.testing.assert_allclose(nearest.weight[:, i], mine.weight, atol=2e-5 * size**0.5)


@pytest.mark.parametrize("n", [6, 7])
def test_each_size_and_rank_is_solved_and_every_dual_value_is_a_bound(n):
    rng = np.random.default_rng(n)
    W, B = rank_neurons(rng, n, 2)
    for w, b in zip(W.T, B, strict=True):
        w = -np.sort(-w)
        rows = SortedRows.of(w[None], np.array([b]))
        for j, k in pairs(n):
            at = Choices(*(np.array([v]) for v in (0, j, k)))
            search = ranks_module._Search(rows)
            search.look(at, np.zeros((2, 1)), is_pruned=True)
            expected = nearest_of_rank(w, b, np.arange(n) < j, k).squared_distance
            near(2 * search.value[0], expected, w @ w + b * b)
            many = Choices(*(np.repeat(v, 50) for v in (at.row, at.j, at.k)))
            bounds = dual(rows, many, *rng.exponential(1, (2, 50))).value
            assert (2 * bounds <= expected + 1e-9 * (w @ w + b * b)).all()


def test_derivatives_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    a = -np.sort(-rng.normal(0.5, 1, 9))
    at = Choices(*(np.array(v) for v in zip(*[(0, j, k) for j, k in pairs(9)], strict=True)))
    rows, x, step = SortedRows.of(a[None], np.array([0.7])), rng.exponential(1, (2, 45)), 1e-6
    found = dual(rows, at, *x)
    for i in range(2):
        d = np.zeros((2, 1))
        d[i] = step
        up, down = (dual(rows, at, *(x + s * d)) for s in (1, -1))
        slope = (up.value - down.value) / (2 * step)
        np.testing.assert_allclose(found.gradient[i], slope, atol=1e-7)
        bend = (up.gradient - down.gradient) / (2 * step)
        np.testing.assert_allclose(found.curvature[:, i], bend, atol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3, 9, 16, 17, 33, 64])
def test_the_result_is_on_the_border_and_a_step_inwards_is_that_operator(n):
    W, B = rank_neurons(np.random.default_rng(n), n, 24)
    nearest = project_ranks(W, B)
    size = np.sqrt((W**2).sum(0) + B**2)
    assert (misses(nearest) <= 1e-11 * n * size).all()
    moved = ((nearest.weight - W) ** 2).sum(0) + (nearest.bias - B) ** 2
    np.testing.assert_allclose(nearest.squared_distance, moved, rtol=1e-9, atol=1e-20)
    # The k - 1 largest gain less than the k smallest.
    step = 1e-7 * np.maximum(size, 1e-30)
    inwards = nearest.weight + step * nearest.footprint
    found = activation_on_host(inwards, nearest.bias + (nearest.rank - 0.5) * step, np.ones_like(B))
    assert found.is_activated.all()
    np.testing.assert_array_equal(found.footprint, nearest.footprint)
    np.testing.assert_array_equal(found.rank, nearest.rank)


# Each size compiles the other projection anew, in float64.
@pytest.mark.parametrize("n", [slow(2), 9, slow(24)])
def test_it_is_never_farther_than_the_nearest_end_or_constant_set(n):
    W, B = rank_neurons(np.random.default_rng(100 + n), n, 24)
    distance = project_ranks(W, B).squared_distance
    allowed = 1e-9 * ((W**2).sum(0) + B**2)
    with jax.enable_x64(True):
        ends = project(jnp.asarray(W), jnp.asarray(B), erosion="euclidean").squared_distance
        S = np.asarray(constant_set(jnp.asarray(W)))
    assert (distance <= np.asarray(ends) + allowed).all()
    level = np.maximum((W * S).sum(0) / S.sum(0), 0)
    # Any bias from 0 to the sum is that of a rank.
    bias = np.clip(B, 0, level * S.sum(0))
    assert (distance <= ((W - level * S) ** 2).sum(0) + (bias - B) ** 2 + allowed).all()


@pytest.mark.parametrize("n", [slow(2), 9, slow(24)])
def test_the_first_and_the_last_rank_are_dilations_and_erosions(n):
    W, B = rank_neurons(np.random.default_rng(200 + n), n, 24)
    rows = SortedRows.of(-np.sort(-W.T, axis=1), B)
    ends = np.array([(j, k) for j, k in pairs(n) if k in (1, j)]).T
    search = ranks_module._Search(rows)
    at = ranks_module._for_each(len(B), *ends)
    search.look(at, np.zeros((2, len(at.row))), is_pruned=False)
    with jax.enable_x64(True):
        expected = project(jnp.asarray(W), jnp.asarray(B), erosion="euclidean").squared_distance
    near(2 * search.value, np.asarray(expected), ((W**2).sum(0) + B**2).max())


@pytest.mark.parametrize("n", [17, 31, 48])
def test_what_is_pruned_is_not_nearer(n):
    W, B = rank_neurons(np.random.default_rng(n), n, 12)
    rows = SortedRows.of(-np.sort(-W.T, axis=1), B)
    search = ranks_module._Search(rows)
    at = ranks_module._for_each(len(B), *ranks_module._all_pairs(n))
    search.look(at, np.zeros((2, len(at.row))), is_pruned=False)
    near(project_ranks(W, B).squared_distance, 2 * search.value, ((W**2).sum(0) + B**2).max())


def test_a_rank_neuron_is_its_own_projection():
    S = np.array([True, True, True, True, False])
    k = np.arange(1, 5)
    W = np.repeat(S[:, None], 4, axis=1).astype(float)
    nearest = project_ranks(W, k - 0.5)
    np.testing.assert_array_equal(nearest.weight, W)
    np.testing.assert_array_equal(nearest.rank, k)
    np.testing.assert_array_equal(nearest.footprint, W > 0)
    np.testing.assert_array_equal(nearest.squared_distance, 0)


@pytest.mark.parametrize("power", [-400, -3, 400])
def test_powers_of_two_scale_everything(power):
    W, B = rank_neurons(np.random.default_rng(1), 9, 12)
    one, other = project_ranks(W, B), project_ranks(np.ldexp(W, power), np.ldexp(B, power))
    np.testing.assert_array_equal(other.weight, np.ldexp(one.weight, power))
    np.testing.assert_array_equal(other.rank, one.rank)
    np.testing.assert_array_equal(other.squared_distance, np.ldexp(one.squared_distance, 2 * power))


def test_all_shapes_of_inputs_and_neurons():
    W, B = rank_neurons(np.random.default_rng(2), 6, 4)
    flat, shaped = project_ranks(W, B), project_ranks(W.reshape(2, 3, 2, 2), B.reshape(2, 2))
    np.testing.assert_array_equal(shaped.weight, flat.weight.reshape(2, 3, 2, 2))
    np.testing.assert_array_equal(shaped.rank, flat.rank.reshape(2, 2))
    assert project_ranks(np.ones((3, 0)), np.ones(0)).weight.shape == (3, 0)
    zero = project_ranks(np.zeros((3, 1)), np.zeros(1))
    assert zero.squared_distance == 0
    assert zero.footprint.any()
    with pytest.raises(ValueError, match="at least one input"):
        project_ranks(np.ones((0, 2)), np.ones(2))
    with pytest.raises(ValueError, match=r"weight has shape \(3, 2\), bias \(3,\)"):
        project_ranks(np.ones((3, 2)), np.ones(3))


def test_binarize_takes_it_where_ranks_count():
    W, B = rank_neurons(np.random.default_rng(3), 9, 30)
    neurons = RealNeurons(*(jnp.asarray(v, jnp.float32) for v in (W, B, np.ones(30))))
    binary, (report,) = binarize({"a": neurons}, method="rank", return_report=True)
    nearest, is_open = project_ranks(neurons.weight, neurons.bias), ~np.asarray(report.is_exact)
    assert is_open.any()
    assert isinstance(binary["a"], RankNeurons)
    np.testing.assert_array_equal(binary["a"].footprint[:, is_open], nearest.footprint[:, is_open])
    np.testing.assert_array_equal(binary["a"].rank[is_open], nearest.rank[is_open])
    np.testing.assert_allclose(
        report.squared_distance[is_open], nearest.squared_distance[is_open], rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"method 'rank' .* ranks=False .* method='activable'"):
        binarize({"a": neurons}, method="rank", ranks=False)
    with pytest.raises(ValueError, match="method 'rank' runs on the host"):
        jax.jit(lambda tree: binarize(tree, method="rank"))({"a": neurons})
    ends = RealNeurons(jnp.ones((2, 1)), jnp.array([0.5]), jnp.array([1.0]))
    assert isinstance(binarize({"a": ends}, method="rank")["a"], BooleanNeurons)
