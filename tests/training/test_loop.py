import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bimonn_jax import BiMoNN, NeuronConfig, apply_layers, binarize
from bimonn_jax._support.random_arrays import bernoulli
from bimonn_jax.morphology.operators import dilation
from bimonn_jax.training.checkpoints import Checkpoints
from bimonn_jax.training.loop import fit, init_state, make_step
from bimonn_jax.training.losses import mse
from bimonn_jax.training.metrics import activated_share, compare, live_neurons
from bimonn_jax.training.optimizers import optimizer_for, warmup_cosine
from bimonn_jax.training.regularization import regularizer

S = jnp.zeros((3, 3), bool).at[1].set(True)


def sample(key, batch=8):
    x = bernoulli(key, 0.2, (batch, 10, 10))
    return x[..., None], dilation(x, S)[..., None]


def network(boolean):
    config = NeuronConfig.boolean("dilation") if boolean else NeuronConfig("dual", "projected")
    model = BiMoNN((1,), (3, 3), config)
    params = model.init(jax.random.key(3), sample(jax.random.key(0))[0])["params"]
    if boolean:
        lui = params["layers_0"]["lui"]
        params["layers_0"]["lui"] = lui.replace(weight=jnp.full_like(lui.weight, 0.9))
    return model, params


VALIDATION = sample(jax.random.key(99), 16)


def train(boolean, steps=60, method="constant", **options):
    model, params = network(boolean)
    options = {"score": "dice_boolean", "loss": mse, "steps_per_evaluation": 20, **options}
    result = fit(
        partial(apply_layers, model.architecture),
        params,
        sample,
        compare(model.architecture, *VALIDATION, method=method),
        key=jax.random.key(1),
        steps=steps,
        **options,
    )
    return model, result


def leaves_equal(a, b):
    return jax.tree.all(jax.tree.map(lambda u, v: bool((u == v).all()), a, b))


def test_revisions_follow_every_evaluation_and_leave_the_best_parameters_alone():
    seen = []

    def after_evaluation(params, step):
        jax.debug.callback(lambda s: seen.append(int(s)), step)
        return jax.tree.map(jnp.zeros_like, params)

    _, result = train(False, after_evaluation=after_evaluation)
    jax.effects_barrier()
    assert seen == [20, 40, 60]
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(result.state.params))
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(result.params))


@pytest.mark.parametrize("boolean", [False, True])
def test_both_modes_learn_a_dilation_exactly(boolean):
    optimizer = optimizer_for(real=optax.adam(3e-2), latent=optax.sgd(2.0, momentum=0.9))
    options = {"steps": 400, "optimizer": optimizer, "stop_score": 1.0}
    _, result = train(boolean, method="activable", **options)
    found = binarize(result.params)["layers_0"]["bise"].footprint[:, :, 0, 0]
    assert result.score == 1.0
    np.testing.assert_array_equal(found, S)


def test_relaxed_and_boolean_evaluations_stand_side_by_side():
    _, relaxed = train(False, steps=20)
    _, boolean = train(True, steps=20)
    names = {"step", "loss", "dice_float", "dice_boolean", "activated_share", "live_share"}
    names |= {"activated_share/layers_0/bise", "activated_share/layers_0/lui"}
    assert all(set(row) == names for row in relaxed.history + boolean.history)
    assert all(row["dice_float"] == row["dice_boolean"] for row in boolean.history)
    assert all(row["activated_share"] == 1 for row in boolean.history)


def test_latents_stay_in_the_unit_interval_and_operators_as_they_were():
    model, params = network(True)
    optimizer = optimizer_for(latent=optax.sgd(1e4))
    step = jax.jit(make_step(partial(apply_layers, model.architecture), optimizer, mse))
    state, _ = step(init_state(params, optimizer), sample(jax.random.key(5)))
    before, after = params["layers_0"]["bise"], state.params["layers_0"]["bise"]
    assert not leaves_equal(before.weight, after.weight)
    assert (after.weight >= 0).all()
    assert (after.weight <= 1).all()
    assert leaves_equal((before.bias, before.scale), (after.bias, after.scale))


