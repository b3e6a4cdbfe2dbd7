from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    BiMoNN,
    BooleanNeurons,
    DenseBiMoNN,
    NeuronConfig,
    RankNeurons,
    RealNeurons,
    as_real_neurons,
    binarize,
    certify,
    map_neurons,
)
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.binarization.approximation import METHODS as ALL_METHODS
from bimonn_jax.binarization.projection.activable import project
from bimonn_jax.binarization.projection.constant import PROJECTIONS
from bimonn_jax.binarization.projection.nearest import _search, nearest_operators
from bimonn_jax.neurons.activation import activation
from bimonn_jax.neurons.params import flat_weight, named_neurons, real_parameters, with_ranks
from tests.support.boolean_networks import network as random_network
from tests.support.projection_oracles import assert_nearest_by_integers, rational_squared_distance

X = bernoulli(jax.random.key(0), 0.5, (4, 5, 5, 1))
MODEL = BiMoNN((3, 2), (3, 3), complement=True)
METHODS = [*sorted(PROJECTIONS), "activable"]


def init(model=MODEL, seed=0):
    return jax.jit(model.init)(jax.random.key(seed), X)["params"]


def sizes_of(n):
    return n.footprint.reshape(-1, *n.is_erosion.shape).sum(axis=0)


def equal(a, b):
    a, b = (map_neurons(with_ranks, tree) for tree in (a, b))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return jax.tree.all(jax.tree.map(lambda u, v: bool((u == v).all()), a, b))


@pytest.mark.parametrize("method", METHODS)
def test_the_tree_keeps_its_structure_and_holds_bools_and_where_needed_ranks(method):
    params = {**init(), "other": jnp.arange(3.0)}
    for ranks in (False, True):
        binary = binarize(params, method=method, ranks=ranks)
        assert list(named_neurons(binary)) == list(named_neurons(params))
        for neurons in named_neurons(binary).values():
            is_between = (neurons.ranks > 1) & (neurons.ranks < neurons.sizes)
            assert isinstance(neurons, RankNeurons) == bool(is_between.any())
            assert ranks or isinstance(neurons, BooleanNeurons)
            dtypes = {name: str(value.dtype) for name, value in vars(neurons).items()}
            assert dtypes.pop("rank", "int32") == "int32"
            assert set(dtypes.values()) == {"bool"}
        np.testing.assert_array_equal(binary["other"], params["other"])


def test_within_a_program_only_what_it_asks_for_decides_the_type():
    tree = init()
    for ranks, expected in ((False, BooleanNeurons), (True, RankNeurons)):
        found = jax.eval_shape(lambda tree, ranks=ranks: binarize(tree, ranks=ranks), tree)
        assert {type(n) for n in named_neurons(found).values()} == {expected}
    trained = init(BiMoNN((2,), 3, NeuronConfig.boolean("mixed")))
    found = jax.eval_shape(binarize, trained)
    assert {type(n) for n in named_neurons(found).values()} == {BooleanNeurons}


@pytest.mark.parametrize("method", METHODS)
def test_jit_and_vmap_give_the_same(method):
    trees = [init(seed=s) for s in range(3)]
    plain = [binarize(tree, method=method) for tree in trees]
    if method != "activable":  # That program is long, and compared with the host below.
        compiled = jax.jit(lambda tree: binarize(tree, method=method))
        assert all(equal(compiled(tree), p) for tree, p in zip(trees, plain, strict=True))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    mapped = jax.jit(jax.vmap(lambda tree: binarize(tree, method=method)))(stacked)
    for i, p in enumerate(plain):
        assert equal(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), p)


