"""The wings, what each may import, and what running a saved network loads."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bimonn_jax

ROOT = Path(bimonn_jax.__file__).parent
# A wing imports from itself and from lower floors.
FLOORS = {
    "_support": 1,
    "morphology": 1,
    "data": 2,
    "neurons": 2,
    "networks": 3,
    "binarization": 4,
    "deployment": 4,
    "training": 5,
    "viz": 5,
    "filters": 6,
}
FILES = {
    ".".join(("bimonn_jax", *path.relative_to(ROOT).with_suffix("").parts)): path
    for path in ROOT.rglob("*.py")
}
NEVER_RUNNING = {
    "flax", "optax", "orbax", "cvxpy", "osqp", "matplotlib", "scipy", "skimage", "PIL", "tqdm",
    "tensorflow_datasets",
}  # fmt: skip


def imports(path, *, everywhere):
    """Modules that a file imports: at the top level, or also inside of functions."""
    pending, found = [ast.parse(path.read_text())], set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # As only programs do, among one another: `test_programs` says why.
                assert path.parent.name == "experiments", f"{path} imports relatively"
                continue
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif everywhere or not isinstance(node, ast.FunctionDef):
            pending += ast.iter_child_nodes(node)
    return found


def wing(module):
    """Of a module of ours: the folder it lies in."""
    return module.split(".")[1] if module.count(".") else None


def test_every_folder_is_a_wing_of_a_floor():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(FLOORS)
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_wing_imports_only_from_lower_floors(name):
    mine = wing(name)
    for module in imports(FILES[name], everywhere=True):
        if not module.startswith("bimonn_jax"):
            continue
        other = wing(module)
        assert other in FLOORS, f"{name} imports {module}: name the module that defines it"
        assert other == mine or mine is None or FLOORS[other] < FLOORS[mine], (name, module)


def loaded(statement):
    """The top-level modules that a fresh process has loaded after a statement."""
    code = f"import sys; {statement}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_running_a_saved_network_loads_neither_training_nor_solvers_nor_pictures(tmp_path):
    layer = bimonn_jax.networks.LUILayer("a")
    every, dilation_and_erosion = np.ones((2, 2), bool), np.array([False, True])
    one = bimonn_jax.BooleanNeurons(every, dilation_and_erosion, np.zeros(2, bool))
    path = tmp_path / "network.npz"
    bimonn_jax.save_network(path, (layer,), {"a": {"lui": one}})
    run = (
        "import bimonn_jax, numpy as np; "
        f"network = bimonn_jax.load_network({str(path)!r}); "
        "x = np.array([[True, False]]); "
        "assert network(x).tolist() == [[True, False]]; "
        "assert bimonn_jax.PackedNetwork(network, (2,))(x).tolist() == [[True, False]]"
    )
    modules = loaded(run)
    assert "jax" in modules
    assert not modules & NEVER_RUNNING


def test_importing_the_package_loads_nothing_else():
    assert not loaded("import bimonn_jax") & {"jax", "numpy", *NEVER_RUNNING}


def test_a_program_can_be_imported_without_the_extra_that_it_needs():
    settings = configparser.ConfigParser()
    settings.read(ROOT.parent / "setup.cfg", encoding="utf-8")
    needed = re.findall(r"^[\w-]+", settings["options"]["install_requires"], re.MULTILINE)
    modules = {"absl-py": "absl", "orbax-checkpoint": "orbax"}
    known = {modules.get(name, name.replace("-", "_")) for name in needed}
    for path in (ROOT.parent / "experiments").glob("*.py"):
        roots = {module.split(".")[0] for module in imports(path, everywhere=False)}
        assert roots <= known | {"bimonn_jax", *sys.stdlib_module_names}, path


def test_every_name_of_the_stubs_exists():
    for stub in ROOT.rglob("__init__.pyi"):
        package = sys.modules[".".join(("bimonn_jax", *stub.parent.relative_to(ROOT).parts))]
        for name in package.__all__:
            assert getattr(package, name) is not None


def test_the_package_imports_neither_programs_nor_tests():
    for path in FILES.values():
        roots = {module.split(".")[0] for module in imports(path, everywhere=True)}
        assert not roots & {"experiments", "tests"}, path
    for path in FILES.values():
        roots = {module.split(".")[0] for module in imports(path, everywhere=False)}
        assert not roots & {"matplotlib", "skimage"}, path
        assert "cvxpy" not in roots or path.name == "qp.py", path


def test_imports_have_no_cycles():
    graph = {name: imports(path, everywhere=False) & set(FILES) for name, path in FILES.items()}
    done = set()

    def visit(name, above):
        assert name not in above, (*above, name)
        if name not in done:
            for other in graph[name] - {name}:
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())
