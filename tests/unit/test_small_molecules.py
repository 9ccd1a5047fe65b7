"""Small molecules take the parameters of another program's topology, and join what is built otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from mindsci.errors import InputError, StorageError
from sponge.builders import (
    from_amber,
    join_systems,
    parametrise,
    read_force_field,
    read_molecule,
    read_structure,
    solvate,
    with_parameters_of,
)
from sponge.dynamics import Forces
from sponge.forcefield import ForceField, Options
from sponge.system import System
from sponge.topology import Topology

OPEN = Options(lennard_jones="all", coulomb="all")


@pytest.fixture(scope="module")
def ethanol(data_mirror: Path) -> tuple[System, Topology]:
    folder = data_mirror / "biomolecular/parmed_amber"
    return from_amber(folder / "ethanol_T0.prmtop", folder / "ethanol_T0.rst7", periodic=False)


def test_the_same_molecule_in_another_order_has_the_same_energy(ethanol: tuple[System, Topology]) -> None:
    system, topology = ethanol
    shuffled = numpy.random.default_rng(0).permutation(system.n_atoms)
    places = numpy.argsort(shuffled)
    molecule = read_molecule("CCO")
    mixed = type(molecule)(
        **{
            **vars(molecule),
            "atom_names": ("X",) * system.n_atoms,
            "atomic_numbers": system.atomic_numbers.numpy()[shuffled],
            "positions": system.positions.numpy()[shuffled],
            "bonds": places[topology.connectivity.numpy()],
        }
    )
    again, same = with_parameters_of(mixed, topology, system.atomic_numbers, system.masses)
    energy = Forces.of(ForceField(topology, OPEN, engine="reference"), system)(system).energy
    other = Forces.of(ForceField(same, OPEN, engine="reference"), again)(again).energy
    assert float(other) == pytest.approx(float(energy), rel=1e-12)
    assert torch.equal(again.masses, system.masses)


def test_a_file_of_a_molecule(tmp_path: Path, ethanol: tuple[System, Topology]) -> None:
    from rdkit import Chem
    from rdkit.Chem import AllChem

    made = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.EmbedMolecule(made, randomSeed=1)
    Chem.SDWriter(str(tmp_path / "ethanol.sdf")).write(made)
    found = read_molecule(tmp_path / "ethanol.sdf", name="EOH")
    assert found.n_atoms == 9 and found.residues[0].name == "EOH" and len(found.bonds) == 8
    system, _ = with_parameters_of(found, ethanol[1], ethanol[0].atomic_numbers)
    assert system.n_atoms == 9
    # mol2 as other programs write it
    rows = ["@<TRIPOS>MOLECULE", "X", f"{found.n_atoms} {len(found.bonds)} 1", "SMALL", "NO_CHARGES", "@<TRIPOS>ATOM"]
    kinds = {6: "C.3", 8: "O.3", 1: "H"}
    for k, (number, place) in enumerate(zip(found.atomic_numbers, found.positions, strict=True), 1):
        x, y, z = place
        rows.append(f"{k} A{k} {x:.4f} {y:.4f} {z:.4f} {kinds[int(number)]} 1 EOH 0.0")
    rows.append("@<TRIPOS>BOND")
    rows += [f"{k} {i + 1} {j + 1} 1" for k, (i, j) in enumerate(found.bonds.tolist(), 1)]
    (tmp_path / "ethanol.mol2").write_text("\n".join(rows) + "\n")
    assert read_molecule(tmp_path / "ethanol.mol2").bonds.tolist() == found.bonds.tolist()


def test_a_ligand_in_water_beside_a_peptide(ethanol: tuple[System, Topology], data_mirror: Path) -> None:
    field = read_force_field(["amber14/protein.ff14SB.xml", "amber14/tip3p.xml"])
    peptide = read_structure(data_mirror / "biomolecular/peptide_pdb/alad.pdb")
    away = System(**{**vars(ethanol[0]), "positions": ethanol[0].positions + torch.tensor([12.0, 0.0, 0.0])})
    ligand = (away, ethanol[1])
    wet = solvate(peptide, field, padding=6.0, beside=ligand)
    gap = numpy.linalg.norm(wet.positions[22:][:, None] - away.positions.numpy()[None], axis=-1).min()
    assert gap > 0.9  # an oxygen 1.9 from a hydrogen may turn a hydrogen of its own there
    system, topology = join_systems([parametrise(wet, field), ligand])
    assert system.n_atoms == topology.n_atoms == wet.n_atoms + 9 and system.periodic.all()
    assert topology.residues[-1].name == ethanol[1].residues[0].name
    # Charges and exclusions of the ligand are its own, behind the others.
    n = wet.n_atoms
    assert torch.equal(topology.nonbonded.charges[n:], ethanol[1].nonbonded.charges)
    assert int((topology.nonbonded.exclusions >= n).all(1).sum()) == len(ethanol[1].nonbonded.exclusions)


def test_what_is_no_such_molecule_is_said(ethanol: tuple[System, Topology], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\(CH4O, 5 bonds\) and the topology \(C2H6O, 8 bonds\) are different"):
        with_parameters_of(read_molecule("CO"), ethanol[1], ethanol[0].atomic_numbers)
    with pytest.raises(InputError, match="neither a file"):
        read_molecule("no molecule")
    with pytest.raises(StorageError, match="does not exist"):
        read_molecule(tmp_path / "absent.sdf")
    (tmp_path / "empty.sdf").write_text("\n")
    with pytest.raises(InputError, match="holds no molecule"):
        read_molecule(tmp_path / "empty.sdf")
    with pytest.raises(InputError, match="at least one part"):
        join_systems([])
