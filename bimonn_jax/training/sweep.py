"""Many trainings in one compiled program: what a sweep varies is traced and vmapped.

Trials of one program share shapes and static choices (network, reparametrization, loss,
regularizer); they differ in the numbers of a `Trials`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bimonn_jax._support.pytrees import pytree, static
from bimonn_jax.data.samples import Sample
from bimonn_jax.training.compiled import compiled
from bimonn_jax.training.loop import (
    Apply,
    Evaluate,
    TrainState,
    check_batch,
    check_metrics,
    init_state,
    make_step,
)
from bimonn_jax.training.losses import Loss
from bimonn_jax.training.optimizers import optimizer_for
from bimonn_jax.training.regularization import Regularizer

_LOG = logging.getLogger(__name__)


@pytree
class Trials:
    """What each of K trials trains with; arrays of shape (K,), or scalars for one trial.

    Attributes:
      seed: int; of its start and of its batches.
      learning_rate: float; Adam's.
      coefficient: float; of the regularizer.
      delay: int; the step from which the regularizer acts.
    """

    seed: jax.Array
    learning_rate: jax.Array
    coefficient: jax.Array
    delay: jax.Array

    def __len__(self) -> int:
        """How many trials there are."""
        return int(np.shape(self.seed)[0])


# What `train_trials` builds.
Run = Callable[[Trials], Mapping[str, jax.Array]]


@pytree
class _Training:
    """What trials share: the arguments of `train_trials`, and the steps of the evaluations."""

    apply: Apply
    init: Callable[[jax.Array], Any]
    sample: Sample
    evaluate: Evaluate
    loss: Loss
    regularizer: Regularizer | None
    ends: np.ndarray
    score: str = static()


def train_trials(
    apply: Apply,
    init: Callable[[jax.Array], Any],
    sample: Sample,
    evaluate: Evaluate,
    *,
    loss: Loss,
    steps: int,
    score: str,
    evaluations: int = 1,
    regularizer: Regularizer | None = None,
) -> Run:
    """Builds the training of many trials at once.

    Args:
      apply: (params, x) -> prediction.
      init: key -> params.
      sample: key -> (x, y), a batch.
      evaluate: params -> scalars by name, none of them called "loss" or "step".
      loss: (prediction, y) -> scalar.
      steps: of each trial.
      score: name of the metric by which a trial's best evaluation is chosen.
      evaluations: how many, evenly over the steps; the last one is at their end.
      regularizer: see `bimonn_jax.regularizer`.

    Returns:
      A compiled function of `Trials` (K,) -> the metrics of each trial at its best evaluation, (K,)
      floats. It compiles once per K, also for other data (see `bimonn_jax.fit`). A trial
      ends where its loss or its score is not finite: its best evaluation until then counts, and if
      there is none, all its metrics are NaN.

    Raises:
      ValueError: if the evaluations are not between 1 and the steps; when called, if the score is
        no metric, a metric is called "loss" or "step", or batches are empty.
    """
    if not 1 <= evaluations <= steps:
        raise ValueError(f"evaluations must be between 1 and steps = {steps}; got {evaluations}")
    ends = np.linspace(0, steps, evaluations + 1).round()[1:].astype(np.int32)
    training = _Training(apply, init, sample, evaluate, loss, regularizer, ends, score)
    return compiled(_train_all, training)


def _train_all(training: _Training, trials: Trials) -> dict[str, jax.Array]:
    return jax.vmap(lambda trial: _train(training, trial))(trials)


def _train(training: _Training, trial: Trials) -> dict[str, jax.Array]:
    optimizer = optimizer_for(real=optax.adam(trial.learning_rate))
    step = make_step(training.apply, optimizer, training.loss, training.regularizer)
    init_key, batch_key = jax.random.split(jax.random.key(trial.seed))
    state = init_state(training.init(init_key), optimizer)

    def metrics_of(params: Any) -> dict[str, jax.Array]:
        metrics = training.evaluate(params)
        check_metrics(metrics, training.score)
        return {name: jnp.asarray(value, float) for name, value in metrics.items()}

    def one(carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        batch = training.sample(jax.random.fold_in(batch_key, carry[0].step))
        check_batch(batch)
        state, value = step(carry[0], batch, trial.coefficient, trial.delay)
        return state, jnp.isfinite(value)

    def stage(carry: Any, end: jax.Array) -> tuple[Any, None]:
        state, is_finite, best = carry
        state, is_finite = jax.lax.while_loop(
            lambda carry: (carry[0].step < end) & carry[1], one, (state, is_finite)
        )
        metrics = metrics_of(state.params)
        is_finite &= jnp.isfinite(metrics[training.score])
        is_first = jnp.isnan(best[training.score])
        is_better = is_finite & (is_first | (metrics[training.score] >= best[training.score]))
        best = {name: jnp.where(is_better, v, best[name]) for name, v in metrics.items()}
        return (state, is_finite, best), None

    shapes = jax.eval_shape(metrics_of, state.params)
    nothing = {name: jnp.full(v.shape, jnp.nan, v.dtype) for name, v in shapes.items()}
    start: Any = state, jnp.bool_(True), nothing
    (_, _, best), _ = jax.lax.scan(stage, start, jnp.asarray(training.ends))
    found: dict[str, jax.Array] = best
    return found


def run_in_chunks(run: Run, trials: Trials, chunk: int) -> dict[str, np.ndarray]:
    """``run(trials)``, ``chunk`` at a time, the last ones repeated to fill up the last chunk.

    Where the device's memory does not suffice, the chunk is halved, with a warning in the log, and
    the run goes on.

    Args:
      run: see `train_trials`.
      trials: (K,).
      chunk: as many as fit into the device's memory.

    Returns:
      The metrics of each trial, (K,).

    Raises:
      ValueError: if there are no trials or ``chunk`` is not positive.
      FloatingPointError: if the metrics of all trials are all NaN.
      jax.errors.JaxRuntimeError: if the memory does not suffice for one trial.
    """
    count = len(trials)
    if chunk < 1 or count < 1:
        raise ValueError(f"chunk and the number of trials must be >= 1; got {chunk} and {count}")
    parts: list[dict[str, np.ndarray]] = []
    start = 0
    while start < count:
        index = np.minimum(np.arange(start, start + chunk), count - 1)
        try:
            part = run(jax.tree.map(lambda v, index=index: jnp.asarray(v)[index], trials))
            parts.append({name: np.asarray(values) for name, values in part.items()})
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or chunk == 1:
                raise
            _LOG.warning("%d trials at once exceed the memory: going on with %d", chunk, chunk // 2)
            chunk //= 2
            continue
        start += chunk
    found = {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
    _name_broken(trials, np.all([np.isnan(values) for values in found.values()], axis=0))
    return found


def _name_broken(trials: Trials, is_broken: np.ndarray) -> None:
    """Logs which trials ended without a finite loss and score; an error if all of them did."""
    if not is_broken.any():
        return
    index = int(is_broken.argmax())
    numbers = ", ".join(f"{f.name} {getattr(trials, f.name)[index]}" for f in fields(Trials))
    message = (
        f"{is_broken.sum()} of {len(trials)} trials have no evaluation before their loss or their "
        f"score is not finite; the first of them is trial {index}: {numbers}"
    )
    if is_broken.all():
        raise FloatingPointError(f"{message}. Lower the learning rates, or look at the metrics")
    _LOG.warning("%s", message)


def stack_trials(trials: list[dict[str, float]]) -> Trials:
    """Trials from one dictionary each."""
    kinds = {"seed": jnp.uint32, "delay": jnp.int32}
    return Trials(
        **{
            f.name: jnp.asarray([t[f.name] for t in trials], kinds.get(f.name, jnp.float32))
            for f in fields(Trials)
        }
    )
