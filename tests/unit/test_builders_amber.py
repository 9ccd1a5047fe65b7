"""Amber's files: what is in them comes out in our units, what is not known is refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import pytest
import torch
from prmtop_files import water, write_inpcrd, write_prmtop

from mindsci.errors import InputError, StorageError
from mindsci.units import KCAL_PER_MOL_EV
from sponge.builders import from_amber, read_coordinates
from sponge.topology import molecules

HALF = math.asin(0.5 * 1.5136 / 0.9572)
"""of the angle between the bonds whose lengths `water` writes"""
FLAT = [[0.0, 0.0, 0.0], [0.9572 * math.sin(HALF), 0.9572 * math.cos(HALF), 0.0]]
WATER = [*FLAT, [-FLAT[1][0], FLAT[1][1], 0.0]]


def placed(sites, positions: torch.Tensor) -> torch.Tensor:
    a, b, c = positions[sites.parents].unbind(1)
    mean = (sites.weights[:, :, None] * positions[sites.parents]).sum(1)
    return mean + sites.cross[:, None] * torch.linalg.cross(b - a, c - a)


def test_a_water_of_four_points_has_its_site_on_the_bisector(tmp_path: Path) -> None:
    files = (
        write_prmtop(tmp_path / "w.prmtop", water(1)),
        write_inpcrd(tmp_path / "w.rst7", [*WATER, [0.0, 0.125, 0.0]]),
    )
    system, topology = from_amber(*files)
    assert system.atomic_numbers.tolist() == [8, 1, 1, 0]
    assert system.masses.tolist() == [16.0, 1.008, 1.008, 0.0]
    torch.testing.assert_close(
        placed(topology.virtual_sites, system.positions)[0], system.positions[3], atol=2e-6, rtol=0
    )
    assert topology.waters.atoms.tolist() == [[0, 1, 2]]
    assert topology.bonds is None
    assert molecules(topology).tolist() == [0] * 4
    assert len(topology.nonbonded.exclusions) == 6


def test_a_water_of_five_points_has_tetrahedral_lone_pairs(tmp_path: Path) -> None:
    path = write_prmtop(tmp_path / "w.prmtop", water(2, length=0.7))
    system, topology = from_amber(path, write_inpcrd(tmp_path / "w.rst7", [*WATER, [0.0] * 3, [0.0] * 3]))
    first, second = placed(topology.virtual_sites, system.positions)
    assert float(first.norm()) == pytest.approx(0.7, abs=1e-6)
    angle = math.degrees(math.acos(float((first * second).sum() / first.norm() / second.norm())))
    assert angle == pytest.approx(109.47, abs=1e-4)
    assert first[1] < 0 and float(first[2]) == pytest.approx(-float(second[2]))


def test_units_and_lennard_jones_come_out_of_a_prmtop(tmp_path: Path) -> None:
    path = write_prmtop(tmp_path / "w.prmtop", water(0))
    _, topology = from_amber(path, write_inpcrd(tmp_path / "w.rst7", WATER), rigid_water=False)
    assert topology.nonbonded.charges.tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert float(topology.nonbonded.sigma[0, 0]) == pytest.approx(1000.0 ** (1 / 6))
    assert float(topology.nonbonded.epsilon[0, 0]) == pytest.approx(KCAL_PER_MOL_EV * 0.15)
    assert float(topology.nonbonded.epsilon[0, 1]) == 0.0
    assert topology.bonds.stiffness.tolist() == pytest.approx([2 * 553 * KCAL_PER_MOL_EV] * 3)
    assert topology.connectivity.tolist() == [[0, 1], [0, 2]]


def test_a_water_without_a_third_side_cannot_be_rigid(tmp_path: Path) -> None:
    path = write_prmtop(tmp_path / "w.prmtop", water(0, hydrogen_bond=False))
    with pytest.raises(InputError, match=r"atom 0 \(O of WAT 1\).*rigid_water=False"):
        from_amber(path, write_inpcrd(tmp_path / "w.rst7", WATER))


def test_torsion_maps_of_amber_start_at_minus_180_degrees(tmp_path: Path) -> None:
    maps = {
        "CMAP_COUNT": [1, 1],
        "CMAP_RESOLUTION": [4],
        "CMAP_PARAMETER_01": [float(value) for value in range(16)],
        "CMAP_INDEX": [1, 2, 3, 2, 1, 1],
    }
    path = write_prmtop(tmp_path / "w.prmtop", water(0) | maps)
    _, topology = from_amber(path, write_inpcrd(tmp_path / "w.rst7", WATER))
    assert topology.torsion_maps.atoms.tolist() == [[0, 1, 2, 1, 1, 2, 1, 0]]
    grid = topology.torsion_maps.grids[0] / KCAL_PER_MOL_EV
    # (0, 0) is at no rotation, two steps of 90 degrees along both axes; the second angle runs fastest.
    assert grid[0].tolist() == pytest.approx([10.0, 11.0, 8.0, 9.0])
    assert float(grid[2, 2]) == 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"IPOL": [1]}, "polarisable"),
        ({"LENNARD_JONES_CCOEF": [1.0]}, "12-6-4"),
        ({"HBOND_ACOEF": [1.0]}, "10-12"),
        ({"CHARGE": [0.0]}, "CHARGE has 1 numbers"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(change: dict, words: str, tmp_path: Path) -> None:
    path = write_prmtop(tmp_path / "w.prmtop", water(0) | change)
    with pytest.raises(InputError, match=words):
        from_amber(path, write_inpcrd(tmp_path / "w.rst7", WATER))


def test_an_extra_point_of_another_molecule_is_refused_by_name(tmp_path: Path) -> None:
    sections = water(1) | {"MASS": [32.06, 1.008, 1.008, 0.0], "RESIDUE_LABEL": ["H2S"]}
    path = write_prmtop(tmp_path / "w.prmtop", sections)
    with pytest.raises(InputError, match=r"atom 3 \(EP1 of H2S 1\)"):
        from_amber(path, write_inpcrd(tmp_path / "w.rst7", [*WATER, [0.0] * 3]))


def test_a_file_that_is_missing_or_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        from_amber(tmp_path / "none.prmtop", tmp_path / "none.rst7")
    whole = write_prmtop(tmp_path / "w.prmtop", water(0))
    whole.write_text(whole.read_text()[:600])
    with pytest.raises(InputError, match="lacks"):
        from_amber(whole, write_inpcrd(tmp_path / "w.rst7", WATER))
    with pytest.raises(InputError, match="2 lines after the count of 5 atoms"):
        cut = write_inpcrd(tmp_path / "cut.rst7", WATER)
        cut.write_text(cut.read_text().replace("    3", "    5"))
        read_coordinates(cut)


def test_velocities_and_box_of_text_restarts_are_told_apart(tmp_path: Path) -> None:
    speed = [[0.001, 0.0, 0.0]] * 3
    box = [[30.0, 30.0, 30.0], [90.0, 90.0, 60.0]]
    both = read_coordinates(write_inpcrd(tmp_path / "a.rst7", WATER, speed, box))
    assert both.velocities[0, 0] == pytest.approx(0.001 * 20.455e-3)
    assert both.cell[1].tolist() == pytest.approx([15.0, 30.0 * math.sin(math.pi / 3), 0.0])
    only_box = read_coordinates(write_inpcrd(tmp_path / "b.rst7", WATER, [[30.0] * 3]))
    assert only_box.velocities is None and only_box.cell.tolist() == (30.0 * numpy.eye(3)).tolist()
    two = read_coordinates(write_inpcrd(tmp_path / "c.rst7", WATER[:2], box))
    assert two.velocities is not None  # six numbers that are no right-angled box


def test_a_box_without_volume_is_refused_unless_another_is_given(tmp_path: Path) -> None:
    path = write_prmtop(tmp_path / "w.prmtop", water(0))
    damaged = write_inpcrd(tmp_path / "w.rst7", WATER, [[18.77] * 3, [5156.6] * 3])
    with pytest.raises(InputError, match=r"no volume.*give `cell`"):
        read_coordinates(damaged)
    system, _ = from_amber(path, damaged, cell=18.77 * torch.eye(3, dtype=torch.float64))
    assert system.periodic.all() and float(system.cell[0, 0, 0]) == 18.77


@pytest.mark.data
def test_the_dhfr_benchmark_has_its_waters_constraints_and_velocities(data_mirror: Path) -> None:
    folder = data_mirror / "biomolecular/openmmtools"
    system, topology = from_amber(folder / "JAC.prmtop", folder / "JAC.inpcrd", constraints="hydrogens")
    assert system.n_atoms == 23558 and len(topology.waters.atoms) == 7023
    hydrogens = int((system.atomic_numbers == 1).sum()) - 2 * 7023
    assert len(topology.constraints.atoms) == hydrogens
    assert float(topology.nonbonded.charges.sum()) == pytest.approx(-11.0, abs=1e-6)
    # Momenta at 300 K within five standard deviations: 3 N - constraints degrees of freedom.
    freedom = 3 * 23558 - 3 * 7023 - hydrogens
    kinetic = 0.5 * float((system.momenta**2).sum(1).div(system.masses).sum()) * 103.642697
    assert 2 * kinetic / freedom / 8.617333e-5 == pytest.approx(300.0, abs=5 * 300 * math.sqrt(2 / freedom))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("openmm_systems/ala3_solv.parm7 .crd", {"urey_bradley": 24, "harmonic_impropers": 5, "torsion_maps": 1}),
        ("parmed_amber/solv2.parm7 .rst7", {"waters": 1734, "impropers": 24, "torsions": 502, "pairs14": 297}),
        ("openmm_systems/alanine-dipeptide-implicit.prmtop .inpcrd", {"bonds": 21, "angles": 36, "pairs14": 41}),
    ],
)
def test_terms_of_upstream_files_are_counted(name: str, counts: dict[str, int], data_mirror: Path) -> None:
    path, suffix = name.split()
    prmtop = data_mirror / "biomolecular" / path
    _, topology = from_amber(prmtop, prmtop.with_suffix(suffix))
    assert {part: len(getattr(topology, part).atoms) for part in counts} == counts
    assert float(topology.nonbonded.charges.sum()) == pytest.approx(0.0, abs=1e-6)
