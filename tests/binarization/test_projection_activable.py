import os
import subprocess
import sys
import textwrap
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from bimonn_jax.binarization.projection import activable as module, project
from bimonn_jax.binarization.projection.double_word import powers_of_two
from bimonn_jax.binarization.projection.duality import Form, dual_value, solve
from bimonn_jax.binarization.projection.qp import FootprintProgram, project_qp
from bimonn_jax.binarization.projection.sorted_weights import sort_weights
from tests.support.neuron_oracles import all_inputs
from tests.support.projection_oracles import (
    hard_neurons,
    mixed_neurons,
    nearest_by_rationals,
    rational_squared_distance,
    violation,
)

# Neurons of each size: 1,000 in the paper's form, in quadratic programs of a millisecond or two.
PAPER = {1: 150, 2: 150, 4: 250, 9: 350, 16: 60, 33: 25, 64: 15}
VARIANT = {2: 20, 4: 20, 9: 20, 33: 2}
VARIANTS = [(False, "dual"), (False, "euclidean"), (True, "dual"), (True, "euclidean")]
# Each size of each variant compiles programs of its own: the quick tests have few.
CASES = [
    pytest.param(*variant, n, count, marks=[pytest.mark.slow] * (n not in quick))
    for variant, sizes, quick in zip(
        VARIANTS, [PAPER] + 3 * [VARIANT], [(1, 9), (), (), (9,)], strict=True
    )
    for n, count in sizes.items()
]
variants = pytest.mark.parametrize(
    ("signed", "erosion"),
    [VARIANTS[0], *(pytest.param(*v, marks=pytest.mark.slow) for v in VARIANTS[1:])],
)


def assert_not_farther(distance, reference):
    """Equal to 1e-4 of it or 1e-7: the reference is solved to a tolerance."""
    np.testing.assert_allclose(distance, reference, rtol=1e-4, atol=1e-7)


def shift(W, B, nearest, erosion):
    """B' - B as it is compared, from the other fields of a result."""
    moved, bias = np.asarray(nearest.weight), np.asarray(nearest.bias)
    is_dual = np.asarray(nearest.is_erosion) & (erosion == "dual")
    return np.where(is_dual, moved.sum(0) - bias, bias) - np.where(is_dual, W.sum(0) - B, B)


@pytest.mark.parametrize(("signed", "erosion", "n", "count"), CASES)
def test_the_optimum_is_that_of_the_quadratic_programs(signed, erosion, n, count):
    with jax.enable_x64(True):
        W, B = hard_neurons(np.random.default_rng(n), n, count)
        nearest = project(jnp.asarray(W), jnp.asarray(B), signed=signed, erosion=erosion)
        programs = project_qp(W, B, signed=signed, erosion=erosion)
        again = project(nearest.weight, nearest.bias, signed=signed, erosion=erosion)
    assert_not_farther(nearest.squared_distance, programs.squared_distance)
    # OSQP stops at a tolerance.
    for found, rounding in ((nearest, 1e-11), (programs, 1e-6)):
        moved = shift(W, B, found, erosion)
        np.testing.assert_allclose(found.shift, moved, rtol=100 * rounding, atol=rounding)
        squares = np.square(np.asarray(found.weight) - W).sum(0) + moved**2
        np.testing.assert_allclose(
            found.squared_distance, squares, rtol=100 * rounding, atol=rounding
        )
        assert np.asarray(found.footprint).any(0).all()
        missed = violation(found, signed=signed)
        assert missed.max() <= rounding * np.abs(W).sum(0).max()
    np.testing.assert_allclose(again.squared_distance, 0, atol=1e-20 * n * np.abs(W).max() ** 2)


@variants
def test_no_other_footprint_is_nearer(signed, erosion):
    with jax.enable_x64(True):
        W, B = hard_neurons(np.random.default_rng(7), 4, 20)
        nearest = project(jnp.asarray(W), jnp.asarray(B), signed=signed, erosion=erosion)
        forms = {False: Form(signed), True: Form(signed, is_total=erosion == "euclidean")}
        programs = {form: FootprintProgram(4, form) for form in forms.values()}
        best = [
            min(
                programs[form].solve(w, w.sum() - b if swap else b, S).squared_distance
                for is_erosion, form in forms.items()
                for swap in [is_erosion and not form.is_total]
                for S in all_inputs(4)[1:]
            )
            for w, b in zip(W.T, B, strict=True)
        ]
    assert_not_farther(nearest.squared_distance, best)


