"""docs/validation.md says what the physics tests say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def test_the_validation_page_is_up_to_date(repository: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_validation_page", repository / "docs/make_validation_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (repository / "docs/validation.md").read_text() == module.page(), "run python docs/make_validation_page.py"


def test_every_picture_and_page_that_the_readme_names_is_there(repository: Path) -> None:
    import re

    text = (repository / "README.md").read_text()
    named = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if not target.startswith("http")]
    assert len(named) > 5
    assert [target for target in named if not (repository / target).exists()] == []


def test_the_python_of_the_readme_runs(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ethanol's total energy in PBE/def2-SVP is near -4210 eV; the gradient has the shape of the positions."""
    import re

    (code,) = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    energy, shape = capsys.readouterr().out.splitlines()
    assert -4215 < float(energy.removesuffix(" eV")) < -4205
    assert shape == "torch.Size([9, 3])"
