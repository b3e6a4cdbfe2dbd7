"""A few steps of training: enough to change all parameters."""

import jax

from bimonn_jax.training import fit, mse


def after_a_few_steps(model, params, x, y, **options):
    """The parameters after four steps on one batch."""

    def predict(params, x):
        return model.apply({"params": params}, x)

    return fit(
        predict,
        params,
        lambda key: (x, y),
        lambda params: {"score": -mse(predict(params, x), y)},
        loss=mse,
        key=jax.random.key(2),
        steps=4,
        steps_per_evaluation=2,
        score="score",
        **options,
    ).params
