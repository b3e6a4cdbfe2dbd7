"""Learned filters beside others, on six kinds of pictures.

    python -m experiments.filters --out_dir=out/filters

For each kind (`experiments.filter_tasks`) and seed, six pictures are learned from and two judge, by
their F-measure: the input, the median, the best hand-made opening or closing, the search, a random
forest on 7 x 7 and on 11 x 11 windows, a float CNN that sees 11 x 11 pixels and trains as long as
ours, and `bimonn_jax.filters.learn_filter`. The forest and the CNN read gray levels, where there
are any; the first four read bits.

Writes ``filters.json``, medians, and rows of kind, seed, method, F-measure, seconds to learn,
milliseconds a megapixel (the median of three runs on 1024 x 1024 pixels) and, for boolean networks,
parameters; pictures, and ``report.html``.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bimonn_jax.data.image_files import Foreground
from bimonn_jax.filters import Filter, learn_filter
from bimonn_jax.filters.arrays import Output, gray_of
from bimonn_jax.filters.pairs import GrayPair, f_measure
from bimonn_jax.filters.simple import reading_of_bits, simple_networks
from bimonn_jax.training.search import search_hit_or_miss
from bimonn_jax.viz import plot_images

from .filter_peers import FilterFunction, convolutions, forest
from .filter_tasks import KINDS, FilterTask, draw_task
from .origin import write_results
from .output import say
from .program import Program, Settings, option
from .report import write_report
from .timing import median_seconds

Row = dict[str, Any]
_TIMED, _RUNS = 1024, 3
# What pictures show.
_PART = np.s_[40:140, 40:200]
# What cells and ink are, in the pictures that are gray.
_FOREGROUND: dict[str, Foreground] = {"cells": "light", "bleed": "dark", "jpeg": "dark"}


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """What is compared, and for how long it learns."""

    kinds: tuple[str, ...] = option("Kinds of pictures.", tuple(KINDS), choices=tuple(KINDS))
    seeds: int = option("How often, with pictures and starts of their own.", 3, at_least=1)
    seconds: float = option("How long the CNN and our filter train.", 120.0)
    training: int = option("Pictures to learn from.", 6, at_least=1)
    test: int = option("Pictures to judge on.", 2, at_least=1)


def learners(
    task: FilterTask, seconds: float, seed: int
) -> dict[str, Callable[[], dict[str, FilterFunction]]]:
    """What learns, each a function to filters by name; one learning may give several."""
    pairs = task.training
    foreground = _FOREGROUND.get(task.name, "light")
    grays = [GrayPair(gray_of(x), y) for x, y in pairs]
    reading = reading_of_bits(grays, foreground)
    output = Output("bool", 0, 1)
    bits = [reading.to_bits(p.x) for p in grays]

    def simple() -> dict[str, FilterFunction]:
        networks = simple_networks(bits, [p.y for p in grays])
        names = ("input", "median 3 x 3", "best opening or closing")
        found = zip(names, networks.items(), strict=True)
        return {name: Filter(n, reading, output, own) for name, (own, n) in found}

    def search() -> dict[str, FilterFunction]:
        found = search_hit_or_miss(
            [b[..., None] for b in bits],
            [p.y[..., None] for p in grays],
            key=jax.random.key(seed),
        )
        return {"search 5 x 5": Filter(found.network, reading, output, "search")}

    def ours() -> dict[str, FilterFunction]:
        key = jax.random.key(seed)
        return {"learn_filter": learn_filter(pairs, seconds=seconds, key=key)}

    return {
        "simple": simple,
        "search": search,
        "forest 7": lambda: {"random forest 7 x 7": forest(pairs, 7, seed)},
        "forest 11": lambda: {"random forest 11 x 11": forest(pairs, 11, seed)},
        "CNN": lambda: {"float CNN 11 x 11": convolutions(pairs, seconds, seed)},
        "ours": ours,
    }


def judge(task: FilterTask, name: str, run: FilterFunction, seconds: float, seed: int) -> Row:
    """The row of a filter."""
    score = f_measure([run(x) for x, _ in task.test], [y for _, y in task.test])
    x = task.test[0][0]
    large = np.tile(x, [-(-_TIMED // side) for side in x.shape])[:_TIMED, :_TIMED]
    milliseconds = 1000 * median_seconds(run, large, runs=_RUNS) / (large.size / 1e6)
    say(f"{task.name}, seed {seed}, {name}: F-measure {score:.4f}")
    row = {
        "kind": task.name,
        "seed": seed,
        "method": name,
        "F-measure": round(score, 4),
        "seconds": round(seconds, 1),
        "ms a megapixel": round(milliseconds, 1),
        "parameters": None,
    }
    if isinstance(run, Filter):
        leaves = jax.tree.leaves(run.network.params)
        row |= {"parameters": sum(np.size(leaf) for leaf in leaves), "what": run.name}
    return row


def medians(rows: list[Row]) -> list[Row]:
    """For each method its median F-measure of every kind, and median milliseconds a megapixel."""
    table = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        kinds = dict.fromkeys(row["kind"] for row in own)
        scores = {
            kind: statistics.median(r["F-measure"] for r in own if r["kind"] == kind)
            for kind in kinds
        }
        speed = statistics.median(r["ms a megapixel"] for r in own)
        table.append({"method": method, **scores, "ms a megapixel": speed})
    return table


def run(config: Config, data: None, folder: Path) -> dict[str, Any]:
    """Learns, judges and writes; returns the medians."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    figures = {}
    for kind in config.kinds:
        for seed in range(config.seeds):
            task = draw_task(kind, seed, config.training, config.test)
            x, y = (image[_PART] for image in task.test[0])
            shown = {"input": x if x.dtype == np.bool_ else x / np.float32(255)}
            for learner in learners(task, config.seconds, seed).values():
                started = time.perf_counter()
                found = learner()
                seconds = time.perf_counter() - started
                rows += [judge(task, name, f, seconds, seed) for name, f in found.items()]
                shown |= {name: f(x) for name, f in found.items()}
            write_results(folder / "filters.json", config, {"medians": medians(rows), "rows": rows})
            if seed == 0:
                shown["target"] = y
                caption = f"A part of a test picture of the kind {kind}."
                figures[kind] = (caption, plot_images(shown))
    table = medians(rows)
    title = f"Filters: {config.seconds:g} s of training, {config.seeds} seeds"
    write_report(folder, title, config, table=table, figures=figures)
    return {"data": title, "rows": table}


main = Program(Config, run, result="filters.json", extra="benchmark")

if __name__ == "__main__":
    main()
