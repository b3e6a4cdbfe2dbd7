"""Searches the paper's training choices with equal budgets, many trainings in one program.

    python -m experiments.sweep --data_dir=... --out_dir=out/sweep

For every pair of a weight reparametrization and a regularizer there is one Optuna study of
``--trials`` trials over learning rate, coefficient and delay; the trials of a study are asked for,
trained and told ``--chunk`` at a time, vmapped in one compiled program. Studies live in a journal
file in --out_dir, or in ``--storage``, where several machines may pull from them. A sweep that is
killed goes on where it stopped when it is started again with the same flags.

Writes ``sweep.json`` (a row per trial), ``table.txt``, ``sweep.png`` (the best binarized error by
regularizer, with bootstrap intervals), ``trials.png``, ``report.html`` and TensorBoard events.
Validation chooses; test errors are those of the chosen.
"""

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax import apply_layers, binarize
from bimonn_jax._support.files import write_text
from bimonn_jax.binarization.approximation import METHODS
from bimonn_jax.data.classification import ImageClassification
from bimonn_jax.data.samples import batches
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.neurons.params import named_neurons, weights_of
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import activated_share, error_percent, live_neurons
from bimonn_jax.training.regularization import NAMES, regularizer
from bimonn_jax.training.sweep import Run, run_in_chunks, stack_trials, train_trials
from bimonn_jax.viz import plot_sweep
from bimonn_jax.viz.figures import new_figure

from .classification import Classification, Parts, load, relaxed_model, split
from .origin import write_results
from .output import events, say
from .program import Program, option
from .report import table_text, write_report

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Config(Classification):
    """What is searched, and with which budget."""

    weights: tuple[Literal["identity", "positive", "dual"], ...] = option(
        "Weight reparametrizations.", ("identity", "positive", "dual")
    )
    regularizers: tuple[str, ...] = option(
        "Regularizers, compared with one another.", ("none", *NAMES), choices=("none", *NAMES)
    )
    relative: bool = option("Whether to regularize relative to |W|^2.", True)
    method: tuple[str, ...] = option(
        "Ways to binarize, of which validation chooses the best.",
        ("constant", "activable"),
        choices=[method for method in METHODS if method not in ("qp", "rank")],
    )
    trials: int = option("Trials of each study.", 8, at_least=1)
    chunk: int = option("Trials trained at once.", 4, at_least=1)
    features: int = option("Hidden neurons.", 512, at_least=1)
    steps: int = option("Steps of each trial.", 2000, at_least=1)
    batch: int = option("Images per step.", 64, at_least=1)
    evaluations: int = option("Evaluations of each trial, of which the best counts.", 4, at_least=1)
    sampler: Literal["random", "tpe"] = option("Sampler of Optuna.", "random")
    storage: str = option(
        "Storage of the studies, such as postgresql+psycopg://... (needs psycopg).", ""
    )


def storage(config: Config, folder: Path) -> Any:
    """The storage of the studies: the one asked for, or a journal file in the results folder."""
    from optuna.storages import JournalStorage, get_storage
    from optuna.storages.journal import JournalFileBackend

    if config.storage:
        return get_storage(config.storage)
    return JournalStorage(JournalFileBackend(str(folder / "studies.journal")))


def open_study(
    config: Config, store: Any, data: str, weights: str, name: str
) -> "optuna.study.Study":
    """The study of one reparametrization and regularizer, new or as it was left.

    Its title says all that its trials share: those of other data or settings are not read back.
    """
    import optuna

    title = (
        f"{data}/{weights}/{name}/{config.features}x{config.steps}/batch{config.batch}"
        f"/{'relative' if config.relative else 'absolute'}/{'+'.join(config.method)}"
        f"/evaluations{config.evaluations}/seed{config.seed}"
    )
    study = optuna.create_study(
        storage=store, study_name=title, direction="maximize", load_if_exists=True
    )
    # A sampler that starts again must not draw the same numbers again.
    seed = config.seed + 1000 * len(study.trials)
    samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    study.sampler = samplers[config.sampler](seed=seed)
    return study