@pytest.mark.parametrize("ranks", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_activated_neurons_are_their_operators_whatever_the_method(method, ranks):
    rng = np.random.default_rng(0)
    W = jnp.asarray(rng.normal(0.5, 0.6, (4, 500)), jnp.float32)
    neurons = RealNeurons(W, jnp.asarray(rng.uniform(0, 2, 500), jnp.float32), jnp.ones(500))
    exact = activation(*real_parameters(neurons))
    keep = np.asarray(exact.is_activated if ranks else exact.is_end)
    assert 20 < keep.sum() < 480
    binary = binarize(neurons, method=method, ranks=ranks)
    np.testing.assert_array_equal(binary.footprint[:, keep], exact.footprint[:, keep])
    np.testing.assert_array_equal(binary.ranks[keep], exact.rank[keep])
    if method == "activable":
        nearest = project(W, neurons.bias)
        expected, is_erosion = np.asarray(nearest.footprint), np.asarray(nearest.is_erosion)
    else:
        expected = np.asarray(jax.vmap(PROJECTIONS[method], in_axes=1, out_axes=1)(W))
        is_erosion = np.asarray(neurons.bias > W.sum(axis=0) / 2)
    rank = np.where(is_erosion, expected.sum(axis=0), 1)
    if method != "activable" and ranks:
        # As many equal weights as exceed the bias; by a weight that is not positive, the fewest.
        level = (np.asarray(W) * expected).sum(axis=0) / expected.sum(axis=0)
        enough = np.floor(np.asarray(neurons.bias) / np.where(level > 0, level, np.inf)) + 1
        rank = np.clip(enough, 1, expected.sum(axis=0))
    np.testing.assert_array_equal(binary.footprint[:, ~keep], expected[:, ~keep])
    np.testing.assert_array_equal(binary.ranks[~keep], rank[~keep])


@pytest.mark.parametrize(
    ("name", "method"),
    [("wide", "constant"), ("ternary", "constant")] + [("dense", method) for method in ALL_METHODS],
)
def test_a_boolean_network_written_as_weights_binarizes_to_itself(name, method):
    boolean = random_network(name, seed=1)[0].params
    found, reports = binarize(
        map_neurons(as_real_neurons, boolean), method=method, return_report=True
    )

    def with_one_name(neurons):
        # The erosion by a single input is the dilation by it.
        size = jnp.sum(flat_weight(neurons.footprint, neurons.is_erosion), axis=0)
        return neurons.replace(is_erosion=neurons.is_erosion & (size != 1))

    assert equal(found, map_neurons(with_one_name, boolean))
    for report in reports:
        assert report.is_exact.all()
        assert (report.squared_distance == 0).all()


def test_the_report_counts_operators_and_distances():
    W = jnp.array([[3.0, 1.0, 1.0, 3.0], [1.0, 1.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
    W = jnp.concatenate([W, W[2:], W[2:]])
    neurons = RealNeurons(W, jnp.array([1.5, 9.0, -1.0, 0.5]), jnp.array([1.0, 1.0, -1.0, 1.0]))
    boolean, (report,) = binarize({"lui": neurons}, method="constant", return_report=True)
    assert report.path == "lui"
    np.testing.assert_array_equal(report.is_exact, [False, True, True, True])
    np.testing.assert_array_equal(report.is_constant, [False, True, True, False])
    np.testing.assert_array_equal(report.footprint_size, [5, 0, 0, 5])
    np.testing.assert_allclose(report.squared_distance, [3.2, 0, 0, 0], rtol=1e-5)
    np.testing.assert_array_equal(boolean["lui"].complement, [False, False, True, False])
    assert str(report) == (
        "lui: 4 neurons, 3 exact, 1 approximated (squared distance up to 3.2); "
        "1 dilations, 0 erosions, 1 ranks between them, 2 constant"
    )


@pytest.mark.parametrize("binary_head", [True, False])
def test_boolean_networks_take_and_give_bools_up_to_a_real_head(binary_head):
    model = DenseBiMoNN((6,), 3, binary_head=binary_head)
    boolean = binarize(init(model))
    output = jax.jit(model.apply)({"params": boolean}, X)
    assert output.shape == (4, 3)
    assert output.dtype == (jnp.bool_ if binary_head else jnp.float32)
    with pytest.raises(ValueError, match=r"x must be bool for a boolean network, got float32"):
        model.apply({"params": boolean}, X.astype(jnp.float32))


def test_a_negative_scale_complements():
    config = NeuronConfig("dual", "projected")
    model = BiMoNN((1,), (3, 3), config)
    params = init(model)
    lui = params["layers_0"]["lui"]
    flipped = {"layers_0": {**params["layers_0"], "lui": lui.replace(scale=-lui.scale)}}
    plain, complemented = (
        jax.jit(model.apply)({"params": binarize(p)}, X) for p in (params, flipped)
    )
    np.testing.assert_array_equal(plain, ~complemented)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weight", jnp.nan, r"layers_1/lui.weight has 9 values that are not finite"),
        ("bias", jnp.inf, r"layers_1/lui.bias has 3 values that are not finite"),
        ("scale", 0.0, r"layers_1/lui.scale is 0 for 3 neurons"),
    ],
)
def test_parameters_that_mean_nothing_are_named(field, value, message):
    model = DenseBiMoNN((3,), 3, binary_head=True)
    params = model.init(jax.random.key(0), X[:, :3, :1])["params"]
    neurons = params["layers_1"]["lui"]
    params["layers_1"]["lui"] = neurons.replace(
        **{field: jnp.full_like(getattr(neurons, field), value)}
    )
    with pytest.raises(ValueError, match=message):
        binarize(params)


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"method must be one of .*constant.*got 'qq'"):
        binarize(init(), method="qq")


def test_a_tree_without_neurons_is_refused_and_named():
    restored = {"layers_0": {"bise": {"weight": X, "bias": X, "scale": X}}}
    for fn in (binarize, certify, partial(binarize, return_report=True)):
        with pytest.raises(
            TypeError, match=r"holds no neurons.*plain dictionaries.*restore it into"
        ):
            fn(restored)
        with pytest.raises(TypeError, match=r"holds no neurons.*arrays are called kernel"):
            fn({"Dense_0": {"kernel": X}})
        with pytest.raises(TypeError, match=r"holds no neurons.*no arrays"):
            fn({})


@pytest.mark.parametrize("dtype", ["int32", "float8_e4m3fn", "bool"])
def test_neurons_of_other_dtypes_are_refused_by_name(dtype):
    neurons = RealNeurons(jnp.ones((3, 2), dtype), jnp.ones(2), jnp.ones(2))
    for fn in (binarize, certify):
        with pytest.raises(TypeError, match=f"a/lui.weight is {dtype}; one of"):
            fn({"a": {"lui": neurons}})


def test_numbers_that_the_running_dtype_cannot_hold_are_refused():
    neurons = RealNeurons(np.full((3, 2), 1e300), np.ones(2), np.ones(2))
    with pytest.raises(
        ValueError, match=r"lui\.weight has 6 values that are not finite in float32"
    ):
        binarize({"lui": neurons})
    tiny = RealNeurons(np.ones((3, 2)), np.ones(2), np.full(2, 1e-300))
    with pytest.raises(ValueError, match=r"lui\.scale is 0 for 2 neurons"):
        binarize({"lui": tiny})


def test_concrete_neurons_beside_traced_ones_are_checked():
    bad = RealNeurons(jnp.full((3, 2), jnp.nan), jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match=r"b\.weight has 6 values"):
        jax.jit(lambda n: binarize({"a": n, "b": bad}))(bad.replace(weight=jnp.ones((3, 2))))


def test_a_subnormal_negative_scale_complements():
    scale = jnp.asarray(np.float32([1e-40, -1e-40]))
    neurons = RealNeurons(jnp.ones((3, 2)), jnp.full(2, 0.5), scale)
    np.testing.assert_array_equal(binarize(neurons).complement, [False, True])
    # The projection, which is the long part of the program, has no say in it.
    traced = jax.jit(partial(binarize, method="constant"))(neurons)
    np.testing.assert_array_equal(traced.complement, [False, True])
    assert not certify({"n": neurons}).exact_float


@pytest.mark.parametrize("sizes", [(3,), (40, 5, 33, 1), (1200, 7)])
def test_neurons_of_all_shapes_get_the_nearest_operators(sizes, monkeypatch):
    # Small enough that neurons of 1,200 and of 7 inputs go their own ways.
    monkeypatch.setattr("bimonn_jax.binarization.projection.nearest._MOST_PADDED", 2**17)
    rng = np.random.default_rng(0)
    sets = [(rng.normal(0.1, 1, (n, 9 + n % 50)), rng.normal(size=9 + n % 50)) for n in sizes]
    sets = [tuple(v.astype(np.float32) for v in pair) for pair in sets]
    for (W, B), found in zip(sets, nearest_operators(sets), strict=True):
        assert_nearest_by_integers(W.astype(float), B.astype(float), found)


@pytest.mark.parametrize("power", [-120, -100, 0, 100, 120])
def test_a_program_finds_the_operators_of_the_host_whatever_the_scale(power):
    # Of sixteenths, so that nothing is rounded and no product is subnormal.
    rng = np.random.default_rng(0)
    W, B = rng.integers(-8, 33, (4, 60)) / 16, rng.integers(-8, 65, 60) / 16
    W, B = (jnp.asarray(np.ldexp(v, power), jnp.float32) for v in (W, B))
    neurons = RealNeurons(W, B, jnp.ones(60))
    host, (report,) = binarize(neurons, return_report=True)
    assert 10 < report.is_exact.sum() < 50
    # Which of two equally near ones it is, rounding decides within a program.
    traced = jax.jit(binarize)(neurons)
    for w, b, *found in zip(
        np.asarray(W).T, np.asarray(B), traced.footprint.T, traced.ranks,
        host.footprint.T, host.ranks, report.is_exact, strict=True,
    ):  # fmt: skip
        mine, mine_rank, other, other_rank, is_exact = map(np.asarray, found)
        if is_exact:
            assert (mine == other).all()
            assert mine_rank == other_rank
            continue
        found, least = (
            # Of one input both operators are the same.
            min(
                rational_squared_distance(w, b, S, is_erosion)
                for is_erosion in (False, True)
                if rank == (S.sum() if is_erosion else 1)
            )
            for S, rank in ((mine, mine_rank), (other, other_rank))
        )
        assert least <= found <= least * Fraction(1 + 1e-12)


def test_one_program_serves_networks_whose_sizes_share_a_class():
    rng = np.random.default_rng(0)

    def network(*shapes):
        return [
            (rng.normal(size=s).astype(np.float32), rng.normal(size=s[1]).astype(np.float32))
            for s in shapes
        ]

    nearest_operators(network((60, 50)))
    before = _search._cache_size()
    nearest_operators(network((33, 40), (64, 5)))
    nearest_operators(network((1, 1), (7, 20), (50, 42)))
    assert _search._cache_size() == before
    assert nearest_operators([]) == []


def test_sets_of_no_neurons_pass_and_neurons_without_inputs_are_refused():
    none = RealNeurons(jnp.ones((3, 0)), jnp.ones(0), jnp.ones(0))
    assert binarize({"a": none})["a"].footprint.shape == (3, 0)
    assert certify({"a": none}).exact_float
    blind = RealNeurons(jnp.ones((0, 2)), jnp.ones(2), jnp.ones(2))
    for fn in (binarize, certify):
        with pytest.raises(ValueError, match="a neuron needs at least one input"):
            fn({"a": blind})
