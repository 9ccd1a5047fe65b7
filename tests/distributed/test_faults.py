"""Fault drills on two processes: a kill within a step and within a checkpoint, a newest checkpoint that is corrupt, a
full disk, a process that raises. One launch serves them all; torchrun starts the processes again after each kill.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launching import torchrun


@pytest.fixture(scope="module")
def folder(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return made_once("faults", lambda folder: torchrun("fault_ranks.py", str(folder), restarts=8))


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"found_{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("fault", ["killed_within_a_step", "killed_within_a_checkpoint", "newest_corrupted"])
def test_each_fault_happened(folder: Path, fault: str) -> None:
    assert (folder / f"happened_{fault}").exists()


@pytest.mark.parametrize("name", ["metrics.csv", "best.safetensors", "model.safetensors", "results.json"])
def test_a_training_that_was_killed_three_times_ends_with_the_bits_of_one_that_was_not(
    folder: Path, found: list[dict[str, Any]], name: str
) -> None:
    whole = folder / found[0]["attempt"] / "whole"
    assert (folder / "faulty" / name).read_bytes() == (whole / name).read_bytes()


def test_the_corrupt_checkpoint_was_passed_over(folder: Path) -> None:
    assert "step_000000030 is damaged" in (folder / "faulty" / "log.txt").read_text()


def test_a_full_disk_of_one_process_stops_all_with_one_message(found: list[dict[str, Any]]) -> None:
    for rank in found:
        assert "step_000000020: the disk is full; free some space" in rank["full"]
        assert rank["kept"] == ["step_000000010"]


def test_a_process_that_raises_is_named_on_the_others(found: list[dict[str, Any]]) -> None:
    said = "ZeroDivisionError: the charge of this item is zero"
    assert found[1]["raising"] == said
    assert found[0]["raising"] == f"PeerError: process 1 of 2 failed: {said}; the last checkpoint is kept: " + (
        "--resume continues from it"
    )