@variants
def test_nothing_that_the_search_leaves_out_is_nearer(signed, erosion):
    forms = Form(signed), Form(signed, is_total=erosion == "euclidean")

    def least(w, b):
        """Half the squared distance to the nearest of all 2 n operators."""
        weights, size = sort_weights(w), jnp.arange(1, len(w) + 1)

        def loss(j, bias, form):
            theta, lam = solve(weights, j, bias, form, weights.values[j - 1])
            return dual_value(weights.plain(), j, bias, form, theta, lam)

        compared = b, b if forms[1].is_total else w.sum() - b
        losses = [
            jax.vmap(loss, in_axes=(0, None, None))(size, bias, form)
            for bias, form in zip(compared, forms, strict=True)
        ]
        return jnp.min(jnp.stack(losses))

    with jax.enable_x64(True):
        W, B = (jnp.asarray(v) for v in hard_neurons(np.random.default_rng(9), 60, 1000))
        nearest = project(W, B, signed=signed, erosion=erosion)
        expected = 2 * jax.jit(jax.vmap(least, in_axes=-1))(W, B)
    scale = np.square(W).sum(0) + np.square(B)
    assert (np.abs(nearest.squared_distance - expected) <= 1e-13 * scale).all()


@pytest.mark.parametrize(
    ("n", "erosion"),
    [(3, "dual"), (200, "dual"), (33, "euclidean")],
)
@pytest.mark.slow
def test_float32_finds_what_float64_finds(n, erosion):
    W, B = (v.astype(np.float32) for v in hard_neurons(np.random.default_rng(n), n, 300))
    single = project(jnp.asarray(W), jnp.asarray(B), erosion=erosion)
    with jax.enable_x64(True):
        double = project(jnp.asarray(W, float), jnp.asarray(B, float), erosion=erosion)
    assert single.weight.dtype == np.float32
    assert double.weight.dtype == np.float64
    scale = np.square(W).sum(0) + np.square(B)
    error = np.abs(single.squared_distance - np.asarray(double.squared_distance))
    assert (error <= 1e-6 * scale).all()


@pytest.mark.slow
def test_4096_inputs_in_float32_give_the_footprint_and_the_operator_of_float64():
    rng, n, count = np.random.default_rng(0), 4096, 128
    W = np.concatenate(
        [
            rng.normal(0.1, 1, (n, count)),
            rng.uniform(-1, 2, (n, count)),
            rng.uniform(0, 2 / n**0.5, (n, count)),
        ],
        axis=1,
    ).astype(np.float32)
    B = (W.sum(0) * rng.uniform(0, 1, 3 * count)).astype(np.float32)
    single = project(jnp.asarray(W), jnp.asarray(B))
    with jax.enable_x64(True):
        double = project(jnp.asarray(W, float), jnp.asarray(B, float))
    same = (np.asarray(single.footprint) == np.asarray(double.footprint)).all(0) & (
        np.asarray(single.is_erosion) == np.asarray(double.is_erosion)
    )
    assert np.mean(same) >= 0.999
    np.testing.assert_allclose(single.squared_distance, double.squared_distance, rtol=1e-5)


def test_any_shape_of_footprint_and_neurons_jit_and_vmap_give_the_same():
    W, B = (v.astype(np.float32) for v in hard_neurons(np.random.default_rng(5), 12, 30))
    shaped = project(jnp.asarray(W.reshape(3, 4, 5, 6)), jnp.asarray(B.reshape(5, 6)))
    assert shaped.weight.shape == shaped.footprint.shape == (12, 5, 6)
    # Mapped twice, each call has one neuron without axes.
    one_by_one = jax.vmap(jax.vmap(project, in_axes=-1, out_axes=-1), in_axes=-1, out_axes=-1)
    mapped = jax.jit(one_by_one)(jnp.asarray(W.reshape(12, 6, 5)), jnp.asarray(B.reshape(6, 5)))
    for name in ("weight", "bias", "footprint", "is_erosion", "squared_distance"):
        flat, other = (np.asarray(getattr(nearest, name)) for nearest in (shaped, mapped))
        np.testing.assert_allclose(other.reshape(flat.shape), flat, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [0, 41])
