import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bimonn_jax import NeuronConfig, binarize
from bimonn_jax.data.classification import choose_thresholds, load_digits
from bimonn_jax.data.samples import batches
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.training.classifiers import (
    Convolution,
    boolean_classifier,
    refit_head,
    relaxed_classifier,
)
from bimonn_jax.training.loop import fit
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import error_percent, map_in_chunks
from bimonn_jax.training.optimizers import mean_over_positions, optimizer_for
from bimonn_jax.training.starts import start_from_images


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def train_arrays(data):
    return jnp.asarray(data.train_images), jnp.asarray(data.train_labels)


def test_gradients_of_convolutions_are_means_over_positions(digits):
    images, labels = train_arrays(digits)
    model = boolean_classifier(((100.0,),), 5, 10, convolutions=(Convolution(3, 4, 2),))
    params = start_from_images(jax.random.key(0), model, images, labels)
    mean = mean_over_positions(model.architecture, params, images)
    ones = jax.tree.map(jnp.ones_like, params)
    scaled, _ = mean.update(ones, mean.init(params))
    assert jax.tree.structure(scaled) == jax.tree.structure(params)
    np.testing.assert_allclose(scaled["layers_1"]["lui"].weight, 1 / 9)
    np.testing.assert_allclose(scaled["layers_3"]["lui"].weight, 1)


@pytest.mark.parametrize("convolutions", [(), (Convolution(3, 20, 2),)], ids=["dense", "conv"])
def test_training_a_boolean_classifier_lowers_its_error(digits, convolutions):
    images, labels = train_arrays(digits)
    thresholds = choose_thresholds(digits.train_images, 1)
    model = boolean_classifier(thresholds, 100, 10, convolutions=convolutions)
    params = start_from_images(jax.random.key(0), model, images, labels)
    architecture = model.architecture

    def evaluate(params):
        return {"accuracy": 100 - error_percent(architecture, binarize(params), images, labels)}

    result = fit(
        lambda p, x: apply_layers(architecture, p, x),
        params,
        batches(images, labels, 100),
        evaluate,
        loss=cross_entropy(4.0),
        key=jax.random.key(1),
        steps=100,
        score="accuracy",
        optimizer=optimizer_for(
            latent=optax.chain(
                mean_over_positions(architecture, params, images), optax.sgd(1.0, momentum=0.9)
            )
        ),
    )
    assert result.score > evaluate(params)["accuracy"] + 5


@pytest.mark.parametrize("head", ["real", "ternary"])
def test_refitting_the_head_lowers_the_error_and_changes_nothing_else(digits, head):
    images, labels = train_arrays(digits)
    model = boolean_classifier(((100.0,),), 100, 10, head=head)
    params = start_from_images(jax.random.key(0), model, images, labels)
    boolean = binarize(params)
    refitted = refit_head(
        model.architecture,
        boolean,
        params["layers_3"],
        batches(images, labels, 100),
        (images, labels),
        loss=cross_entropy(4.0),
        key=jax.random.key(1),
        steps=100,
    )
    jax.tree.map(np.testing.assert_array_equal, refitted["layers_2"], boolean["layers_2"])
    assert jax.tree.structure(refitted) == jax.tree.structure(boolean)
    before, after = (
        error_percent(model.architecture, tree, images, labels) for tree in (boolean, refitted)
    )
    assert after < before - 5


def test_refitting_another_network_traces_nothing(digits):
    images, labels = train_arrays(digits)
    model = boolean_classifier(((100.0,),), 30, 10, head="real")
    traces = 0

    def loss(scores, labels):
        nonlocal traces
        traces += 1
        return cross_entropy()(scores, labels)

    refitted = []
    for seed in range(2):
        params = start_from_images(jax.random.key(seed), model, images, labels)
        tree = refit_head(
            model.architecture,
            binarize(params),
            params["layers_3"],
            batches(images, labels, 100),
            (images, labels),
            loss=loss,
            key=jax.random.key(seed),
            steps=50,
        )
        refitted.append(float(error_percent(model.architecture, tree, images, labels)))
    assert traces == 1
    assert refitted[0] != refitted[1]
    assert max(refitted) < 80


