"""Searches the paper's training choices with equal budgets, many trainings in one program.

    python -m experiments.sweep --data_dir=... --out_dir=out/sweep

For every pair of a weight reparametrisation and a regulariser there is one Optuna study of
``--trials`` trials over learning rate, coefficient and delay; the trials of a study are asked for,
trained and told ``--chunk`` at a time, vmapped in one compiled program. Studies live in a journal
file in --out_dir, or in ``--storage``, where several machines may pull from them. A sweep that is
killed goes on where it stopped when it is started again with the same flags.

Writes ``sweep.json`` (a row per trial), ``table.txt``, ``sweep.png`` (the best binarised error by
regulariser, with bootstrap intervals), ``trials.png``, ``report.html`` and TensorBoard events.
Validation chooses; test errors are those of the chosen.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optuna
from absl import app, flags
from optuna.storages.journal import JournalFileBackend

from bimonn_jax import apply_layers, binarize
from bimonn_jax._support.files import write_text
from bimonn_jax.binarization.conversion import METHODS
from bimonn_jax.data.classification import ImageClassification, choose_thresholds
from bimonn_jax.data.samples import batches
from bimonn_jax.morphology.levels import LevelThresholds
from bimonn_jax.neurons.params import named_neurons, weights_of
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import activated_share, error_percent, live_neurons
from bimonn_jax.training.regularization import NAMES, regularizer
from bimonn_jax.training.sweep import Run, run_in_chunks, stack_trials, train_trials
from bimonn_jax.viz import plot_sweep
from bimonn_jax.viz.figures import new_figure
from experiments.classification_flags import SEED, Labelled, load, relaxed_model, split
from experiments.output import OUT_DIR, events, prepare, write_json
from experiments.report import write_report

WEIGHTS = flags.DEFINE_list("weights", ["identity", "positive", "dual"], "Reparametrisations.")
REGULARIZERS = flags.DEFINE_list("regularizers", ["none", *NAMES], "Compared with one another.")
RELATIVE = flags.DEFINE_bool("relative", True, "Regularise relative to |W|^2.")
METHOD = flags.DEFINE_list(
    "method", ["constant", "activable"], "Ways to binarise, of which validation chooses the best."
)
TRIALS = flags.DEFINE_integer("trials", 8, "Of each study.", lower_bound=1)
CHUNK = flags.DEFINE_integer("chunk", 4, "Trials trained at once.", lower_bound=1)
FEATURES = flags.DEFINE_integer("features", 512, "Hidden neurons.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 2000, "Of each trial.", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", 64, "Images per step.", lower_bound=1)
EVALUATIONS = flags.DEFINE_integer("evaluations", 4, "The best counts.", lower_bound=1)
SAMPLER = flags.DEFINE_enum("sampler", "random", ["random", "tpe"], "Optuna's.")
STORAGE = flags.DEFINE_string(
    "storage", "", "Of the studies, such as postgresql+psycopg://... (needs psycopg)."
)
# Refused before any data are read, or trials run.
for _name, _known in (
    ("weights", WEIGHTS.default),
    ("regularizers", REGULARIZERS.default),
    ("method", [method for method in METHODS if method != "qp"]),
):
    flags.register_validator(
        _name,
        lambda values, known=_known: bool(values) and set(values) <= set(known),
        f"one or more of {', '.join(_known)} were expected",
    )

Row = dict[str, Any]
# Thresholds, training and validation images with their labels.
Parts = tuple[LevelThresholds, Labelled, Labelled]


def storage(folder: Path) -> Any:
    """The storage of the studies: that of the flag, or a journal file in the results folder."""
    if STORAGE.value:
        return optuna.storages.get_storage(STORAGE.value)
    backend = JournalFileBackend(str(folder / "studies.journal"))
    return optuna.storages.JournalStorage(backend)


def open_study(store: Any, data: str, weights: str, name: str) -> optuna.Study:
    """The study of one reparametrisation and regulariser, new or as it was left.

    Its title says all that its trials share: those of other data or settings are not read back.
    """
    title = (
        f"{data}/{weights}/{name}/{FEATURES.value}x{STEPS.value}/batch{BATCH.value}"
        f"/{'relative' if RELATIVE.value else 'absolute'}/{'+'.join(METHOD.value)}"
        f"/evaluations{EVALUATIONS.value}/seed{SEED.value}"
    )
    study = optuna.create_study(
        storage=store, study_name=title, direction="maximize", load_if_exists=True
    )
    # A sampler that starts again must not draw the same numbers again.
    seed = SEED.value + 1000 * len(study.trials)
    samplers: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
        "random": optuna.samplers.RandomSampler,
        "tpe": optuna.samplers.TPESampler,
    }
    study.sampler = samplers[SAMPLER.value](seed=seed)
    return study


def completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that count: the first ``--trials`` that were told."""
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return done[: TRIALS.value]


