"""What README.md and docs/ say is true: examples run, pictures and commands exist, pages build."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RECIPES = (ROOT / "docs" / "recipes.md").read_text()


def run_examples(text, name):
    """Runs the blocks of Python one after the other, trainings shortened; returns their names."""
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block.replace("steps=600", "steps=1"), name, "exec"), names)
    return names, len(blocks)


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, count = run_examples(README, "README.md")
    assert count == 2
    assert "exact, in real arithmetic and in float32" in capsys.readouterr().out
    assert (tmp_path / "sticks.npz").exists()
    assert names["clean"].dtype == bool


@pytest.mark.slow
def test_the_recipes_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, count = run_examples(RECIPES, "recipes.md")
    assert count == 4
    assert names["cleaned"].shape == names["x"].shape
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"filter.npz", "filter.py", "filter.c", "filter.v", "stages.png"}


def test_the_pictures_and_commands_exist():
    for page in (README, *(p.read_text() for p in (ROOT / "docs").glob("*.md"))):
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page):
            folder = ROOT if page is README else ROOT / "docs"
            assert (folder / picture).stat().st_size > 0
        for program in re.findall(r"python -m experiments\.(\w+)", page):
            assert (ROOT / "experiments" / f"{program}.py").exists()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) == {"demo", "test"}
    assert set(re.findall(r"make ([a-z-]+)`", README)) <= targets


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
