import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax._support.random_arrays import normal
from bimonn_jax.binarization.projection import PROJECTIONS, project
from bimonn_jax.neurons.initializers import NeuronConfig, init_neurons
from bimonn_jax.neurons.params import RealNeurons, real_parameters
from bimonn_jax.training.regularization import NAMES, regularizer
from tests.support.projection_oracles import hard_neurons

CONSTANT = ("exact", "uniform", "normal")


def neurons(weights, weight_reparam="identity", bias=None):
    weights = jnp.asarray(weights, jnp.float32)
    ones = jnp.ones(weights.shape[1:])
    bias = ones if bias is None else jnp.asarray(bias, jnp.float32)
    return RealNeurons(weights, bias, ones, weight_reparam)


@pytest.mark.parametrize("relative", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_acti_is_the_sum_of_the_squared_distances_to_the_activable_neurons(relative):
    W, B = (v.astype(np.float32) for v in hard_neurons(np.random.default_rng(0), 9, 40))
    norms = np.square(W).sum(0)
    distances = np.asarray(project(jnp.asarray(W), jnp.asarray(B)).squared_distance)
    if relative:
        distances = np.where(norms > 0, distances / np.where(norms > 0, norms, 1), 0)
    value = regularizer("acti", relative=relative)({"a": neurons(W, bias=B)})
    np.testing.assert_allclose(value, distances.sum(), rtol=1e-5)


@pytest.mark.parametrize("name", CONSTANT)
@pytest.mark.parametrize("relative", [False, True])
def test_value_is_the_sum_over_neurons_of_the_distance_to_the_best_level_on_the_footprint(
    name, relative
):
    W = np.random.default_rng(0).normal(0.3, 1.0, (9, 5)).astype(np.float32)
    footprint_of = PROJECTIONS[{"exact": "constant"}.get(name, name)]
    expected = 0.0
    for w in W.T:
        S = np.asarray(footprint_of(jnp.asarray(w)))
        level = max(w[S].mean(), 0)
        expected += np.sum((w - level * S) ** 2) / (np.sum(w**2) if relative else 1)
    value = regularizer(name, relative=relative)({"a": neurons(W[:, :3]), "b": neurons(W[:, 3:])})
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "reparam", "relative"),
    [
        # Compiling the projection takes long, so that of every reparametrization is a slow test.
        pytest.param(name, *case, marks=[pytest.mark.slow] * (name == "acti" and case[0] != "dual"))
        for name in NAMES
        for case in (("identity", True), ("positive", False), ("dual", True))
    ],
)
def test_gradient_agrees_with_finite_differences_away_from_ties(name, relative, reparam):
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        point = rng.normal(0.5, 1.0, (7, 4)), rng.normal(1.0, 1.0, 4)
        loss = regularizer(name, relative=relative)

        def value(weights, bias):
            return loss({"a": RealNeurons(weights, bias, jnp.ones(4), reparam)})

        value_and_gradients = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
        _, gradients = value_and_gradients(*point)
        step = 1e-6
        for which, index in [*((0, i) for i in np.ndindex(7, 4)), *((1, i) for i in range(4))]:
            moved = [[v.copy() for v in point] for _ in range(2)]
            for other, way in zip(moved, (step, -step), strict=True):
                other[which][index] += way
            up, down = (value_and_gradients(*other)[0] for other in moved)
            np.testing.assert_allclose(
                gradients[which][index], (up - down) / (2 * step), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        # Compiling the projection takes long.
        pytest.param(name, relative, marks=[pytest.mark.slow] * (name == "acti" and relative))
        for name in NAMES
        for relative in (False, True)
    ],
)
def test_value_and_gradient_are_finite_at_zeros_and_ties(name, relative):
    value_and_gradient = jax.jit(jax.value_and_grad(regularizer(name, relative=relative)))
    for scale in (1.0, 0.0):
        layers = {"ties": neurons(np.outer(np.ones(5), [0, 1, -1])), "single": neurons([[2.0]])}
        tied = {
            path: layer.replace(scale=jnp.full_like(layer.bias, scale))
            for path, layer in layers.items()
        }
        value, gradient = value_and_gradient(tied)
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_weights_on_a_set_cost_nothing(name):
    value = regularizer(name)(neurons([[0.7, 0.0], [0.7, 0.2], [0.0, 0.2], [0.0, 0.2]]))
    np.testing.assert_allclose(value, 0, atol=1e-12)


