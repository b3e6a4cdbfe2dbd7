"""Trainings per second: many vmapped in one program against the same ones one by one.

    python -m experiments.sweep_speed --data_dir=...

Each row trains the same trials of the paper's network, ``chunk`` at a time; compilation is not
counted, and each row compiles once.
"""

from functools import partial

import jax.numpy as jnp
from absl import app, flags

from bimonn_jax import apply_layers
from bimonn_jax.data.classification import choose_thresholds
from bimonn_jax.data.samples import batches
from bimonn_jax.morphology.levels import LevelThresholds
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import error_percent
from bimonn_jax.training.sweep import Run, run_in_chunks, stack_trials, train_trials
from experiments.classification_flags import Labelled, load, relaxed_model, split
from experiments.timing import device_name, median_seconds

FEATURES = flags.DEFINE_list("features", ["32", "128", "512"], "Hidden neurons.")
TRIALS = flags.DEFINE_integer("trials", 16, "Trained in each row.", lower_bound=1)
CHUNKS = flags.DEFINE_list("chunks", ["1", "4", "16"], "How many at a time; 1 is one by one.")
STEPS = flags.DEFINE_integer("steps", 100, "Of each trial.", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", 64, "Images per step.", lower_bound=1)
RUNS = flags.DEFINE_integer("runs", 3, "The median counts.", lower_bound=1)


def training(
    thresholds: LevelThresholds, train: Labelled, validation: Labelled, features: int
) -> Run:
    """The training of many trials of the paper's network at once."""
    classes = int(jnp.max(train[1])) + 1
    model = relaxed_model(thresholds, train[0], features, classes, "identity")
    return train_trials(
        partial(apply_layers, model.architecture),
        lambda key: model.init(key, train[0][:1])["params"],
        batches(*train, BATCH.value),
        lambda params: {"accuracy": 100 - error_percent(model.architecture, params, *validation)},
        loss=cross_entropy(),
        steps=STEPS.value,
        score="accuracy",
    )


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    data = load()
    train, (images, labels) = split(data)
    thresholds = choose_thresholds(data.train_images, 1)
    numbers = {"learning_rate": 1e-3, "coefficient": 0.0, "delay": 0.0}
    trials = stack_trials([{"seed": float(seed)} | numbers for seed in range(TRIALS.value)])
    print(f"{data.name}, {device_name()}, {STEPS.value} steps, batches of {BATCH.value}")
    print(f"{'neurons':>8}{'at a time':>11}{'trials/s':>10}{'ratio':>7}")
    for features in map(int, FEATURES.value):
        run = training(thresholds, train, (images[:1000], labels[:1000]), features)
        rates = []
        for chunk in map(int, CHUNKS.value):
            seconds = median_seconds(run_in_chunks, run, trials, chunk, runs=RUNS.value)
            rates.append(len(trials) / seconds)
            print(f"{features:>8}{chunk:>11}{rates[-1]:>10.2f}{rates[-1] / rates[0]:>7.2f}")


if __name__ == "__main__":
    app.run(main)
