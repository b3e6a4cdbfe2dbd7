"""Trainings per second: many vmapped in one program against the same ones one by one.

    python -m experiments.sweep_speed --data_dir=...

Each row trains the same trials of the paper's network, ``chunk`` at a time; compilation is not
counted, and each row compiles once.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from bimonn_jax import apply_layers
from bimonn_jax.data.classification import ImageClassification
from bimonn_jax.data.samples import batches
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import error_percent
from bimonn_jax.training.sweep import Run, run_in_chunks, stack_trials, train_trials

from .classification import Classification, Parts, load, relaxed_model, split
from .output import say
from .program import Program, option
from .timing import device_name, median_seconds


@dataclass(frozen=True, kw_only=True)
class Config(Classification):
    """What is timed."""

    features: tuple[int, ...] = option("Hidden neurons.", (32, 128, 512))
    trials: int = option("Trials trained in each row.", 16, at_least=1)
    chunks: tuple[int, ...] = option("How many at a time; 1 is one by one.", (1, 4, 16))
    steps: int = option("Steps of each trial.", 100, at_least=1)
    batch: int = option("Images per step.", 64, at_least=1)
    runs: int = option("Timed runs, of which the median counts.", 3, at_least=1)


def training(config: Config, parts: Parts, features: int) -> Run:
    """The training of many trials of the paper's network at once."""
    model = relaxed_model(parts, features, "identity")
    judge = partial(error_percent, model.architecture)
    images, labels = (array[:1000] for array in parts.validation)
    return train_trials(
        partial(apply_layers, model.architecture),
        lambda key: model.init(key, parts.train[0][:1])["params"],
        batches(*parts.train, config.batch),
        lambda params: {"accuracy": 100 - judge(params, images, labels)},
        loss=cross_entropy(),
        steps=config.steps,
        score="accuracy",
    )


def run(config: Config, data: ImageClassification, folder: None = None) -> dict[str, Any]:
    """Trials per second by neurons and how many are trained at a time."""
    parts = split(data)
    numbers = {"learning_rate": 1e-3, "coefficient": 0.0, "delay": 0.0}
    trials = stack_trials([{"seed": float(seed)} | numbers for seed in range(config.trials)])
    rows: list[dict[str, Any]] = []
    for features in config.features:
        say(f"Timing {features} neurons.")
        one_run, rates = training(config, parts, features), []
        for chunk in config.chunks:
            seconds = median_seconds(run_in_chunks, one_run, trials, chunk, runs=config.runs)
            rates.append(len(trials) / seconds)
            row = {"neurons": features, "at a time": chunk, "trials/s": rates[-1]}
            rows.append({**row, "ratio": rates[-1] / rates[0]})
    return {"data": data.name, "device": device_name(), "rows": rows}


main = Program(Config, run, load=load, folder="", extra="")

if __name__ == "__main__":
    main()
