import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import bimonn_jax.neurons.apply
from bimonn_jax import (
    LUI,
    Complement,
    HitOrMiss,
    HitOrMissConv,
    NeuronConfig,
    Sequential,
    apply_layers,
    binarize,
    certify,
)
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.neurons.apply import apply_windows
from bimonn_jax.neurons.params import BooleanNeurons, RealNeurons, as_real_neurons

CONFIGS = [NeuronConfig(), NeuronConfig.boolean("erosion"), NeuronConfig.boolean("mixed")]


def bits(shape, seed=0):
    return bernoulli(jax.random.key(seed), 0.4, shape)


@pytest.mark.parametrize("config", CONFIGS)
def test_dense_transforms_are_a_dense_layer_over_the_complement(config):
    x = bits((50, 7))
    short = Sequential((HitOrMiss(9, config),))
    long = Sequential((Complement(), LUI(9, config)))
    params = short.init(jax.random.key(0), x)["params"]["layers_0"]
    one, other = {"layers_0": params}, {"layers_1": params}
    np.testing.assert_allclose(
        short.apply({"params": one}, x), long.apply({"params": other}, x), atol=1e-6
    )
    np.testing.assert_array_equal(
        short.apply({"params": binarize(one)}, x), long.apply({"params": binarize(other)}, x)
    )
    first, second = (
        jax.grad(lambda p, m=m: jnp.sum(m.apply({"params": p}, x) ** 2))(p)
        for m, p in ((short, one), (long, other))
    )
    for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_dense_transforms_reject_what_does_not_fit():
    model = Sequential((HitOrMiss(9),))
    params = jax.jit(model.init)(jax.random.key(1), bits((2, 7)))["params"]
    with pytest.raises(ValueError, match=r"x has shape \(4, 6\)"):
        apply_layers(model.architecture, params, bits((4, 6)))
    odd = params["layers_0"]["lui"]
    odd = odd.replace(weight=odd.weight[1:])
    with pytest.raises(ValueError, match="even number; got 13"):
        apply_layers(model.architecture, {"layers_0": {"lui": odd}}, bits((4, 7)))


def convolution(config, pool=1, **options):
    model = Sequential((HitOrMissConv(5, (3, 2), pool=pool, config=config, **options),))
    return model, jax.jit(model.init)(jax.random.key(1), bits((1, 9, 8, 2)))["params"]


def by_windows(params, x, pool):
    """The layer written out: one dense layer per position, then maxima."""
    neurons = params["layers_0"]["lui"]
    flat = {
        name: getattr(neurons, name).reshape(-1, 5)
        for name in ("weight", "footprint")
        if hasattr(neurons, name)
    }
    dense = Sequential((LUI(5),))
    x = np.concatenate([x, ~x], axis=-1)
    rows, columns = x.shape[1] - 2, x.shape[2] - 1
    windows = [
        x[:, i : i + 3, j : j + 2].reshape(len(x), -1) for i in range(rows) for j in range(columns)
    ]
    tree = {"layers_0": {"lui": neurons.replace(**flat)}}
    maps = jnp.stack([dense.apply({"params": tree}, window) for window in windows], axis=1)
    maps = maps.reshape(len(x), rows, columns, 5)
    top, left = range(0, rows, pool), range(0, columns, pool)
    pooled = [maps[:, i : i + pool, j : j + pool].max((1, 2)) for i in top for j in left]
    return jnp.stack(pooled, axis=1).reshape(len(x), len(top), len(left), 5)


@pytest.mark.parametrize("pool", [1, 2, 3, 9])
@pytest.mark.parametrize("config", CONFIGS)
def test_a_convolution_is_a_dense_layer_at_every_position_and_a_maximum(config, pool):
    model, params = convolution(config, pool)
    x = bits((4, 9, 8, 2), 3)
    for tree in (params, binarize(params)):
        expected = by_windows(tree, np.asarray(x), pool)
        output = jax.jit(model.apply)({"params": tree}, x)
        assert output.dtype == expected.dtype
        np.testing.assert_allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_its_gradient_is_that_of_the_layer_written_out(config):
    # Without ties between positions, which both may share out as they like.
    model, params = convolution(config)
    x = bits((4, 9, 8, 2), 3)

    def loss(apply):
        return lambda p: jnp.sum(apply(p) * jnp.arange(1.0, 6.0))

    one = jax.jit(jax.grad(loss(lambda p: model.apply({"params": p}, x))))(params)
    other = jax.grad(loss(lambda p: by_windows(p, np.asarray(x), 1)))(params)
    for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_training_sees_the_position_of_a_window_that_is_nearest_to_firing():
    config = NeuronConfig.boolean("erosion", temperature=1.0)
    model, params = convolution(config, pool=20)
    x = jnp.zeros((1, 9, 8, 2), bool).at[0, 2:5, 3:5].set(True).at[0, 3, 3, 0].set(False)
    weight = jnp.full((3, 2, 4, 5), 0.1).at[:, :, :2].set(0.9)
    neurons = params["layers_0"]["lui"].replace(weight=weight)

    def total(weight):
        return jnp.sum(
            model.apply({"params": {"layers_0": {"lui": neurons.replace(weight=weight)}}}, x)
        )

    assert total(weight) == 0
    gradient = jax.grad(total)(weight)[..., 0]
    violated = np.zeros((3, 2, 4), bool)
    violated[1, 0, 0] = True
    # The one pixel that keeps it from firing lowers the output; all complements there do but its.
    np.testing.assert_array_equal(np.asarray(gradient)[:, :, :2] < 0, violated[:, :, :2])
    np.testing.assert_array_equal(np.asarray(gradient)[:, :, 2:] < 0, ~violated[:, :, :2])


