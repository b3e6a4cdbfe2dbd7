"""Learns a filter that removes noise, binarizes and certifies it, and saves what it found.

    python -m experiments.denoise --out_dir=out/sticks
    python -m experiments.denoise --data=page --out_dir=out/page
    python -m experiments.denoise --input=scans/ --target=clean/ --out_dir=out/own

``--recipe=filter``, the default for own images, trains a network of rank neurons over windows for
``--seconds``, see `bimonn_jax.filters.learn_filter`; once it is judged, it is learned again from
all images, for as long. ``--recipe=search``, the default for scans, searches for hit-or-miss
transforms, which are few and can be read. ``--recipe=boolean`` trains through the binarization,
``--recipe=paper`` relaxed.
``--input`` and ``--target`` are folders of images (PNG, TIFF, JPEG, ...) of the same names and
sizes, or one file each; in one folder they are told apart by the ends of their names:

    python -m experiments.denoise --input=scans/ --target_suffix=_clean --out_dir=out/own

`experiments.apply` runs what was learned on other images. Writes
metrics.json, network.npz (the boolean network), report.html, pictures, TensorBoard events and,
while training, a checkpoint from which an interrupted run goes on.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from bimonn_jax import binarize, certify, summary
from bimonn_jax._support.files import printable
from bimonn_jax.binarization import Certificate, fit_ranks
from bimonn_jax.binarization.pruning import prune
from bimonn_jax.binarization.simplification.passes import simplify
from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.image_pairs import load_pairs, split_pairs
from bimonn_jax.deployment.packed import packed_by_shape
from bimonn_jax.filters.learning import LEVELS
from bimonn_jax.morphology.footprints import same_up_to_translation, stick_footprints
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.training.checkpoints import Checkpoints
from bimonn_jax.training.metrics import activated_share, dice
from bimonn_jax.training.recipes import Recipe, learn, relaxed
from bimonn_jax.training.regularization import NAMES, regularizer
from bimonn_jax.training.search import ROUNDS, search_hit_or_miss

from . import denoise_filter
from .denoise_filter import as_bits_where_bilevel, as_filter_reads, reading_of, verdict
from .denoise_pictures import pictures, used_channels
from .denoise_tasks import Images, Task, dice_of_all, page_task, pairs_task, sticks_task
from .origin import write_results
from .output import say, watch
from .program import ImageSettings, Program, option
from .report import write_report


@dataclass(frozen=True, kw_only=True)
class Config(ImageSettings):
    """What to learn from, and how."""

    recipe: Literal["boolean", "filter", "paper", "search"] | None = option(
        "How to learn; by default boolean for sticks, search for scans, filter for own images.",
        None,
    )
    data: Literal["sticks", "page", "text"] = option("What to learn from.", "sticks")
    input: Path | None = option("Folder of degraded images, in place of --data.", None)
    target: Path | None = option(
        "Folder of the clean images of the same names; --input if a suffix is given.", None
    )
    target_suffix: str = option(
        "What names in --target end in, where those in --input end in --input_suffix.", ""
    )
    crop_pairs: int = option(
        "By how many pixels the sizes of a pair may differ; the larger is cut.", 0, at_least=0
    )
    level_sets: int | None = option(
        "How many gray levels of --input the network reads; 0: it is thresholded. By default 4 "
        "where images are gray and the recipe is filter, else 0.",
        None,
        at_least=0,
    )
    seconds: float = option("How long --recipe=filter trains: 10, 60, 600.", 60.0, at_least=1)
    window: int | None = option("Side of its windows, odd; by default 11, for gray 9.", None)
    seed: int = option("Seed of data, noise and start.", 0)
    steps: int | None = option("Training steps; a default per recipe.", None, at_least=1)
    regularizer: str = option("Regularizer of --recipe=paper.", "none", choices=("none", *NAMES))
    coefficient: float = option("Coefficient of the regularizer.", 0.01)
    relative: bool = option("Whether distances are divided by |W|^2.", False)
    channels: int = option("Hidden channels of --recipe=paper.", 3, at_least=1)
    scale_growth: float = option("By how much its scales grow; 1 for not at all.", 1.0, at_least=1)
    fit_ranks: bool = option(
        "Whether its ranks are chosen on validation images, by the network at the end.", False
    )

    def sources(self) -> tuple[Path, ...]:
        """The folders or files of both kinds."""
        return tuple(path for path in (self.input, self.target) if path)

    @property
    def chosen_recipe(self) -> str:
        """The recipe, by default that for the data."""
        by_data = "filter" if self.sources() else "boolean" if self.data == "sticks" else "search"
        return self.recipe or by_data

    @property
    def is_found_as_bits(self) -> bool:
        """Whether the recipe gives bits, of which nothing is left to prove or prune."""
        return self.chosen_recipe in ("filter", "search")

    def check(self) -> None:
        """Raises ValueError for settings that do not go together, or have no effect."""
        is_told_apart = self.target is not None or self.input_suffix or self.target_suffix
        if (self.input is None) != (not is_told_apart):
            raise ValueError(
                "--input and --target go together: give both, or neither; images of one folder "
                "are told apart by --input_suffix and --target_suffix"
            )
        recipe = f"with --recipe={self.chosen_recipe}"
        if self.sources():
            self.refuse_unused("with --input", "data")
        if self.chosen_recipe == "paper":
            self.refuse_unused(f"{recipe}, which reads bits", "level_sets")
            if self.regularizer == "none":
                self.refuse_unused("without --regularizer", "coefficient", "relative")
        else:
            of_paper = "regularizer", "coefficient", "relative", "channels", "scale_growth"
            self.refuse_unused(recipe, *of_paper, "fit_ranks")
        if not self.sources():
            of_images = ("threshold", "foreground", "level_sets", "on_error", "subfolders")
            of_pairs = ("max_megapixels", "crop_pairs")
            self.refuse_unused("without --input", *of_images, *of_pairs)
        if self.chosen_recipe == "search":
            self.refuse_unused(recipe, "steps")
        if self.chosen_recipe != "filter":
            self.refuse_unused(recipe, "seconds", "window")
        elif self.steps:
            self.refuse_unused("with --steps", "seconds")
        if self.window is not None and (self.window < 1 or self.window % 2 == 0):
            raise ValueError(f"--window must be odd and positive; got {self.window}")


def load(config: Config) -> Task:
    """What the settings say to learn from."""
    say("Reading the images and judging filters made by hand.")
    if config.input is None:
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        return sticks_task(key) if config.data == "sticks" else page_task(key, config.data)
    is_filter = config.chosen_recipe == "filter"
    reads_gray = config.level_sets != 0 if is_filter else bool(config.level_sets)
    reading = config.reading(Reading(gray=reads_gray))
    pairs = load_pairs(
        config.input,
        config.target,
        reading,
        suffixes=(config.input_suffix, config.target_suffix),
        subfolders=config.subfolders,
        crop=config.crop_pairs,
        max_pixels=config.max_pixels,
        on_error=config.on_error,
    )
    if is_filter:
        pairs, reading = as_bits_where_bilevel(pairs, reading)
    return pairs_task(split_pairs(pairs), reading, config.level_sets or LEVELS)


def paper_recipe(config: Config) -> Recipe:
    """The paper's network and training, with the regularizer that is chosen."""
    chosen = None
    if config.regularizer != "none":
        chosen = regularizer(config.regularizer, relative=config.relative)
    return relaxed(
        (config.channels, 1),
        5,
        regularizer=chosen,
        coefficient=config.coefficient,
        scale_growth=config.scale_growth,
    )


