"""Writes docs/validation.md: the figures of docs/figures.md, then each law that tests/physics checks, in its own words.

Run it as `python docs/make_validation_page.py`; a test fails while the page is out of date.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def sentence(name: str) -> str:
    """Returns the claim that a test's name makes."""
    return name.removeprefix("test_").replace("_", " ")


def section(path: Path) -> str:
    """Returns a file's opening docstring and the claims of its tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    claims = [
        f"- {sentence(node.name)}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    return f"### `{path.relative_to(ROOT)}`\n\n{ast.get_docstring(tree)}\n\n" + "\n".join(claims)


def page() -> str:
    """Returns the text of docs/validation.md."""
    figures = (ROOT / "docs/figures.md").read_text(encoding="utf-8").rstrip()
    sections = [section(path) for path in sorted((ROOT / "tests/physics").glob("test_*.py"))]
    laws = "## Laws checked in every test run\n\nSet-up, formula, source and tolerance as the test files state them."
    return "\n\n".join([figures, laws, *sections]) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/validation.md").write_text(page(), encoding="utf-8")
