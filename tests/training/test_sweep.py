import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import LUI, NeuronConfig, RealHead, Sequential, binarize
from bimonn_jax._support.random_arrays import bernoulli, normal
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.regularization import regularizer
from bimonn_jax.training.sweep import Trials, run_in_chunks, stack_trials, train_trials

MODEL = Sequential((LUI(12, NeuronConfig("identity", "identity")), RealHead(3)))
X = bernoulli(jax.random.key(0), 0.5, (64, 9))
Y = jnp.argmax(X.astype(jnp.float32) @ normal(jax.random.key(1), (9, 3)), axis=1)


def evaluate(params):
    scores = apply_layers(MODEL.architecture, params, X)
    return {"accuracy": jnp.mean(jnp.argmax(scores, axis=1) == Y)}


def evaluate_binarized(params):
    boolean = apply_layers(MODEL.architecture, binarize(params), X)
    return evaluate(params) | {"accuracy_boolean": jnp.mean(jnp.argmax(boolean, axis=1) == Y)}


def sample(key):
    index = jax.random.randint(key, (16,), 0, 64)
    return X[index], Y[index]


def start(key):
    return MODEL.init(key, X)["params"]


def make(init=start, evaluate=evaluate, **options):
    options = {"steps": 30, "score": "accuracy", "evaluations": 3} | options
    return train_trials(
        lambda p, x: apply_layers(MODEL.architecture, p, x),
        init,
        sample,
        evaluate,
        **{"loss": cross_entropy(), **options},
    )


TRIALS = stack_trials(
    [
        {"seed": seed, "learning_rate": rate, "coefficient": 0.01, "delay": 10}
        for seed, rate in enumerate((1e-3, 1e-2, 3e-2, 1e-1, 1e-2))
    ]
)


@pytest.mark.parametrize(
    "name", ["exact", *(pytest.param(name, marks=pytest.mark.slow) for name in (None, "acti"))]
)
def test_the_chunk_changes_nothing(name):
    compiled = []

    def init(key):
        compiled.append(key)
        return start(key)

    run = make(init, regularizer=name and regularizer(name))
    together = run_in_chunks(run, TRIALS, 5)
    for chunk in (1, 3):
        parts = run_in_chunks(run, TRIALS, chunk)
        for metric, values in together.items():
            np.testing.assert_allclose(parts[metric], values, atol=0.05)
    assert len(compiled) == 3
    assert together["accuracy"].shape == (5,)


def test_each_trial_trains_with_its_own_numbers():
    result = run_in_chunks(make(evaluate=evaluate_binarized, steps=200), TRIALS, 5)
    assert result["accuracy"][0] < result["accuracy"][2]
    assert result["accuracy"].max() > 0.9
    assert ((result["accuracy_boolean"] > 0) & (result["accuracy_boolean"] <= 1)).all()


def test_the_best_evaluation_is_kept():
    only_last = run_in_chunks(make(steps=60, evaluations=1), TRIALS, 5)
    best = run_in_chunks(make(steps=60, evaluations=6), TRIALS, 5)
    assert (best["accuracy"] >= only_last["accuracy"] - 1e-6).all()


def broken_for(*seeds):
    """Metrics whose score is NaN for trials that start from the keys of some seeds."""
    starts = [start(jax.random.split(jax.random.key(seed))[0]) for seed in seeds]

    def evaluate_(params):
        kernel = params["layers_1"]["kernel"]
        # Adam moves no weight by more than the rate in a step.
        far = jnp.stack([jnp.abs(kernel - s["layers_1"]["kernel"]).max() for s in starts])
        return {"accuracy": jnp.where(jnp.any(far < 1e-2), jnp.nan, 0.5)}

    return evaluate_


def test_trials_whose_score_is_not_finite_are_named_and_spoil_no_other(caplog):
    numbers = {"learning_rate": 1e-4, "coefficient": 0.0, "delay": 0.0}
    trials = stack_trials([{"seed": float(seed), **numbers} for seed in range(3)])
    run = make(evaluate=broken_for(1), steps=6)
    with caplog.at_level(logging.WARNING):
        found = run_in_chunks(run, trials, 2)["accuracy"]
    np.testing.assert_array_equal(found, [0.5, np.nan, 0.5])
    assert "1 of 3 trials have no evaluation" in caplog.text
    assert "trial 1: seed 1, learning_rate 9.99" in caplog.text
    with pytest.raises(FloatingPointError, match=r"3 of 3 trials .* trial 0: seed 0, "):
        run_in_chunks(make(evaluate=broken_for(0, 1, 2), steps=6), trials, 3)


def test_a_loss_that_is_not_finite_ends_its_trial_and_the_best_until_then_counts():
    def loss(scores, y):
        return cross_entropy()(scores, y) + jnp.where(jnp.abs(scores).max() > 10, jnp.nan, 0.0)

    def with_largest(params):
        scores = apply_layers(MODEL.architecture, params, X)
        return {**evaluate(params), "largest": jnp.abs(scores).max()}

    slow, fast = ({"learning_rate": rate, "coefficient": 0.0, "delay": 0.0} for rate in (0, 2.0))
    trials = stack_trials([{"seed": 0.0, **slow}, {"seed": 0.0, **fast}])
    # Only the fast one comes to a loss that is not finite.
    largest = run_in_chunks(make(evaluate=with_largest, evaluations=1), trials, 2)["largest"]
    assert largest[0] < 10 < largest[1]
    run = make(loss=loss, evaluate=with_largest, evaluations=30)
    found = run_in_chunks(run, trials, 2)
    assert np.isfinite(found["accuracy"]).all()
    # Scores of a step are judged before it, so one evaluation may lie beyond.
    assert found["largest"][0] < 10
    assert np.isfinite(found["largest"]).all()


@pytest.mark.parametrize("name", ["loss", "step"])
def test_metrics_are_not_called_as_what_the_history_has_beside_them(name):
    run = make(evaluate=lambda params: {"accuracy": jnp.float32(0), name: jnp.float32(0)})
    with pytest.raises(ValueError, match=f"metrics must not be called {name}: "):
        run(TRIALS)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="evaluations must be between 1 and steps = 30; got 31"):
        make(evaluations=31)
    with pytest.raises(ValueError, match=r"score must be one of .*; got 'dice'"):
        make(score="dice")(TRIALS)
    with pytest.raises(ValueError, match="must be >= 1; got 0 and 5"):
        run_in_chunks(make(), TRIALS, 0)
    with pytest.raises(ValueError, match="must be >= 1; got 2 and 0"):
        run_in_chunks(make(), Trials(*[jnp.zeros(0)] * 4), 2)
