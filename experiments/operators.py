"""Learns each operator of the zoo from examples, by some recipes, and prints one table.

    python -m experiments.operators --out_dir=out/operators
    python -m experiments.operators --operators=opening,closing --footprints=disk --out_dir=out/disk

The number of layers and their operators follow from the operator's name, except that a dilation and
an erosion are not told apart; footprints are learned. Writes operators.json, a list of rows,
operators.png, report.html and TensorBoard events.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from absl import app, flags

from bimonn_jax import binarize, certify
from bimonn_jax.data.random_shapes import diskorect
from bimonn_jax.morphology.footprints import (
    FOOTPRINTS,
    OPERATORS,
    footprint,
    operator,
    same_up_to_translation,
)
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.training.metrics import dice
from bimonn_jax.training.recipes import Recipe, learn, openings, relaxed, single, tophat
from bimonn_jax.training.regularization import regularizer
from bimonn_jax.training.search import search_hit_or_miss
from bimonn_jax.viz.figures import new_figure
from experiments import output
from experiments.report import write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPERATOR_NAMES = flags.DEFINE_list("operators", list(OPERATORS), "Operators to learn.")
FOOTPRINT_NAMES = flags.DEFINE_list("footprints", list(FOOTPRINTS), "Footprints to learn.")
RECIPES = flags.DEFINE_multi_enum(
    "recipe", ["boolean", "paper"], ["boolean", "paper", "search"], "Recipes."
)
SIZE = flags.DEFINE_integer("size", 5, "Size of the footprints, odd.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of data and starts.")
STEPS = flags.DEFINE_integer("steps", None, "Steps per start; a default per recipe.", lower_bound=1)
STARTS = flags.DEFINE_integer("starts", 5, "Starts of the boolean recipe, at most.", lower_bound=1)

BATCH = 16

Images = tuple[jax.Array, jax.Array]


def boolean_recipes(name: str, size: int) -> list[Recipe]:
    """The candidate recipes, trained through the binarisation, for an operator."""
    if name in ("dilation", "erosion"):
        return [single("dilation", size), single("erosion", size)]
    if name in ("opening", "closing"):
        return [openings(8, size, closing=name == "closing", keep=0.5, learning_rate=6.0)]
    return [tophat(8, size, white=name == "white_tophat")]


def paper_recipe(name: str, size: int) -> Recipe:
    """The paper's training, with its regulariser relative to |W|^2 in the second half."""
    layers = 1 if name in ("dilation", "erosion") else 2
    exact = regularizer("exact", relative=True)
    return relaxed((1,) * layers, size, learning_rate=2e-2, regularizer=exact)


def is_recovered(name: str, boolean: Any, target: np.ndarray) -> bool | None:
    """Whether the footprint was found: itself for one layer, up to translation for two.

    None for the top-hats, which have no footprint of their own in the network.
    """
    if name.endswith("tophat"):
        return None
    first = np.asarray(boolean["layers_0"]["bise"].footprint)[:, :, 0]
    if name in ("dilation", "erosion"):
        is_erosion = bool(boolean["layers_0"]["bise"].is_erosion[0, 0])
        same_operator = is_erosion == (name == "erosion") or int(target.sum()) == 1
        return same_operator and bool((first[..., 0] == target).all())
    return any(same_up_to_translation(target, first[..., c]) for c in range(first.shape[-1]))


def search(
    name: str, sample: Callable[..., Images], key: jax.Array, write: output.Callback
) -> BooleanNetwork:
    """Searches for hit-or-miss transforms, in windows that hold all that the operator reads."""
    sample_key, search_key = jax.random.split(key)
    x, y = (np.asarray(images[..., 0]) for images in sample(sample_key, 64))
    size = SIZE.value if name in ("dilation", "erosion") else 2 * SIZE.value - 1
    return search_hit_or_miss(
        x, y, key=search_key, kernel_size=size, max_transforms=128, callback=write
    ).network


