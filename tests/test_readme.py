import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        shorter = block.replace("steps=600, patience=300", "steps=1")
        exec(compile(shorter, "README.md", "exec"), names)
    assert "exact, in real arithmetic and in float32" in capsys.readouterr().out
    assert (tmp_path / "sticks.npz").exists()
    assert names["clean"].dtype == bool


def test_the_pictures_and_commands_of_the_readme_exist():
    root = Path(__file__).parent.parent
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (root / picture).stat().st_size > 0
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) == {"demo", "test"} <= targets
