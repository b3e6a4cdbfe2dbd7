import json
import re

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
    HitOrMiss,
    HitOrMissConv,
    LevelSets,
    LUIConv,
    PopcountHead,
    RealHead,
    Sequential,
    Skip,
    TernaryHead,
    apply_layers,
    binarize,
)
from bimonn_jax._support.random_arrays import uniform
from bimonn_jax.morphology.levels import complement_channels
from bimonn_jax.networks.architecture import from_json, layer_outputs, to_json
from bimonn_jax.networks.kinds import KINDS, layer_of

X = uniform(jax.random.key(0), (3, 4, 5, 1))
MODEL = Sequential(
    modules=(
        LevelSets((0.3, 0.6)),
        Complement(),
        BiSE(4, (3, 3), border="edge"),
        Skip(LUIConv(2, 3, pool=2), upsample=2),
        LUI(3),
        BiSEL(2, (2, 1), padding=((1, 0), 0)),
        HitOrMissConv(3, (2, 2), padding=((1, 0), 0), pool=2),
        Flatten(),
        LUI(5),
        HitOrMiss(6),
        RealHead(2),
    )
)
VOTING = [Sequential((*MODEL.modules[:-1], head)) for head in (TernaryHead(2), PopcountHead(2))]
PARAMS = jax.jit(MODEL.init)(jax.random.key(1), X)["params"]
APPLY = jax.jit(MODEL.apply)
trees = pytest.mark.parametrize("tree", [PARAMS, binarize(PARAMS)], ids=["real", "boolean"])


def test_the_network_of_these_tests_has_every_kind_of_layer():
    layers = [layer for model in (MODEL, *VOTING) for layer in model.architecture]
    assert {layer.kind for layer in layers} == {
        kind for kind, one in KINDS.items() if one.__module__.startswith("bimonn_jax")
    }


@pytest.mark.parametrize("model", VOTING, ids=["ternary", "popcount"])
@pytest.mark.parametrize("method", [None, "constant"], ids=["real", "boolean"])
def test_voting_heads_run_as_their_module_does_also_after_json(model, method):
    tree = jax.jit(model.init)(jax.random.key(1), X)["params"]
    tree = binarize(tree, method=method) if method else tree
    architecture = from_json(json.loads(json.dumps(to_json(model.architecture))))
    expected = jax.jit(model.apply)({"params": tree}, X)
    np.testing.assert_allclose(apply_layers(architecture, tree, X), expected, atol=1e-5)


@trees
@pytest.mark.parametrize("transform", [lambda fn: fn, jax.jit, jax.vmap])
def test_running_the_architecture_is_applying_the_module(tree, transform):
    expected = APPLY({"params": tree}, X)
    assert expected.shape == (3, 2)
    output = transform(lambda x: apply_layers(MODEL.architecture, tree, x))(X)
    np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("model", [MODEL, *VOTING], ids=["real", "ternary", "popcount"])
def test_all_products_are_of_full_precision_on_any_device_also_in_the_gradient(model):
    # GPUs round to TF32 and TPUs to bfloat16 unless told otherwise; a CPU does not show it.
    params = jax.jit(model.init)(jax.random.key(1), X)["params"]
    gradient = jax.grad(lambda params: jnp.sum(apply_layers(model.architecture, params, X)))
    program = str(jax.make_jaxpr(gradient)(params))
    products = re.findall(r"(?:dot_general|conv_general_dilated)\[(.*?)\n *\]", program, re.S)
    assert len(products) > 10
    for product in products:
        assert "precision=(Precision.HIGHEST, Precision.HIGHEST)" in product


@trees
def test_layer_outputs_are_those_of_the_shorter_networks(tree):
    outputs = layer_outputs(MODEL.architecture, tree, X)
    assert len(outputs) == len(MODEL.architecture)
    is_boolean = tree is not PARAMS
    depths = range(1, len(outputs) + 1)
    shorter = [MODEL.architecture[:depth] for depth in depths]
    prefixes = jax.jit(lambda tree: [apply_layers(layers, tree, X) for layers in shorter])(tree)
    for depth, output, prefix in zip(depths, outputs, prefixes, strict=True):
        # Compiled as a whole, a network of floats rounds elsewhere.
        np.testing.assert_allclose(output, prefix, rtol=1e-6)
        is_bool = depth <= 2 or (is_boolean and depth < len(outputs))
        assert output.dtype == (jnp.bool_ if is_bool else jnp.float32)


