"""Every function of layers knows every kind, and a kind of one's own can be taught to all of them.

The toy kinds are defined in this file alone.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import (
    BooleanNetwork,
    NeuronConfig,
    Sequential,
    binarize,
    certify,
    load_network,
    save_network,
    summary,
)
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.binarization.certificate import carry
from bimonn_jax.binarization.simplification.rules import rule_of
from bimonn_jax.deployment.circuit import Gates, stages
from bimonn_jax.networks import LayerModule, NeuronModule
from bimonn_jax.networks.architecture import apply
from bimonn_jax.networks.consistency import channels, check_parts
from bimonn_jax.networks.kinds import KINDS, Layer, PooledLayer
from bimonn_jax.neurons.sets import NeuronSet, Reads
from bimonn_jax.viz import plot_network, plot_stages
from tests.support import runtimes
from tests.support.short_training import after_a_few_steps

PASSES = [apply, channels, check_parts, carry, stages, rule_of]
OURS = dict(KINDS)


@pytest.mark.parametrize("step", PASSES, ids=lambda step: step.__name__)
@pytest.mark.parametrize("kind", OURS)
def test_every_function_of_layers_knows_every_kind(step, kind):
    assert step.dispatch(OURS[kind]) is not step.dispatch(object)


@dataclass(frozen=True)
class TiltLayer(Layer, kind="tilt"):
    """A toy: the channels the other way round."""


@apply.register
def _(layer: TiltLayer, own, x):
    return x[..., ::-1]


@channels.register
def _(layer: TiltLayer, own, before, after):
    known = after if before is None else before
    return known, known


@check_parts.register
def _(layer: TiltLayer, own):
    pass


@carry.register
def _(layer: TiltLayer, proof, values):
    tilted = {a: z.map(lambda v: v[::-1] if v.ndim else v) for a, z in values.zones.items()}
    return replace(values, zones=tilted)


@stages.register
def _(layer: TiltLayer, own, shape):
    count = shape[2]
    literals = np.zeros((count, 3), int)
    literals[:, 2] = np.arange(count)[::-1]
    no = np.zeros(count, bool)
    return [Gates("tilt", literals, no, np.arange(count + 1), np.ones(count, int), no, count)]


@rule_of.register
def _(layer: TiltLayer, own, before, after):
    return None


class Tilt(LayerModule):
    kind = TiltLayer


@dataclass(frozen=True)
class OpenedLayer(PooledLayer, kind="opened"):
    """A toy of neurons: over windows of all channels, then over all of their maps."""

    sets = (NeuronSet("first", Reads.ALL, slides=True), NeuronSet("then", Reads.ALL))


class Opened(NeuronModule):
    features: int
    kernel_size: int = 3
    config: NeuronConfig = NeuronConfig()
    kind = OpenedLayer


@pytest.fixture(scope="module")
def trained():
    """The toys in a network, after a few steps of training through the binarization."""
    config = NeuronConfig.boolean("mixed")
    model = Sequential((Opened(4, 3, config), Tilt(), Opened(2, 3, config)))
    x = bernoulli(jax.random.key(0), 0.5, (8, 6, 5, 1))
    y = jnp.concatenate([x, ~x], axis=-1).astype(jnp.float32)
    params = jax.jit(model.init)(jax.random.key(1), x)["params"]

    return model, after_a_few_steps(model, params, x, y), np.asarray(x)


def test_toys_are_trained_certified_and_binarized(trained):
    model, params, x = trained
    assert certify(params, model.architecture).exact_float32
    boolean = binarize(params)
    smooth = model.apply({"params": params}, x)
    np.testing.assert_array_equal(smooth > 0.5, model.apply({"params": boolean}, x))
    assert "layers_0/first" in str(summary(params, model.architecture))


def test_toys_are_saved_and_simplified_and_run_everywhere(trained, tmp_path):
    model, params, x = trained
    plain = BooleanNetwork(model.architecture, binarize(params))
    expected = np.asarray(plain(x))
    save_network(tmp_path / "toy.npz", plain.architecture, plain.params)
    network = load_network(tmp_path / "toy.npz")
    assert network.architecture == plain.architecture
    shape = x.shape[1:]
    runtimes.assert_equal_everywhere(network, shape, x, expected, tmp_path / "runs")
    assert plot_network(network, shape).axes
    assert plot_stages(network, x[0]).axes


@pytest.mark.parametrize("step", PASSES, ids=lambda step: step.__name__)
def test_a_kind_that_nobody_was_told_of_is_named_with_what_to_register(step):
    @dataclass(frozen=True)
    class Unheard(Layer, kind=f"unheard of by {step.__name__}"):
        pass

    try:
        arguments = {channels: ({}, None, None), check_parts: ({},), rule_of: ({}, 1, 1)}
        with pytest.raises(NotImplementedError, match=f"Unheard.*register .*{step.__name__}"):
            step(Unheard(), *arguments.get(step, ({}, None)))
    finally:
        del KINDS[Unheard.kind]


def test_a_name_of_a_kind_is_given_once():
    with pytest.raises(ValueError, match="a kind of layers 'lui' already"):

        class Other(Layer, kind="lui"):
            pass
