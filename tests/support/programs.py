"""The programs as a notebook calls them, and as a shell does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(module, folder, **settings):
    """What a program finds by ``run``."""
    config = module.Config(**settings)
    load = getattr(module, "load", lambda config: None)
    return module.run(config, load(config), folder)


def start(program, *arguments, **environment):
    """A program in a process of its own, as a user starts it."""
    command = [sys.executable, "-m", f"experiments.{program}", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True,
        timeout=1200,
    )  # fmt: skip


def written_results(path):
    """What a program wrote as JSON, without where it comes from, which is checked."""
    found = json.loads(path.read_text(encoding="utf-8"))
    origin = found.pop("run")
    assert set(origin) == {"commit", "machine", "command"}
    assert origin["command"].startswith("python -m experiments.")
    assert origin["command"].endswith(f"--out_dir={path.parent}")
    return found


def check_report(out):
    """It is there, says how it came about, and needs nothing beside it."""
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"--out_dir={out}" in page
    assert "jaxlib" in page
    assert "data:image/png;base64," in page
    assert set(re.findall(r"(?:src|href)=.(\w+:)", page)) == {"data:"}
