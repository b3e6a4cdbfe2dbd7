"""What README.md and docs/ say is true: examples run, commands parse, pages build."""

import dataclasses
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
}
EXAMPLES = [name for name, text in PAGES.items() if "```python" in text]
# They compile many networks.
SLOW = ("docs/own_models.md", "docs/recipes.md")
RESULTS = runpy.run_path(str(DOCS / "results.py"))


def run_examples(text, name):
    """Runs the blocks of Python one after the other, trainings shortened; returns their names."""
    names = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block.replace("steps=600", "steps=1"), name, "exec"), names)
    return names


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_examples(README, "README.md")
    assert "exact, in real arithmetic and in float32" in capsys.readouterr().out
    assert (tmp_path / "sticks.npz").exists()
    assert names["clean"].dtype == names["cleaned"].dtype == bool


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in EXAMPLES
        if name != "README.md"
    ],
)
def test_the_examples_of_a_page_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_examples(PAGES[name], name)
    if name == "docs/recipes.md":
        assert names["cleaned"].shape == names["x"].shape
        written = {path.name for path in tmp_path.iterdir()}
        assert written >= {"filter.npz", "filter.py", "filter.c", "filter.v", "stages.png"}


def test_there_are_examples_on_the_pages_that_say_so():
    assert {name.removeprefix("docs/") for name in EXAMPLES} >= {
        "README.md", "recipes.md", "own_models.md", "checkpoints.md", "embedded.md", "index.md",
    }  # fmt: skip


def commands(text):
    """The programs that a page starts, and the flags that it gives them."""
    text = text.replace("\\\n", " ")
    flag = r"\s+--\w+(?:=[^\s`|]*)?"
    found = re.findall(rf"(?:python -m experiments\.|bimonn-)(\w+)((?:{flag})*)", text)
    return [(program, re.findall(r"--(\w+)", flags)) for program, flags in found]


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if commands(text)])
def test_the_commands_of_a_page_have_flags_that_there_are(name):
    for program, flags in commands(PAGES[name]):
        module = importlib.import_module(f"experiments.{program}")
        known = {field.name for field in dataclasses.fields(module.Config)}
        assert set(flags) <= known | {"out_dir", "overwrite", "output", "help"}, program


def test_the_scripts_and_targets_are_there():
    scripts = set(
        re.findall(r"^    (bimonn-\w+) =", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    )
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in PAGES.values():
        assert set(re.findall(r"\b(bimonn-(?!jax)\w+)", text)) <= scripts
        assert set(re.findall(r"make ([a-z-]+)`", text)) <= targets
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) == {"demo", "test"}


@pytest.mark.parametrize("name", PAGES)
def test_the_pictures_and_files_of_a_page_exist(name):
    text, folder = PAGES[name], (ROOT / name).parent
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        # Those of notebooks and of the public names are made when the pages are built.
        if not link.startswith(("notebooks/", "reference/index.md")):
            assert (folder / link).stat().st_size > 0, link
    for path in re.findall(r"`((?:bimonn_jax|tests|experiments|docs)/[\w/.-]+\.\w+)`", text):
        assert (ROOT / path).exists(), path


def test_the_pages_build_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "reference" / "binarization" / "index.html").read_text()
    assert "squared_distance" in page
    # Examples are code, not quotations.
    assert "<blockquote>" not in page
    public = set(
        re.findall(
            r"^def ([a-z]\w+)",
            (ROOT / "bimonn_jax/binarization/conversion.py").read_text(),
            re.MULTILINE,
        )
    )
    assert all(name in page for name in public)
    # Modules have signatures, with defaults and without what Flax adds.
    page = (tmp_path / "site" / "reference" / "networks" / "index.html").read_text()
    text = re.sub(r"<[^>]+>", "", page)
    assert "padding: Padding = &#34;SAME&#34;" in text or 'padding: Padding = "SAME"' in text
    assert "Bases:" not in text
    assert "parent:" not in text
    # Formulas are formulas, also without a network.
    page = (tmp_path / "site" / "projection" / "index.html").read_text()
    assert "<math" in page
    assert r"\(" not in page
    for html in (tmp_path / "site").rglob("*.html"):
        assert not re.findall(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', html.read_text())


def test_results_become_tables():
    runs = [{"data": "page", "seed": s, "dice": 0.9 + s / 100, "broken": None} for s in (2, 0, 1)]
    assert RESULTS["table"](runs).splitlines() == [
        "The same in all: data page.",
        "",
        "| seed | dice |",
        "|---|---|",
        "| 2 | 0.9200 |",
        "| 0 | 0.9000 |",
        "| 1 | 0.9100 |",
        "| median | **0.9100** (0.9000 to 0.9200) |",
    ]
    assert RESULTS["origin"]({}) == "Commit: not recorded. Machine: not recorded."
    assert RESULTS["origin"]({"commit": None}) == RESULTS["origin"]({})
    found = RESULTS["tables_of"]({"rows": [{"n": 4}], "agreement": [{"n": 5}], "run": {}})
    assert found == {"rows": [{"n": 4}], "agreement": [{"n": 5}]}
    page = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb"
    assert RESULTS["replace_block"](page, "x", "new") == (
        "a\n<!-- generated: x -->\n\nnew\n\n<!-- end -->\nb"
    )
    with pytest.raises(SystemExit, match="generated: y"):
        RESULTS["replace_block"](page, "y", "new")


def test_what_a_run_says_of_itself_is_shown():
    run = {"commit": "1234567", "machine": "two cores", "command": "python -m experiments.x"}
    content = {"seed": 0, "dice": 0.5, "run": run}
    sentence = RESULTS["origin"](run)
    assert sentence == ("Commit: `1234567`. Machine: two cores. By `python -m experiments.x`.")
    assert RESULTS["tables_of"](content) == {"": [{"seed": 0, "dice": 0.5}]}
    assert RESULTS["origins"]([content]) == sentence
    # Of several the page has the commands.
    other = {"run": run | {"command": "python -m experiments.x --seed=1"}}
    assert RESULTS["origins"]([content, other]) == "Commit: `1234567`. Machine: two cores."
    changed = {"run": run | {"commit": "1234567, changed since"}}
    assert RESULTS["origins"]([content, changed]).splitlines() == [
        "Commit: `1234567`. Machine: two cores.",
        "Commit: `1234567`, changed since. Machine: two cores.",
    ]
