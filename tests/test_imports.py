import ast
from pathlib import Path

import pytest

import bimonn_jax

ROOT = Path(bimonn_jax.__file__).parent
RUNTIME = [
    "morphology/windows",
    "morphology/operators",
    "morphology/other_libraries",
    "neurons/correlation",
    "neurons/thresholds",
    "neurons/reparam",
    "neurons/heads",
    "neurons/hit_or_miss",
    "neurons/params",
    "neurons/activation",
    "networks/architecture",
    "networks/consistency",
    "networks/saving",
    "binarization/conversion",
    "binarization/certificate",
    "binarization/rounding",
    "_support/files",
    "_support/promotion",
    "binarization/projection/__init__",
    "binarization/projection/activable",
    "binarization/projection/constant",
    "binarization/projection/double_word",
    "binarization/projection/duality",
    "binarization/projection/nearest",
    "binarization/projection/sorted_weights",
]
HEAVY = {"optax", "cvxpy", "osqp", "orbax", "matplotlib", "tensorflow_datasets", "skimage"}


def imported(path):
    """Modules that a file imports when it is imported: not inside functions, not for typing."""
    found, pending = set(), list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            pending += node.body + node.orelse
        elif isinstance(node, ast.Try):
            pending += node.body
    return found


@pytest.mark.parametrize("name", RUNTIME)
def test_boolean_evaluation_needs_no_training_code(name):
    modules = imported(ROOT / f"{name}.py")
    assert not {m.split(".")[0] for m in modules} & HEAVY
    assert "flax.linen" not in modules
    assert not any(m.startswith("bimonn_jax.training") for m in modules)
    assert not modules & {"bimonn_jax.networks.modules", "bimonn_jax.networks.models"}


def test_the_package_imports_neither_programs_nor_tests_nor_pictures():
    for path in ROOT.rglob("*.py"):
        roots = {m.split(".")[0] for m in imported(path)}
        assert not roots & {"experiments", "tests", "matplotlib", "skimage"}, path
        assert "cvxpy" not in roots or path.name == "qp.py", path


def test_imports_have_no_cycles():
    graph = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(("bimonn_jax", *path.relative_to(ROOT).with_suffix("").parts))
        name = name.removesuffix(".__init__")
        graph[name] = {m for m in imported(path) if m.startswith("bimonn_jax") and m != name}
    done = set()

    def visit(name, above):
        assert name not in above, (*above, name)
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())
