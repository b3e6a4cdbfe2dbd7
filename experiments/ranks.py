"""What ranks are worth: the paper's network, binarized to two operators and to all ranks.

    python -m experiments.ranks --data_dir=... --out_dir=out/ranks

For every pair of a weight reparametrization and a regularizer the paper's network (level sets, one
dense layer, a real head) is trained with the same budget, and binarized in every way: to the
nearest activable neurons and to the ends of the constant set, as in the paper; to ranks; to ranks
of biases moved by means of training images; with --fit_images to ranks that agree with what was
trained on some of these; and with the head refitted to what the binary neurons find. Errors are
those of the test images, of the parameters at the end of each training.

Writes ``ranks.json``, rows of weights, regularizer, float, each way, distance, activated, exact,
seconds, ``ranks.png`` and ``report.html``.
"""

import time
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bimonn_jax import apply_layers, as_real_neurons, binarize, certify
from bimonn_jax.binarization.fitted_ranks import fit_ranks
from bimonn_jax.binarization.input_means import input_means
from bimonn_jax.binarization.projection.constant import constant_set, squared_distance
from bimonn_jax.data.classification import ImageClassification
from bimonn_jax.data.samples import batches
from bimonn_jax.networks.kinds import Architecture
from bimonn_jax.neurons.params import BinaryNeurons, RealNeurons, named_neurons, real_parameters
from bimonn_jax.training.annealing import grow_scales
from bimonn_jax.training.loop import FitResult, fit
from bimonn_jax.training.losses import cross_entropy
from bimonn_jax.training.metrics import activated_share, error_percent
from bimonn_jax.training.optimizers import optimizer_for
from bimonn_jax.training.regularization import NAMES, regularizer
from bimonn_jax.viz.figures import new_figure

from .classification import Classification, Parts, load, refitted, relaxed_model, split
from .origin import write_results
from .output import say
from .program import Program, option
from .report import write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Config(Classification):
    """What is trained, with which budget."""

    weights: tuple[Literal["identity", "positive", "dual"], ...] = option(
        "Weight reparametrizations.", ("dual", "positive", "identity")
    )
    regularizers: tuple[str, ...] = option(
        "Regularizers, relative to |W|^2.", ("none", *NAMES), choices=("none", *NAMES)
    )
    features: int = option("Hidden neurons.", 512, at_least=1)
    complements: bool = option("Whether neurons read the complements of the bits too.", False)
    epochs: float = option("Passes over the training images.", 4.0, at_least=0)
    batch: int = option("Images per step.", 250, at_least=1)
    rate: float = option("Learning rate of Adam.", 5e-3)
    coefficient: float = option("Coefficient of the regularizers.", 0.4)
    delay: float = option("Share of the steps before they act.", 0.5)
    scale_growth: float = option("By how much scales grow; 1 for not at all.", 1.0, at_least=1)
    fit_images: int = option(
        "Training images by which ranks are fitted; 0: they are not.", 0, at_least=0
    )
    refit_steps: int = option("Steps in which a head is refitted.", 500, at_least=1)
    evaluations: int = option("How often a training is evaluated.", 10, at_least=1)


