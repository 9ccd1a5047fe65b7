"""Solvent: the box that is shipped is liquid water, cells keep images apart, nothing overlaps, charges are whole.

The liquid: TIP3P at 300 K, 0.997 g/cm3, has -9.5 to -9.9 kcal/mol a molecule (-9.86 with long-range corrections and
-9.5 with a cutoff of 8 angstrom) and its first peak of O-O distances at 2.77 angstrom [Jorgensen1983]; a frame of 216
molecules scatters by some 0.06 kcal/mol.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from mindsci import tree, units
from mindsci.errors import InputError, UnknownNameError
from sponge.builders import parametrise, read_force_field, read_structure, solvate
from sponge.builders.biomolecules.definitions import ForceFieldFiles
from sponge.builders.biomolecules.solvent import _molecules, _water, _water_template
from sponge.builders.biomolecules.solvent_cells import SHAPES, images, solvent_cell
from sponge.builders.biomolecules.structure import Structure
from sponge.dynamics import Forces
from sponge.forcefield import ForceField, Options

EDGE = (216 / 0.033328) ** (1 / 3)


@pytest.fixture(scope="module")
def ff14(data_mirror: Path) -> ForceFieldFiles:
    return read_force_field(["amber14/protein.ff14SB.xml", "amber14/tip3p.xml"])


@pytest.fixture(scope="module")
def dipeptide(data_mirror: Path) -> Structure:
    return read_structure(data_mirror / "biomolecular/peptide_pdb/alad.pdb")


@pytest.mark.slow
def test_the_box_is_liquid_water(ff14: ForceFieldFiles) -> None:
    places = _water(EDGE * numpy.eye(3))
    assert len(places) == 216
    water = tree.replace(_molecules(_water_template(ff14), places), cell=EDGE * numpy.eye(3))
    system, topology = parametrise(water, ff14)
    options = Options(cutoff=9.0, coulomb="ewald", long_range_correction=True)
    found = Forces.of(ForceField(topology, options, engine="reference"), system)(system)
    per_molecule = float(found.energy) / units.KCAL_PER_MOL_EV / 216
    assert -10.1 < per_molecule < -9.3
    oxygens = places[:, 0]
    apart = oxygens[:, None] - oxygens[None]
    apart -= EDGE * numpy.round(apart / EDGE)
    distance = numpy.linalg.norm(apart, axis=-1)[numpy.triu_indices(216, 1)]
    counts, edges = numpy.histogram(distance, bins=numpy.arange(2.2, 5.0, 0.1))
    middle = 0.5 * (edges[1:] + edges[:-1])
    assert 2.65 < middle[(counts / middle**2).argmax()] < 2.95


@pytest.mark.parametrize("shape", [*SHAPES])
def test_images_of_a_cell_are_as_far_as_it_says(shape: str) -> None:
    """The shortest vector of the lattice is the diameter of the sphere and twice the padding."""
    positions = numpy.array([[0.0, 0.0, 0.0], [6.0, 0.0, 0.0]])
    cell = solvent_cell(positions, shape, 10.0)
    steps = numpy.stack(numpy.meshgrid(*[[-2, -1, 0, 1, 2]] * 3), -1).reshape(-1, 3)
    length = numpy.linalg.norm(steps[(steps != 0).any(1)] @ cell, axis=1)
    assert length.min() == pytest.approx(26.0)
    volume = {"cube": 1.0, "octahedron": 0.770, "dodecahedron": 0.707}[shape]
    assert numpy.linalg.det(cell) / 26.0**3 == pytest.approx(volume, abs=1e-3)


@pytest.mark.parametrize("shape", ["box", "octahedron"])
def test_a_solute_in_salt_water(shape: str, ff14: ForceFieldFiles, dipeptide: Structure) -> None:
    made = solvate(dipeptide, ff14, shape=shape, padding=8.0, salt=0.5, seed=3)
    assert numpy.array_equal(made.positions[:22], dipeptide.positions)
    names = [one.name for one in made.residues]
    waters = names.count("HOH")
    pairs = round(0.5 / 55.4 * (waters + names.count("NA") + names.count("CL")))
    assert names.count("NA") == names.count("CL") == pairs > 0
    volume = float(numpy.linalg.det(made.cell))
    # The dipeptide displaces about 180 cubic angstrom, seams and its shell some more.
    assert 0.80 < waters / (0.0333 * (volume - 180.0)) < 1.0
    oxygens = made.positions[(made.atomic_numbers == 8) & (made.residue_of_atom > 2)]
    origin = made.positions[:22].min(0) / 2 + made.positions[:22].max(0) / 2 - 0.5 * made.cell.sum(0)
    points, owner = images(oxygens - origin, made.cell, 3.0)
    between = numpy.linalg.norm(points[:, None] - (oxygens - origin)[None], axis=-1)
    between[owner[:, None] == numpy.arange(len(oxygens))[None]] = 9.0
    assert between.min() > 2.2
    system, topology = parametrise(made, ff14)
    assert len(topology.waters.atoms) == waters and system.periodic.all()
    assert abs(float(topology.nonbonded.charges.sum())) < 1e-9
    again = solvate(dipeptide, ff14, shape=shape, padding=8.0, salt=0.5, seed=3)
    assert numpy.array_equal(again.positions, made.positions)


def test_ions_stand_against_the_charge(ff14: ForceFieldFiles, data_mirror: Path) -> None:
    whole = read_structure(data_mirror / "biomolecular/openmm_systems/5dfr_minimized.pdb")
    made = solvate(whole, ff14, padding=4.0)
    names = [one.name for one in made.residues]
    assert names.count("NA") == 11 and names.count("CL") == 0


def test_the_water_takes_the_shape_of_its_model(dipeptide: Structure, data_mirror: Path) -> None:
    files = read_force_field(["amber14/protein.ff14SB.xml", "amber14/spce.xml"])
    made = solvate(dipeptide, files, cell=25.0 * torch.eye(3))
    waters = made.positions[22:].reshape(-1, 3, 3)
    assert numpy.linalg.norm(waters[:, 1] - waters[:, 0], axis=1) == pytest.approx(1.0)
    assert numpy.linalg.norm(waters[:, 1] - waters[:, 2], axis=1) == pytest.approx(1.6330, abs=1e-4)


def test_what_cannot_be_solvated_is_said(ff14: ForceFieldFiles, dipeptide: Structure) -> None:
    dry = read_force_field("amber14/protein.ff14SB.xml")
    with pytest.raises(InputError, match="has no water"):
        solvate(dipeptide, dry)
    with pytest.raises(InputError, match="no ion Xe of charge -1"):
        solvate(dipeptide, ff14, salt=1.0, ions=("Na", "Xe"))
    with pytest.raises(UnknownNameError, match="cube"):
        solvate(dipeptide, ff14, shape="cub")
    with pytest.raises(InputError, match="5 angstrom thin"):
        solvate(dipeptide, ff14, cell=5.0 * torch.eye(3))
    with pytest.raises(InputError, match="ions for"):
        solvate(dipeptide, ff14, salt=40.0)
    with pytest.raises(InputError, match="salt = -1"):
        solvate(dipeptide, ff14, salt=-1.0)
