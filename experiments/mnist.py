"""Trains a classifier of binarised images, binarises it, and tests the boolean network.

    python -m experiments.mnist --data_dir=... --out_dir=out/mnist

``--recipe=boolean`` (default) is boolean in every forward pass; ``--recipe=paper`` is the paper's
relaxed network with a real head, binarised by every projection. Both are compared with a plain
network of the same size, trained in the same run. Validation chooses the parameters; the test set
is looked at once, by the boolean network that was read back from its file.

Writes ``metrics.json``, ``history.json``, ``network.npz``, ``report.html`` with its pictures
``curves.png``, ``network.png`` and ``stages.png``, and TensorBoard events. Without --data_dir,
TFDS_DATA_DIR or a set in ~/tensorflow_datasets, and without TensorFlow to prepare one, it takes the
8 x 8 digits of scikit-learn, and every output says so.
"""

import time
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from bimonn_jax import binarize, certify, summary
from bimonn_jax.binarization.conversion import METHODS
from bimonn_jax.binarization.simplification.passes import simplify
from bimonn_jax.data.classification import ImageClassification, choose_thresholds
from bimonn_jax.data.image_files import Reading
from bimonn_jax.data.samples import Sample, batches
from bimonn_jax.morphology.levels import LevelThresholds
from bimonn_jax.networks.architecture import Architecture, apply_layers
from bimonn_jax.networks.boolean import BooleanNetwork
from bimonn_jax.networks.saving import load_network, save_network
from bimonn_jax.training.classifiers import (
    HEADS,
    Convolution,
    Head,
    boolean_classifier,
    refit_head,
    to_bits,
)
from bimonn_jax.training.loop import fit
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import (
    activated_share,
    activated_shares,
    error_percent,
    live_neurons,
)
from bimonn_jax.training.optimizers import mean_over_positions, optimizer_for, warmup_cosine
from bimonn_jax.training.regularization import NAMES, regularizer
from bimonn_jax.training.starts import restart_dead, start_from_images
from bimonn_jax.viz import plot_history, plot_network, plot_stages
from experiments.classification_flags import SEED, load, relaxed_model, split
from experiments.dense_baseline import train_baseline
from experiments.flag_checks import refuse_unused
from experiments.output import OUT_DIR, OVERWRITE, prepare, watch, write_json
from experiments.report import write_report

