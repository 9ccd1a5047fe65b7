"""Hydrogens by templates: as many as the force field has, where other programs put them.

Tolerance: DHFR in OpenMM's benchmark is minimised in ff14SB, so that its angles leave the ideal ones by some degrees:
0.4 angstrom at a bond of 1.1.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from mindsci import tree
from mindsci.errors import InputError, UnknownNameError
from sponge.builders import add_hydrogens, close_chains, parametrise, read_force_field, read_structure
from sponge.builders.biomolecules.definitions import ForceFieldFiles
from sponge.builders.biomolecules.structure import Structure, take_atoms


@pytest.fixture(scope="module")
def ff14(data_mirror: Path) -> ForceFieldFiles:
    return read_force_field(["amber14/protein.ff14SB.xml", "amber14/tip3p.xml"])


def bare(structure: Structure) -> Structure:
    return take_atoms(structure, structure.atomic_numbers != 1)


def hydrogens_of(structure: Structure) -> dict[tuple[int, str], numpy.ndarray]:
    """Positions of the hydrogens of each heavy atom, by residue and name."""
    found: dict[tuple[int, str], list[int]] = {}
    for pair in structure.bonds.tolist():
        for heavy, light in (pair, pair[::-1]):
            if structure.atomic_numbers[light] == 1:
                key = int(structure.residue_of_atom[heavy]), structure.atom_names[heavy]
                found.setdefault(key, []).append(light)
    return {key: structure.positions[atoms] for key, atoms in found.items()}


def test_a_protein_gets_its_hydrogens_back(ff14: ForceFieldFiles, data_mirror: Path) -> None:
    whole = read_structure(data_mirror / "biomolecular/openmm_systems/5dfr_minimized.pdb")
    histidines = {whole.label_of(k): "HID" for k, residue in enumerate(whole.residues) if residue.name == "HID"}
    made = add_hydrogens(bare(whole), ff14, variants=histidines)
    assert made.n_atoms == whole.n_atoms == 2489
    ours, theirs = hydrogens_of(made), hydrogens_of(whole)
    assert {key: len(one) for key, one in ours.items()} == {key: len(one) for key, one in theirs.items()}
    turning = ("CB", "CG1", "CG2", "CD1", "CD2", "CE", "NZ", "OG", "OG1", "OH", "SG", "N")
    for (residue, name), places in theirs.items():
        free = name in turning and (len(places) == 3 or name[0] in "OS")
        if not free:
            away = numpy.linalg.norm(ours[residue, name][:, None] - places[None], axis=-1).min(1)
            assert away.max() < 0.4, (residue, name)


def test_waters_turn_to_where_there_is_room(ff14: ForceFieldFiles, data_mirror: Path) -> None:
    whole = read_structure(data_mirror / "biomolecular/openmmtools/watbox216.pdb")
    made = add_hydrogens(bare(whole), ff14)
    assert made.n_atoms == 648
    between = numpy.linalg.norm(made.positions[:, None] - made.positions[None], axis=-1)
    between[made.residue_of_atom[:, None] == made.residue_of_atom[None]] = 9.0
    assert between.min() > 1.2
    _, topology = parametrise(made, ff14)
    assert len(topology.waters.atoms) == 216


def test_forms_of_residues_are_chosen_and_undone(ff14: ForceFieldFiles, data_mirror: Path) -> None:
    whole = read_structure(data_mirror / "biomolecular/openmm_systems/5dfr_minimized.pdb")
    label = next(whole.label_of(k) for k, residue in enumerate(whole.residues) if residue.name == "HID")
    acid = next(whole.label_of(k) for k, residue in enumerate(whole.residues) if residue.name == "ASP")
    charged = add_hydrogens(whole, ff14, variants={label: "HIP", acid: "ASH"})
    assert charged.n_atoms == whole.n_atoms + 2
    _, before = parametrise(whole, ff14)
    _, after = parametrise(charged, ff14)
    gained = float(after.nonbonded.charges.sum() - before.nonbonded.charges.sum())
    assert gained == pytest.approx(2.0, abs=1e-4)
    # Back again: the hydrogens that the forms lack go, the others stay where they are.
    back = add_hydrogens(charged, ff14, variants={label: "HID", acid: "ASP"})
    assert numpy.array_equal(back.positions, whole.positions) and back.atom_names == whole.atom_names
    # Where no form is named, the hydrogens that are there tell it.
    renamed = tuple(tree.replace(one, name="HIS") if one.name == "HID" else one for one in whole.residues)
    assert add_hydrogens(tree.replace(whole, residues=renamed), ff14).atom_names == whole.atom_names
    with pytest.raises(InputError, match="cannot be LYN; its heavy atoms and bonds are those of"):
        add_hydrogens(whole, ff14, variants={label: "LYN"})
    with pytest.raises(UnknownNameError, match="999"):
        add_hydrogens(whole, ff14, variants={"999": "LYN"})


def test_open_ends_of_chains_are_named_and_closed(ff14: ForceFieldFiles, data_mirror: Path) -> None:
    lost = read_structure(data_mirror / "biomolecular/peptide_pdb/case2.pdb")
    with pytest.raises(InputError, match=r"TRP 178; beside TRP, .* leave from N, not from N, C; close_chains"):
        add_hydrogens(lost, ff14)
    closed = close_chains(lost)
    assert closed.n_atoms == lost.n_atoms + 2 and closed.atom_names[-1] == "OXT"
    made = add_hydrogens(closed, ff14)
    _, topology = parametrise(made, ff14, periodic=False)
    assert float(topology.nonbonded.charges.sum()) == pytest.approx(1.0, abs=1e-4)


def test_a_missing_heavy_atom_is_named(ff14: ForceFieldFiles, data_mirror: Path) -> None:
    peptide = read_structure(data_mirror / "biomolecular/peptide_pdb/case1.pdb")
    lost = take_atoms(peptide, numpy.array([name != "CZ" for name in peptide.atom_names]))
    with pytest.raises(InputError, match="ARG 2; beside ARG, it lacks CZ"):
        add_hydrogens(lost, ff14)
    renamed = tree.replace(peptide, residues=tuple(tree.replace(one, name="XXX") for one in peptide.residues))
    assert add_hydrogens(renamed, ff14).n_atoms == 57
