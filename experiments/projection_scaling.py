"""Times the exact projection against the quadratic programs, for growing layers.

    python -m experiments.projection_scaling --out_dir=out/projection

Writes ``projection.json``, with rows n, neurons, method, device, seconds, extrapolated and
ratio_to_qp, and ``projection.png``. The programs are solved for a sample of footprints, the problem
built once; a layer's time is their median times 2 n programs times its neurons, and the row says
``extrapolated``. Their times differ a hundredfold, so the row holds the fastest as well. The fast
projection runs in full: compiled, synchronised, median of several.

The file also holds the agreement with the programs: for small neurons over all footprints, for the
others on the footprint that the fast projection chose.
"""

import math
import statistics
import time
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from bimonn_jax.binarization.projection import project
from bimonn_jax.binarization.projection.duality import Form
from bimonn_jax.binarization.projection.qp import FootprintProgram, project_qp, super_level_sets
from bimonn_jax.viz.figures import new_figure
from experiments.output import OUT_DIR, OVERWRITE, events, prepare, write_json
from experiments.report import write_report
from experiments.timing import device_name, median_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


INPUTS = flags.DEFINE_list("inputs", ["64", "256", "512", "1024", "2048", "4096"], "Values of n.")
NEURONS = flags.DEFINE_integer("neurons", 4096, "Of a layer.", lower_bound=1)
PROGRAMS = flags.DEFINE_integer("programs", 21, "Solved per n.", lower_bound=2)
TOLERANCE = flags.DEFINE_float("qp_tolerance", 1e-5, "Of the timed programs; CVXPY's default.")
ITERATIONS = flags.DEFINE_integer("qp_iterations", 20_000, "At most, of the timed programs.")
EXHAUSTIVE = flags.DEFINE_list("exhaustive", ["4", "16", "64"], "n compared over all footprints.")
COMPARED = flags.DEFINE_integer("compared", 8, "Neurons compared per n.", lower_bound=1)
RUNS = flags.DEFINE_integer("runs", 5, "Timed runs of the fast projection.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the random layers.")

Row = dict[str, Any]
FORM = Form()


