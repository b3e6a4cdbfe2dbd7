"""Times the exact projection against the quadratic programs, for growing layers.

    python -m experiments.projection_scaling --out_dir=out/projection

Writes ``projection.json``, with rows n, neurons, method, device, seconds, extrapolated and
ratio_to_qp, and ``projection.png``. The programs are solved for a sample of footprints, the problem
built once; a layer's time is their median times 2 n programs times its neurons, and the row says
``extrapolated``. Their times differ a hundredfold, so the row holds the fastest as well. The fast
projection runs in full: compiled, synchronized, median of several.

The file also holds the agreement with the programs: for small neurons over all footprints, for the
others on the footprint that the fast projection chose.
"""

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bimonn_jax.binarization.projection import project
from bimonn_jax.binarization.projection.duality import Form
from bimonn_jax.binarization.projection.qp import FootprintProgram, project_qp, super_level_sets
from bimonn_jax.viz.figures import new_figure

from .origin import write_results
from .output import events, say
from .program import Program, Settings, option
from .report import write_report
from .timing import device_name, median_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
FORM = Form()


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """What is timed and compared."""

    inputs: tuple[int, ...] = option("Values of n.", (64, 256, 512, 1024, 2048, 4096))
    neurons: int = option("Neurons of a layer.", 4096, at_least=1)
    programs: int = option("Programs solved per n.", 21, at_least=2)
    qp_tolerance: float = option("Tolerance of the timed programs; CVXPY's default.", 1e-5)
    qp_iterations: int = option("Iterations of the timed programs, at most.", 20_000)
    exhaustive: tuple[int, ...] = option("Values of n compared over all footprints.", (4, 16, 64))
    compared: int = option("Neurons compared per n.", 8, at_least=1)
    runs: int = option("Timed runs of the fast projection.", 5, at_least=1)
    seed: int = option("Seed of the random layers.", 0)