def learn_operator(
    folder: Path, name: str, footprint_name: str, recipe_name: str
) -> dict[str, Any]:
    """Learns one operator by one recipe; returns its row of the table."""
    target = footprint(footprint_name, SIZE.value)
    apply = operator(name, target)

    def sample(key: jax.Array, batch: int = BATCH) -> Images:
        x = diskorect(key, batch)
        return x[..., None], apply(x)[..., None]

    example_key, validation_key, test_key, learn_key = jax.random.split(
        jax.random.key(SEED.value), 4
    )
    examples = sample(example_key)
    is_boolean = recipe_name == "boolean"
    write = output.events(folder / "events" / f"{name}-{footprint_name}-{recipe_name}")
    started = time.perf_counter()
    starts, exact, recovered = 1, True, None
    if recipe_name == "search":
        network = search(name, sample, learn_key, write)
        architecture = network.architecture
        params = boolean = network.params
    else:
        learned = learn(
            boolean_recipes(name, SIZE.value) if is_boolean else [paper_recipe(name, SIZE.value)],
            sample,
            (examples[0][..., 0], examples[1][..., 0]),
            sample(validation_key, 64),
            key=learn_key,
            steps=STEPS.value or (600 if is_boolean else 800),
            starts=STARTS.value if is_boolean else 1,
            stop_score=0.999 if is_boolean else float("inf"),
            patience=300 if is_boolean else None,
            callback=write,
        )
        architecture, params = learned.recipe.model.architecture, learned.result.params
        boolean, starts = binarize(params), learned.starts
        exact = certify(params, architecture).exact_float32
        recovered = is_recovered(name, boolean, target)
    seconds = time.perf_counter() - started
    x, y = sample(test_key, 256)
    run = jax.jit(partial(apply_layers, architecture))
    return {
        "operator": name,
        "footprint": footprint_name,
        "recipe": recipe_name,
        "dice_float": float(dice(run(params, x) > 0.5, y)) if recipe_name == "paper" else None,
        "dice_boolean": float(dice(run(boolean, x), y)),
        "exact": exact,
        "footprint_recovered": recovered,
        "starts": starts,
        "seconds": round(seconds, 1),
    }


def table_line(row: dict[str, Any]) -> str:
    """One row as text."""
    float_dice = "   -  " if row["dice_float"] is None else f"{row['dice_float']:.4f}"
    recovered = {True: "yes", False: "no", None: "-"}[row["footprint_recovered"]]
    return (
        f"{row['operator']:<13}{row['footprint']:<17}{row['recipe']:<9}{float_dice}  "
        f"{row['dice_boolean']:.4f}  {'yes' if row['exact'] else 'no':<6}{recovered:<10}"
        f"{row['seconds']:>8.1f}"
    )


def plot(rows: list[dict[str, Any]]) -> "Figure":
    """The DICE of every operator and footprint, a mark for each recipe."""
    names = [f"{row['operator']} {row['footprint']}" for row in rows]
    figure = new_figure(7, 0.8 + 0.2 * len(set(names)))
    axes = figure.subplots()
    for recipe_name, mark in zip(RECIPES.value, ("ok", "xk", "^k"), strict=False):
        points = [
            (row["dice_boolean"], name)
            for row, name in zip(rows, names, strict=True)
            if row["recipe"] == recipe_name
        ]
        axes.plot(*zip(*points, strict=True), mark, fillstyle="none", label=recipe_name)
    axes.invert_yaxis()
    axes.set(xlabel="DICE after binarisation", xlim=(-0.03, 1.03))
    axes.grid(axis="y", color="0.9")
    axes.legend(title="recipe")
    return figure


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    folder = output.prepare(
        output.OUT_DIR.value, "operators.json", overwrite=output.OVERWRITE.value
    )
    for name in OPERATOR_NAMES.value:  # Unknown names are refused before anything is learned.
        operator(name, np.ones((1, 1), bool))
    for name in FOOTPRINT_NAMES.value:
        footprint(name, SIZE.value)
    print(f"{'operator':<13}{'footprint':<17}{'recipe':<9}float   boolean exact recovered  seconds")
    rows = []
    for name in OPERATOR_NAMES.value:
        for footprint_name in FOOTPRINT_NAMES.value:
            for recipe_name in RECIPES.value:
                rows.append(learn_operator(folder, name, footprint_name, recipe_name))
                print(table_line(rows[-1]), flush=True)
                output.write_json(folder / "operators.json", rows)
    write_report(
        folder,
        f"Operators of the zoo, size {SIZE.value}, seed {SEED.value}",
        table=rows,
        figures={"operators": ("DICE of the boolean network on unseen images.", plot(rows))},
    )


if __name__ == "__main__":
    app.run(main)