def layer(n: int, neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform weights (n, neurons), biases between 0 and their sums, float32."""
    rng = np.random.default_rng([SEED.value, n])
    W = rng.uniform(0, 2 / math.sqrt(n), (n, neurons)).astype(np.float32)
    return W, (W.sum(axis=0) * rng.uniform(0, 1, neurons)).astype(np.float32)


def qp_row(n: int) -> Row:
    """The time of a layer by quadratic programs, from a sample of them."""
    W, B = layer(n, PROGRAMS.value)
    rng = np.random.default_rng(SEED.value)
    program = FootprintProgram(n, FORM, tolerance=TOLERANCE.value, iterations=ITERATIONS.value)
    seconds, unsolved = [], 0
    for w, b in zip(W.T, B, strict=True):
        S = super_level_sets(w)[rng.integers(n)]
        started = time.perf_counter()
        try:
            program.solve(w, b, S)
        except RuntimeError:
            unsolved += 1
        seconds.append(time.perf_counter() - started)
    # The first call includes what CVXPY does once per problem.
    per_program = statistics.median(seconds[1:])
    return {
        "n": n,
        "neurons": NEURONS.value,
        "method": "qp",
        "device": "cpu",
        "seconds": per_program * 2 * n * NEURONS.value,
        "extrapolated": True,
        "ratio_to_qp": 1.0,
        "seconds_per_program": per_program,
        "seconds_of_fastest_program": min(seconds[1:]),
        "programs_timed": len(seconds) - 1,
        "programs_unsolved": unsolved,
    }


def fast_row(n: int, qp_seconds: float) -> Row:
    """The time of a layer by the fast projection."""
    W, B = map(jnp.asarray, layer(n, NEURONS.value))
    seconds = median_seconds(project, W, B, runs=RUNS.value)
    return {
        "n": n,
        "neurons": NEURONS.value,
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


def exhaustive_agreement(n: int) -> Row:
    """Fast projection and programs on the same neurons, over all footprints and both operators."""
    W, B = layer(n, COMPARED.value)
    fast, programs = project(jnp.asarray(W), jnp.asarray(B)), project_qp(W, B)
    return {
        "n": n,
        "neurons": COMPARED.value,
        "footprints": "all",
        "same_footprint": int(np.all(fast.footprint == programs.footprint, axis=0).sum()),
        "same_operator": int(np.sum(fast.is_erosion == programs.is_erosion)),
        "relative_difference": relative_difference(
            fast.squared_distance, programs.squared_distance
        ),
    }


def chosen_agreement(n: int) -> Row:
    """The distances that the programs find on the footprints that the fast projection chose."""
    W, B = layer(n, COMPARED.value)
    fast = jax.tree.map(np.asarray, project(jnp.asarray(W), jnp.asarray(B)))
    program = FootprintProgram(n, FORM)
    found, references = [], []
    for i, w in enumerate(W.T.astype(float)):
        compared = w.sum() - B[i] if fast.is_erosion[i] else B[i]
        try:
            solved = program.solve(w, compared, fast.footprint[:, i])
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


def single_and_double_agreement(n: int) -> Row:
    """How many neurons of a layer get the same footprint and operator in float32 and float64."""
    W, B = layer(n, NEURONS.value)
    single = jax.tree.map(np.asarray, project(jnp.asarray(W), jnp.asarray(B)))
    with jax.enable_x64(True):
        exact = project(jnp.asarray(W, jnp.float64), jnp.asarray(B, jnp.float64))
        double = jax.tree.map(np.asarray, exact)
    same = np.all(single.footprint == double.footprint, axis=0)
    same &= single.is_erosion == double.is_erosion
    return {
        "n": n,
        "neurons": NEURONS.value,
        "same_in_float32_and_float64": int(same.sum()),
        "relative_difference": relative_difference(
            single.squared_distance, double.squared_distance
        ),
    }


def plot(rows: list[Row]) -> "Figure":
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
    axes.set_ylabel(f"seconds for {NEURONS.value} neurons")
    axes.set_title("Exact projection onto the activable neurons, both operators")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    return figure


def main(argv: list[str]) -> None:
    """Runs the program."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    folder = prepare(OUT_DIR.value, "projection.json", overwrite=OVERWRITE.value)
    rows, agreement = [], [exhaustive_agreement(int(n)) for n in EXHAUSTIVE.value]
    write = {method: events(folder / "events" / method) for method in ("qp", "activable")}
    for n in map(int, INPUTS.value):
        slow = qp_row(n)
        fast = fast_row(n, slow["seconds"])
        rows += [slow, fast]
        for row in (slow, fast):
            write[row["method"]]({"step": n, "seconds": row["seconds"]})
        agreement += [chosen_agreement(n), single_and_double_agreement(n)]
        least = fast["ratio_to_qp"] * slow["seconds_of_fastest_program"]
        least /= slow["seconds_per_program"]
        print(
            f"n = {n}, {NEURONS.value} neurons: {fast['seconds']:.3g} s on {fast['device']}; by "
            f"quadratic programs {slow['seconds']:.3g} s ({slow['seconds_per_program']:.2g} s "
            f"each, extrapolated): {fast['ratio_to_qp']:,.0f} times; were all as fast as the "
            f"fastest ({slow['seconds_of_fastest_program']:.2g} s): {least:,.0f} times"
        )
    for row in agreement:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    write_json(folder / "projection.json", {"rows": rows, "agreement": agreement})
    write_report(
        folder,
        f"Exact projection of {NEURONS.value} neurons",
        table=rows,
        figures={"projection": ("Seconds against the inputs of a neuron.", plot(rows))},
    )


if __name__ == "__main__":
    app.run(main)