def layer(config: Config, n: int, neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform weights (n, neurons), biases between 0 and their sums, float32."""
    rng = np.random.default_rng([config.seed, n])
    W = rng.uniform(0, 2 / math.sqrt(n), (n, neurons)).astype(np.float32)
    return W, (W.sum(axis=0) * rng.uniform(0, 1, neurons)).astype(np.float32)


def qp_row(config: Config, n: int) -> Row:
    """The time of a layer by quadratic programs, from a sample of them."""
    W, B = layer(config, n, config.programs)
    rng = np.random.default_rng(config.seed)
    solver = FootprintProgram(
        n, FORM, tolerance=config.qp_tolerance, iterations=config.qp_iterations
    )
    seconds, unsolved = [], 0
    for w, b in zip(W.T, B, strict=True):
        S = super_level_sets(w)[rng.integers(n)]
        started = time.perf_counter()
        try:
            solver.solve(w, b, S)
        except RuntimeError:
            unsolved += 1
        seconds.append(time.perf_counter() - started)
    # The first call includes what CVXPY does once per problem.
    per_program = statistics.median(seconds[1:])
    return {
        "n": n,
        "neurons": config.neurons,
        "method": "qp",
        "device": "cpu",
        "seconds": per_program * 2 * n * config.neurons,
        "extrapolated": True,
        "ratio_to_qp": 1.0,
        "seconds_per_program": per_program,
        "seconds_of_fastest_program": min(seconds[1:]),
        "programs_timed": len(seconds) - 1,
        "programs_unsolved": unsolved,
    }


def fast_row(config: Config, n: int, qp_seconds: float) -> Row:
    """The time of a layer by the fast projection."""
    W, B = map(jnp.asarray, layer(config, n, config.neurons))
    seconds = median_seconds(project, W, B, runs=config.runs)
    return {
        "n": n,
        "neurons": config.neurons,
        "method": "activable",
        "device": device_name(),
        "seconds": seconds,
        "extrapolated": False,
        "ratio_to_qp": qp_seconds / seconds,
    }


def relative_difference(distance: Any, reference: Any) -> float:
    """The largest |a - b| / b, 0 where both are 0."""
    a, b = np.asarray(distance, float), np.asarray(reference, float)
    return float(np.max(np.abs(a - b) / np.where(b > 0, b, 1), initial=0))


def exhaustive_agreement(config: Config, n: int) -> Row:
    """Fast projection and programs on the same neurons, over all footprints and both operators."""
    W, B = layer(config, n, config.compared)
    fast, programs = project(jnp.asarray(W), jnp.asarray(B)), project_qp(W, B)
    return {
        "n": n,
        "neurons": config.compared,
        "footprints": "all",
        "same_footprint": int(np.all(fast.footprint == programs.footprint, axis=0).sum()),
        "same_operator": int(np.sum(fast.is_erosion == programs.is_erosion)),
        "relative_difference": relative_difference(
            fast.squared_distance, programs.squared_distance
        ),
    }


def chosen_agreement(config: Config, n: int) -> Row:
    """The distances that the programs find on the footprints that the fast projection chose."""
    W, B = layer(config, n, config.compared)
    fast = jax.tree.map(np.asarray, project(jnp.asarray(W), jnp.asarray(B)))
    solver = FootprintProgram(n, FORM)
    found, references = [], []
    for i, w in enumerate(W.T.astype(float)):
        compared = w.sum() - B[i] if fast.is_erosion[i] else B[i]
        try:
            solved = solver.solve(w, compared, fast.footprint[:, i])
        except RuntimeError:
            continue
        found.append(fast.squared_distance[i])
        references.append(solved.squared_distance)
    return {
        "n": n,
        "neurons": len(found),
        "footprints": "chosen",
        "relative_difference": relative_difference(found, references),
    }


def single_and_double_agreement(config: Config, n: int) -> Row:
    """How many neurons of a layer get the same footprint and operator in float32 and float64."""
    W, B = layer(config, n, config.neurons)
    single = jax.tree.map(np.asarray, project(jnp.asarray(W), jnp.asarray(B)))
    with jax.enable_x64(True):
        exact = project(jnp.asarray(W, jnp.float64), jnp.asarray(B, jnp.float64))
        double = jax.tree.map(np.asarray, exact)
    same = np.all(single.footprint == double.footprint, axis=0)
    same &= single.is_erosion == double.is_erosion
    return {
        "n": n,
        "neurons": config.neurons,
        "same_in_float32_and_float64": int(same.sum()),
        "relative_difference": relative_difference(
            single.squared_distance, double.squared_distance
        ),
    }


def plot(rows: list[Row], neurons: int) -> "Figure":
    """Seconds against n, both axes logarithmic."""
    figure = new_figure(6.4, 4.8)
    axes = figure.subplots()
    for method, style in (("qp", "s--"), ("activable", "o-")):
        points = [row for row in rows if row["method"] == method]
        label = f"{method}, {points[0]['device']}"
        if points[0]["extrapolated"]:
            label += " (extrapolated)"
        axes.loglog([p["n"] for p in points], [p["seconds"] for p in points], style, label=label)
    axes.set_xlabel("inputs of a neuron, n")
    axes.set_ylabel(f"seconds for {neurons} neurons")
    axes.set_title("Exact projection onto the activable neurons, both operators")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    return figure


def run(config: Config, data: None, folder: Path) -> dict[str, Any]:
    """Times and compares; returns the rows of both."""
    folder.mkdir(parents=True, exist_ok=True)
    say("Comparing with the programs over all footprints.")
    rows, agreement = [], [exhaustive_agreement(config, n) for n in config.exhaustive]
    with events(folder / "events/qp") as write_qp, events(folder / "events/activable") as write:
        for n in config.inputs:
            say(f"Timing n = {n}, {config.neurons} neurons.")
            slow = qp_row(config, n)
            fast = fast_row(config, n, slow["seconds"])
            # Were all programs as fast as the fastest.
            speed = slow["seconds_of_fastest_program"] / slow["seconds_per_program"]
            fast["least_ratio_to_qp"] = speed * fast["ratio_to_qp"]
            rows += [slow, fast]
            write_qp({"step": n, "seconds": slow["seconds"]})
            write({"step": n, "seconds": fast["seconds"]})
            agreement += [chosen_agreement(config, n), single_and_double_agreement(config, n)]
    found = {"rows": rows, "agreement": agreement}
    figures = {
        "projection": ("Seconds against the inputs of a neuron.", plot(rows, config.neurons))
    }
    title = f"Exact projection of {config.neurons} neurons"
    write_report(folder, title, config, table=rows, figures=figures)
    write_results(folder / "projection.json", config, found)
    return found


main = Program(Config, run, result="projection.json")

if __name__ == "__main__":
    main()
