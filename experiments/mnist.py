"""Trains a classifier of binarized images, binarizes it, and tests the boolean network.

    python -m experiments.mnist --data_dir=... --out_dir=out/mnist

``--recipe=boolean`` (default) and ``--recipe=rank`` are boolean in every forward pass, the first
made of hit-or-miss transforms, the second of rank neurons; ``--recipe=paper`` is the paper's
relaxed network with a real head, binarized by every projection. All are compared with a plain
network of the same size, trained in the same run. Validation chooses the parameters; the test set
is looked at once, by the boolean network that was read back from its file.

Writes ``metrics.json``, ``history.json``, ``network.npz``, ``report.html`` with its pictures
``curves.png``, ``network.png`` and ``stages.png``, and TensorBoard events. Without --data_dir,
TFDS_DATA_DIR or a set in ~/tensorflow_datasets, and without TensorFlow to prepare one, it takes the
8 x 8 digits of scikit-learn, and every output says so.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bimonn_jax import binarize, certify, summary
from bimonn_jax.binarization.approximation import METHODS
from bimonn_jax.binarization.simplification.passes import simplify
from bimonn_jax.data.classification import ImageClassification
from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.samples import Sample, batches
from bimonn_jax.networks.architecture import apply_layers
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.training.classifiers import (
    Convolution,
    Head,
    boolean_classifier,
    rank_classifier,
    rank_loss,
    to_bits,
)
from bimonn_jax.training.loop import FitResult, fit
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import (
    activated_share,
    activated_shares,
    error_percent,
    live_neurons,
)
from bimonn_jax.training.optimizers import (
    mean_over_positions,
    optimizer_for,
    rank_optimizer,
    warmup_cosine,
)
from bimonn_jax.training.ranks import rank_shares
from bimonn_jax.training.regularization import NAMES, regularizer
from bimonn_jax.training.starts import restart_dead, start_from_images
from bimonn_jax.viz import plot_history, plot_network, plot_stages

from .classification import (
    Classification,
    Labeled,
    Parts,
    load,
    refitted,
    relaxed_model,
    share_of_bits,
    split,
)
from .dense_baseline import train_baseline
from .origin import write_results
from .output import say, watch
from .program import Program, option
from .report import everything, write_json, write_report


@dataclass(frozen=True, kw_only=True)
class Config(Classification):
    """The images, the network and its training."""

    recipe: Literal["boolean", "rank", "paper"] = option("What to train.", "boolean")
    head: Head = option("Head of --recipe=boolean.", "ternary")
    convolutions: tuple[str, ...] = option(
        "Convolutions of --recipe=boolean: kernel:features:pool of each, or none.", ("7:192:4",)
    )
    features: int | None = option("Dense neurons; 4096 of the paper, or none.", None, at_least=0)
    rank_layers: tuple[int, ...] = option("Neurons of the layers of --recipe=rank.", (2000, 1000))
    sparse: bool = option("Whether rank neurons read a quarter of their inputs on average.", False)
    level_sets: int = option("Thresholds per channel.", 1, at_least=1)
    epochs: float = option("Passes over the training images.", 20.0, at_least=0)
    batch: int = option("Images per step.", 250, at_least=1)
    shift: int = option("Augmentation of all but --recipe=paper, pixels.", 1)
    warp: float = option("Smooth distortions of all but --recipe=paper, pixels.", 0.0, at_least=0)
    learning_rate: float = option("Learning rate of the sets, with --recipe=boolean.", 15.0)
    rank_rate: float = option("Learning rate of Adam, with --recipe=rank.", 1e-2)
    restart: float = option("Share of the steps in which dead neurons start again.", 0.5)
    head_rate: float = option("Learning rate of Adam, of all real parameters; not of rank.", 5e-3)
    surrogate_temperature: float = option("Temperature of the sets: see NeuronConfig.", 0.7)
    temperature: float = option("Scores are divided by it in the loss.", 4.0)
    weights: Literal["identity", "positive", "dual"] = option(
        "Weight reparametrization of --recipe=paper.", "identity"
    )
    regularizer: str = option("Regularizer of --recipe=paper.", "none", choices=("none", *NAMES))
    coefficient: float = option("Coefficient of the regularizer.", 0.01)
    relative: bool = option("Whether to regularize relative to |W|^2.", False)
    delay: float = option("Share of the steps before the regularizer acts.", 0.5)
    refit_steps: int = option("Steps of the paper's head, once binarized.", 0, at_least=0)
    evaluations: int = option("How often the training is evaluated.", 20, at_least=1)
    baseline_epochs: float = option("Epochs of the plain network; 0 for none.", 5.0)

    @property
    def is_boolean(self) -> bool:
        """Whether the network is boolean while it learns."""
        return self.recipe != "paper"

    def batches(self, parts: Parts) -> Sample:
        """What is learned from, with the augmentation of this recipe."""
        shift, warp = (self.shift, self.warp) if self.is_boolean else (0, 0.0)
        return batches(*parts.train, self.batch, shift=shift, warp=warp)

    def check(self) -> None:
        """Raises ValueError for settings that have no effect, or cannot be read."""
        self.read_convolutions()
        of_paper = ("weights", "regularizer", "coefficient", "relative", "delay", "refit_steps")
        of_boolean = (
            "head", "convolutions", "learning_rate", "restart", "surrogate_temperature",
            "temperature",
        )  # fmt: skip
        of_rank = ("rank_layers", "sparse", "rank_rate")
        unused = {
            "boolean": (*of_paper, *of_rank),
            "rank": (*of_paper, *of_boolean, "features", "head_rate"),
            "paper": (*of_boolean, *of_rank, "shift", "warp"),
        }
        self.refuse_unused(f"with --recipe={self.recipe}", *unused[self.recipe])
        if not self.rank_layers or min(self.rank_layers) < 1:
            raise ValueError(f"--rank_layers={list(self.rank_layers)}: numbers >= 1 were expected")
        if self.head == "real":
            self.refuse_unused("with --head=real", "temperature")
        if self.regularizer == "none":
            self.refuse_unused("without --regularizer", "coefficient", "relative", "delay")

    def read_convolutions(self) -> list[Convolution]:
        """The convolutions that the texts describe."""
        try:
            return [Convolution(*map(int, text.split(":"))) for text in self.convolutions if text]
        except (TypeError, ValueError) as error:
            known = "kernel:features:pool were expected, such as 5:32:2,5:64:2"
            raise ValueError(f"--convolutions={list(self.convolutions)}: {known}") from error


def evaluation(architecture: Architecture, validation: Labeled, *, recipe: str) -> Any:
    """The metrics of `fit`: accuracy as trained, as booleans, and the state of the neurons."""
    images, labels = validation

    def evaluate(params: Any) -> dict[str, jax.Array]:
        # Networks of rank neurons need no operators to be told that they are boolean.
        boolean = params if recipe == "rank" else binarize(params, method="activable")
        live = live_neurons(architecture, boolean, images[:1000])
        error = error_percent(architecture, boolean, images, labels)
        metrics = {"accuracy_boolean": 100 - error}
        metrics |= rank_shares(params)
        if recipe == "paper":
            metrics["accuracy_float"] = 100 - error_percent(architecture, params, images, labels)
            metrics["activated_share"] = activated_share(params)
            metrics |= {f"activated_share/{p}": s for p, s in activated_shares(params).items()}
        for name, is_live in live.items():
            metrics[f"live_share/{name}"] = jnp.mean(is_live.astype(jnp.float32))
        return metrics

    return evaluate


# A network at its start: its layers, parameters, and the options of `fit` that are the recipe's.
Start = tuple[Architecture, Any, dict[str, Any]]


def boolean_start(config: Config, parts: Parts, steps: int) -> Start:
    """Boolean in every forward pass: latent sets by SGD, the head by Adam."""
    key, train = jax.random.key(config.seed), parts.train
    model = boolean_classifier(
        parts.thresholds,
        config.features or 0,
        parts.classes,
        convolutions=config.read_convolutions(),
        head=config.head,
        temperature=config.surrogate_temperature,
    )
    architecture, params = model.architecture, start_from_images(key, model, *train)
    optimizer = optimizer_for(
        real=optax.adam(optax.cosine_decay_schedule(config.head_rate, steps, alpha=0.05)),
        latent=optax.chain(
            mean_over_positions(architecture, params, train[0]),
            optax.sgd(warmup_cosine(config.learning_rate, steps, warmup=600), momentum=0.9),
        ),
    )
    loss = cross_entropy(1.0 if config.head == "real" else config.temperature)
    options: dict[str, Any] = {"optimizer": optimizer, "loss": loss, "score": "accuracy_boolean"}
    if config.restart:
        until = int(config.restart * steps)
        options["after_evaluation"] = restart_dead(key, architecture, *train, until=until)
    return architecture, params, options


def rank_start(config: Config, parts: Parts, steps: int) -> Start:
    """Rank neurons, of which footprints and ranks are learned, by Adam."""
    model = rank_classifier(
        parts.thresholds,
        config.rank_layers,
        parts.classes,
        input_mean=share_of_bits(parts),
        sparse=config.sparse,
    )
    params = model.init(jax.random.key(config.seed), parts.train[0][:1])["params"]
    options = {
        "optimizer": rank_optimizer(steps, learning_rate=config.rank_rate),
        "loss": rank_loss(config.rank_layers[-1]),
        "score": "accuracy_boolean",
    }
    return model.architecture, params, options


def paper_start(config: Config, parts: Parts, steps: int) -> Start:
    """The paper's relaxed network with a real head, by Adam."""
    features = 4096 if config.features is None else config.features
    model = relaxed_model(parts, features, config.weights)
    params = model.init(jax.random.key(config.seed), parts.train[0][:1])["params"]
    delay = int(config.delay * steps)
    decay = optax.cosine_decay_schedule(config.head_rate, max(1, steps - delay), alpha=0.05)
    rate = optax.join_schedules([optax.constant_schedule(config.head_rate), decay], [delay])
    optimizer = optimizer_for(real=optax.adam(rate))
    options: dict[str, Any] = {"optimizer": optimizer, "loss": cross_entropy()}
    if config.regularizer == "none":
        return model.architecture, params, options | {"score": "accuracy_float"}
    chosen = regularizer(config.regularizer, relative=config.relative)
    options |= {"regularizer": chosen, "coefficient": config.coefficient, "delay": delay}
    return model.architecture, params, options | {"score": "accuracy_boolean"}


