"""Steps of the site's build: formulas become MathML; notebooks and public names become pages.

Hooks of mkdocs. No page loads anything from elsewhere.
"""

import ast
import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = ROOT / "experiments" / "notebooks"
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<formula>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def _mathml(match: re.Match[str]) -> str:
    display = "inline" if match["tag"] == "span" else "block"
    formula = convert(html.unescape(match["formula"]), display=display)
    return f'<{match["tag"]} class="formula">{formula}</{match["tag"]}>'


def on_page_content(html: str, **_: Any) -> str:
    """Writes formulas as MathML, which browsers show by themselves."""
    return _FORMULA.sub(_mathml, html)


def as_markdown(notebook: dict[str, Any]) -> str:
    """The cells of a notebook as a page: texts, and code in blocks."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).strip()
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"


def _first_line(module: str, name: str) -> str:
    """What the docstring of a name begins with; "" if it has none."""
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        return ""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
    return ""


def names_page() -> str:
    """What ``import bimonn_jax`` shows, with links, from its stub."""
    rows = []
    for node in ast.parse((ROOT / "bimonn_jax" / "__init__.pyi").read_text()).body:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        for alias in node.names:
            module = f"bimonn_jax.{node.module}"
            link = f"[`{alias.name}`][{module}.{alias.name}]"
            rows.append(f"| {link} | {_first_line(module, alias.name)} |")
    head = "# Front door\n\nWhat `import bimonn_jax` shows; each wing shows more.\n\n"
    return head + "\n".join(["| name | what |", "|---|---|", *rows]) + "\n"


def on_files(files: Any, *, config: Any) -> Any:
    """Adds a page for each notebook, and one of the public names."""
    files.append(File.generated(config, "reference/index.md", content=names_page()))
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        page = as_markdown(json.loads(path.read_text()))
        name = f"notebooks/{path.stem}.md"
        files.append(File.generated(config, name, content=page))
    return files