def ask(study: optuna.Study, name: str) -> tuple[optuna.Trial, dict[str, float]]:
    """A new trial and its numbers."""
    trial = study.ask()
    numbers = {
        "seed": float(trial.number + 10_000 * SEED.value),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "coefficient": 0.0,
        "delay": 0.0,
    }
    if name != "none":
        numbers["coefficient"] = trial.suggest_float("coefficient", 1e-3, 1.0, log=True)
        numbers["delay"] = STEPS.value * trial.suggest_float("delay", 0.0, 0.75)
    return trial, numbers


def build(data: ImageClassification, parts: Parts, weights: str, name: str) -> Run:
    """The training of one reparametrisation and regulariser, for many trials at once."""
    thresholds, train, validation = parts
    model = relaxed_model(thresholds, train[0], FEATURES.value, data.classes, weights)
    architecture = model.architecture
    test = jnp.asarray(data.test_images), jnp.asarray(data.test_labels)

    def evaluate(params: Any) -> dict[str, jax.Array]:
        metrics = {
            "accuracy_float": 100 - error_percent(architecture, params, *validation),
            "activated_share": activated_share(params),
        }
        accuracies, errors, shares, sizes = [], [], [], []
        for method in METHOD.value:
            boolean = binarize(params, method=method)
            (live,) = live_neurons(architecture, boolean, validation[0][:1000]).values()
            accuracies.append(100 - error_percent(architecture, boolean, *validation))
            errors.append(error_percent(architecture, boolean, *test))
            shares.append(jnp.mean(live.astype(jnp.float32)))
            (neurons,) = named_neurons(boolean).values()
            sizes.append(jnp.median(jnp.sum(weights_of(neurons), axis=0).astype(jnp.float32)))
            metrics[f"accuracy_{method}"] = accuracies[-1]
        best = jnp.argmax(jnp.stack(accuracies))
        return metrics | {
            "accuracy_boolean": jnp.stack(accuracies)[best],
            "test_error_boolean": jnp.stack(errors)[best],
            "live_share": jnp.stack(shares)[best],
            "footprint_size": jnp.stack(sizes)[best],
        }

    return train_trials(
        lambda p, x: apply_layers(architecture, p, x),
        lambda key: model.init(key, train[0][:1])["params"],
        batches(*train, BATCH.value),
        evaluate,
        loss=cross_entropy(),
        steps=STEPS.value,
        score="accuracy_boolean",
        evaluations=EVALUATIONS.value,
        regularizer=None if name == "none" else regularizer(name, relative=RELATIVE.value),
    )


def search(
    study: optuna.Study,
    data: ImageClassification,
    parts: Parts,
    weights: str,
    name: str,
    folder: Path,
) -> None:
    """Brings a study to its number of trials."""
    run = None
    write = events(folder / "events" / study.study_name)
    while (missing := TRIALS.value - len(completed(study))) > 0:
        run = run or build(data, parts, weights, name)
        asked = [ask(study, name) for _ in range(min(CHUNK.value, missing))]
        started = time.perf_counter()
        result = run_in_chunks(run, stack_trials([numbers for _, numbers in asked]), CHUNK.value)
        seconds = (time.perf_counter() - started) / len(asked)
        for i, (trial, _) in enumerate(asked):
            # Named in the log; another is asked for in its place.
            if np.isnan(result["accuracy_boolean"][i]):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            for metric, values in result.items():
                trial.set_user_attr(metric, float(values[i]))
            trial.set_user_attr("seconds", seconds)
            study.tell(trial, float(result["accuracy_boolean"][i]))
            write({"step": trial.number, **{m: float(v[i]) for m, v in result.items()}})
        print(f"{study.study_name}: {len(completed(study))} of {TRIALS.value}", flush=True)


