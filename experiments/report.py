"""The report of a run: one HTML file that needs nothing beside it, and its pictures as files."""

import base64
import io
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jinja2
from absl import flags

from bimonn_jax._support.files import printable, write_bytes, write_text
from experiments.timing import device_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PACKAGES = ("bimonn-jax", "jax", "jaxlib", "flax", "optax", "numpy")
_TEMPLATE = Path(__file__).with_name("report.html.jinja")

Table = Sequence[Mapping[str, Any]]


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in _PACKAGES}
    return {"Python": platform.python_version(), **found}


def _flags() -> dict[str, str]:
    """The program's own flags with their values, defaults included."""
    own = flags.FLAGS.flags_by_module_dict()
    return {
        flag.name: "" if flag.value is None else _without_password(str(flag.value))
        for module, group in own.items()
        if module.startswith(("experiments.", "__main__", sys.argv[0]))
        for flag in group
    }


def _without_password(text: str) -> str:
    """The text with *** in place of the password of a URL, as of a database."""
    return re.sub(r"(://[^:/@\s]+:)[^@\s]+@", r"\1***@", text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items())
    return str(value)


def _write_picture(path: Path, figure: "Figure") -> str:
    """Draws a figure once, for its file and as the data URL that is returned."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_bytes(path, data.getvalue(), overwrite=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def write_report(
    folder: Path,
    title: str,
    *,
    table: Table,
    figures: Mapping[str, tuple[str, "Figure"]],
    certificate: object | None = None,
    layers: Any = None,
) -> None:
    """Writes report.html, and each of its figures as NAME.png, into the folder of a run.

    Args:
      folder: of the results; what is there is replaced: the results themselves guard against that.
      title: what was run.
      table: rows of results with the same columns; one row is shown as names and values, without
        those that are None.
      figures: captions and figures by the names of their files.
      certificate: what was proven, printed as text.
      layers: a `bimonn_jax.binarization.Summary`.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    named = [name for row in table for name, value in row.items() if value is not None]
    columns = list(dict.fromkeys(named))
    program = sys.argv[0]
    if Path(program).parent.name == "experiments":
        program = f"python -m experiments.{Path(program).stem}"
    text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        command=_without_password(" ".join([program, *map(shlex.quote, sys.argv[1:])])),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{device_name()}, {platform.platform()}, {jax.device_count()} device(s)",
        versions=_versions(),
        flags=_flags(),
        columns=columns,
        rows=[[_cell(row.get(name)) for name in columns] for row in table],
        figures={
            caption: _write_picture(folder / f"{name}.png", figure)
            for name, (caption, figure) in figures.items()
        },
        certificate="" if certificate is None else str(certificate),
        layers="" if layers is None else layers._repr_html_(),
    )
    write_text(folder / "report.html", printable(text), overwrite=True)