def test_the_regularizer_acts_from_its_delay_on_and_nothing_recompiles():
    model, params = network(False)
    traces = 0

    def counted(tree, step):
        nonlocal traces
        traces += 1
        return regularizer("exact")(tree, step)

    optimizer = optimizer_for(real=optax.sgd(0.1))
    step = jax.jit(make_step(partial(apply_layers, model.architecture), optimizer, mse, counted))
    batch, state = sample(jax.random.key(5)), init_state(params, optimizer)
    plain = step(state, batch, 0.0, 0)[0].params
    late = step(state, batch, 100.0, 1)[0].params
    now, value = step(state, batch, 100.0, 0)
    assert traces == 1
    assert leaves_equal(plain, late)
    assert not leaves_equal(plain, now.params)
    expected = mse(model.apply({"params": params}, batch[0]), batch[1])
    expected += 100 * regularizer("exact")(params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_coefficient_may_be_a_schedule_and_the_regularizer_knows_the_step():
    model, params = network(False)
    optimizer = optimizer_for(real=optax.sgd(0.0))
    apply = partial(apply_layers, model.architecture)
    step = jax.jit(
        lambda state, batch: make_step(apply, optimizer, mse, lambda tree, step: step)(
            state, batch, optax.linear_schedule(0.0, 3.0, 3), 1
        )
    )
    state, batch = init_state(params, optimizer), sample(jax.random.key(5))
    data = mse(model.apply({"params": params}, batch[0]), batch[1])
    for expected in (0, 1 * 1, 2 * 2, 3 * 3, 3 * 4):
        state, value = step(state, batch)
        np.testing.assert_allclose(value, data + expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["exact", pytest.param("acti", marks=pytest.mark.slow)])
def test_fit_takes_a_regularizer_in_turns_with_a_schedule(name):
    _, result = train(
        False,
        regularizer=regularizer(name, every=2),
        coefficient=optax.linear_schedule(0.0, 0.1, 30),
        delay=20,
    )
    assert np.isfinite([row["loss"] for row in result.history]).all()


def test_any_function_of_the_tree_and_the_step_is_a_regularizer():
    def largest(tree, step):
        return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree))

    _, with_it = train(False, steps=20, regularizer=largest, coefficient=1.0)
    _, without = train(False, steps=20)
    assert not leaves_equal(with_it.params, without.params)


def test_the_best_parameters_are_kept_and_patience_stops():
    _, result = train(True, steps=400, patience=40, optimizer=optimizer_for(latent=optax.sgd(0.0)))
    assert result.stopped_early
    assert [row["step"] for row in result.history] == [20, 40, 60]
    best = max(row["dice_boolean"] for row in result.history)
    np.testing.assert_allclose(result.score, best)


def test_a_resumed_run_gives_the_numbers_of_an_uninterrupted_one(tmp_path):
    model, _ = network(False)

    def checkpoints(name):
        return Checkpoints(tmp_path / name, model.architecture)

    _, whole = train(False, steps=60, checkpoints=checkpoints("whole"))

    class InterruptedError(Exception):
        pass

    def interrupt(row):
        if row["step"] >= 40:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(False, steps=60, checkpoints=checkpoints("cut"), callback=interrupt)
    _, resumed = train(False, steps=60, checkpoints=checkpoints("cut"))
    assert leaves_equal(whole.state, resumed.state)
    assert whole.history == resumed.history
    assert leaves_equal(whole.params, resumed.params)


def test_checkpoints_of_another_network_or_run_are_refused(tmp_path):
    model, _ = network(False)
    other, _ = network(True)

    def checkpoints(architecture, seed):
        return Checkpoints(tmp_path, architecture, run={"seed": seed})

    train(False, steps=20, checkpoints=checkpoints(model.architecture, 0))
    with pytest.raises(ValueError, match="another training: its names is"):
        train(True, steps=20, checkpoints=checkpoints(other.architecture, 0))
    with pytest.raises(ValueError, match=r"another training: its run is .*here it is {'seed': 1}"):
        train(False, steps=20, checkpoints=checkpoints(model.architecture, 1))