def rows_of(study: optuna.Study, weights: str, name: str) -> list[Row]:
    """A row per trial that counts."""
    return [
        {
            "weights": weights,
            "regularizer": name,
            "trial": trial.number,
            **trial.params,
            **trial.user_attrs,
        }
        for trial in completed(study)
    ]


def best_with_interval(rows: list[Row]) -> tuple[float, float, float]:
    """Test error of the trial that validation chooses, and its 95 % bootstrap interval."""
    accuracy = np.array([row["accuracy_boolean"] for row in rows])
    errors = np.array([row["test_error_boolean"] for row in rows])
    rng = np.random.default_rng(0)
    samples = rng.integers(0, len(rows), (2000, len(rows)))
    chosen = np.take_along_axis(samples, accuracy[samples].argmax(1)[:, None], axis=1)[:, 0]
    low, high = np.quantile(errors[chosen], [0.025, 0.975])
    return float(errors[accuracy.argmax()]), float(low), float(high)


def summarise(rows: list[Row], title: str, folder: Path) -> None:
    """The table and the plot."""
    lines = [title, f"{'weights':<10}{'regulariser':<12}{'test error %':>13}{'interval':>16}"]
    lines[1] += f"{'float':>8}{'activated':>11}{'live':>7}{'size':>6}"
    figure = new_figure(7, 4)
    axes = figure.subplots()
    for at, weights in enumerate(WEIGHTS.value):
        points = []
        for name in REGULARIZERS.value:
            some = [r for r in rows if (r["weights"], r["regularizer"]) == (weights, name)]
            error, low, high = best_with_interval(some)
            best = max(some, key=lambda row: row["accuracy_boolean"])
            points.append((error, error - low, high - error))
            lines.append(
                f"{weights:<10}{name:<12}{error:>13.2f}{f'{low:.1f} to {high:.1f}':>16}"
                f"{100 - best['accuracy_float']:>8.2f}{best['activated_share']:>11.2f}"
                f"{best['live_share']:>7.2f}{best['footprint_size']:>6.0f}"
            )
        x = np.arange(len(points)) + 0.2 * (at - (len(WEIGHTS.value) - 1) / 2)
        errors, below, above = np.array(points).T
        # The chosen trial may lie outside of its own bootstrap interval.
        bars = np.maximum([below, above], 0)
        axes.errorbar(x, errors, yerr=bars, fmt="os^Dv"[at % 5], label=weights, capsize=3)
    axes.set_xticks(range(len(REGULARIZERS.value)), REGULARIZERS.value)
    axes.set(ylabel="test error after binarisation, %", title=title)
    axes.legend(title="weights")
    varied = [n for n in ("learning_rate", "coefficient", "delay") if any(n in r for r in rows)]
    trials = plot_sweep(
        [row | {"test error, %": row["test_error_boolean"]} for row in rows],
        varied,
        "test error, %",
        group="regularizer",
    )
    write_report(
        folder,
        f"Sweep: {title}",
        table=rows,
        figures={
            "sweep": ("The trial that validation chooses, with its bootstrap interval.", figure),
            "trials": ("All trials, against what was varied.", trials),
        },
    )
    text = "\n".join(lines) + "\n"
    write_text(folder / "table.txt", text, overwrite=True)
    print(text)


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Finished trials are read back, so a folder with results is a sweep to go on with.
    folder = prepare(OUT_DIR.value)
    data, store = load(), storage(folder)
    parts = choose_thresholds(data.train_images, 1), *split(data)
    rows: list[Row] = []
    for weights in WEIGHTS.value:
        for name in REGULARIZERS.value:
            study = open_study(store, data.name, weights, name)
            search(study, data, parts, weights, name, folder)
            rows += rows_of(study, weights, name)
    write_json(folder / "sweep.json", rows)
    summarise(rows, f"{data.name}, {FEATURES.value} neurons, {STEPS.value} steps", folder)


if __name__ == "__main__":
    app.run(main)
