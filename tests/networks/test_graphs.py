"""Networks that are no chains: branches, skips, scales, and modules that users write themselves."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    LUI,
    BiSEL,
    BooleanNetwork,
    Complement,
    Concatenate,
    Flatten,
    HitOrMissConv,
    LUIConv,
    NeuronConfig,
    Parallel,
    Sequential,
    Skip,
    Upsample,
    apply_layers,
    architecture_of,
    as_real_neurons,
    binarize,
    certify,
    load_network,
    map_neurons,
    regularizer,
    save_network,
    simplify,
)
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.networks.architecture import from_json, to_json
from bimonn_jax.networks.consistency import all_channels
from bimonn_jax.networks.kinds import (
    BiSELayer,
    ComplementLayer,
    ConcatenateLayer,
    LevelSetsLayer,
    LUILayer,
    UpsampleLayer,
)
from bimonn_jax.neurons.params import BooleanNeurons
from tests.support import runtimes
from tests.support.neuron_oracles import all_inputs
from tests.support.short_training import after_a_few_steps

RELAXED = NeuronConfig("dual", "projected")
SHAPE = (7, 5, 1)
X = bernoulli(jax.random.key(0), 0.5, (12, *SHAPE))


class TwoBranches(nn.Module):
    """As a user of Flax writes it."""

    @nn.compact
    def __call__(self, x):
        near = BiSEL(2, 3, RELAXED, name="near")(x)
        far = BiSEL(2, (5, 3), RELAXED, name="far")(x)
        return LUI(1, RELAXED, name="end")(Concatenate()(near, far))


class UShaped(nn.Module):
    """Two scales by hand, with a module of its own for the coarse one."""

    @nn.compact
    def __call__(self, x):
        fine = BiSEL(2, 3, RELAXED)(x)
        coarse = Coarse(name="coarse")(fine)
        joined = Concatenate()(x, fine, Upsample(2)(coarse, x))
        return HitOrMissConv(1, 3, RELAXED, padding="SAME")(joined)


class Coarse(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = LUIConv(2, 3, RELAXED, pool=2)(x)
        return LUIConv(3, 3, RELAXED)(x)


COMBINED = Sequential(
    (
        Skip(Sequential((LUIConv(2, 3, RELAXED, pool=2), BiSEL(2, 3, RELAXED))), upsample=2),
        Parallel((BiSEL(1, 3, RELAXED), Complement())),
        LUI(1, RELAXED),
    )
)
MODELS = {"two branches": TwoBranches(), "u-shaped": UShaped(), "combined": COMBINED}


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    """(Model, architecture, parameters after a few regularized steps)."""
    model = MODELS[request.param]
    y = jax.jit(lambda x: jnp.roll(x, 1, axis=1).astype(jnp.float32))(X)
    start = jax.jit(model.init)(jax.random.key(1), X)["params"]

    end = after_a_few_steps(model, start, X, y, regularizer=regularizer("uniform"), coefficient=0.1)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), end, start)
    assert jax.tree.reduce(lambda a, b: a or b, changed)
    return model, architecture_of(model), end


def test_the_architecture_computes_what_the_module_does(trained):
    model, architecture, params = trained
    for tree in (params, binarize(params)):
        expected = jax.jit(model.apply)({"params": tree}, X)
        np.testing.assert_allclose(apply_layers(architecture, tree, X), expected, atol=1e-6)
        again = from_json(to_json(architecture))
        assert again == architecture


def test_a_graph_is_certified_smoothly_where_it_is_exact(trained):
    _, architecture, params = trained
    boolean = binarize(params)
    exact = map_neurons(lambda n: as_real_neurons(n, scale=40.0), boolean)
    proof = certify(exact, architecture)
    assert proof.exact_float32
    smooth = apply_layers(architecture, exact, X) > 0.5
    np.testing.assert_array_equal(smooth, apply_layers(architecture, boolean, X))


def test_a_graph_is_saved_read_and_runs_everywhere(trained, tmp_path):
    _, architecture, params = trained
    # Of trained neurons many are constant after so few steps: others show more.
    rng = np.random.default_rng(0)
    boolean = map_neurons(
        lambda n: BooleanNeurons(
            rng.random(n.footprint.shape) < 0.3,
            rng.random(n.complement.shape) < 0.5,
            rng.random(n.complement.shape) < 0.3,
        ),
        binarize(params),
    )
    for index, tree in enumerate((boolean, binarize(params))):
        save_network(tmp_path / f"{index}.npz", architecture, tree)
        network = load_network(tmp_path / f"{index}.npz")
        assert network.architecture == architecture
        expected = np.asarray(apply_layers(architecture, tree, X))
        folder = tmp_path / str(index)
        runtimes.assert_equal_everywhere(network, SHAPE, np.asarray(X), expected, folder)


def test_layers_are_named_by_their_paths_and_read_by_name():
    kinds = [(layer.kind, layer.name, layer.inputs) for layer in architecture_of(UShaped())]
    assert kinds == [
        ("bisel", "BiSEL_0", ()),
        ("lui_conv", "coarse/LUIConv_0", ()),
        ("lui_conv", "coarse/LUIConv_1", ()),
        ("upsample", "Upsample_0", ("coarse/LUIConv_1", "input")),
        ("concatenate", "Concatenate_0", ("input", "BiSEL_0", "Upsample_0")),
        ("hit_or_miss_conv", "HitOrMissConv_0", ()),
    ]


class Computing(nn.Module):
    @nn.compact
    def __call__(self, x):
        return LUI(2)(jnp.concatenate([x, LUI(1)(x)], axis=-1))


class Mixed(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(BiSEL(1, 3)(x))


class Two(nn.Module):
    @nn.compact
    def __call__(self, x):
        return LUI(2)(x), LUI(1)(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Computing(), r"Computing cannot be read: .*join channels with bimonn_jax\.Concatenate"),
        (Mixed(), r"Mixed cannot be read: .*float layers, such as nn\.Dense"),
        (Two(), "Two cannot be read: it returns tuple"),
    ],
)
def test_modules_that_compute_between_layers_are_refused_with_what_to_do(model, message):
    with pytest.raises(TypeError, match=message):
        architecture_of(model)


def test_a_network_may_end_in_joined_channels():
    layers = (LUILayer("a"), ComplementLayer("b", inputs=("input",)))
    layers += (ConcatenateLayer("c", inputs=("b", "a", "input")),)
    union = BooleanNeurons(np.ones((3, 1), bool), np.zeros(1, bool), np.zeros(1, bool))
    network = BooleanNetwork(layers, {"a": {"lui": union}})
    x = all_inputs(3)
    expected = np.concatenate([x, ~x, x.any(axis=1, keepdims=True), x], axis=1)
    for run in (runtimes.itself, runtimes.packed, runtimes.simplified):
        np.testing.assert_array_equal(run(network, (3,), None)(x), expected)
    assert all_channels(layers, network.params) == [3, 1, 6, 10]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((LUILayer("a", inputs=("b",)), LUILayer("b")), "reads 'b', but before it there is no"),
        ((LUILayer("a", inputs=("a",)),), "is no layer of that name"),
        (
            (ComplementLayer("a"), ComplementLayer("a"), LUILayer("b", inputs=("a",))),
            "are several layers of that name",
        ),
    ],
)
def test_layers_that_read_what_is_not_there_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        apply_layers(layers, {}, jnp.zeros((1, 2), bool))
    with pytest.raises(ValueError, match=message):
        from_json(to_json(layers))


def test_what_nobody_reads_is_not_saved(tmp_path):
    union = BooleanNeurons(np.ones((1, 1), bool), np.zeros(1, bool), np.zeros(1, bool))
    layers = (LUILayer("a"), LUILayer("b", inputs=("input",)))
    tree = {"a": {"lui": union}, "b": {"lui": union}}
    with pytest.raises(ValueError, match=r"layer 0, 'lui'.*no layer reads what it gives"):
        save_network(tmp_path / "n.npz", layers, tree)


def test_images_of_different_sizes_are_not_joined():
    layers = (UpsampleLayer("a"), ConcatenateLayer("b", inputs=("input", "a")))
    with pytest.raises(ValueError, match="'b' reads input, a, which must differ in nothing but"):
        apply_layers(layers, {}, jnp.zeros((1, 3, 3, 1), bool))


def test_numbers_are_read_by_level_sets_alone():
    layers = (LevelSetsLayer("a", thresholds=(0.5,)), ConcatenateLayer("b", inputs=("input", "a")))
    with pytest.raises(ValueError, match="only level sets read numbers"):
        apply_layers(layers, {}, jnp.zeros((1, 3, 3, 1), jnp.uint8))


def test_layers_that_share_parameters_are_simplified_each_on_its_own():
    # The same erosion twice: what the second one does not need, the first does.
    rng = np.random.default_rng(0)
    layers = (BiSELayer("a"), BiSELayer("a"), LUILayer("b"))
    tree = {
        "a": {
            "bise": BooleanNeurons(
                rng.random((3, 3, 2, 1)) < 0.4, np.ones((2, 1), bool), np.zeros((2, 1), bool)
            )
        },
        "b": {"lui": BooleanNeurons(np.array([[True], [False]]), *np.zeros((2, 1), bool))},
    }
    plain = BooleanNetwork(layers, tree)
    x = rng.random((50, 6, 6, 2)) < 0.8
    np.testing.assert_array_equal(simplify(plain)(x), plain(x))


def test_flat_features_of_several_layers_are_joined():
    model = Parallel((Sequential((LUIConv(1, 3), Flatten())), Sequential((Flatten(), LUI(3)))))
    params = jax.jit(model.init)(jax.random.key(0), X)["params"]
    assert model.apply({"params": params}, X).shape == (12, 35 + 3)
    found = apply_layers(model.architecture, binarize(params), X)
    np.testing.assert_array_equal(found, model.apply({"params": binarize(params)}, X))