def test_a_checkpoint_of_a_network_with_explicit_padding_is_read_back(tmp_path):
    model = BiMoNN((1,), (2, 2), padding=((1, 0), (0, 1)))
    params = model.init(jax.random.key(0), VALIDATION[0])["params"]
    state = init_state(params, optimizer_for())
    Checkpoints(tmp_path, model.architecture).save(state, [{"step": 0.0}])
    restored, history = Checkpoints(tmp_path, model.architecture).restore(state)
    assert leaves_equal(restored, state)
    assert history == [{"step": 0.0}]


def test_wrong_arguments_and_a_loss_that_explodes_are_named():
    with pytest.raises(ValueError, match=r"score must be one of the metrics .*got 'dcie'"):
        train(False, score="dcie")
    with pytest.raises(ValueError, match="steps must be a whole number >= 1; got 0"):
        train(False, steps=0)
    with pytest.raises(FloatingPointError, match=r"the loss of step 1 is not finite"):
        train(False, loss=lambda prediction, y: jnp.mean(prediction) * jnp.nan)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_named_with_its_step_and_ends_the_training(value, tmp_path):
    model, params = network(False)
    checkpoints = Checkpoints(tmp_path, model.architecture)

    def evaluate(params):
        # Of the starting parameters all is well.
        is_start = params["layers_0"]["bise"].weight == START
        return {"s": jnp.where(jnp.all(is_start), 1.0, value), "other": jnp.float32(jnp.nan)}

    def run(steps, rate):
        return fit(
            partial(apply_layers, model.architecture),
            params,
            sample,
            evaluate,
            loss=mse,
            key=jax.random.key(0),
            steps=steps,
            steps_per_evaluation=2,
            score="s",
            optimizer=optax.sgd(rate),
            checkpoints=checkpoints,
        )

    START = params["layers_0"]["bise"].weight
    # Metrics that choose nothing may be NaN.
    assert np.isnan(run(2, 0.0).history[0]["other"])
    message = rf"the score 's' is {value} after step 4; .* checkpoint, of step 2, is kept"
    with pytest.raises(FloatingPointError, match=message):
        run(6, 1.0)


@pytest.mark.parametrize("name", ["loss", "step"])
def test_metrics_are_not_called_as_what_the_history_has_beside_them(name):
    model, params = network(False)
    with pytest.raises(ValueError, match=f"metrics must not be called {name}: the history"):
        fit(
            partial(apply_layers, model.architecture),
            params,
            sample,
            lambda params: {"s": jnp.float32(1), name: jnp.float32(0)},
            loss=mse,
            key=jax.random.key(0),
            steps=1,
            score="s",
        )


def test_other_keys_numbers_and_data_of_a_training_trace_nothing():
    model, params = network(False)
    apply, traces = partial(apply_layers, model.architecture), 0
    x, y = VALIDATION

    def loss(prediction, y):
        nonlocal traces
        traces += 1
        return mse(prediction, y)

    penalty = regularizer("uniform")

    def run(key, data, coefficient=0.0, delay=0):
        return fit(
            apply,
            params,
            sample,
            compare(model.architecture, *data, method="constant"),
            loss=loss,
            key=jax.random.key(key),
            steps=4,
            steps_per_evaluation=2,
            score="dice_float",
            regularizer=penalty,
            coefficient=coefficient,
            delay=delay,
        )

    first = run(0, (x, y))
    assert traces == 1
    others = [run(1, (x, y)), run(0, (y, x)), run(0, (x, y), 0.5, 1), run(0, (x, y), 0.5, 4)]
    assert traces == 1
    # Each has been given what it was to have.
    losses = [result.history[-1]["loss"] for result in (first, *others)]
    assert losses[1] != losses[0]
    assert others[1].history[-1]["dice_float"] != first.history[-1]["dice_float"]
    assert losses[2] == losses[0]
    assert losses[3] > losses[0]
    assert losses[4] == losses[0]
    assert leaves_equal(run(0, (x, y)).state, first.state)


