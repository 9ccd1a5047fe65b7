"""The test run itself watches shapes: an argument that does not fit its annotation raises."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import shape_checks
import torch
from jaxtyping import TypeCheckError

MODULE = """
from __future__ import annotations
from jaxtyping import Float
from torch import Tensor

def distances(positions: Float[Tensor, "atoms 3"], label: int = 0) -> Float[Tensor, "atoms"]:
    return positions.norm(dim=-1)
"""


def test_shapes_are_checked_and_other_annotations_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sponge").mkdir()
    (tmp_path / "sponge/watched_by_this_test.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "sponge"), *sys.path])
    monkeypatch.setattr(shape_checks, "PACKAGES", ("",))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    shape_checks.install(tmp_path / "sponge")
    distances = importlib.import_module("watched_by_this_test").distances
    assert distances(torch.ones(2, 3), label="no integer").shape == (2,)
    with pytest.raises(TypeCheckError, match="positions"):
        distances(torch.ones(2, 4))