def train(config: Config, parts: Parts, weights: str, name: str) -> tuple[Architecture, FitResult]:
    """The paper's network with one reparametrization and one regularizer."""
    model = relaxed_model(parts, config.features, weights, complements=config.complements)
    architecture = model.architecture
    params = model.init(jax.random.key(config.seed), parts.train[0][:1])["params"]
    steps = max(1, round(config.epochs * len(parts.train[1]) / config.batch))
    delay, every = int(config.delay * steps), -(-steps // config.evaluations)
    decay = optax.cosine_decay_schedule(config.rate, max(1, steps - delay), alpha=0.05)
    rate = optax.join_schedules([optax.constant_schedule(config.rate), decay], [delay])
    options: dict[str, Any] = {}
    if name != "none":
        chosen = regularizer(name, relative=True)
        options = {"regularizer": chosen, "coefficient": config.coefficient, "delay": delay}
    if config.scale_growth > 1:
        options["after_evaluation"] = grow_scales(
            config.scale_growth, start=int(0.3 * steps), until=int(0.9 * steps), every=every
        )

    def evaluate(params: Any) -> dict[str, jax.Array]:
        binary = binarize(params, method="constant")
        return {"accuracy": 100 - error_percent(architecture, binary, *parts.validation)}

    return architecture, fit(
        partial(apply_layers, architecture),
        params,
        batches(*parts.train, config.batch),
        evaluate,
        loss=cross_entropy(),
        key=jax.random.key(config.seed + 1),
        steps=steps,
        steps_per_evaluation=every,
        score="accuracy",
        optimizer=optimizer_for(real=optax.adam(rate)),
        **options,
    )


def ways_to_binarize(
    config: Config, architecture: Architecture, params: Any, parts: Parts
) -> dict[str, Any]:
    """Binary trees by the name of the way."""
    means = input_means(architecture, params, parts.train[0][:5000])
    ways = {
        "activable": binarize(params, ranks=False),
        "ends": binarize(params, method="constant", ranks=False),
        "rank": binarize(params, method="constant"),
        "moved": binarize(params, method="constant", input_mean=means),
    }
    if config.fit_images:
        ways["fitted"] = fit_ranks(architecture, params, parts.train[0][: config.fit_images])
    for name in [name for name in ways if name != "ends"]:
        ways[f"{name}, refitted"] = refitted(
            architecture,
            ways[name],
            params,
            parts,
            batch=config.batch,
            seed=config.seed,
            steps=config.refit_steps,
        )
    return ways


def named_binary(tree: Any) -> dict[str, BinaryNeurons]:
    """The sets of binary neurons of a tree, by path."""
    return {p: n for p, n in named_neurons(tree).items() if not isinstance(n, RealNeurons)}


def mean_distance(params: Any) -> float:
    """Mean squared distance of the hidden weights to the constant set, relative to |W|^2."""
    (neurons,) = named_neurons(params).values()
    assert isinstance(neurons, RealNeurons)
    W, _, _ = real_parameters(neurons)
    distance = squared_distance(W, constant_set(W)) / jnp.sum(jnp.square(W), axis=0)
    return float(jnp.mean(distance))


def describe(binary: Any) -> Row:
    """Footprints and ranks of the hidden neurons, medians."""
    (neurons,) = named_binary(binary).values()
    size, rank = np.asarray(neurons.sizes), np.asarray(neurons.ranks)
    return {"size": float(np.median(size)), "rank / size": float(np.median(rank / size))}


def compare(config: Config, parts: Parts, weights: str, name: str) -> Row:
    """Trains once; the test error of each way to binarize, and of what was trained."""
    started = time.perf_counter()
    architecture, result = train(config, parts, weights, name)
    # At the end, when the regularizer has acted, whatever the best evaluation was.
    params = result.state.params
    ways = ways_to_binarize(config, architecture, params, parts)
    # As weights again, which can be certified.
    last = ways.get("fitted", ways["rank"])
    exact = {path: as_real_neurons(n) for path, n in named_binary(last).items()}
    row = {
        "weights": weights,
        "regularizer": name,
        "float": float(error_percent(architecture, params, *parts.test)),
        **{
            way: float(error_percent(architecture, tree, *parts.test)) for way, tree in ways.items()
        },
        "distance": mean_distance(params),
        "activated": float(activated_share(params)),
        **{f"{key} of ranks": value for key, value in describe(ways["rank"]).items()},
        "exact as trained": certify(params).exact_float32,
        "exact as ranks": certify(exact).exact_float32,
        "seconds": round(time.perf_counter() - started, 1),
    }
    say(f"{weights}, {name}: float {row['float']:.2f} %, rank {row['rank']:.2f} %")
    return row


def plot(rows: list[Row]) -> "Figure":
    """The errors of every pair, a mark for each way."""
    figure = new_figure(7, 1 + 0.3 * len(rows))
    axes = figure.subplots()
    names = [f"{row['weights']}, {row['regularizer']}" for row in rows]
    for way, mark in (("float", "ok"), ("activable", "xk"), ("rank", "sC0"), ("moved", "dC1")):
        axes.plot([row[way] for row in rows], names, mark, label=way)
    axes.invert_yaxis()
    axes.set(xlabel="test error, %", xlim=(0, 100))
    axes.legend()
    return figure


def run(config: Config, data: ImageClassification, folder: Path) -> dict[str, Any]:
    """Trains and binarizes every pair; returns the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = split(data)
    pairs = product(config.weights, config.regularizers)
    rows = [compare(config, parts, *pair) for pair in pairs]
    title = f"{data.name}, {config.features} neurons, scales growing {config.scale_growth:g} times"
    figures = {"ranks": ("Test errors, as trained and binarized in some ways.", plot(rows))}
    write_report(folder, f"Ranks: {title}", config, table=rows, figures=figures)
    found = {"data": title, "rows": rows}
    write_results(folder / "ranks.json", config, found)
    return found


main = Program(Config, run, load=load, result="ranks.json")

if __name__ == "__main__":
    main()