def test_neurons_trained_through_the_binarization_and_other_leaves_cost_nothing():
    config = NeuronConfig.boolean("erosion")
    tree = {"a": init_neurons(jax.random.key(0), (9, 4), 1, config), "kernel": jnp.ones(3)}
    assert regularizer("exact")(tree) == 0
    assert regularizer("acti")(tree) == 0


@pytest.mark.parametrize(
    ("name", "every"),
    [
        pytest.param(name, every, marks=[pytest.mark.slow] * ((name, every) != ("exact", 3)))
        for name in NAMES
        for every in (1, 3, 4, 10, 100)
    ],
)
def test_in_turns_every_neuron_counts_the_same(name, every):
    W, B = hard_neurons(np.random.default_rng(2), 5, 10)
    tree = {"a": neurons(W.reshape(5, 2, 5), bias=B.reshape(2, 5)), "b": neurons(W[:, :1])}
    together = jax.value_and_grad(regularizer(name, every=1))(tree)
    turn = jax.jit(jax.value_and_grad(regularizer(name, every=every)))
    # After 12 (or 10) steps every neuron of both layers has had its turn equally often.
    steps = {1: 1, 3: 3, 4: 4, 10: 10, 100: 10}[every]
    turns = [turn(tree, jnp.int32(step)) for step in range(steps)]
    mean = jax.tree.map(lambda *values: sum(values) / len(values), *turns)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), mean, together
    )


@pytest.mark.parametrize("name", [pytest.param("acti", marks=pytest.mark.slow), "exact"])
def test_only_large_layers_take_turns_by_default(name):
    rng = np.random.default_rng(3)
    small, large = neurons(rng.normal(size=(3, 127))), neurons(rng.normal(size=(3, 128)))
    loss = regularizer(name)
    assert loss({"a": small}, 0) == loss({"a": small}, 1)
    assert loss({"a": large}, 0) != loss({"a": large}, 1)


def test_layers_are_switched_by_their_paths():
    rng = np.random.default_rng(4)
    tree = {"a": neurons(rng.normal(size=(5, 3))), "b": neurons(rng.normal(size=(5, 2)))}
    first, second = (regularizer("exact", layers=[path])(tree) for path in "ab")
    np.testing.assert_allclose(first + second, regularizer("exact")(tree), rtol=1e-6)
    gradient = jax.grad(regularizer("exact", layers=["a"]))(tree)
    assert np.all(gradient["b"].weight == 0)
    with pytest.raises(ValueError, match=r"layers \['c'\] are not among \['a', 'b'\]"):
        regularizer("exact", layers=["c"])(tree)


def test_descending_acti_makes_every_neuron_an_operator():
    params = init_neurons(jax.random.key(1), (9, 12), 1, NeuronConfig("identity", "identity"))
    W = 0.3 * normal(jax.random.key(2), (9, 12))
    params = params.replace(weight=W, bias=jnp.sum(W, axis=0) / 2)
    loss = jax.jit(jax.value_and_grad(regularizer("acti")))
    before = loss(params)[0]
    for _ in range(50):
        value, gradient = loss(params)
        params = jax.tree.map(lambda p, g: p - 0.25 * g, params, gradient)
    assert value < 1e-9 * before
    # On the border of the activable set; a nudge inside makes it exact.
    nearest = project(params.weight, params.bias)
    np.testing.assert_allclose(nearest.weight, params.weight, atol=1e-5)


def test_descending_the_regularizer_reaches_the_constant_set():
    params = init_neurons(jax.random.key(0), (9, 6), 1, NeuronConfig("positive", "positive"))
    loss = regularizer("exact")
    step = jax.jit(lambda p: jax.tree.map(lambda a, g: a - 2.0 * g, p, jax.grad(loss)(p)))
    before = loss(params)
    for _ in range(300):
        params = step(params)
    assert loss(params) < 0.02 * before
    assert (real_parameters(params)[0] > 0).all()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"regularizer must be one of .*uniform.*got 'acti2'"):
        regularizer("acti2")


def test_turns_are_counted_from_one():
    with pytest.raises(ValueError, match="every must be >= 1; got 0"):
        regularizer("acti", every=0)