@pytest.mark.parametrize("limit", [1, 2000, 2**30])
def test_how_many_images_are_computed_at_once_changes_nothing(limit, monkeypatch):
    model, params = convolution(NeuronConfig(), pool=2)
    x = bits((7, 9, 8, 2), 3)
    expected = jax.jit(model.apply)({"params": params}, x)
    monkeypatch.setattr(bimonn_jax.neurons.apply, "_BYTES_AT_ONCE", {"cpu": limit, "other": limit})
    np.testing.assert_allclose(model.apply({"params": params}, x), expected, atol=1e-6)


@pytest.mark.parametrize("border", ["zero", "edge"])
def test_an_erosion_is_the_hit_or_miss_transform_of_scipy(border):
    hit = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
    miss = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 1]], bool)
    boolean = BooleanNeurons(
        jnp.asarray(np.stack([hit, miss], axis=-1)[..., None]),
        jnp.array([True]),
        jnp.array([False]),
    )
    x = np.asarray(bits((20, 30)))
    # SciPy knows only a border of zeros: pad before, look only inside.
    padded = np.pad(x, 1, mode="constant" if border == "zero" else "edge")
    expected = ndimage.binary_hit_or_miss(padded, hit, miss)[1:-1, 1:-1]
    if border == "zero":
        np.testing.assert_array_equal(expected, ndimage.binary_hit_or_miss(x, hit, miss))
    for neurons in (boolean, as_real_neurons(boolean)):
        found = apply_windows(
            neurons, x[..., None], padding="SAME", border=border, complements=True
        )
        np.testing.assert_array_equal(found[..., 0] > 0.5, expected)
    assert expected.any()


def test_pooling_is_a_strided_dilation():
    model, params = convolution(NeuronConfig.boolean("erosion"), pool=2)
    single, _ = convolution(NeuronConfig.boolean("erosion"))
    boolean = binarize(params)
    x = bits((3, 9, 8, 2), 3)
    maps = np.asarray(single.apply({"params": boolean}, x))
    square = np.ones((1, 2, 2, 1), bool)
    # An even square of SciPy's reaches up and left, ours from the window's first pixel on.
    dilated = ndimage.binary_dilation(maps, square, origin=(0, -1, -1, 0))
    np.testing.assert_array_equal(model.apply({"params": boolean}, x), dilated[:, ::2, ::2])


def test_a_certified_convolution_is_its_boolean_one_on_every_input():
    every = np.array(list(itertools.product([False, True], repeat=9)))
    for config in CONFIGS:
        model = Sequential((HitOrMissConv(6, (2, 2), pool=2, config=config),))
        params = model.init(jax.random.key(0), jnp.zeros((1, 3, 3, 1), bool))["params"]
        params["layers_0"]["lui"] = as_real_neurons(binarize(params)["layers_0"]["lui"])
        assert certify(params, model.architecture).exact_float32
        x = every.reshape(-1, 3, 3, 1)
        smooth = model.apply({"params": params}, x) > 0.5
        np.testing.assert_array_equal(smooth, model.apply({"params": binarize(params)}, x))


def test_a_stack_is_saved_and_runs_from_its_file(tmp_path):
    config = NeuronConfig.boolean("erosion")
    model = Sequential(
        (HitOrMissConv(4, (3, 3), pool=2, config=config), HitOrMissConv(3, (2, 2), config=config))
    )
    x = bits((6, 10, 10, 1))
    boolean = binarize(model.init(jax.random.key(0), x)["params"])
    save_network(tmp_path / "net.npz", model.architecture, boolean)
    loaded = load_network(tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded(x), model.apply({"params": boolean}, x))
    assert loaded(x[0]).shape == (3, 3, 3)


def test_a_convolution_rejects_what_does_not_fit():
    model, params = convolution(NeuronConfig())
    with pytest.raises(ValueError, match=r"channels\) with channels = 2 was expected"):
        apply_layers(model.architecture, params, bits((1, 9, 8, 3)))
    with pytest.raises(ValueError, match=r"\(..., height, width, channels\) was expected"):
        apply_layers(model.architecture, params, bits((8, 2)))
    with pytest.raises(ValueError, match="x must be bool"):
        apply_layers(model.architecture, binarize(params), jnp.ones((1, 9, 8, 2)))
    odd = RealNeurons(jnp.ones((3, 3, 3, 1)), jnp.ones(1), jnp.ones(1))
    with pytest.raises(ValueError, match="even number; got 3"):
        apply_windows(odd, bits((9, 9, 1)), complements=True)
    per_channel = RealNeurons(jnp.ones((3, 3, 2, 1)), jnp.ones((2, 1)), jnp.ones((2, 1)))
    with pytest.raises(ValueError, match=r"bias has shape \(2, 1\); \(1,\) was expected"):
        apply_windows(per_channel, bits((9, 9, 1)), complements=True)
    with pytest.raises(ValueError, match="pool must be an int of 1 to 65536; got 0"):
        HitOrMissConv(5, (3, 3), pool=0).init(jax.random.key(0), bits((1, 9, 9, 1)))
