"""Mutation testing: would a test notice if one operator, comparison or number were another?

Draws a random sample of the mutants that Cosmic Ray (`pip install cosmic-ray`) can make of the
modules that proofs rest on, runs the quick tests of the module against each in a copy of the
repository, and prints the survivors:

    python -m tests.support.mutants --count=200
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from pathlib import Path
from queue import SimpleQueue

import parso  # noqa: F401 (Cosmic Ray's modules import each other in a circle unless it is first)
from absl import app, flags
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

COUNT = flags.DEFINE_integer("count", 200, "How many mutants to draw; 0 for all.", lower_bound=0)
SEED = flags.DEFINE_integer("seed", 0, "Of the draw.")
WORKERS = flags.DEFINE_integer("workers", os.cpu_count(), "Tests that run at once.", lower_bound=1)
TIMEOUT = flags.DEFINE_integer("timeout", 900, "Seconds after which a mutant counts as killed.")
OUT = flags.DEFINE_string("out", "out/mutants.json", "Where to write what happened to each.")

ROOT = Path(__file__).parents[2]
# Each module's tests, the fastest first: a mutant is dead at the first failure.
PROJECTION = ("binarization/test_projection_activable",)
TESTS = {
    "neurons/activation": (
        "neurons/test_activation", "neurons/test_neuron_corner_cases",
        "binarization/test_conversion", "binarization/test_certificate_corner_cases",
        "binarization/test_certificate",
    ),
    "binarization/conversion": ("binarization/test_conversion", "binarization/test_projection_qp"),
    "binarization/certificate": (
        "binarization/test_certificate_corner_cases", "binarization/test_certificate",
        "neurons/test_heads", "binarization/test_layer_summary",
        "binarization/test_certificate_enumeration",
    ),
    "binarization/rounding": (
        "binarization/test_rounding", "binarization/test_certificate_corner_cases",
        "binarization/test_certificate", "binarization/test_certificate_enumeration",
    ),
    "binarization/projection/activable": PROJECTION,
    "binarization/projection/constant": (
        "binarization/test_projection_constant", "binarization/test_conversion",
    ),
    "binarization/projection/double_word": ("binarization/test_double_word", *PROJECTION),
    "binarization/projection/duality": PROJECTION,
    "binarization/projection/exact": ("binarization/test_projection_exact",),
    "binarization/projection/nearest": (
        "binarization/test_conversion", "binarization/test_projection_exact",
    ),
    "binarization/projection/qp": ("binarization/test_projection_qp", *PROJECTION),
    "binarization/projection/sorted_weights": PROJECTION,
}  # fmt: skip
MODULES = flags.DEFINE_multi_enum("module", list(TESTS), list(TESTS), "Only this; may be repeated.")
# One likely slip for each; what no type allows (a shift of floats) would be killed by any test.
OPERATORS = [
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in (
            "Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul",
            "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitOr",
        )
    ),
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in (
            "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "LtE_Gt", "Gt_LtE", "GtE_Lt",
            "Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is",
        )
    ),
    *(f"ReplaceUnaryOperator_Delete_{sign}" for sign in ("USub", "Invert", "Not")),
    "AddNot", "NumberReplacer", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak",
    "ZeroIterationForLoop",
]  # fmt: skip


def mutants(module: str) -> list[tuple[str, str, int]]:
    """All (module, operator, occurrence), but not in annotations, which nothing runs."""
    tree = get_ast((ROOT / "bimonn_jax" / f"{module}.py").read_text())
    found = []
    for name in OPERATORS:
        operator = plugins.get_operator(f"core/{name}")()
        nodes = [n for n in ast_nodes(tree) for _ in operator.mutation_positions(n)]
        found += [(module, name, i) for i, node in enumerate(nodes) if is_run(node)]
    return found


def is_run(node) -> bool:
    """Whether a node is part of what runs: of no annotation, and not the * of a parameter list."""
    if node.parent.type == "parameters":
        return False
    while (parent := node.parent) is not None:
        if parent.type in ("tfpdef", "annassign"):
            # name: annotation, and : annotation = value.
            return node is not parent.children[2 if parent.type == "tfpdef" else 1]
        if parent.type == "funcdef" and node is parent.annotation:
            return False
        node = parent
    return True


def run_tests(copy: Path, names: Iterable[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Runs quick tests in a copy of the repository."""
    files = [f"tests/{name}.py" for name in names]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options, *files],
        cwd=copy,
        env={"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache/jax"), **os.environ},
        capture_output=True,
        text=True,
        timeout=TIMEOUT.value,
    )


def outcome(mutant: tuple[str, str, int], copy: Path) -> dict[str, object]:
    """Tests a mutant in a copy of the repository, which is as before afterwards."""
    module, name, occurrence = mutant
    path = copy / "bimonn_jax" / f"{module}.py"
    code = path.read_text()
    mutated = mutate_code(code, plugins.get_operator(f"core/{name}")(), occurrence)
    path.write_text(mutated)
    try:
        done = run_tests(copy, TESTS[module])
        # 1: a test failed, 2: the module cannot be imported.
        fate = {0: "survived", 1: "killed", 2: "killed"}.get(done.returncode, "error")
    except subprocess.TimeoutExpired:
        fate = "timeout"
    finally:
        path.write_text(code)
    diff = unified_diff(code.splitlines(), mutated.splitlines(), module, module, n=0, lineterm="")
    return {"fate": fate, "module": module, "operator": name, "diff": list(diff)[2:]}


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    everything = [mutant for module in MODULES.value for mutant in mutants(module)]
    count = min(COUNT.value or len(everything), len(everything))
    drawn = random.Random(SEED.value).sample(everything, count)
    print(f"{len(drawn)} of {len(everything)} mutants", flush=True)
    out, results = Path(OUT.value), []
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for worker in range(WORKERS.value):
            ignored = shutil.ignore_patterns(".*", "out", "__pycache__")
            copy = shutil.copytree(ROOT, Path(folder) / str(worker), ignore=ignored)
            copies.put(copy)
        tests = {test for module in MODULES.value for test in TESTS[module]}
        done = run_tests(copy, sorted(tests), "-n", "auto")
        if done.returncode:
            raise RuntimeError(f"the tests fail as it is:\n{done.stdout[-3000:]}")

        def run(mutant: tuple[str, str, int]) -> dict[str, object]:
            copy = copies.get()
            try:
                return outcome(mutant, copy)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(WORKERS.value) as pool:
            for result in pool.map(run, drawn):
                results.append(result)
                out.write_text(json.dumps(results, indent=1))
                print(len(results), result["fate"], result["module"], *result["diff"], flush=True)
    for module in MODULES.value:
        fates = Counter(r["fate"] for r in results if r["module"] == module)
        print(module, dict(fates))
    print("all", dict(Counter(r["fate"] for r in results)))


if __name__ == "__main__":
    app.run(main)
