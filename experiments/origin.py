"""What a run found, as JSON that says where it comes from."""

import os
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import without_password, write_json
from .timing import device_name

if TYPE_CHECKING:
    from .program import Settings

_ROOT = Path(__file__).parent.parent
# Where the code of programs lies.
_CODE = ("bimonn_jax", "experiments")


def _git(*arguments: str) -> str:
    command = ["git", *arguments, "--", *_CODE]
    return subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout


@cache
def commit() -> str | None:
    """The last commit that changed the code, and whether it was changed since.

    None where the code is no checkout, as where it was installed. It is looked up once in a
    process: long runs should ask before they start, for the code that runs is that of the start.
    """
    try:
        found = _git("log", "-1", "--format=%h").strip()
        changes = ", changed since" if _git("status", "--porcelain") else ""
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{found}{changes}" if found else None


def machine() -> str:
    """The processor, how many of its cores there are, and what JAX computes on if not on it."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    device = "" if device_name() == "cpu" else f", {device_name()}"
    return f"{found[1] if found else 'a CPU'}, {os.cpu_count()} cores{device}"


def write_results(path: Path, config: "Settings", found: Mapping[str, Any]) -> None:
    """Writes what a run found, and as ``run`` its commit, machine and command.

    Args:
      path: in the folder of the run; what was there is replaced at once, or not at all.
      config: the run's settings.
      found: figures, and lists of rows of them, by name; nothing is called "run".
    """
    command = without_password(config.command(path.parent))
    run = {"commit": commit(), "machine": machine(), "command": command}
    write_json(path, {**found, "run": run})
