import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bimonn_jax import DenseLUI, NeuronConfig, RealHead, Sequential, binarize
from bimonn_jax.architecture import apply_layers
from bimonn_jax.classifiers import cross_entropy
from bimonn_jax.draws import bernoulli, normal
from bimonn_jax.regularization import regularizer
from bimonn_jax.sweep import Trials, run_in_chunks, stack, train_trials

MODEL = Sequential((DenseLUI(12, NeuronConfig("identity", "identity")), RealHead(3)))
X = bernoulli(jax.random.key(0), 0.5, (64, 9))
Y = jnp.argmax(X @ normal(jax.random.key(1), (9, 3)), axis=1)


def evaluate(params):
    scores = apply_layers(MODEL.architecture, params, X)
    boolean = apply_layers(MODEL.architecture, binarize(params), X)
    return {
        "accuracy": jnp.mean(jnp.argmax(scores, axis=1) == Y),
        "accuracy_boolean": jnp.mean(jnp.argmax(boolean, axis=1) == Y),
    }


def sample(key):
    index = jax.random.randint(key, (16,), 0, 64)
    return X[index], Y[index]


def start(key):
    return MODEL.init(key, X)["params"]


def make(init=start, **options):
    options = {"steps": 30, "score": "accuracy", "evaluations": 3} | options
    return train_trials(
        lambda p, x: apply_layers(MODEL.architecture, p, x),
        init,
        sample,
        evaluate,
        loss=cross_entropy(),
        **options,
    )


TRIALS = stack(
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
    result = run_in_chunks(make(steps=200), TRIALS, 5)
    assert result["accuracy"][0] < result["accuracy"][2]
    assert result["accuracy"].max() > 0.9


def test_the_best_evaluation_is_kept():
    only_last = run_in_chunks(make(steps=60, evaluations=1), TRIALS, 5)
    best = run_in_chunks(make(steps=60, evaluations=6), TRIALS, 5)
    assert (best["accuracy"] >= only_last["accuracy"] - 1e-6).all()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="evaluations must be between 1 and steps = 30; got 31"):
        make(evaluations=31)
    with pytest.raises(ValueError, match=r"score must be one of .*; got 'dice'"):
        make(score="dice")(TRIALS)
    with pytest.raises(ValueError, match="must be >= 1; got 0 and 5"):
        run_in_chunks(make(), TRIALS, 0)
    with pytest.raises(ValueError, match="must be >= 1; got 2 and 0"):
        run_in_chunks(make(), Trials(*[jnp.zeros(0)] * 4), 2)
