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


_NAMES = """# Names

What is found in `bimonn_jax` itself. More is in its wings, as in `from bimonn_jax.training import fit`:
[morphology](morphology.md), [neurons](neurons.md), [networks](networks.md),
[binarization](binarization.md), [deployment](deployment.md), [training](training.md),
[filters](filters.md), [data](data.md), [viz](viz.md).

"""
# What the last cells of a notebook draw, which is stored without pictures.
_PICTURES = {"quickstart": "network.png", "documents": "documents.png"}


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


def _after(path: Path) -> str:
    """What a page says of its notebook."""
    picture = _PICTURES.get(path.stem)
    shown = f"![What the notebook finds](../{picture})\n\n" if picture else ""
    name = path.relative_to(ROOT)
    return f"\n{shown}This page is `{name}` without its pictures, which appear when it is run.\n"


def _first_line(module: str, name: str) -> str:
    """What the docstring of a name begins with; "" if it has none."""
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        return ""
    for node in reversed(ast.parse(path.read_text()).body):  # Overloads come before the function.
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            line = (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
            return line.replace("|", r"\|")
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
    return _NAMES + "\n".join(["| name | what |", "|---|---|", *rows]) + "\n"


def on_files(files: Any, *, config: Any) -> Any:
    """Adds a page for each notebook, and one of the public names."""
    files.append(File.generated(config, "reference/index.md", content=names_page()))
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        page = as_markdown(json.loads(path.read_text())) + _after(path)
        name = f"notebooks/{path.stem}.md"
        files.append(File.generated(config, name, content=page))
    return files