def test_batches_of_nothing_are_refused():
    model, params = network(False)
    with pytest.raises(ValueError, match=r"batches of nothing: .* \[\(0, 10, 10, 1\), "):
        fit(
            partial(apply_layers, model.architecture),
            params,
            lambda key: (VALIDATION[0][:0], VALIDATION[1][:0]),
            compare(model.architecture, *VALIDATION),
            loss=mse,
            key=jax.random.key(0),
            steps=1,
            score="dice_float",
        )
    with pytest.raises(ValueError, match=r"at least one; got the shapes \(0, 10, 10, 1\)"):
        compare(model.architecture, VALIDATION[0][:0], VALIDATION[1][:0])


@pytest.mark.parametrize("boolean", [False, True])
def test_trainings_go_on_from_checkpoints_with_float64_on(boolean, tmp_path):
    with jax.enable_x64(True):
        model, params = network(boolean)
        evaluation = compare(model.architecture, *VALIDATION, method="constant")

        def run(steps):
            return fit(
                partial(apply_layers, model.architecture),
                params,
                sample,
                evaluation,
                loss=mse,
                key=jax.random.key(0),
                steps=steps,
                steps_per_evaluation=2,
                score="dice_boolean",
                regularizer=regularizer("uniform"),
                coefficient=0.1,
                checkpoints=Checkpoints(tmp_path, model.architecture),
            )

        before, after = run(2), run(4)
    assert [row["step"] for row in after.history] == [2, 4]
    assert before.history == after.history[:1]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(after.params))


def test_activated_share_and_live_neurons():
    model, params = network(True)
    assert activated_share(params) == 1
    boolean = binarize(params)
    with pytest.raises(ValueError, match=r"no real-valued neurons.* before it was binarized"):
        activated_share(boolean)
    bise = boolean["layers_0"]["bise"]
    assert live_neurons(model.architecture, boolean, VALIDATION[0])["layers_0"].all()
    boolean["layers_0"]["bise"] = bise.replace(footprint=jnp.zeros_like(bise.footprint))
    assert not live_neurons(model.architecture, boolean, VALIDATION[0])["layers_0"].any()


def test_warmup_cosine_rises_then_falls_to_a_twentieth():
    schedule = warmup_cosine(2.0, 100, warmup=10)
    values = [float(schedule(step)) for step in range(101)]
    assert math.isclose(values[0], 0)
    assert math.isclose(max(values), 2.0, rel_tol=1e-6)
    assert values.index(max(values)) == 10
    assert math.isclose(values[-1], 0.1, rel_tol=1e-5)


def fit_number(loss, **options):
    """A training of one number, whose score never changes."""
    return fit(
        lambda p, x: p * x,
        jnp.float32(1),
        lambda key: (jnp.ones(1), jnp.zeros(1)),
        lambda p: {"score": jnp.float32(0)},
        **{"loss": loss, "key": jax.random.key(0), "steps": 3, "score": "score", **options},
    )


def test_losses_whose_sum_overflows_have_a_mean():
    result = fit_number(lambda y, _: 0 * jnp.sum(y) + jnp.float32(2e38))
    np.testing.assert_allclose(result.history[-1]["loss"], 2e38, rtol=1e-6)


def test_parameters_that_are_not_finite_are_named_though_the_loss_is():
    # The slope of the root at 0 is infinite, and 0 times that is not a number.
    with pytest.raises(FloatingPointError, match=r"after step 1 these parameters are not finite"):
        fit_number(lambda y, _: jnp.sqrt(jnp.sum(0 * y)), steps=1)


def test_numbers_of_steps_must_be_whole():
    with pytest.raises(ValueError, match=r"steps must be a whole number >= 1; got 2\.5"):
        fit_number(lambda y, _: jnp.sum(y), steps=2.5)