def test_images_and_labels_must_be_as_many_and_some():
    images, labels = jnp.zeros((3, 5, 5, 1), jnp.uint8), jnp.zeros(3, jnp.int32)
    for x, y in ((images[:0], labels[:0]), (images, labels[:2])):
        with pytest.raises(ValueError, match="as many, at least one; got the shapes"):
            batches(x, y, 2)
        with pytest.raises(ValueError, match="as many, at least one; got the shapes"):
            error_percent((), {}, x, y)
    for options in ({"batch": 0}, {"batch": 2, "shift": -1}, {"batch": 2, "warp": float("nan")}):
        with pytest.raises(ValueError, match="batch must be >= 1, shift >= 0, and warp >= 0"):
            batches(images, labels, **options)


def test_batches_are_images_shifted_by_at_most_so_much():
    images = jnp.zeros((3, 5, 5, 1), jnp.uint8).at[:, 2, 2, 0].set(jnp.arange(1, 4, dtype="uint8"))
    labels = jnp.arange(3)
    x, y = batches(images, labels, 200, shift=1)(jax.random.key(0))
    assert x.shape == (200, 5, 5, 1)
    assert x.dtype == jnp.uint8
    np.testing.assert_array_equal(x.sum(axis=(1, 2, 3)), y + 1)
    rows, columns = np.nonzero(np.asarray(x[..., 0]))[1:]
    assert set(rows) == set(columns) == {1, 2, 3}
    assert len(set(zip(rows, columns, strict=True))) == 9
    plain, _ = batches(images, labels, 50)(jax.random.key(0))
    assert (plain[:, 2, 2, 0] > 0).all()


def test_warped_images_are_the_same_where_they_are_flat_and_move_by_about_so_much():
    # A ramp tells where each pixel was taken from.
    ramp = jnp.broadcast_to(10.0 * jnp.arange(28.0)[:, None, None], (28, 28, 2))
    images, labels = jnp.stack([ramp, jnp.full_like(ramp, 7.0)]), jnp.arange(2)
    x, y = batches(images, labels, 2000, warp=0.7)(jax.random.key(0))
    flat, moved = (np.asarray(x)[np.asarray(y) == label] for label in (1, 0))
    inner = (slice(None), slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(flat[inner], 7.0, rtol=1e-5)
    np.testing.assert_array_equal(moved[..., 0], moved[..., 1])
    offsets = (moved[..., 0] - np.asarray(ramp)[..., 0])[inner] / 10
    # On the grid 0.7; between its points, interpolated, less: never half as much on the average.
    assert 0.35 < np.sqrt(np.mean(offsets**2)) < 0.7
    # Neighbors move together, images on their own.
    assert np.abs(np.diff(offsets, axis=2)).max() < 1
    assert np.std(offsets[:, 0, 0]) > 0.2
    whole, _ = batches(images.astype(jnp.uint8), labels, 3, warp=0.7)(jax.random.key(0))
    assert whole.dtype == jnp.uint8


@pytest.mark.parametrize("count", [1, 5, 6, 7, 13])
def test_chunks_change_nothing(count):
    x = jnp.arange(count * 4.0).reshape(count, 2, 2)
    np.testing.assert_array_equal(map_in_chunks(lambda x: x.sum(axis=1), x, chunk=6), x.sum(axis=1))


def test_the_relaxed_classifier_is_the_papers():
    model = relaxed_classifier(((0.5,),), 12, 10, NeuronConfig())
    assert [layer.kind for layer in model.architecture] == [
        "level_sets", "flatten", "lui", "real",
    ]  # fmt: skip


def test_cross_entropy_divides_scores_by_the_temperature():
    scores, labels = jnp.array([[4.0, 0.0]]), jnp.array([0])
    expected = np.log1p(np.exp(-1.0))
    np.testing.assert_allclose(cross_entropy(4.0)(scores, labels), expected, rtol=1e-5)
