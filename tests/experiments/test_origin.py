import json
import shutil
import subprocess

import pytest

from experiments import origin, sweep
from tests.support.programs import written_results


def git(folder, *arguments):
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(
        ["git", *author, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_code_and_changes_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(origin, "_ROOT", tmp_path)
    commit = origin.commit.__wrapped__
    assert commit() is None
    (tmp_path / "bimonn_jax").mkdir()
    code = tmp_path / "bimonn_jax" / "a.py"
    code.write_text("1\n")
    git(tmp_path, "init")
    # Nor is it a checkout of ours where what is around it is one.
    (tmp_path / "other").write_text("")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-m", "of another project")
    assert commit() is None
    git(tmp_path, "add", "bimonn_jax")
    git(tmp_path, "commit", "-m", "code")
    number = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "other").write_text("words")
    git(tmp_path, "commit", "-am", "words")
    assert number.startswith(commit())
    assert len(commit()) >= 7
    code.write_text("2\n")
    assert commit() == f"{git(tmp_path, 'rev-parse', '--short', number)}, changed since"


def test_results_say_how_they_came_about_but_no_password(tmp_path):
    config = sweep.Config(storage="postgresql+psycopg://me:secret@host/db", trials=3)
    origin.write_results(tmp_path / "a.json", config, {"rows": [{"n": 1}]})
    assert written_results(tmp_path / "a.json") == {"rows": [{"n": 1}]}
    run = json.loads((tmp_path / "a.json").read_text())["run"]
    assert "--trials=3" in run["command"]
    assert "me:***@host" in run["command"]
    assert "secret" not in run["command"]
    assert run["machine"] == origin.machine()