def recovered(boolean: Any, targets: Iterable[np.ndarray], channels: Iterable[int]) -> int:
    """How many targets are footprints of the first layer's channels, up to translation."""
    first = np.asarray(boolean["layers_0"]["bise"].footprint)[:, :, 0]
    return sum(any(same_up_to_translation(t, first[..., c]) for c in channels) for t in targets)


@dataclass(frozen=True)
class Trained:
    """A network as it was learned, real-valued or boolean already."""

    architecture: Architecture
    params: Any
    history: list[dict[str, float]]
    is_boolean: bool
    seconds: float


def settings_of(config: Config, task: Task, steps: int) -> dict[str, Any]:
    """What must be as it was for a training to go on from its checkpoint."""
    names = ("seed", "regularizer", "coefficient", "relative", "scale_growth")
    settings = {"data": task.name, "steps": steps, **{n: getattr(config, n) for n in names}}
    if config.sources():
        settings["images"] = [printable(path) for path in config.sources()]
        settings |= {"level_sets": config.level_sets, "crop_pairs": config.crop_pairs}
    if task.reading:
        settings |= {"reading": task.reading.to_json(), **task.notes}
    return settings


def train(config: Config, task: Task, recipe: Recipe, steps: int, folder: Path) -> Trained:
    """Trains, or goes on where the checkpoint in the folder ends."""
    architecture = recipe.model.architecture
    settings = settings_of(config, task, steps)
    started = time.perf_counter()
    with (
        Checkpoints(folder / "checkpoint", architecture, run=settings) as checkpoints,
        watch(folder / "events", steps, f"{task.name}, {recipe.name}") as callback,
    ):
        result = learn(
            [recipe],
            task.sample,
            task.examples,
            task.validation,
            key=jax.random.key(config.seed),
            steps=steps,
            patience=max(steps // 2, 1) if recipe.is_boolean else None,
            checkpoints=lambda _: checkpoints,
            callback=callback,
        ).result
    seconds = time.perf_counter() - started
    # At the end, when regularizer and scales have done what they do.
    params = result.state.params if config.fit_ranks else result.params
    return Trained(architecture, params, result.history, recipe.is_boolean, seconds)


def search(config: Config, task: Task, folder: Path) -> Trained:
    """Searches for hit-or-miss transforms."""
    started = time.perf_counter()
    x, y = task.searched
    with watch(folder / "events", ROUNDS, f"{task.name}, search") as callback:
        found = search_hit_or_miss(
            [np.asarray(image) for image in x],
            [np.asarray(image) for image in y],
            key=jax.random.key(config.seed),
            thresholds=task.thresholds,
            callback=callback,
        )
    seconds = time.perf_counter() - started
    network = found.network
    return Trained(network.architecture, network.params, found.history, True, seconds)


def learned(config: Config, task: Task, folder: Path) -> tuple[Trained, Task]:
    """Learns by the recipe; returns the network, and the task with test images as it reads them."""
    if config.chosen_recipe == "filter":
        started = time.perf_counter()
        found, history = denoise_filter.learn(config, task, folder)
        seconds = time.perf_counter() - started
        network = found.network
        trained = Trained(network.architecture, network.params, history, True, seconds)
        judged = as_filter_reads(task, found)
        held_out = {name: round(score, 4) for name, score in found.scores.items()}
        return trained, replace(
            judged, notes={**task.notes, "taken": found.name, "held_out": held_out}
        )
    if config.chosen_recipe == "search":
        return search(config, task, folder), task
    if config.chosen_recipe == "boolean":
        return train(config, task, task.recipe, config.steps or task.steps, folder), task
    return train(config, task, paper_recipe(config), config.steps or 3000, folder), task


def pruned_by(architecture: Architecture, boolean: Any, validation: Images) -> tuple[Any, Any]:
    """The boolean tree without what does not help, and the validation DICE before and after."""
    x, y = validation

    def score(tree: Any) -> jax.Array:
        return dice(apply_layers(architecture, tree, x) > 0.5, y)

    pruned, report = prune(boolean, score, architecture=architecture)
    return pruned, [report.before, report.after]


def dice_on_test(task: Task, trained: Trained, unpruned: Any, pruned: Any) -> dict[str, Any]:
    """DICE on the test images: of the network as trained, binarized, and pruned."""
    architecture = trained.architecture

    def score(network: Callable[[jax.Array], jax.Array]) -> float:
        return dice_of_all([network(x) for x, _ in task.test], [y for _, y in task.test])

    def packed(tree: Any) -> Callable[[jax.Array], jax.Array]:
        # Large scans would fill the memory with windows otherwise.
        return packed_by_shape(BooleanNetwork(architecture, tree))

    def smooth(x: jax.Array) -> jax.Array:
        y: jax.Array = apply_layers(architecture, trained.params, x)
        return y > 0.5

    return {
        "dice_float": None if trained.is_boolean else score(smooth),
        "dice_boolean": score(packed(pruned)),
        "dice_boolean_unpruned": None if pruned is unpruned else score(packed(unpruned)),
    }


def evaluate(
    config: Config, task: Task, trained: Trained, certificate: Certificate | None
) -> tuple[dict[str, Any], Any]:
    """Binarizes, prunes and tests; returns the metrics and the boolean tree."""
    unpruned = binarize(trained.params)
    if config.fit_ranks:
        unpruned = fit_ranks(trained.architecture, trained.params, task.validation[0])
    # The search drops what is of little use itself, on more images than those for validation.
    pruned, pruning = unpruned, None
    if not config.is_found_as_bits:
        pruned, pruning = pruned_by(trained.architecture, unpruned, task.validation)
    channels = used_channels(trained.architecture, pruned)
    metrics = {
        "data": task.name,
        "recipe": config.chosen_recipe,
        "seed": config.seed,
        "steps": int(trained.history[-1]["step"]),
        **dice_on_test(task, trained, unpruned, pruned),
        **task.references,
        # A network that was found as booleans is itself the boolean one.
        "exact": certificate is None or certificate.exact_float32,
        "first_break": certificate.first_break if certificate else None,
        "activated_share": float(activated_share(trained.params)) if certificate else None,
        "live_share": trained.history[-1].get("live_share"),
        # The vote of a filter reads all there is.
        "channels_used": None if config.chosen_recipe == "filter" else len(channels),
        "pruning_validation_dice": pruning,
        "train_seconds": round(trained.seconds, 1),
        **task.notes,
    }
    metrics = {"verdict": verdict(metrics), **metrics}
    if task.name == "sticks" and not config.is_found_as_bits:
        metrics["sticks_recovered"] = recovered(pruned, stick_footprints(), channels)
    return metrics, pruned


def save(
    path: Path, network: BooleanNetwork, reading: Reading | None, metrics: dict[str, Any]
) -> None:
    """Writes the network, with how images are read and what was measured."""
    told = metrics if reading is None else {**metrics, "reading": reading.to_json()}
    save_network(path, network.architecture, network.params, metadata=told, overwrite=True)


def run(config: Config, data: Task, folder: Path) -> dict[str, Any]:
    """Learns, tests and writes everything; returns what metrics.json holds."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "metrics.json").exists():
        # A run that ended begins again; without its metrics, one that is interrupted goes on.
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        (folder / "metrics.json").unlink()
    trained, task = learned(config, data, folder)
    certificate = None
    if not config.is_found_as_bits:
        say("Certifying, pruning and testing.")
        certificate = certify(trained.params, trained.architecture)
        say(str(certificate))
    metrics, boolean = evaluate(config, task, trained, certificate)
    say(f"What was learned is {metrics['verdict']}.")
    network = simplify(BooleanNetwork(trained.architecture, boolean))
    path = folder / "network.npz"
    save(path, network, task.reading, metrics)
    say("Drawing the pictures.")
    # As a user would load it.
    loaded = load_network(path)
    figures, folded = pictures(
        task, loaded, (trained.architecture, boolean), trained.history, metrics
    )
    # Of what was found as booleans there is nothing to prove.
    shown = metrics if certificate else {n: v for n, v in metrics.items() if n != "exact"}
    proof = certificate or "The network was found as a boolean one: there is nothing to prove."
    write_report(
        folder,
        f"Denoising: {data.name}, {config.chosen_recipe}, seed {config.seed}",
        config,
        table=[shown],
        figures=figures,
        folded=folded,
        certificate=proof,
        layers=summary(trained.params, trained.architecture),
    )
    if config.sources() and config.chosen_recipe == "filter":
        say("Learning again, from the images that judged too: that is the network to use.")
        again, _ = denoise_filter.learn(config, data, folder, with_test=True)
        save(path, again.network, reading_of(again, data), metrics)
    write_results(folder / "metrics.json", config, metrics)
    return metrics


main = Program(Config, run, load=load, result="metrics.json")

if __name__ == "__main__":
    main()
