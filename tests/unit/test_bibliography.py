"""Every citation in the code resolves in docs/bibliography.md."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_cited_work_is_listed(repository: Path) -> None:
    listed = set(re.findall(r"^- \*\*(\w+)\*\*", (repository / "docs/bibliography.md").read_text(), re.MULTILINE))
    cited = {
        key: path.relative_to(repository)
        for folder in ("mindsci", "elec", "sponge", "tests")
        for path in (repository / folder).rglob("*.py")
        for key in re.findall(r"\[(?:[\w, .]*; )?((?:[A-Z][a-z]+)+\d{4}|ISO\d+)\b", path.read_text())
    }
    assert len(cited) > 20
    missing = {key: str(path) for key, path in cited.items() if key not in listed}
    assert missing == {}