RECIPE = flags.DEFINE_enum("recipe", "boolean", ["boolean", "paper"], "What to train.")
HEAD = flags.DEFINE_enum("head", "ternary", list(HEADS), "With --recipe=boolean.")
CONVOLUTIONS = flags.DEFINE_list(
    "convolutions", ["7:192:4"], "With --recipe=boolean: kernel:features:pool of each, or none."
)
FEATURES = flags.DEFINE_integer(
    "features", None, "Dense hidden neurons: 4096 of the paper, none otherwise.", lower_bound=0
)
LEVELS = flags.DEFINE_integer("level_sets", 1, "Thresholds per channel.", lower_bound=1)
EPOCHS = flags.DEFINE_float("epochs", 20, "Passes over the training images.", lower_bound=0)
BATCH = flags.DEFINE_integer("batch", 250, "Images per step.", lower_bound=1)
SHIFT = flags.DEFINE_integer("shift", 1, "Augmentation with --recipe=boolean, pixels.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 15.0, "Of the sets, with --recipe=boolean.")
RESTART = flags.DEFINE_float(
    "restart", 0.5, "Dead neurons start again until this share of the steps; 0 for never."
)
HEAD_RATE = flags.DEFINE_float("head_rate", 5e-3, "Adam's, of all real parameters.")
SURROGATE = flags.DEFINE_float(
    "surrogate_temperature", 0.7, "Of the sets, with --recipe=boolean: see NeuronConfig."
)
TEMPERATURE = flags.DEFINE_float("temperature", 4.0, "Scores are divided by it in the loss.")
WEIGHTS = flags.DEFINE_enum(
    "weights", "identity", ["identity", "positive", "dual"], "With --recipe=paper."
)
REGULARIZER = flags.DEFINE_enum("regularizer", "none", ["none", *NAMES], "With --recipe=paper.")
COEFFICIENT = flags.DEFINE_float("coefficient", 0.01, "Of the regularizer.")
RELATIVE = flags.DEFINE_bool("relative", False, "Regularise relative to |W|^2.")
DELAY = flags.DEFINE_float("delay", 0.5, "Share of the steps before the regularizer acts.")
REFIT_STEPS = flags.DEFINE_integer(
    "refit_steps", 0, "With --recipe=paper: of the head, after binarisation.", lower_bound=0
)
EVALUATIONS = flags.DEFINE_integer("evaluations", 20, "During the training.", lower_bound=1)
BASELINE_EPOCHS = flags.DEFINE_float("baseline_epochs", 5, "Of the plain network; 0 for none.")


def check_flags() -> None:
    """Raises UsageError for flags that have no effect."""
    of_paper = ("weights", "regularizer", "coefficient", "relative", "delay", "refit_steps")
    of_boolean = (
        "head", "convolutions", "shift", "learning_rate", "restart", "surrogate_temperature",
        "temperature",
    )  # fmt: skip
    unused = dict.fromkeys(
        of_paper if RECIPE.value == "boolean" else of_boolean, f"with --recipe={RECIPE.value}"
    )
    if RECIPE.value == "boolean" and HEAD.value == "real":
        unused["temperature"] = "with --head=real"
    if RECIPE.value == "paper" and REGULARIZER.value == "none":
        unused |= dict.fromkeys(("coefficient", "relative", "delay"), "without --regularizer")
    refuse_unused(unused)


def evaluation(architecture: Architecture, validation: tuple[jax.Array, jax.Array]) -> Any:
    """The metrics of `fit`: accuracy as trained, as booleans, and the state of the neurons."""
    images, labels = validation
    is_paper = RECIPE.value == "paper"

    def evaluate(params: Any) -> dict[str, jax.Array]:
        boolean = binarize(params, method="activable")
        live = live_neurons(architecture, boolean, images[:1000])
        error = error_percent(architecture, boolean, images, labels)
        metrics = {"accuracy_boolean": 100 - error}
        if is_paper:
            metrics["accuracy_float"] = 100 - error_percent(architecture, params, images, labels)
            metrics["activated_share"] = activated_share(params)
            metrics |= {f"activated_share/{p}": s for p, s in activated_shares(params).items()}
        for name, is_live in live.items():
            metrics[f"live_share/{name}"] = jnp.mean(is_live.astype(jnp.float32))
        return metrics

    return evaluate


def convolutions(texts: list[str]) -> list[Convolution]:
    """Those of the flag."""
    try:
        return [Convolution(*map(int, text.split(":"))) for text in texts if text]
    except (TypeError, ValueError) as error:
        raise flags.ValidationError(
            "kernel:features:pool were expected, such as 5:32:2,5:64:2"
        ) from error


# Refused before any data are read: an empty list is one, too.
flags.register_validator("convolutions", lambda texts: convolutions(texts) is not None)


def build(
    data: ImageClassification,
    thresholds: LevelThresholds,
    train: tuple[jax.Array, jax.Array],
    steps: int,
) -> Any:
    """(Model, starting parameters, options of `fit`) of the recipe."""
    key = jax.random.key(SEED.value)
    options: dict[str, Any]
    if RECIPE.value == "boolean":
        model = boolean_classifier(
            thresholds,
            FEATURES.value or 0,
            data.classes,
            convolutions=convolutions(CONVOLUTIONS.value),
            head=cast(Head, HEAD.value),
            temperature=SURROGATE.value,
        )
        params = start_from_images(key, model, *train)
        sets = warmup_cosine(LEARNING_RATE.value, steps, warmup=600)
        optimizer = optimizer_for(
            real=optax.adam(optax.cosine_decay_schedule(HEAD_RATE.value, steps, alpha=0.05)),
            latent=optax.chain(
                mean_over_positions(model.architecture, params, train[0]),
                optax.sgd(sets, momentum=0.9),
            ),
        )
        options = {"optimizer": optimizer, "score": "accuracy_boolean"}
        if RESTART.value:
            until = int(RESTART.value * steps)
            options["after_evaluation"] = restart_dead(key, model.architecture, *train, until=until)
        return model, params, options
    features = 4096 if FEATURES.value is None else FEATURES.value
    model = relaxed_model(thresholds, train[0], features, data.classes, WEIGHTS.value)
    delay = int(DELAY.value * steps)
    decay = optax.cosine_decay_schedule(HEAD_RATE.value, max(1, steps - delay), alpha=0.05)
    rate = optax.join_schedules([optax.constant_schedule(HEAD_RATE.value), decay], [delay])
    options = {
        "optimizer": optimizer_for(real=optax.adam(rate)),
        "score": "accuracy_boolean" if REGULARIZER.value != "none" else "accuracy_float",
    }
    if REGULARIZER.value != "none":
        options["regularizer"] = regularizer(REGULARIZER.value, relative=RELATIVE.value)
        options |= {"coefficient": COEFFICIENT.value, "delay": delay}
    return model, model.init(key, train[0][:1])["params"], options


def ways_to_binarize(
    architecture: Architecture, params: Any, sample: Sample, validation: tuple[jax.Array, jax.Array]
) -> dict[str, Any]:
    """Boolean trees by every method but the slow one, and each with its head refitted."""
    ways = {}
    for method in METHODS:
        if method == "qp":
            continue
        ways[method] = binarize(params, method=method)
        if REFIT_STEPS.value:
            head = params[architecture[-1].name]
            ways[f"{method}, refitted"] = refit_head(
                architecture,
                ways[method],
                head,
                sample,
                validation,
                loss=cross_entropy(),
                key=jax.random.key(SEED.value + 2),
                steps=REFIT_STEPS.value,
            )
    return ways


def stored_bits(network: BooleanNetwork) -> int:
    """Bits of a network as it is stored: one per boolean, as many as it takes for other numbers."""
    arrays = map(np.asarray, jax.tree.leaves(network.params))
    return sum(a.size if a.dtype == bool else 8 * a.nbytes for a in arrays)


def baseline_error(
    data: ImageClassification,
    thresholds: LevelThresholds,
    train: tuple[jax.Array, jax.Array],
    width: int,
) -> float | None:
    """Test error of the plain network, on the same level sets and the same augmentation.

    Its hidden layer has as many features, ``width``, as our network's head reads.
    """
    if not BASELINE_EPOCHS.value:
        return None
    levels = to_bits(thresholds)
    shift = SHIFT.value if RECIPE.value == "boolean" else 0
    draw = batches(*train, BATCH.value, shift=shift)

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        images, labels = draw(key)
        return apply_layers(levels, {}, images), labels

    steps = max(1, round(BASELINE_EPOCHS.value * len(train[1]) / BATCH.value))
    key = jax.random.key(SEED.value)
    scores = train_baseline(sample, width, data.classes, key=key, steps=steps)
    bits = apply_layers(levels, {}, jnp.asarray(data.test_images))
    return float(100 * jnp.mean(jnp.argmax(scores(bits), axis=-1) != data.test_labels))


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    check_flags()
    folder = prepare(OUT_DIR.value, "metrics.json", overwrite=OVERWRITE.value)
    data = load()
    train, validation = split(data)
    thresholds = choose_thresholds(data.train_images, LEVELS.value)
    steps = max(1, round(EPOCHS.value * len(train[1]) / BATCH.value))
    model, params, options = build(data, thresholds, train, steps)
    architecture = model.architecture
    is_boolean = RECIPE.value == "boolean"
    started = time.perf_counter()
    result = fit(
        partial(apply_layers, architecture),
        params,
        batches(*train, BATCH.value, shift=SHIFT.value if is_boolean else 0),
        evaluation(architecture, validation),
        loss=cross_entropy(TEMPERATURE.value if is_boolean and HEAD.value != "real" else 1.0),
        key=jax.random.key(SEED.value + 1),
        steps=steps,
        steps_per_evaluation=-(-steps // EVALUATIONS.value),
        callback=watch(folder / "events", steps, data.name),
        **options,
    )
    seconds = time.perf_counter() - started

    test = jnp.asarray(data.test_images), jnp.asarray(data.test_labels)
    ways = {"none": binarize(result.params, method="activable")}
    if not is_boolean:
        ways = ways_to_binarize(
            architecture, result.params, batches(*train, BATCH.value), validation
        )
    errors = {
        name: float(error_percent(architecture, tree, *validation)) for name, tree in ways.items()
    }
    method = min(errors, key=lambda name: errors[name])
    projection = "activable" if is_boolean else method.split(",")[0]
    boolean = ways[method]
    certificate = certify(result.params, architecture)
    simple = simplify(BooleanNetwork(architecture, boolean))
    save_network(
        folder / "network.npz",
        simple.architecture,
        simple.params,
        metadata={
            "dataset": data.name,
            "seed": SEED.value,
            "validation_error": errors[method],
            "method": method,
            "exact": certificate.exact_float32,
            "input_shape": data.train_images.shape[1:],
            "reading": Reading(foreground="light", gray=True).to_json(),
        },
        # `prepare` has asked already; what is there is left of a run that was interrupted.
        overwrite=True,
    )
    network = load_network(folder / "network.npz")
    width = jax.eval_shape(partial(apply_layers, architecture[:-1], boolean), test[0][:1]).shape[-1]
    metrics = {
        "dataset": data.name,
        "recipe": RECIPE.value,
        "head": HEAD.value if is_boolean else "real",
        "bits": stored_bits(network),
        "bits_as_trained": stored_bits(BooleanNetwork(architecture, boolean)),
        "file_bytes": (folder / "network.npz").stat().st_size,
        "test_error_float": None
        if is_boolean
        else float(error_percent(architecture, result.params, *test)),
        "test_error_boolean": float(error_percent(network.architecture, network.params, *test)),
        "test_error_baseline": baseline_error(data, thresholds, train, width),
        "validation_error_by_method": errors,
        "method": method,
        "exact": certificate.exact_float32,
        "features": width,
        "steps": int(result.state.step),
        "train_seconds": seconds,
        "seed": SEED.value,
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "history.json", result.history)
    example = np.asarray(test[0][0])
    diagram = plot_network(network, example.shape, x=np.asarray(test[0][:100]), max_neurons=6)
    write_report(
        folder,
        f"{data.name}, {RECIPE.value}, {metrics['head']} head, seed {SEED.value}",
        table=[metrics],
        figures={
            "curves": (
                "The training, on validation images.",
                plot_history(result.history, title=data.name),
            ),
            "network": ("The boolean network, the neurons that are read most.", diagram),
            "stages": (
                "A test image on its way through the network.",
                plot_stages(network, example),
            ),
        },
        certificate=certificate,
        layers=summary(result.params, architecture, method=projection),
    )
    for name, value in metrics.items():
        print(f"{name}: {value}")
    print(certificate)


if __name__ == "__main__":
    app.run(main)