@trees
def test_vmap_over_stacked_parameters_is_a_batch_of_networks(tree):
    other = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree)
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), tree, other)
    mapped = jax.vmap(lambda p: apply_layers(MODEL.architecture, p, X))(stacked)
    for output, params in zip(mapped, (tree, other), strict=True):
        np.testing.assert_allclose(output, apply_layers(MODEL.architecture, params, X), atol=1e-5)


def test_json_brings_every_layer_back():
    architecture = MODEL.architecture
    assert from_json(to_json(architecture)) == architecture
    text = json.dumps(to_json(architecture))
    again = from_json(json.loads(text))
    assert json.dumps(to_json(again)) == text
    np.testing.assert_array_equal(
        apply_layers(again, PARAMS, X), apply_layers(architecture, PARAMS, X)
    )


def test_to_json_gives_copies():
    written = to_json(MODEL.architecture)
    written[0]["options"]["thresholds"] = [0.9]
    assert MODEL.architecture[0].thresholds == (0.3, 0.6)


def test_names_say_where_the_parameters_stand():
    layer = LUI(2)
    x = jnp.ones((3, 4))
    params = layer.init(jax.random.key(0), x)["params"]
    expected = layer.apply({"params": params}, x)
    for name, tree in (("", params), ("deep", {"deep": params})):
        described = layer.layer(name)
        assert described.params_of(tree) is params
        np.testing.assert_array_equal(apply_layers((described,), tree, x), expected)


def test_no_layers_are_the_identity():
    np.testing.assert_array_equal(apply_layers((), {}, X), X)
    assert layer_outputs((), {}, X) == []
    assert from_json([]) == ()


@pytest.mark.parametrize("dtype", [jnp.bool_, jnp.float32, jnp.int32])
def test_complement_channels_keep_the_dtype_and_are_an_involution(dtype):
    x = jnp.asarray([[0, 1, 1], [1, 0, 1]], dtype)
    result = complement_channels(x)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result[:, :3], x)
    np.testing.assert_array_equal(complement_channels(result[:, 3:])[:, 3:], x)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("conv", {}, r"layer kind must be one of .*bisel.*got 'conv'"),
        ("lui", {"rank": 3}, r"kind 'lui' takes the options \[\]; got \['rank'\]"),
        ("flatten", {}, r"kind 'flatten' takes the options \['rank'\]; got \[\]"),
        ("bise", {"padding": "SAME"}, r"takes the options \['border', 'padding'\]"),
    ],
)
def test_a_layer_of_unknown_kind_or_options_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        layer_of(kind, "", **options)
    with pytest.raises(ValueError, match=message):
        from_json([{"kind": kind, "name": "", "options": options}])


def test_layers_cannot_be_reassigned():
    with pytest.raises(AttributeError):
        MODEL.architecture[0].name = "lui"


CONV = {"padding": "SAME", "border": "zero"}


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "lui", "name": 3, "options": {}},
        {"kind": 3, "name": "", "options": {}},
        {"kind": "lui", "name": "", "options": []},
        {"kind": "lui", "name": "", "options": {}, "more": 1},
        {"kind": "flatten", "name": "", "options": {"rank": "x"}},
        {"kind": "flatten", "name": "", "options": {"rank": 0}},
        {"kind": "bise", "name": "", "options": {**CONV, "padding": 5.5}},
        {"kind": "bise", "name": "", "options": {**CONV, "border": 7}},
        {"kind": "level_sets", "name": "", "options": {"thresholds": None}},
        None,
    ],
)
def test_ill_typed_json_is_refused_when_read(entry):
    with pytest.raises(ValueError, match="layer"):
        from_json([entry])


@pytest.mark.parametrize("value", [5, None, {"kind": "lui"}, "lui"])
def test_json_that_is_no_list_is_refused(value):
    with pytest.raises(ValueError, match="architecture"):
        from_json(value)


def test_flattening_more_axes_than_there_are_is_refused_without_a_module_too():
    with pytest.raises(ValueError, match=r"\(4, 5\).*3 axes"):
        apply_layers((Flatten(3).layer(),), {}, X[0, :, :, 0])


def test_parameters_that_are_not_there_are_named():
    tree = {name: node for name, node in PARAMS.items() if name != "layers_3"}
    with pytest.raises((KeyError, ValueError), match="layers_3"):
        apply_layers(MODEL.architecture, tree, X)