def test_blocks_change_nothing(monkeypatch, count):
    W, B = (v.astype(np.float32) for v in hard_neurons(np.random.default_rng(6), 20, 41))
    W, B = jnp.asarray(W[:, :count]), jnp.asarray(B[:count])
    whole = project(W, B)
    monkeypatch.setattr(module, "_BLOCK", 160)
    jax.clear_caches()
    blocks = project(W, B)
    jax.clear_caches()
    assert blocks.weight.shape == (20, count)
    np.testing.assert_array_equal(blocks.footprint, whole.footprint)
    np.testing.assert_array_equal(blocks.is_erosion, whole.is_erosion)
    np.testing.assert_allclose(blocks.weight, whole.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_memory_is_that_of_a_block_not_of_the_layer():
    def scratch(neurons):
        shapes = jax.ShapeDtypeStruct((1024, neurons), "f4"), jax.ShapeDtypeStruct((neurons,), "f4")
        return project.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    # Beyond a block, what grows are copies of the weights and of the results.
    assert scratch(16384) - scratch(4096) <= 16 * 1024 * (16384 - 4096)


# Zero or of a square that this test can tell.
numbers = st.one_of(
    st.just(0.0),
    st.floats(2.0**-55, 2.0**55, width=32),
    st.floats(-(2.0**55), -(2.0**-55), width=32),
)


@given(
    hnp.arrays(np.float32, (4, 3), elements=numbers),
    hnp.arrays(np.float32, 3, elements=numbers),
    st.permutations(range(4)),
)
def test_what_was_projected_is_activated_and_stays_whatever_the_numbers(W, B, order):
    # Of a shape that other tests compile, too: copies of the three neurons.
    W, B = np.tile(W, 20), np.tile(B, 20)
    nearest = project(jnp.asarray(W), jnp.asarray(B))
    size = np.abs(W).sum(0) + np.abs(B)
    unit = np.finfo(np.float32).eps
    assert nearest.footprint.any(0).all()
    assert (violation(nearest, signed=False) <= 32 * unit * size).all()
    again = project(nearest.weight, nearest.bias)
    assert (again.squared_distance <= (32 * unit * size) ** 2).all()
    # All zeros is not nearer, and the order of the inputs counts for nothing.
    zeros = np.square(W).sum(0) + np.minimum(np.square(B), np.square(W.sum(0) - B))
    assert (nearest.squared_distance <= zeros * (1 + 32 * unit)).all()
    permuted = project(jnp.asarray(W[np.array(order)]), jnp.asarray(B))
    error = np.abs(permuted.squared_distance - nearest.squared_distance)
    assert (error <= 32 * unit * zeros).all()


def test_an_activated_neuron_is_at_distance_zero_and_keeps_its_operator():
    # Of a shape that is compiled already.
    W = np.array([[3.0, 2.0, 0.5, 0.0], [1.0] * 4, [2.0, 0.0, 0.0, 0.0]], np.float32).T
    nearest = project(jnp.asarray(np.tile(W, 20)), jnp.asarray([1.0, 3.5, 1.0] * 20))
    np.testing.assert_array_equal(nearest.squared_distance, 0)
    np.testing.assert_array_equal(nearest.is_erosion, [False, True, False] * 20)
    footprints = [[True, True, False, False], [True] * 4, [True] + [False] * 3]
    np.testing.assert_array_equal(nearest.footprint.T, footprints * 20)


@variants
@pytest.mark.parametrize("power", [-110, -50, 50, 110])
def test_the_scale_of_the_weights_does_not_matter(signed, erosion, power):
    W, B = (v.astype(np.float32) for v in hard_neurons(np.random.default_rng(8), 20, 41))
    one = project(jnp.asarray(W), jnp.asarray(B), signed=signed, erosion=erosion)
    scaled = (jnp.asarray(np.ldexp(v, power)) for v in (W, B))
    other = project(*scaled, signed=signed, erosion=erosion)
    np.testing.assert_array_equal(other.footprint, one.footprint)
    np.testing.assert_array_equal(other.is_erosion, one.is_erosion)
    # Powers of two change no digit, but subnormal numbers are lost.
    least = np.finfo(np.float32).tiny
    for name, times in (("weight", 1), ("bias", 1), ("shift", 1), ("squared_distance", 2)):
        with np.errstate(over="ignore", under="ignore"):
            values = np.ldexp(np.asarray(getattr(one, name)), times * power)
        expected = np.where(np.abs(values) < least, 0, values)
        np.testing.assert_array_equal(getattr(other, name), expected)


def test_distances_beside_a_border_are_right_to_the_last_digits():
    rng = np.random.default_rng(0)
    # A dilation by the first, were the others together not a little more than the bias: each of
    # them moves by some units in its last place.
    W = rng.uniform(0.1, 0.3, (4, 60)).astype(np.float32)
    W[0] += 1
    B = (W[1:].sum(axis=0) * (1 - 10 ** rng.uniform(-5, -3, 60))).astype(np.float32)
    nearest = project(jnp.asarray(W), jnp.asarray(B))
    expected = [float(nearest_by_rationals(w, b)) for w, b in zip(W.T, B, strict=True)]
    unit = np.finfo(np.float32).eps
    np.testing.assert_allclose(nearest.squared_distance, expected, rtol=8 * unit)


def test_mixed_magnitudes_give_an_operator_that_is_nearest_up_to_double_words():
    # Of the same shape as above.
    W, B = mixed_neurons(np.random.default_rng(0), 4, 60)
    W, B = W.astype(np.float32), B.astype(np.float32)
    nearest = project(jnp.asarray(W), jnp.asarray(B))
    footprint, is_erosion = np.asarray(nearest.footprint), np.asarray(nearest.is_erosion)
    for i, (w, b) in enumerate(zip(W.T, B, strict=True)):
        found = rational_squared_distance(w, b, footprint[:, i], is_erosion[i])
        size = sum(Fraction(float(v)) ** 2 for v in (*w, b))
        assert found - nearest_by_rationals(w, b) <= size * Fraction(1, 2**46)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_of_two_are_normal_and_near_their_numbers_whatever_the_exponent(dtype):
    limits = np.finfo(dtype)
    exponents = np.arange(limits.minexp, limits.maxexp)
    sizes = np.ldexp(np.asarray(1.5, dtype), exponents)
    with jax.enable_x64(dtype == "float64"):
        power, inverse = (np.asarray(v) for v in powers_of_two(jnp.asarray(sizes)))
        zero = powers_of_two(jnp.zeros((), dtype))
    assert power.dtype == inverse.dtype == dtype
    assert (power * inverse == 1).all()
    assert min(power.min(), inverse.min()) >= limits.tiny
    quotient = sizes * inverse
    assert ((quotient >= 1) & (quotient < 4)).all()
    assert (np.frexp(quotient)[0] == 0.75).all()
    assert np.isfinite(zero).all()


def test_what_cannot_be_projected_is_named():
    with pytest.raises(ValueError, match=r"erosion must be one of .*; got 'true'"):
        project(jnp.ones((3, 2)), jnp.ones(2), erosion="true")
    with pytest.raises(ValueError, match=r"shape \(0, 2\): a neuron needs at least one input"):
        project(jnp.ones((0, 2)), jnp.ones(2))
    with pytest.raises(ValueError, match="shape"):
        project(jnp.ones((3, 2)), jnp.ones(3))


@pytest.mark.slow
def test_neurons_sharded_over_eight_devices_give_the_same_and_stay_where_they_are():
    program = textwrap.dedent("""
        import re

        import jax
        import jax.numpy as jnp
        import numpy as np
        from jax.sharding import AxisType, NamedSharding, PartitionSpec

        from bimonn_jax import binarize
        from bimonn_jax.neurons.params import RealNeurons
        from bimonn_jax.binarization.projection import project
        from tests.support.projection_oracles import hard_neurons

        assert jax.device_count() == 8
        W, B = (v.astype(np.float32) for v in hard_neurons(np.random.default_rng(0), 40, 256))
        alone = project(jnp.asarray(W), jnp.asarray(B))
        boolean = binarize(RealNeurons(jnp.asarray(W), jnp.asarray(B), jnp.ones(256)),
                           method="activable")
        for kind in (AxisType.Auto, AxisType.Explicit):
            mesh = jax.make_mesh((8,), ("neurons",), axis_types=(kind,))
            place = lambda v, *axes: jax.device_put(v, NamedSharding(mesh, PartitionSpec(*axes)))
            sharded = place(W, None, "neurons"), place(B, "neurons")
            nearest = project(*sharded)
            assert nearest.weight.sharding.spec == PartitionSpec(None, "neurons")
            assert nearest.bias.sharding.spec == PartitionSpec("neurons")
            np.testing.assert_array_equal(nearest.footprint, alone.footprint)
            np.testing.assert_array_equal(nearest.is_erosion, alone.is_erosion)
            for name in ("weight", "bias", "squared_distance"):
                np.testing.assert_allclose(
                    getattr(nearest, name), getattr(alone, name), rtol=1e-5, atol=1e-5)
            compiled = project.lower(*sharded).compile().as_text()
            assert not re.search(r"f32\\S* (all-gather|all-to-all|all-reduce)", compiled)
            parts = binarize(RealNeurons(*sharded, place(np.ones(256, np.float32), "neurons")),
                             method="activable")
            jax.tree.map(np.testing.assert_array_equal, parts, boolean)
    """)
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
