"""However an array comes: any number of images, any memory layout, any value that is allowed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from bimonn_jax import morphology
from bimonn_jax.deployment.packed import (
    PackedNetwork,
    pack_samples,
    pack_strips,
    unpack_samples,
    unpack_strips,
)
from bimonn_jax.morphology.levels import complement_channels
from bimonn_jax.morphology.windows import pad_image
from bimonn_jax.neurons.correlation import correlate
from bimonn_jax.neurons.heads import popcount_scores
from bimonn_jax.training.losses import LOSSES
from bimonn_jax.training.metrics import dice, map_in_chunks
from tests.support.boolean_networks import NAMES, inputs, network, rounding

S = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], bool)
SHAPE = (5, 6)

# Ways to lay out the same values in memory.
LAYOUTS = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "reversed": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "on the device": jnp.asarray,
}
layouts = st.sampled_from(sorted(LAYOUTS))
batches = st.integers(0, 3).flatmap(lambda count: arrays(bool, (count, *SHAPE)))

OF_IMAGES = {
    **{
        f"{name}, {border}": lambda x, name=name, border=border: getattr(morphology, name)(
            x, S, border=border
        )
        for name in ("dilation", "erosion", "opening", "closing", "white_tophat", "black_tophat")
        for border in ("zero", "edge", "reflect", "wrap")
    },
    "dilation, VALID": lambda x: morphology.dilation(x, S, padding="VALID"),
    "union": lambda x: morphology.union([x, jnp.asarray(x)[:, ::-1]]),
    "intersection": lambda x: morphology.intersection([x, jnp.asarray(x)[:, ::-1]]),
    "complement_channels": lambda x: complement_channels(jnp.asarray(x)),
    "pad_image": lambda x: pad_image(jnp.asarray(x), (3, 2), border="reflect"),
    "pack_strips": lambda x: unpack_strips(pack_strips(jnp.asarray(x)[..., None]), height=5),
    "pack_samples": lambda x: unpack_samples(pack_samples(jnp.asarray(x)), len(x)),
    "popcount_scores": lambda x: popcount_scores(jnp.asarray(x).reshape(len(x), 30), 2),
    "map_in_chunks": lambda x: map_in_chunks(jnp.invert, jnp.asarray(x), chunk=2),
}


@pytest.mark.parametrize("name", OF_IMAGES)
@given(batches, layouts)
def test_a_batch_is_its_images_one_by_one(name, x, layout):
    fn = OF_IMAGES[name]
    found = fn(LAYOUTS[layout](x))
    one = jax.eval_shape(fn, jax.ShapeDtypeStruct((1, *SHAPE), bool))
    assert found.shape == (len(x), *one.shape[1:])
    assert found.dtype == one.dtype
    for i in range(len(x)):
        np.testing.assert_array_equal(found[i : i + 1], fn(x[i : i + 1].copy()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("runtime", ["plain", "packed"])
def test_networks_take_any_number_of_inputs_in_any_layout(name, runtime):
    plain, shape = network(name)
    run = plain if runtime == "plain" else PackedNetwork(plain, shape)
    x = inputs(name, shape, 3)
    expected = np.asarray(plain(x))
    none = run(x[:0])
    assert none.shape == (0, *expected.shape[1:])
    assert none.dtype == expected.dtype
    for layout in LAYOUTS.values():
        found = run(layout(x) if x.ndim > 2 else x[::-1][::-1])
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(plain))


@given(
    arrays(np.float32, (3, 1), elements=st.floats(width=32)),
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=4,
        unique=True,
    ).map(sorted),
)
def test_level_sets_of_extreme_values_are_their_definition(x, thresholds):
    found = morphology.level_sets(x, thresholds)
    np.testing.assert_array_equal(found, x >= np.float32(thresholds))


@pytest.mark.parametrize("name", LOSSES)
@given(
    arrays(np.float32, (2, 3), elements=st.sampled_from([0.0, 1e-30, 0.5, 1.0])),
    arrays(bool, (2, 3)),
)
def test_losses_are_finite_on_the_whole_unit_interval(name, prediction, target):
    value, gradient = jax.value_and_grad(LOSSES[name])(jnp.asarray(prediction), target)
    assert np.isfinite(value)
    assert value >= -1e-6
    assert np.isfinite(gradient).all()


@given(arrays(bool, (2, 3)), arrays(bool, (2, 3)), layouts)
def test_dice_is_symmetric_and_one_for_equal_images_only(a, b, layout):
    a, b = (LAYOUTS[layout](v) for v in (a, b))
    assert dice(a, b) == dice(b, a)
    assert (dice(a, b) == 1) == bool((np.asarray(a) == np.asarray(b)).all())


@pytest.mark.parametrize("count", [0, 1])
def test_correlations_of_few_images_have_gradients(count):
    x = jnp.ones((2, count, 4, 5))
    kernel = jnp.ones((3, 3, 2, 1))
    out, gradient = jax.value_and_grad(lambda k: correlate(x, k).sum())(kernel)
    assert gradient.shape == kernel.shape
    assert np.isfinite(out)
    assert bool((gradient == 0).all()) == (count == 0)
