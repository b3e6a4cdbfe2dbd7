import jax
import jax.numpy as jnp
import pytest

import bimonn_jax
from bimonn_jax import (
    BiMoNN,
    DenseBiMoNN,
    NeuronConfig,
    RankNeurons,
    RealNeurons,
    Sequential,
    as_real_neurons,
    summary,
)
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.networks.modules import LUI, TernaryHead
from bimonn_jax.neurons import without_ranks
from tests.support.boolean_networks import network as random_network

X = bernoulli(jax.random.key(0), 0.5, (2, 8, 8, 1))


def neurons():
    """A dilation, an erosion, a copy, a complemented copy, a constant, and no operator."""
    weight = jnp.array(
        [
            [3.0, 1.0, 0.2, 3.0, 1.0, 0.5],
            [2.0, 1.0, 3.0, 0.2, 1.0, 1.0],
            [0.4, 0.1, 0.1, 0.1, 1.0, -0.5],
        ]
    )
    bias = jnp.array([1.0, 1.5, 1.0, 1.0, 9.0, 0.4])
    return RealNeurons(weight, bias, jnp.array([1.0, 1.0, 1.0, -1.0, 1.0, 1.0]))


def test_neurons_are_counted_by_operator():
    (layer,) = summary({"a": neurons()}).layers
    counted = layer.dilations, layer.erosions, layer.copies, layer.constant, layer.complements
    # The last neuron is projected onto its positive inputs.
    assert counted == (2, 1, 2, 1, 1)
    assert (layer.path, layer.shape, layer.neurons, layer.activated) == ("a", (3, 6), 6, 5)
    assert layer.mean_footprint == pytest.approx((2 + 2 + 1 + 1 + 0 + 2) / 6)
    assert layer.bits == 3 * 6 + 2 * 6


def test_activation_and_zones_are_those_of_the_certificate_with_and_without_architecture():
    model = BiMoNN((2, 1), (3, 3), NeuronConfig("dual", "projected"))
    params = jax.jit(model.init)(jax.random.key(0), X)["params"]
    # Exact on binary inputs; what reaches the second layer is not binary.
    boolean = bimonn_jax.binarize(params, method="constant")
    params = bimonn_jax.map_neurons(lambda n: as_real_neurons(n, scale=1.0), boolean)
    for architecture in (None, model.architecture):
        certificate = bimonn_jax.certify(params, architecture)
        for layer, proof in zip(
            summary(params, architecture).layers, certificate.layers, strict=True
        ):
            exact = proof.is_exact["real"]
            assert layer.activated == exact.sum()
            if exact.any():
                zone = proof.zones["real"]
                assert layer.dead_zone == (zone.v1[exact].max(), zone.v2[exact].min())
    hard, smooth = (summary(params, a).total.activated for a in (None, model.architecture))
    assert smooth < hard == summary(params).total.neurons


def test_a_boolean_tree_has_no_activation_and_no_zones():
    network, _ = random_network("wide")
    found = summary(network.params)
    assert all(layer.activated is None and layer.dead_zone is None for layer in found.layers)
    assert found.total.neurons == sum(layer.neurons for layer in found.layers) == 6 + 3 + 6 + 2
    assert "activated" not in str(found)


def test_heads_have_bits_but_no_neurons():
    network, _ = random_network("ternary")
    *_, head = summary(network.params).layers
    assert (head.path, head.shape, head.neurons, head.bits) == (
        "layers_2/head", (40, 5), 0, 2 * 40 * 5,
    )  # fmt: skip
    model = Sequential((LUI(4), TernaryHead(3)))
    params = model.init(jax.random.key(0), jnp.zeros((1, 5), bool))["params"]
    assert summary(params).layers[-1].bits == 2 * 4 * 3
    real = jax.jit(DenseBiMoNN((5,), 3).init)(jax.random.key(0), X)["params"]
    assert [layer.bits for layer in summary(real).layers if not layer.neurons] == [96, 480]


def test_that_no_neuron_is_activated_is_said():
    # The first input, or both others.
    weight = jnp.array([[2.0], [1.0], [1.0]])
    neither = RealNeurons(weight, jnp.array([1.5]), jnp.array([1.0]))
    lines = str(summary({"a": neither})).splitlines()
    # Columns are aligned to the right.
    end = lines[0].index("activated") + len("activated")
    assert lines[1][:end].split()[-1] == "0"


def test_text_and_html_show_the_same_cells():
    found = summary({"<a>": neurons(), "b": neurons()})
    text, page = str(found), found._repr_html_()
    assert text.splitlines()[0].split()[:3] == ["layer", "weights", "neurons"]
    assert text.splitlines()[-1].split()[0] == "total"
    assert all(len(line) <= 140 for line in text.splitlines())
    assert page.count("<tr>") == 1 + 2 + 1
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    for cell in ("3 x 6", "12", "60"):
        assert f"<td>{cell}</td>" in page
        assert cell in text


def test_ranks_are_counted_and_their_bits_too():
    # Constants, a dilation, the median, an erosion; a copy and a constant of fewer inputs.
    footprint = jnp.ones((3, 7), bool).at[1:, 5:].set(False)
    rank = jnp.array([0, 4, 1, 2, 3, 1, 2], jnp.int32)
    ranks = RankNeurons(footprint, rank, jnp.zeros(7, bool))
    (layer,) = summary({"a": ranks}).layers
    counted = layer.dilations, layer.erosions, layer.ranks, layer.copies, layer.constant
    assert counted == (1, 1, 1, 1, 3)
    # 0 to 3 are two bits, the complement is a third.
    assert layer.bits == 3 * 7 + 7 * (2 + 1)
    assert "ranks" in str(summary({"a": ranks})).splitlines()[0].split()
    boolean = without_ranks(jax.tree.map(lambda v: v[..., jnp.array([2, 4])], ranks))
    (layer,) = summary({"a": boolean}).layers
    assert (layer.dilations, layer.erosions, layer.ranks, layer.bits) == (1, 1, 0, 3 * 2 + 2 * 2)
    assert "ranks" not in str(summary({"a": boolean})).splitlines()[0].split()


def test_a_tree_without_neurons_is_refused():
    with pytest.raises(TypeError, match="summary takes a tree with neurons"):
        summary({"a": jnp.zeros(3)})
