"""Systems from SMILES and from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase.build import molecule
from ase.io import write

from mindsci.errors import InputError, StorageError
from sponge.builders import from_file, from_smiles


def test_ethanol_has_its_atoms_and_bonds() -> None:
    system = from_smiles("CCO")
    assert system.atomic_numbers.tolist() == [6, 6, 8] + [1] * 6
    carbon_oxygen = torch.linalg.vector_norm(system.positions[1] - system.positions[2])
    assert float(carbon_oxygen) == pytest.approx(1.42, abs=0.03)


def test_the_seed_decides_the_shape() -> None:
    first, again, other = (from_smiles("CCCCO", seed=seed).positions for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("smiles", ["", "C(", "hello"])
def test_a_string_that_is_not_smiles_is_refused(smiles: str) -> None:
    with pytest.raises(InputError, match="CCO"):
        from_smiles(smiles)


@pytest.mark.parametrize("name", ["ethanol.xyz", "ethanol.pdb"])
def test_a_structure_file_gives_its_atoms(name: str, tmp_path: Path) -> None:
    atoms = molecule("CH3CH2OH")
    write(tmp_path / name, atoms)
    system = from_file(tmp_path / name)
    assert system.atomic_numbers.tolist() == atoms.numbers.tolist()
    assert torch.allclose(system.positions, torch.as_tensor(atoms.positions), atol=2e-3)


def test_files_that_are_no_structures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        from_file(tmp_path / "missing.xyz")
    (tmp_path / "broken.xyz").write_text("3\n\nC 0 0\n")
    with pytest.raises(InputError, match="cannot be read"):
        from_file(tmp_path / "broken.xyz")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(InputError):
        from_file(tmp_path / "empty.xyz")
    (tmp_path / "notes.docx").write_text("ethanol")
    with pytest.raises(InputError):
        from_file(tmp_path / "notes.docx")
