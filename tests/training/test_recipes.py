import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import binarize, certify
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.data.random_shapes import diskorect
from bimonn_jax.morphology.footprints import footprint, operator
from bimonn_jax.training.losses import mse
from bimonn_jax.training.metrics import dice
from bimonn_jax.training.recipes import (
    hit_or_miss,
    learn,
    openings,
    rank_filter,
    relaxed,
    single,
    tophat,
)
from bimonn_jax.training.starts import latents, patches_on_target

SIZE = 3
RECIPES = {
    "single": single("erosion", SIZE),
    "openings": openings(4, SIZE),
    "closings": openings(4, SIZE, closing=True),
    "white_tophat": tophat(4, SIZE, white=True),
    "black_tophat": tophat(4, SIZE, white=False),
    "hit_or_miss": hit_or_miss(4, SIZE),
    "rank_filter": rank_filter(4, SIZE),
    "relaxed": relaxed((2, 1), SIZE),
}


def sample_of(apply):
    def sample(key, batch=8):
        x = diskorect(key, batch, size=24)
        return x[..., None], apply(x)[..., None]

    return sample


@pytest.mark.parametrize(
    "name", [pytest.param(r, marks=[pytest.mark.slow] * (r != "single")) for r in RECIPES]
)
def test_every_recipe_takes_a_step(name):
    sample = sample_of(operator("opening", footprint("cross", SIZE)))
    x, y = sample(jax.random.key(0))
    learned = learn(
        [RECIPES[name]],
        sample,
        (x, y),
        (x, y),
        key=jax.random.key(1),
        steps=1,
        stop_score=2.0,
    )
    assert np.isfinite(learned.result.history[0]["loss"])
    if RECIPES[name].is_boolean:
        assert certify(learned.result.params, learned.recipe.model.architecture).exact_float32


def test_learn_tells_a_dilation_from_an_erosion_and_finds_the_footprint():
    target = footprint("corner", SIZE)
    sample = sample_of(operator("erosion", target))
    x, y = sample(jax.random.key(0))
    learned = learn(
        [single("dilation", SIZE), single("erosion", SIZE)],
        sample,
        (x, y),
        sample(jax.random.key(2), 16),
        key=jax.random.key(1),
        steps=200,
        starts=2,
    )
    assert learned.recipe.name == "erosion"
    assert learned.result.score == 1
    bise = binarize(learned.result.params)["layers_0"]["bise"]
    np.testing.assert_array_equal(bise.footprint[:, :, 0, 0], target)


def test_ranks_come_nearer_to_a_median_than_the_image_is():
    def median(x):
        rows = jnp.pad(x, ((0, 0), (1, 1), (1, 1)))
        height, width = x.shape[1:]
        counts = sum(
            rows[:, i : i + height, j : j + width].astype(int) for i in range(3) for j in range(3)
        )
        return counts >= 5

    def sample(key, batch=8):
        x = bernoulli(key, 0.5, (batch, 16, 16))
        return x[..., None], median(x)[..., None]

    x, y = sample(jax.random.key(0))
    learned = learn(
        [rank_filter(8, SIZE, input_mean=0.5)],
        sample,
        (x, y),
        sample(jax.random.key(2), 16),
        key=jax.random.key(1),
        steps=300,
        steps_per_evaluation=100,
    )
    noisy, clean = sample(jax.random.key(2), 16)
    assert learned.result.score > float(dice(noisy, clean)) + 0.15
    assert learned.result.history[-1]["dice_float"] == learned.result.history[-1]["dice_boolean"]


def test_further_starts_and_another_learning_trace_nothing():
    traces = 0

    def loss(prediction, y):
        nonlocal traces
        traces += 1
        return mse(prediction, y)

    recipe, sample = single("erosion", SIZE), sample_of(lambda x: x)
    x, y = sample(jax.random.key(0))
    for seed in range(2):
        learned = learn(
            [recipe],
            sample,
            (x, y),
            (x, y),
            key=jax.random.key(seed),
            steps=2,
            starts=3,
            loss=loss,
            stop_score=2.0,
        )
        assert learned.starts in (1, 2, 3)
        assert traces == 1


def test_learn_needs_a_recipe():
    with pytest.raises(ValueError, match="learn needs a recipe and a start; got 0 and 1"):
        learn([], None, None, None, key=jax.random.key(0), steps=1)


def test_patches_are_windows_of_the_input_around_the_target():
    x = np.asarray(bernoulli(jax.random.key(0), 0.4, (3, 9, 9, 1)))
    y = np.asarray(bernoulli(jax.random.key(1), 0.2, (3, 9, 9, 1)))
    patches = patches_on_target(
        jax.random.key(2), jnp.asarray(x), jnp.asarray(y), (3, 3), 6, min_on=3, max_on=5
    )
    assert patches.shape == (3, 3, 1, 6)
    windows = {
        x[n, i - 1 : i + 2, j - 1 : j + 2].tobytes()
        for n, i, j, _ in np.argwhere(y)
        if 0 < i < 8 and 0 < j < 8
    }
    for patch in np.moveaxis(np.asarray(patches), -1, 0):
        assert patch.tobytes() in windows
        assert 3 <= patch.sum() <= 5


def test_too_few_patches_are_counted_in_the_error():
    zeros = jnp.zeros((1, 5, 5, 1), bool)
    with pytest.raises(ValueError, match="the data has 0 patches of 1 to 9 pixels"):
        patches_on_target(jax.random.key(0), zeros, zeros, (3, 3), 2)
    for none in (zeros[:0], zeros[:, :2]):
        with pytest.raises(ValueError, match="at least one image of at least 3 x 3 pixels"):
            patches_on_target(jax.random.key(0), none, none, (3, 3), 2)


def test_latents_are_on_the_side_of_their_footprint():
    S = bernoulli(jax.random.key(0), 0.5, (5, 5))
    np.testing.assert_array_equal(latents(jax.random.key(1), S) > 0.5, S)
