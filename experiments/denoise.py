"""Learns a filter that removes noise, binarises and certifies it, and saves what it found.

    python -m experiments.denoise --out_dir=out/sticks
    python -m experiments.denoise --data=page --out_dir=out/page

``--recipe=boolean`` trains through the binarisation, ``--recipe=paper`` relaxed. Writes
metrics.json, network.npz (the boolean network), checkpoint/, footprints.png and images.png. A run
that was interrupted goes on from its checkpoint.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from bimonn_jax import binarize, certify
from bimonn_jax.architecture import Architecture, apply_layers
from bimonn_jax.baselines import best_handmade, median_3x3
from bimonn_jax.checkpoints import Checkpoints
from bimonn_jax.data.noisy_sticks import noisy_sticks, stick_footprints, target_operator
from bimonn_jax.data.page import load_page, noisy_crops, salt_and_pepper
from bimonn_jax.evaluation import activated_share
from bimonn_jax.losses import dice
from bimonn_jax.morphology import same_up_to_translation
from bimonn_jax.pruning import prune
from bimonn_jax.recipes import Recipe, hit_or_miss, learn, openings, relaxed
from bimonn_jax.regularization import regularizer
from bimonn_jax.saving import BooleanNetwork, load_network, save_network
from bimonn_jax.simplify import simplify
from bimonn_jax.training import Sample
from bimonn_jax.viz import plot_footprints, plot_images
from experiments import output

RECIPE = flags.DEFINE_enum("recipe", "boolean", ["boolean", "paper"], "How to train.")
DATA = flags.DEFINE_enum("data", "sticks", ["sticks", "page", "text"], "What to learn from.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of data, noise and start.")
STEPS = flags.DEFINE_integer("steps", None, "Training steps; a default per recipe.", lower_bound=1)
REGULARIZER = flags.DEFINE_enum(
    "regularizer", "none", ["none", "exact", "uniform", "normal"], "With --recipe=paper."
)
COEFFICIENT = flags.DEFINE_float("coefficient", 0.01, "Of the regularizer.")
RELATIVE = flags.DEFINE_bool("relative", False, "Whether distances are divided by |W|^2.")
CHANNELS = flags.DEFINE_integer("channels", 3, "Hidden channels, --recipe=paper.", lower_bound=1)

Images = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class Task:
    """Images to learn from and to be judged on.

    Attributes:
      sample: key -> training batch (x, y), bool (N, H, W, 1).
      examples: (x, y) to start from, bool (N, H, W).
      validation: (x, y) that choose and prune, bool (N, H, W, 1).
      test: (x, y) used once, at the end.
      recipe: the boolean recipe.
      steps: of the boolean recipe.
      references: DICE of known filters on the test images.
      notes: other facts for metrics.json.
    """

    sample: Sample
    examples: Images
    validation: Images
    test: Images
    recipe: Recipe
    steps: int
    references: dict[str, float | None]
    notes: dict[str, Any] = field(default_factory=dict)


def sticks_task(key: jax.Array) -> Task:
    """Noisy sticks (see `bimonn_jax.data.noisy_sticks`)."""
    example_key, validation_key, test_key = jax.random.split(key, 3)
    x, y = noisy_sticks(example_key, 16)
    test = noisy_sticks(test_key, 256)
    known = dice(target_operator(test[0][..., 0]), test[1][..., 0])
    return Task(
        # Crops of 40 pixels at the density of the full images: more steps in the same time.
        sample=partial(noisy_sticks, batch=32, size=40, sticks=10),
        examples=(x[..., 0], y[..., 0]),
        validation=noisy_sticks(validation_key, 64),
        test=test,
        recipe=openings(16, 5, min_on=5, max_on=6),
        steps=600,
        references={"dice_noisy": float(dice(*test)), "dice_target_operator": float(known)},
    )


def page_task(key: jax.Array, name: str) -> Task:
    """A real scan with salt-and-pepper noise (see `bimonn_jax.data.page`)."""
    example_key, validation_key, test_key, search_key = jax.random.split(key, 4)
    page = load_page(name)
    clean = jnp.stack([page.training] * 4)
    test = salt_and_pepper(test_key, page.test)
    handmade = best_handmade(salt_and_pepper(search_key, page.training), page.training)

    def batch(image: jax.Array) -> jax.Array:
        return image[None, ..., None]

    return Task(
        sample=partial(noisy_crops, image=page.training, batch=16),
        examples=(salt_and_pepper(example_key, clean), clean),
        validation=(
            batch(salt_and_pepper(validation_key, page.validation)),
            batch(page.validation),
        ),
        test=(batch(test), batch(page.test)),
        recipe=hit_or_miss(64, 5),
        steps=600,
        references={
            "dice_noisy": float(dice(test, page.test)),
            "dice_target_operator": None,
            "dice_median_3x3": float(dice(median_3x3(test), page.test)),
            "dice_best_handmade": float(dice(handmade(test), page.test)),
        },
        notes={"best_handmade": handmade.name},
    )


def paper_recipe() -> Recipe:
    """The paper's network and training, with the regulariser that the flags choose."""
    chosen = None
    if REGULARIZER.value != "none":
        chosen = regularizer(REGULARIZER.value, relative=RELATIVE.value)
    return relaxed((CHANNELS.value, 1), 5, regularizer=chosen, coefficient=COEFFICIENT.value)


def used_channels(architecture: Architecture, boolean: Any) -> list[int]:
    """The inputs that the union at the end of a network still reads."""
    last = architecture[-1].params_of(boolean)["lui"]
    return [int(i) for i in np.flatnonzero(np.asarray(last.footprint).any(axis=1))]