def completed(config: Config, study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """The trials that count: the first ``--trials`` that were told."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[: config.trials]


def ask(
    config: Config, study: "optuna.Study", name: str
) -> "tuple[optuna.Trial, dict[str, float]]":
    """A new trial and its numbers."""
    trial = study.ask()
    numbers = {
        "seed": float(trial.number + 10_000 * config.seed),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "coefficient": 0.0,
        "delay": 0.0,
    }
    if name != "none":
        numbers["coefficient"] = trial.suggest_float("coefficient", 1e-3, 1.0, log=True)
        numbers["delay"] = config.steps * trial.suggest_float("delay", 0.0, 0.75)
    return trial, numbers


def tell(study: "optuna.Study", trial: "optuna.Trial", result: Row, seconds: float) -> None:
    """Tells what a trial gave; one that failed, named in the log, is replaced by another."""
    from optuna.trial import TrialState

    if np.isnan(result["accuracy_boolean"]):
        study.tell(trial, state=TrialState.FAIL)
        return
    for metric, value in (result | {"seconds": seconds}).items():
        trial.set_user_attr(metric, value)
    study.tell(trial, result["accuracy_boolean"])


def evaluation(config: Config, architecture: Architecture, parts: Parts) -> Any:
    """The metrics of a trial: the best way to binarize counts, as validation sees it."""
    images = parts.validation[0][:1000]

    def evaluate(params: Any) -> dict[str, jax.Array]:
        metrics = {
            "accuracy_float": 100 - error_percent(architecture, params, *parts.validation),
            "activated_share": activated_share(params),
        }
        ways = []
        for method in config.method:
            boolean = binarize(params, method=method)
            (live,) = live_neurons(architecture, boolean, images).values()
            (neurons,) = named_neurons(boolean).values()
            sizes = jnp.sum(weights_of(neurons), axis=0).astype(jnp.float32)
            accuracy = 100 - error_percent(architecture, boolean, *parts.validation)
            metrics[f"accuracy_{method}"] = accuracy
            ways.append(
                {
                    "accuracy_boolean": accuracy,
                    "test_error_boolean": error_percent(architecture, boolean, *parts.test),
                    "live_share": jnp.mean(live.astype(jnp.float32)),
                    "footprint_size": jnp.median(sizes),
                }
            )
        stacked = jax.tree.map(lambda *values: jnp.stack(values), *ways)
        best = jnp.argmax(stacked["accuracy_boolean"])
        return metrics | {name: values[best] for name, values in stacked.items()}

    return evaluate


def build(config: Config, parts: Parts, weights: str, name: str) -> Run:
    """The training of one reparametrization and regularizer, for many trials at once."""
    model = relaxed_model(parts, config.features, weights)
    architecture = model.architecture
    return train_trials(
        lambda p, x: apply_layers(architecture, p, x),
        lambda key: model.init(key, parts.train[0][:1])["params"],
        batches(*parts.train, config.batch),
        evaluation(config, architecture, parts),
        loss=cross_entropy(),
        steps=config.steps,
        score="accuracy_boolean",
        evaluations=config.evaluations,
        regularizer=None if name == "none" else regularizer(name, relative=config.relative),
    )


def search(
    config: Config, study: "optuna.Study", parts: Parts, pair: tuple[str, str], folder: Path
) -> None:
    """Brings the study of a reparametrization and a regularizer to its number of trials."""
    trainings = None
    with events(folder / "events" / study.study_name) as write:
        while (missing := config.trials - len(completed(config, study))) > 0:
            trainings = trainings or build(config, parts, *pair)
            asked = [ask(config, study, pair[1]) for _ in range(min(config.chunk, missing))]
            started = time.perf_counter()
            trials = stack_trials([numbers for _, numbers in asked])
            result = run_in_chunks(trainings, trials, config.chunk)
            seconds = (time.perf_counter() - started) / len(asked)
            for i, (trial, _) in enumerate(asked):
                row = {metric: float(values[i]) for metric, values in result.items()}
                tell(study, trial, row, seconds)
                if not np.isnan(row["accuracy_boolean"]):
                    write({"step": trial.number, **row})
            say(f"{study.study_name}: {len(completed(config, study))} of {config.trials}")


def rows_of(config: Config, study: "optuna.Study", weights: str, name: str) -> list[Row]:
    """A row per trial that counts."""
    shared = {"weights": weights, "regularizer": name}
    trials = completed(config, study)
    return [shared | {"trial": t.number} | t.params | t.user_attrs for t in trials]


def best_with_interval(rows: list[Row]) -> tuple[float, float, float]:
    """Test error of the trial that validation chooses, and its 95 % bootstrap interval."""
    accuracy = np.array([row["accuracy_boolean"] for row in rows])
    errors = np.array([row["test_error_boolean"] for row in rows])
    rng = np.random.default_rng(0)
    samples = rng.integers(0, len(rows), (2000, len(rows)))
    chosen = np.take_along_axis(samples, accuracy[samples].argmax(1)[:, None], axis=1)[:, 0]
    low, high = np.quantile(errors[chosen], [0.025, 0.975])
    return float(errors[accuracy.argmax()]), float(low), float(high)


def best_rows(config: Config, rows: list[Row]) -> list[Row]:
    """The trial of each study that validation chooses, in percent of errors."""
    chosen = []
    for weights, name in product(config.weights, config.regularizers):
        some = [row for row in rows if (row["weights"], row["regularizer"]) == (weights, name)]
        error, low, high = best_with_interval(some)
        best = max(some, key=lambda row: row["accuracy_boolean"])
        chosen.append(
            {
                "weights": weights,
                "regularizer": name,
                "test error %": error,
                "interval": [low, high],
                "float": 100 - best["accuracy_float"],
                "activated": best["activated_share"],
                "live": best["live_share"],
                "size": best["footprint_size"],
            }
        )
    return chosen


def plot(config: Config, chosen: list[Row], title: str) -> "Figure":
    """The chosen errors with their intervals, by regularizer."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    for at, weights in enumerate(config.weights):
        of_weights = [row for row in chosen if row["weights"] == weights]
        errors = np.array([row["test error %"] for row in of_weights])
        low, high = np.array([row["interval"] for row in of_weights]).T
        x = np.arange(len(errors)) + 0.2 * (at - (len(config.weights) - 1) / 2)
        # The chosen trial may lie outside of its own bootstrap interval.
        bars = np.maximum([errors - low, high - errors], 0)
        axes.errorbar(x, errors, yerr=bars, fmt="os^Dv"[at % 5], label=weights, capsize=3)
    axes.set_xticks(range(len(config.regularizers)), config.regularizers)
    axes.set(ylabel="test error after binarization, %", title=title)
    axes.legend(title="weights")
    return figure


def run(config: Config, data: ImageClassification, folder: Path) -> dict[str, Any]:
    """Searches, or goes on where the studies end; returns the chosen trial of each."""
    import optuna

    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    store, parts = storage(config, folder), split(data)
    rows: list[Row] = []
    for pair in product(config.weights, config.regularizers):
        study = open_study(config, store, data.name, *pair)
        search(config, study, parts, pair, folder)
        rows += rows_of(config, study, *pair)
    title = f"{data.name}, {config.features} neurons, {config.steps} steps"
    write_results(folder / "sweep.json", config, {"data": title, "rows": rows})
    chosen = best_rows(config, rows)
    varied = [n for n in ("learning_rate", "coefficient", "delay") if any(n in r for r in rows)]
    trials = [row | {"test error, %": row["test_error_boolean"]} for row in rows]
    all_trials = plot_sweep(trials, varied, "test error, %", group="regularizer")
    caption = "The trial that validation chooses, with its bootstrap interval."
    write_report(
        folder,
        f"Sweep: {title}",
        config,
        table=rows,
        figures={
            "sweep": (caption, plot(config, chosen, title)),
            "trials": ("All trials, against what was varied.", all_trials),
        },
    )
    write_text(folder / "table.txt", f"{title}\n{table_text(chosen)}\n", overwrite=True)
    return {"data": title, "rows": chosen}


# Finished trials are read back, so a folder with results is a sweep to go on with.
main = Program(Config, run, load=load, extra="sweep")

if __name__ == "__main__":
    main()