def train_network(
    config: Config, parts: Parts, folder: Path
) -> tuple[Architecture, FitResult, float]:
    """Trains; validation chooses the parameters. Also returns the seconds that it took."""
    steps = max(1, round(config.epochs * len(parts.train[1]) / config.batch))
    say("Choosing where the network starts.")
    start = {"boolean": boolean_start, "rank": rank_start, "paper": paper_start}[config.recipe]
    architecture, params, options = start(config, parts, steps)
    started = time.perf_counter()
    with watch(folder / "events", steps, parts.name) as callback:
        result = fit(
            partial(apply_layers, architecture),
            params,
            config.batches(parts),
            evaluation(architecture, parts.validation, recipe=config.recipe),
            key=jax.random.key(config.seed + 1),
            steps=steps,
            steps_per_evaluation=-(-steps // config.evaluations),
            callback=callback,
            **options,
        )
    return architecture, result, time.perf_counter() - started


def ways_to_binarize(
    config: Config, architecture: Architecture, params: Any, parts: Parts
) -> dict[str, Any]:
    """Boolean trees by every method but the slow ones, and each with its head refitted."""
    if config.is_boolean:
        return {"none": binarize(params, method="activable")}
    ways = {}
    for method in METHODS:
        if method in ("qp", "rank"):
            continue
        ways[method] = binarize(params, method=method)
        if config.refit_steps:
            ways[f"{method}, refitted"] = refitted(
                architecture,
                ways[method],
                params,
                parts,
                batch=config.batch,
                seed=config.seed,
                steps=config.refit_steps,
            )
    return ways


def error_of(architecture: Architecture, params: Any, images: Labeled) -> float:
    """`error_percent` as a number."""
    return float(error_percent(architecture, params, *images))


def stored_bits(boolean: Any) -> int:
    """Bits of a tree as it is stored: one per boolean, as many as it takes for other numbers."""
    arrays = map(np.asarray, jax.tree.leaves(boolean))
    return sum(a.size if a.dtype == bool else 8 * a.nbytes for a in arrays)


def baseline_error(config: Config, parts: Parts, width: int) -> float | None:
    """Test error of the plain network, on the same level sets and the same augmentation.

    Its hidden layer has as many features, ``width``, as our network's head reads.
    """
    if not config.baseline_epochs:
        return None
    say("Training the plain network to compare with.")
    levels = to_bits(parts.thresholds)
    draw = config.batches(parts)

    def sample(key: jax.Array) -> Labeled:
        images, labels = draw(key)
        return apply_layers(levels, {}, images), labels

    steps = max(1, round(config.baseline_epochs * len(parts.train[1]) / config.batch))
    key = jax.random.key(config.seed)
    scores = train_baseline(sample, width, parts.classes, key=key, steps=steps)
    images, labels = parts.test
    found = jnp.argmax(scores(apply_layers(levels, {}, images)), axis=-1)
    return float(100 * jnp.mean(found != labels))


def save_simplified(network: BooleanNetwork, path: Path, **metadata: Any) -> BooleanNetwork:
    """Saves the network, simplified, and returns what is read back from the file."""
    simple = simplify(network)
    metadata["reading"] = Reading(foreground="light", gray=True).to_json()
    # What is there is left of a run that was interrupted, or may be replaced.
    save_network(path, simple.architecture, simple.params, metadata=metadata, overwrite=True)
    return load_network(path)


def write_all(
    config: Config,
    folder: Path,
    metrics: dict[str, Any],
    history: list[dict[str, float]],
    network: BooleanNetwork,
    images: np.ndarray,
    **proven: Any,
) -> None:
    """Writes history.json, the report with its pictures, and metrics.json last."""
    say("Drawing the pictures.")
    write_json(folder / "history.json", history)
    name, example = metrics["dataset"], images[0]
    # All ten classes.
    diagram = plot_network(network, example.shape, x=images[:1], max_neurons=10)
    stages = plot_stages(network, example, max_neurons=10)
    curves = plot_history(history, title=name)
    write_report(
        folder,
        f"{name}, {config.recipe}, {metrics['head']} head, seed {config.seed}",
        config,
        table=[metrics],
        figures={
            "curves": ("The training: loss, and what was measured on validation images.", curves),
            "network": (
                "The boolean network from left to right: of each layer, the neurons that are read "
                "most, and the classes. Lines are those of the test image of the next picture.",
                diagram,
            ),
            "stages": ("A test image after each stage of the network, and the answer.", stages),
        },
        folded=everything(network, images[:1]),
        **proven,
    )
    write_results(folder / "metrics.json", config, metrics)


def run(config: Config, data: ImageClassification, folder: Path) -> dict[str, Any]:
    """Trains, binarizes, tests and writes everything; returns what metrics.json holds."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = split(data, config.level_sets)
    architecture, result, seconds = train_network(config, parts, folder)
    say("Binarizing, certifying, simplifying and testing.")
    certificate = certify(result.params, architecture)
    say(str(certificate))
    ways = ways_to_binarize(config, architecture, result.params, parts)
    errors = {n: error_of(architecture, tree, parts.validation) for n, tree in ways.items()}
    method = min(errors, key=lambda name: errors[name])
    shared = {"dataset": data.name, "method": method, "exact": certificate.exact_float32}
    shared |= {"seed": config.seed}
    best = BooleanNetwork(architecture, ways[method])
    of_file = {"validation_error": errors[method], "input_shape": data.train_images.shape[1:]}
    network = save_simplified(best, folder / "network.npz", **shared, **of_file)
    read_by_head = partial(apply_layers, architecture[:-1], best.params)
    width = jax.eval_shape(read_by_head, parts.train[0][:1]).shape[-1]
    before = None if config.is_boolean else error_of(architecture, result.params, parts.test)
    metrics = {
        "recipe": config.recipe,
        "head": config.head if config.is_boolean else "real",
        **shared,
        "bits": stored_bits(network.params),
        "bits_as_trained": stored_bits(best.params),
        "file_bytes": (folder / "network.npz").stat().st_size,
        "test_error_float": before,
        "test_error_boolean": error_of(network.architecture, network.params, parts.test),
        "test_error_baseline": baseline_error(config, parts, width),
        "validation_error_by_method": errors,
        "features": width,
        "steps": int(result.state.step),
        "train_seconds": seconds,
    }
    projection = "activable" if config.is_boolean else method.split(",")[0]
    layers = summary(result.params, architecture, method=projection)
    proven = {"certificate": certificate, "layers": layers}
    write_all(config, folder, metrics, result.history, network, data.test_images[:100], **proven)
    return metrics


main = Program(Config, run, load=load, result="metrics.json")

if __name__ == "__main__":
    main()
