"""Learns each operator of the zoo from examples, by some recipes, and prints one table.

    python -m experiments.operators --out_dir=out/operators
    python -m experiments.operators --operators=opening,closing --footprints=disk --out_dir=out/disk

The number of layers and their operators follow from the operator's name, except that a dilation and
an erosion are not told apart; footprints are learned. Writes operators.json with a list of rows,
operators.png, report.html and TensorBoard events.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax import binarize, certify
from bimonn_jax.data.random_shapes import diskorect
from bimonn_jax.morphology.footprints import (
    FOOTPRINTS,
    OPERATORS,
    footprint,
    operator,
)
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.training.metrics import dice
from bimonn_jax.training.recipes import Recipe, learn, openings, relaxed, single, tophat
from bimonn_jax.training.regularization import regularizer
from bimonn_jax.training.search import search_hit_or_miss
from bimonn_jax.viz.figures import new_figure

from .denoise import recovered
from .origin import write_results
from .output import Callback, events, say
from .program import Program, Settings, option
from .report import write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 16

Images = tuple[jax.Array, jax.Array]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """What to learn, and how."""

    operators: tuple[str, ...] = option("Operators to learn.", tuple(OPERATORS))
    footprints: tuple[str, ...] = option("Footprints to learn.", tuple(FOOTPRINTS))
    recipe: tuple[Literal["boolean", "paper", "search"], ...] = option(
        "Recipes, each with a flag of its own.", ("boolean", "paper"), is_repeated=True
    )
    size: int = option("Size of the footprints, odd.", 5)
    seed: int = option("Seed of data and starts.", 0)
    steps: int | None = option("Steps per start; a default per recipe.", None, at_least=1)
    starts: int = option("Starts of the boolean recipe, at most.", 5, at_least=1)
    paper_starts: int = option("Starts of --recipe=paper.", 1, at_least=1)
    coefficient: float = option("Coefficient of its regularizer.", 0.01)
    scale_growth: float = option("By how much its scales grow; 1 for not at all.", 1.0, at_least=1)

    def check(self) -> None:
        """Raises ValueError for unknown names."""
        for name in self.operators:
            operator(name, np.ones((1, 1), bool))
        for name in self.footprints:
            footprint(name, self.size)


def boolean_recipes(name: str, size: int) -> list[Recipe]:
    """The candidate recipes, trained through the binarization, for an operator."""
    if name in ("dilation", "erosion"):
        return [single("dilation", size), single("erosion", size)]
    if name in ("opening", "closing"):
        return [openings(8, size, closing=name == "closing", keep=0.5, learning_rate=6.0)]
    return [tophat(8, size, white=name == "white_tophat")]


def paper_recipe(config: Config, name: str) -> Recipe:
    """The paper's training, with its regularizer relative to |W|^2 in the second half."""
    layers = 1 if name in ("dilation", "erosion") else 2
    return relaxed(
        (1,) * layers,
        config.size,
        learning_rate=2e-2,
        regularizer=regularizer("exact", relative=True),
        coefficient=config.coefficient,
        scale_growth=config.scale_growth,
    )


def is_recovered(name: str, boolean: Any, target: np.ndarray) -> bool | None:
    """Whether the footprint was found: itself for one layer, up to translation for two.

    None for the top-hats, which have no footprint of their own in the network.
    """
    if name.endswith("tophat"):
        return None
    neurons = boolean["layers_0"]["bise"]
    if name not in ("dilation", "erosion"):
        return bool(recovered(boolean, [target], range(neurons.footprint.shape[-1])))
    same_operator = bool(neurons.is_erosion[0, 0]) == (name == "erosion") or target.sum() == 1
    return bool(same_operator and (np.asarray(neurons.footprint)[:, :, 0, 0] == target).all())


# A network as it was learned, real-valued or boolean already: layers, parameters, starts.
Learned = tuple[Architecture, Any, int]


def search(
    config: Config, name: str, sample: Callable[..., Images], key: jax.Array, callback: Callback
) -> Learned:
    """Searches for hit-or-miss transforms, in windows that hold all that the operator reads."""
    sample_key, search_key = jax.random.split(key)
    x, y = (np.asarray(images) for images in sample(sample_key, 64))
    size = config.size if name in ("dilation", "erosion") else 2 * config.size - 1
    network = search_hit_or_miss(
        x, y, key=search_key, kernel_size=size, max_transforms=128, callback=callback
    ).network
    return network.architecture, network.params, 1