def footprint_rows(
    architecture: Architecture, boolean: Any, channels: list[int]
) -> dict[str, list[np.ndarray]]:
    """The footprints of the used channels, a titled row per layer and input channel."""
    rows = {}
    for layer in architecture:
        neurons = layer.params_of(boolean).get("bise")
        if neurons is None:
            continue
        footprint = np.asarray(neurons.footprint)
        inputs, outputs = footprint.shape[2:]
        operators = np.where(np.asarray(neurons.is_erosion), "erosions", "dilations")
        for i in range(1 if outputs == 1 else inputs):
            # A layer with one output has a neuron per channel, others per channel and input.
            index = [(c, 0) if outputs == 1 else (i, c) for c in channels]
            title = " and ".join(sorted({str(operators[at]) for at in index}))
            of = "" if outputs == 1 or inputs == 1 else f" of input {i}"
            rows[f"{layer.name}: {title}{of}"] = [footprint[:, :, a, b] for a, b in index]
    return rows


def sticks_recovered(boolean: Any, channels: list[int]) -> int:
    """How many of the three target sticks are footprints of the first layer, up to translation."""
    first = np.asarray(boolean["layers_0"]["bise"].footprint)[:, :, 0]
    return sum(
        any(same_up_to_translation(stick, first[..., c]) for c in channels)
        for stick in stick_footprints()
    )


def run(folder: Path, task: Task, recipe: Recipe, steps: int, seed: int) -> dict[str, Any]:
    """Trains, binarises, certifies, prunes, saves; returns the metrics."""
    architecture = recipe.model.architecture
    settings = {
        "data": DATA.value,
        "seed": seed,
        "steps": steps,
        "regularizer": REGULARIZER.value,
        "coefficient": COEFFICIENT.value,
        "relative": RELATIVE.value,
    }
    checkpoints = Checkpoints(folder / "checkpoint", architecture, run=settings)
    started = time.perf_counter()
    learned = learn(
        [recipe],
        task.sample,
        task.examples,
        task.validation,
        key=jax.random.key(seed),
        steps=steps,
        patience=max(steps // 2, 1) if recipe.is_boolean else None,
        checkpoints=lambda _: checkpoints,
        callback=output.progress(steps, f"{DATA.value}, {recipe.name}"),
    )
    seconds = time.perf_counter() - started
    checkpoints.close()
    params = learned.result.params
    certificate = certify(params, architecture)
    print(certificate)
    unpruned = binarize(params)

    def score(images: Images) -> Callable[[Any], jax.Array]:
        return lambda tree: dice(apply_layers(architecture, tree, images[0]) > 0.5, images[1])

    pruned, report = prune(unpruned, score(task.validation))
    test_score = jax.jit(score(task.test))
    channels = used_channels(architecture, pruned)
    metrics = {
        "data": DATA.value,
        "recipe": recipe.name,
        "seed": seed,
        "steps": int(learned.result.state.step),
        "dice_float": None if recipe.is_boolean else float(test_score(params)),
        "dice_boolean": float(test_score(pruned)),
        "dice_boolean_unpruned": float(test_score(unpruned)),
        **task.references,
        "exact": certificate.exact_float32,
        "first_break": certificate.first_break,
        "activated_share": float(activated_share(params)),
        "live_share": learned.result.history[-1]["live_share"],
        "channels_used": len(channels),
        "pruning_validation_dice": [report.before, report.after],
        "train_seconds": round(seconds, 1),
        **task.notes,
    }
    if DATA.value == "sticks":
        metrics["sticks_recovered"] = sticks_recovered(pruned, channels)
    network = simplify(BooleanNetwork(architecture, pruned, metrics))
    save_network(
        folder / "network.npz",
        network.architecture,
        network.params,
        metadata=metrics,
        overwrite=True,
    )
    draw(folder, task, footprint_rows(architecture, pruned, channels[:16]))
    return metrics


def draw(folder: Path, task: Task, rows: dict[str, list[np.ndarray]]) -> None:
    """Writes the pictures; the images come from the saved network, as a user would load it."""
    if DATA.value == "sticks":
        rows = {"target sticks": list(stick_footprints()), **rows}
    if any(rows.values()):
        plot_footprints(rows).savefig(folder / "footprints.png", dpi=150)
    x, y = (np.asarray(images[0, :120, :120, 0]) for images in task.test)
    prediction = np.asarray(load_network(folder / "network.npz")(x[None, ..., None]))[0, ..., 0]
    pictures = {"input": x, "boolean network": prediction, "target": y}
    plot_images(pictures).savefig(folder / "images.png", dpi=150)


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    folder = output.prepare(output.OUT_DIR.value, "metrics.json", overwrite=output.OVERWRITE.value)
    if output.OVERWRITE.value:
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    key = jax.random.fold_in(jax.random.key(SEED.value), 1)
    task = sticks_task(key) if DATA.value == "sticks" else page_task(key, DATA.value)
    recipe = task.recipe if RECIPE.value == "boolean" else paper_recipe()
    default_steps = task.steps if RECIPE.value == "boolean" else 3000
    metrics = run(folder, task, recipe, STEPS.value or default_steps, SEED.value)
    metrics["recipe"] = RECIPE.value
    output.write_json(folder / "metrics.json", metrics)
    for name, value in metrics.items():
        print(f"{name:>24}: {value}")
    print(f"results in {folder}")


if __name__ == "__main__":
    app.run(main)
