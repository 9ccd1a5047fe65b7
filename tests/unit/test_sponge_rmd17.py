"""The reader of revised MD17: units, splits, and refusal of what is no such file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch

from mindsci import hub
from mindsci.errors import InputError
from sponge.data.rmd17 import read

KCAL_PER_MOL = 0.0433641
"""[eV]"""
CARD = SimpleNamespace(
    name="made_up",
    folder=Path("."),
    splits={
        "train": SimpleNamespace(files=["train.npz"], indices=None),
        "test": SimpleNamespace(files=["test.npz"], indices=None),
    },
)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    random = numpy.random.default_rng(0)
    for name, count in (("train.npz", 20), ("test.npz", 7)):
        arrays = {
            "nuclear_charges": numpy.array([8, 1, 1], dtype=numpy.uint8),
            "coords": random.normal(size=(count, 3, 3)),
            "energies": -97000.0 + random.normal(size=count),
            "forces": random.normal(size=(count, 3, 3)),
            "old_energies": -97100.0 + random.normal(size=count),
            "old_forces": random.normal(size=(count, 3, 3)),
        }
        numpy.savez(tmp_path / name, **arrays)
    return {name: tmp_path / name for name in ("train.npz", "test.npz")}


def test_labels_come_in_electronvolts_of_either_set(paths: dict[str, Path]) -> None:
    stored = numpy.load(paths["test.npz"])
    for labels, energies, forces in (("revised", "energies", "forces"), ("original", "old_energies", "old_forces")):
        test = read(paths, CARD, labels=labels, validation=5).test
        numpy.testing.assert_allclose(test.energy, stored[energies] * KCAL_PER_MOL, rtol=1e-6)
        numpy.testing.assert_allclose(test.forces, stored[forces].reshape(-1, 3) * KCAL_PER_MOL, rtol=1e-5)
        assert test.energy.dtype == torch.float64
        assert test.forces.dtype == torch.float32


def test_training_and_validation_frames_share_nothing_and_are_all_there(paths: dict[str, Path]) -> None:
    data, again = (read(paths, CARD, validation=5) for _ in range(2))
    assert (len(data.train.energy), len(data.validation.energy), len(data.test.energy)) == (15, 5, 7)
    assert len(set(torch.cat([data.train.energy, data.validation.energy]).tolist())) == 20
    assert torch.equal(data.validation.energy, again.validation.energy)
    other = read(paths, CARD, validation=5, split_seed=1)
    assert not torch.equal(data.validation.energy, other.validation.energy)


def test_impossible_requests_and_damaged_files_are_refused(paths: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="revised, original"):
        read(paths, CARD, labels="new")
    with pytest.raises(InputError, match="1 to 19"):
        read(paths, CARD, validation=20)
    paths["test.npz"].write_bytes(b"PK half a file")
    with pytest.raises(InputError, match="cut short"):
        read(paths, CARD, validation=5)
    numpy.savez(paths["test.npz"], coords=numpy.zeros((1, 3, 3)))
    with pytest.raises(InputError, match="has no array"):
        read(paths, CARD, validation=5)


@pytest.mark.data
def test_the_card_of_ethanol_reads(data_mirror: Path) -> None:
    data = hub.load_dataset("rmd17_ethanol")
    assert sorted(data.test.atomic_numbers[:9].tolist()) == [1] * 6 + [6, 6, 8]
    assert (len(data.train.energy), len(data.validation.energy), len(data.test.energy)) == (950, 50, 1000)
    # PBE/def2-SVP ethanol: -154.7 hartree
    assert float(data.test.energy.mean()) == pytest.approx(-154.7 * 27.2114, rel=1e-3)