def train(
    config: Config,
    recipes: list[Recipe],
    sample: Callable[..., Images],
    keys: jax.Array,
    callback: Callback,
) -> Learned:
    """Trains by the recipe whose validation score is best."""
    example_key, validation_key, learn_key = keys
    x, y = sample(example_key)
    is_boolean = recipes[0].is_boolean
    found = learn(
        recipes,
        sample,
        (x, y),
        sample(validation_key, 64),
        key=learn_key,
        steps=config.steps or (600 if is_boolean else 800),
        starts=config.starts if is_boolean else config.paper_starts,
        stop_score=0.999 if is_boolean else float("inf"),
        patience=300 if is_boolean else None,
        callback=callback,
    )
    return found.recipe.model.architecture, found.result.params, found.starts


def learn_operator(
    config: Config, name: str, footprint_name: str, recipe: str, callback: Callback
) -> Row:
    """Learns one operator by one recipe; returns its row of the table."""
    target = footprint(footprint_name, config.size)
    apply = operator(name, target)

    def sample(key: jax.Array, batch: int = BATCH) -> Images:
        x = diskorect(key, batch)
        return x[..., None], apply(x)[..., None]

    example_key, validation_key, test_key, learn_key = jax.random.split(
        jax.random.key(config.seed), 4
    )
    started = time.perf_counter()
    if recipe == "search":
        architecture, params, starts = search(config, name, sample, learn_key, callback)
    else:
        recipes = [paper_recipe(config, name)]
        if recipe == "boolean":
            recipes = boolean_recipes(name, config.size)
        keys = jnp.stack([example_key, validation_key, learn_key])
        architecture, params, starts = train(config, recipes, sample, keys, callback)
    boolean, exact, is_found = params, True, None
    if recipe != "search":
        boolean = binarize(params)
        exact = certify(params, architecture).exact_float32
        is_found = is_recovered(name, boolean, target)
    seconds = time.perf_counter() - started
    x, y = sample(test_key, 256)
    network = jax.jit(partial(apply_layers, architecture))
    return {
        "operator": name,
        "footprint": footprint_name,
        "recipe": recipe,
        "dice_float": float(dice(network(params, x) > 0.5, y)) if recipe == "paper" else None,
        "dice_boolean": float(dice(network(boolean, x), y)),
        "exact": exact,
        "footprint_recovered": is_found,
        "starts": starts,
        "seconds": round(seconds, 1),
    }


def plot(rows: list[Row], recipes: tuple[str, ...]) -> "Figure":
    """The DICE of every operator and footprint, a mark for each recipe."""
    names = [f"{row['operator']} {row['footprint']}" for row in rows]
    figure = new_figure(7, 0.8 + 0.2 * len(set(names)))
    axes = figure.subplots()
    for recipe_name, mark in zip(recipes, ("ok", "xk", "^k"), strict=False):
        points = [
            (row["dice_boolean"], name)
            for row, name in zip(rows, names, strict=True)
            if row["recipe"] == recipe_name
        ]
        axes.plot(*zip(*points, strict=True), mark, fillstyle="none", label=recipe_name)
    axes.invert_yaxis()
    axes.set(xlabel="DICE after binarization", xlim=(-0.03, 1.03))
    axes.grid(axis="y", color="0.9")
    axes.legend(title="recipe")
    return figure


def run(config: Config, data: None, folder: Path) -> dict[str, Any]:
    """Learns every operator with every footprint by every recipe; returns the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name, of, recipe in product(config.operators, config.footprints, config.recipe):
        with events(folder / "events" / f"{name}-{of}-{recipe}") as callback:
            row = learn_operator(config, name, of, recipe, callback)
        say(f"{name} {of}, {recipe}: DICE {row['dice_boolean']:.4f}, {row['seconds']} s")
        rows.append(row)
        write_results(folder / "operators.json", config, {"rows": rows})
    title = f"Operators of the zoo, size {config.size}, seed {config.seed}"
    caption = "DICE of the boolean network on unseen images."
    figures = {"operators": (caption, plot(rows, config.recipe))}
    write_report(folder, title, config, table=rows, figures=figures)
    return {"rows": rows}


main = Program(Config, run, result="operators.json")

if __name__ == "__main__":
    main()
