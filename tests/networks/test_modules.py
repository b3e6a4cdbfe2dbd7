import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    LUI,
    BiSE,
    BiSEL,
    Complement,
    Flatten,
    LevelSets,
    NeuronConfig,
    RealHead,
    binarize,
)
from bimonn_jax._support.random_arrays import bernoulli, uniform

BITS = bernoulli(jax.random.key(0), 0.5, (2, 4, 5, 2))
NEURAL = {
    "bise": (BiSE(4, (3, 3)), (2, 4, 5, 4)),
    "bise valid": (BiSE(2, (3, 1), padding="VALID"), (2, 2, 5, 2)),
    "bisel": (BiSEL(3, (1, 3), border="edge"), (2, 4, 5, 3)),
    "lui": (LUI(3), (2, 4, 5, 3)),
    "dense_lui": (LUI(3), (2, 4, 5, 3)),
}
PAD_MODES = {"zero": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def init(layer, seed=1):
    return jax.jit(layer.init)(jax.random.key(seed), BITS)["params"]


@pytest.mark.parametrize("name", NEURAL)
def test_jit_and_vmap_agree_and_booleans_come_out_of_boolean_layers(name):
    layer, shape = NEURAL[name]
    params = init(layer)
    for tree, dtype in ((params, jnp.float32), (binarize(params), jnp.bool_)):

        def apply(x, tree=tree):
            return layer.apply({"params": tree}, x)

        expected = apply(BITS)
        assert (expected.shape, expected.dtype) == (shape, dtype)
        np.testing.assert_allclose(jax.jit(apply)(BITS), expected, atol=1e-6)
        np.testing.assert_allclose(jax.vmap(apply)(BITS), expected, atol=1e-6)
        np.testing.assert_allclose(apply(BITS[None]), expected[None], atol=1e-6)


@pytest.mark.parametrize("name", NEURAL)
def test_every_parameter_gets_a_gradient(name):
    layer, _ = NEURAL[name]
    gradient = jax.grad(lambda p: layer.apply({"params": p}, BITS).var())(init(layer))
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert (leaf != 0).any()


def test_the_neurons_of_channel_0_come_first():
    layer = BiSE(6, (3, 3))
    params = init(layer)
    output = layer.apply({"params": params}, BITS)
    only_first = layer.apply({"params": params}, BITS.at[..., 1].set(False))
    np.testing.assert_array_equal(output[..., :3], only_first[..., :3])
    assert (output[..., 3:] != only_first[..., 3:]).any(axis=(0, 1, 2)).all()


@pytest.mark.parametrize("tree", [lambda params: params, binarize])
def test_a_bisel_is_a_bise_for_every_pair_and_then_unions_or_intersections(tree):
    layer = BiSEL(3, (3, 3), border="edge")
    params = tree(init(layer))
    pairs = BiSE(6, (3, 3), border="edge").apply({"params": {"bise": params["bise"]}}, BITS)
    pairs = pairs.reshape(2, 4, 5, 2, 3)
    columns = []
    for m in range(3):
        one = jax.tree.map(lambda leaf, m=m: leaf[..., m : m + 1], params["lui"])
        columns.append(LUI(1).apply({"params": {"lui": one}}, pairs[..., m]))
    expected = jnp.concatenate(columns, axis=-1)
    np.testing.assert_allclose(layer.apply({"params": params}, BITS), expected, atol=1e-6)


@pytest.mark.parametrize("layer", [BiSE, BiSEL])
@pytest.mark.parametrize("border", PAD_MODES)
def test_a_border_is_that_padding_done_by_hand(layer, border):
    widths = [(0, 0), (1, 1), (2, 2), (0, 0)]
    by_hand = jnp.asarray(np.pad(np.asarray(BITS), widths, mode=PAD_MODES[border]))
    params = init(layer(4, (3, 5), border=border))
    for tree in (params, binarize(params)):
        same = layer(4, (3, 5), border=border).apply({"params": tree}, BITS)
        valid = layer(4, (3, 5), padding="VALID").apply({"params": tree}, by_hand)
        explicit = layer(4, (3, 5), padding=((1, 1), 2), border=border)
        np.testing.assert_array_equal(same, valid)
        np.testing.assert_array_equal(explicit.apply({"params": tree}, BITS), valid)


def test_the_lui_inside_a_bisel_follows_its_own_config_or_starts_at_a_mean_of_one_half():
    config = NeuronConfig("dual", "positive", input_mean=0.1)
    own = init(BiSEL(2, (3, 3), config=config, lui_config=NeuronConfig("positive", "identity")))
    assert own["bise"].weight_reparam == "dual"
    assert (own["lui"].weight_reparam, own["lui"].bias_reparam) == ("positive", "identity")
    same = init(BiSEL(2, (3, 3), config=config))
    assert same["lui"].weight_reparam == "dual"
    half, tenth = jnp.full((1, 2), 0.5), jnp.full((1, 1, 1, 2), 0.1)
    output = LUI(2).apply({"params": {"lui": same["lui"]}}, half)
    np.testing.assert_allclose(output, 0.5, atol=0.02)
    first = BiSE(4, (1, 1), config=config)
    balanced = first.apply({"params": first.init(jax.random.key(0), tenth)["params"]}, tenth)
    np.testing.assert_allclose(balanced, 0.5, atol=0.02)


def test_layers_without_parameters_are_their_definitions():
    gray = uniform(jax.random.key(2), (2, 4, 5, 2))
    np.testing.assert_array_equal(
        Complement().apply({}, gray), jnp.concatenate([gray, 1 - gray], axis=-1)
    )
    complemented = Complement().apply({}, BITS)
    assert complemented.dtype == jnp.bool_
    np.testing.assert_array_equal(complemented, jnp.concatenate([BITS, ~BITS], axis=-1))
    np.testing.assert_array_equal(Flatten(2).apply({}, gray), gray.reshape(2, 4, 10))
    levels = LevelSets((0.2, 0.7)).apply({}, gray)
    assert levels.shape == (2, 4, 5, 4)
    for c, k in np.ndindex(2, 2):
        np.testing.assert_array_equal(levels[..., 2 * c + k], gray[..., c] >= (0.2, 0.7)[k])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (BiSE(2, (3, 3)), ("bise", "a", {"padding": "SAME", "border": "zero"})),
        (
            BiSEL(2, (2, 2), padding=1, border="wrap"),
            ("bisel", "a", {"padding": 1, "border": "wrap"}),
        ),
        (LUI(2), ("lui", "a", {})),
        (RealHead(2), ("real", "a", {})),
        (Flatten(2), ("flatten", "a", {"rank": 2})),
        (Complement(), ("complement", "a", {})),
        (LevelSets((1, 2)), ("level_sets", "a", {"thresholds": (1, 2)})),
    ],
)
def test_a_layer_describes_itself(layer, expected):
    described = layer.layer("a")
    assert (described.kind, described.name, described.options) == expected


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (BiSE(3, (3, 3)), "features must be a multiple of the 2 input channels; got 3"),
        (BiSE(0, (3, 3)), "features"),
        (BiSEL(0, (3, 3)), "features"),
        (LUI(0), "features"),
        (BiSEL(1, (3, 2)), r"kernel_size must be odd for padding='SAME'.*got \(3, 2\)"),
        (BiSEL(1, (0, 3)), r"kernel_size must be an int >= 1 or two; got \(0, 3\)"),
        (BiSEL(1, (3, 3), border="mirror"), "border must be one of .*got 'mirror'"),
        (BiSEL(1, (3, 3), padding="FULL"), "padding must be 'SAME', 'VALID'.*got 'FULL'"),
        (Flatten(5), r"x has shape \(2, 4, 5, 2\); at least 5 axes were expected"),
        (Flatten(0), "rank"),
    ],
)
def test_a_wrong_layer_names_what_it_got(layer, message):
    with pytest.raises(ValueError, match=message):
        layer.init(jax.random.key(0), BITS)


@pytest.mark.parametrize("name", NEURAL)
def test_other_inputs_than_those_of_the_parameters_are_named(name):
    layer, _ = NEURAL[name]
    boolean = binarize(init(layer))
    with pytest.raises(ValueError, match="x must be bool for a boolean network, got float32"):
        layer.apply({"params": boolean}, BITS.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"got int32"):
        layer.apply({"params": boolean}, BITS.astype(jnp.int32))


@pytest.mark.parametrize(
    ("layer", "shape"), [(Flatten(), (0, 40)), (Complement(), (0, 4, 5, 4)), (LUI(3), (0, 4, 5, 3))]
)
def test_an_empty_batch_gives_an_empty_batch(layer, shape):
    params = layer.init(jax.random.key(0), BITS).get("params", {})
    assert layer.apply({"params": params}, BITS[:0]).shape == shape
