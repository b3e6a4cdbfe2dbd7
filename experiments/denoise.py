"""Learns a filter that removes noise, binarises and certifies it, and saves what it found.

    python -m experiments.denoise --out_dir=out/sticks
    python -m experiments.denoise --data=page --out_dir=out/page
    python -m experiments.denoise --input=scans/ --target=clean/ --out_dir=out/own

``--recipe=boolean`` trains through the binarisation, ``--recipe=paper`` relaxed;
``--recipe=search``, the default for scans and own images, searches for hit-or-miss transforms.
``--input`` and ``--target`` are folders of images (PNG, TIFF, JPEG, ...) of the same names and
sizes, or one file each; `experiments.apply` runs what was learned on other images. Writes
metrics.json, network.npz (the boolean network), report.html, pictures, TensorBoard events and,
while training, a checkpoint from which an interrupted run goes on.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np
from absl import app, flags

from bimonn_jax import binarize, certify, summary
from bimonn_jax._support.files import printable, user_path
from bimonn_jax.binarization import Certificate, Summary
from bimonn_jax.binarization.pruning import prune
from bimonn_jax.binarization.simplification.passes import simplify
from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.image_pairs import OnError
from bimonn_jax.deployment.packed import packed_by_shape
from bimonn_jax.morphology.footprints import same_up_to_translation, stick_footprints
from bimonn_jax.networks.architecture import Architecture, apply_layers
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.training.checkpoints import Checkpoints
from bimonn_jax.training.metrics import activated_share, dice
from bimonn_jax.training.recipes import Recipe, learn, relaxed
from bimonn_jax.training.regularization import NAMES, regularizer
from bimonn_jax.training.search import ROUNDS, search_hit_or_miss
from bimonn_jax.viz import plot_footprints, plot_history, plot_images, plot_network, plot_stages
from experiments import output
from experiments.denoise_tasks import Images, Task, dice_of_all, page_task, pairs_task, sticks_task
from experiments.flag_checks import refuse_unused
from experiments.image_flags import ON_ERROR, reading_of_flags
from experiments.report import write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECIPE = flags.DEFINE_enum(
    "recipe", None, ["boolean", "paper", "search"], "How to learn; a default for each --data."
)
DATA = flags.DEFINE_enum("data", "sticks", ["sticks", "page", "text"], "What to learn from.")
INPUT = flags.DEFINE_string("input", None, "Folder of degraded images, in place of --data.")
TARGET = flags.DEFINE_string("target", None, "Folder of the clean images of the same names.")
LEVELS = flags.DEFINE_integer(
    "level_sets", 0, "The network reads this many gray levels of --input; 0: it is thresholded.",
    lower_bound=0,
)  # fmt: skip
SEED = flags.DEFINE_integer("seed", 0, "Seed of data, noise and start.")
STEPS = flags.DEFINE_integer("steps", None, "Training steps; a default per recipe.", lower_bound=1)
REGULARIZER = flags.DEFINE_enum("regularizer", "none", ["none", *NAMES], "With --recipe=paper.")
COEFFICIENT = flags.DEFINE_float("coefficient", 0.01, "Of the regularizer.")
RELATIVE = flags.DEFINE_bool("relative", False, "Whether distances are divided by |W|^2.")
CHANNELS = flags.DEFINE_integer("channels", 3, "Hidden channels, --recipe=paper.", lower_bound=1)

# Side of the part of an image that pictures show.
_SHOWN = 120
# What the search tells of its rounds beside a score.
_PROGRESS = ("penalty", "transforms")


def task_of_flags(key: jax.Array) -> Task:
    """What the flags say to learn from."""
    if INPUT.value is None or TARGET.value is None:
        return sticks_task(key) if DATA.value == "sticks" else page_task(key, DATA.value)
    reading = reading_of_flags(Reading(gray=LEVELS.value > 0))
    return pairs_task(
        INPUT.value,
        TARGET.value,
        reading,
        levels=LEVELS.value,
        on_error=cast(OnError, ON_ERROR.value),
    )


def check_flags(recipe: str, folder: Path) -> None:
    """Raises UsageError for flags that do not go together, or that put results among the images."""
    if (INPUT.value is None) != (TARGET.value is None):
        raise app.UsageError("--input and --target go together: give both, or neither")
    of_images = ("threshold", "foreground", "level_sets", "on_error")
    of_paper = ("regularizer", "coefficient", "relative", "channels")
    unused = {} if INPUT.value else dict.fromkeys(of_images, "without --input")
    if INPUT.value:
        unused["data"] = "with --input"
    if recipe != "paper":
        unused |= dict.fromkeys(of_paper, f"with --recipe={recipe}")
    else:
        if LEVELS.value:
            unused["level_sets"] = "with --recipe=paper, which reads bits"
        if REGULARIZER.value == "none":
            unused |= dict.fromkeys(("coefficient", "relative"), "without --regularizer")
    if recipe == "search":
        unused["steps"] = "with --recipe=search"
    refuse_unused(unused)
    for images in filter(None, (INPUT.value, TARGET.value)):
        path = user_path(images).resolve()
        if folder.resolve() == (path.parent if path.is_file() else path):
            raise app.UsageError(f"--out_dir={folder} holds the images: choose another folder")


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


@dataclass(frozen=True)
class Trained:
    """A network as it was learned, real-valued or boolean already."""

    architecture: Architecture
    params: Any
    history: list[dict[str, float]]
    is_boolean: bool
    seconds: float


def train(folder: Path, task: Task, recipe: Recipe, steps: int) -> Trained:
    """Trains, or goes on where the checkpoint in the folder ends."""
    settings = {
        "data": task.name,
        "seed": SEED.value,
        "steps": steps,
        "regularizer": REGULARIZER.value,
        "coefficient": COEFFICIENT.value,
        "relative": RELATIVE.value,
    }
    if INPUT.value and TARGET.value:
        images = [printable(path) for path in (INPUT.value, TARGET.value)]
        settings |= {"images": images, "level_sets": LEVELS.value}
    if task.reading:
        settings |= {"reading": task.reading.to_json(), **task.notes}
    architecture = recipe.model.architecture
    started = time.perf_counter()
    checkpoints = Checkpoints(folder / "checkpoint", architecture, run=settings)
    result = learn(
        [recipe],
        task.sample,
        task.examples,
        task.validation,
        key=jax.random.key(SEED.value),
        steps=steps,
        patience=max(steps // 2, 1) if recipe.is_boolean else None,
        checkpoints=lambda _: checkpoints,
        callback=output.watch(folder / "events", steps, f"{task.name}, {recipe.name}"),
    ).result
    checkpoints.close()
    seconds = time.perf_counter() - started
    return Trained(architecture, result.params, result.history, recipe.is_boolean, seconds)


def search(folder: Path, task: Task) -> Trained:
    """Searches for hit-or-miss transforms."""
    started = time.perf_counter()
    x, y = task.searched
    found = search_hit_or_miss(
        [np.asarray(image) for image in x],
        [np.asarray(image) for image in y],
        key=jax.random.key(SEED.value),
        thresholds=task.thresholds,
        callback=output.watch(folder / "events", ROUNDS, f"{task.name}, search"),
    )
    seconds = time.perf_counter() - started
    network = found.network
    return Trained(network.architecture, network.params, found.history, True, seconds)


@dataclass(frozen=True)
class Outcome:
    """A learned network: what is written about it."""

    metrics: dict[str, Any]
    certificate: Certificate | str
    layers: Summary
    pruned: Any


def evaluate(folder: Path, task: Task, recipe: str, trained: Trained) -> Outcome:
    """Binarises, certifies, prunes, tests and saves."""
    architecture, params = trained.architecture, trained.params
    certificate = None if recipe == "search" else certify(params, architecture)
    unpruned = binarize(params)

    def score(images: Images) -> Callable[[Any], jax.Array]:
        return lambda tree: dice(apply_layers(architecture, tree, images[0]) > 0.5, images[1])

    def test_score(run: Callable[[jax.Array], jax.Array]) -> float:
        return dice_of_all([run(x) for x, _ in task.test], [y for _, y in task.test])

    def packed(tree: Any) -> Callable[[jax.Array], jax.Array]:
        # Large scans would fill the memory with windows otherwise.
        return packed_by_shape(BooleanNetwork(architecture, tree))

    def smooth(x: jax.Array) -> jax.Array:
        y: jax.Array = apply_layers(architecture, params, x)
        return y > 0.5

    # The search drops what is of little use itself, on more images than those for validation.
    pruned, pruning = unpruned, None
    if recipe != "search":
        pruned, report = prune(unpruned, score(task.validation), architecture=architecture)
        pruning = [report.before, report.after]
    channels = used_channels(architecture, pruned)
    metrics = {
        "data": task.name,
        "recipe": recipe,
        "seed": SEED.value,
        "steps": int(trained.history[-1]["step"]),
        "dice_float": None if trained.is_boolean else test_score(smooth),
        "dice_boolean": test_score(packed(pruned)),
        "dice_boolean_unpruned": None if pruning is None else test_score(packed(unpruned)),
        **task.references,
        # A network that was found as booleans is itself the boolean one.
        "exact": certificate is None or certificate.exact_float32,
        "first_break": certificate.first_break if certificate else None,
        "activated_share": float(activated_share(params)) if certificate else None,
        "live_share": trained.history[-1].get("live_share"),
        "channels_used": len(channels),
        "pruning_validation_dice": pruning,
        "train_seconds": round(trained.seconds, 1),
        **task.notes,
    }
    if task.name == "sticks" and recipe != "search":
        metrics["sticks_recovered"] = sticks_recovered(pruned, channels)
    reading = {} if task.reading is None else {"reading": task.reading.to_json()}
    network = simplify(BooleanNetwork(architecture, pruned))
    save_network(
        folder / "network.npz",
        network.architecture,
        network.params,
        metadata={**metrics, **reading},
        overwrite=True,
    )
    proof = certificate or "The network was found as a boolean one: there is nothing to prove."
    return Outcome(metrics, proof, summary(params, architecture), pruned)


def pictures(folder: Path, task: Task, trained: Trained, pruned: Any) -> "dict[str, Figure]":
    """Figures by name; images come from the saved network, as a user would load it."""
    network = load_network(folder / "network.npz")
    images, targets = task.test[0]
    x, y = images[:1, :_SHOWN, :_SHOWN], targets[0, :_SHOWN, :_SHOWN, 0]
    shown = np.asarray(x[0, ..., 0])
    channels = used_channels(trained.architecture, pruned)[:16]
    rows = footprint_rows(trained.architecture, pruned, channels)
    if task.name == "sticks":
        rows = {"target sticks": list(stick_footprints()), **rows}
    figures = {
        "images": plot_images(
            {
                "input": shown if shown.dtype == np.bool_ else shown / shown.max(initial=1),
                "boolean network": np.asarray(network(x))[0, ..., 0],
                "target": np.asarray(y),
            }
        ),
        "network": plot_network(network, x.shape[1:], x=np.asarray(x)),
        "stages": plot_stages(network, np.asarray(x[0])),
        "curves": plot_history(
            [{n: v for n, v in row.items() if n not in _PROGRESS} for row in trained.history]
        ),
    }
    if channels and len(rows) > (task.name == "sticks"):
        figures["footprints"] = plot_footprints(rows)
    return figures


_CAPTIONS = {
    "images": "A part of the test images: input, output of the boolean network, target.",
    "network": "The boolean network, simplified: its operators and what reads what.",
    "stages": "The same input on its way through the network.",
    "footprints": "Footprints of the channels that are left after pruning.",
    "curves": "The learning, step by step.",
}


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    is_sticks = INPUT.value is None and DATA.value == "sticks"
    recipe = RECIPE.value or ("boolean" if is_sticks else "search")
    check_flags(recipe, user_path(output.OUT_DIR.value))
    folder = output.prepare(output.OUT_DIR.value, "metrics.json", overwrite=output.OVERWRITE.value)
    task = task_of_flags(jax.random.fold_in(jax.random.key(SEED.value), 1))
    if (folder / "metrics.json").exists():
        # A run that ended begins again; without its metrics, one that is interrupted goes on.
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        (folder / "metrics.json").unlink()
    if recipe == "search":
        trained = search(folder, task)
    elif recipe == "boolean":
        trained = train(folder, task, task.recipe, STEPS.value or task.steps)
    else:
        trained = train(folder, task, paper_recipe(), STEPS.value or 3000)
    outcome = evaluate(folder, task, recipe, trained)
    print(outcome.certificate)
    figures = pictures(folder, task, trained, outcome.pruned)
    write_report(
        folder,
        f"Denoising: {task.name}, {recipe}, seed {SEED.value}",
        table=[outcome.metrics],
        figures={name: (_CAPTIONS[name], figure) for name, figure in figures.items()},
        certificate=outcome.certificate,
        layers=outcome.layers,
    )
    output.write_json(folder / "metrics.json", outcome.metrics)
    for name, value in outcome.metrics.items():
        if value is not None:
            print(f"{name:>24}: {value}")
    print(f"results in {folder}; open {folder / 'report.html'}")


if __name__ == "__main__":
    app.run(main)
