"""GROMACS's files: what is in them comes out in our units, what is not known or lacks is refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import pytest
import torch

from mindsci.errors import InputError, StorageError
from mindsci.units import KJ_PER_MOL_EV
from sponge.builders import from_gromacs, read_coordinates
from sponge.forcefield import ForceField, Options
from sponge.neighbors.lists import all_pairs
from sponge.potentials.potential import differentiate

FORCE = """
#ifndef RULE
#define RULE 2
#endif
[ defaults ]
; nbfunc comb-rule gen-pairs fudgeLJ fudgeQQ
1 RULE yes 0.5 0.8
[ atomtypes ]
CA  6  12.01  0.1  A  0.34  0.36
HA      1.008 0.0  A  0.26  0.06
OS  OX 8 16.00 -0.3 A 0.30 0.71 ; a name of its own for bonds
[ nonbond_params ]
CA OS 1 0.31 0.9
[ pairtypes ]
HA HA 1 0.2 0.01
[ bondtypes ]
CA CA 1 0.15 2000
CA HA 1 0.11 3000
CA OX 1 0.14 2500
[ angletypes ]
HA CA CA 1 109.5 400
CA CA OX 5 110 450 0.24 1000
HA CA HA 1 108 300
[ dihedraltypes ]
X CA CA X 9 0 1.5 3
HA CA CA OX 9 180 0.7 1 \\
; the second row of a sum follows the first
HA CA CA OX 9 0 0.2 2
CA CA 3 1 2 3 4 5 6
"""
MOLECULE = """
#include "field.itp"
[ moleculetype ]
MOL 3
[ atoms ]
1 HA 1 ETH H1 1 0.1
2 CA 1 ETH C1 1
3 CA 1 ETH C2 1 -0.2 13.0
4 OS 1 ETH O1 1
5 HA 1 ETH H2 1 0.1
[ bonds ]
1 2 1
2 3 1
3 4 1
5 2 1 0.12 3100
[ pairs ]
1 4 1
5 4 1 0.25 0.4
[ angles ]
1 2 3 1
2 3 4 5
1 2 5 1
[ dihedrals ]
1 2 3 4 9
5 2 3 4 9 MACRO
[ dihedrals ]
4 3 2 1 3
1 2 3 5 2 20 40
4 3 2 5 5 1 2 3 4
[ system ]
x
[ molecules ]
MOL 2
"""
COORDINATES = """two
   10
{rows}
   3.00000   3.00000   3.00000
"""


def positions() -> torch.Tensor:
    one = torch.tensor([[0.0, 0.1, 0.0], [0.0, 0.0, 0.02], [0.15, 0.0, 0.0], [0.2, 0.05, 0.12], [-0.06, -0.08, 0.05]])
    one = one.double().mul(1e3).round().div(1e3)
    return torch.cat([one, one + torch.tensor([0.4, 0.3, 0.1], dtype=torch.float64)])


def write(folder: Path, *, top: str = MOLECULE, field: str = FORCE) -> tuple[Path, Path]:
    (folder / "field.itp").write_text(field)
    (folder / "topol.top").write_text(top)
    rows = [
        f"{1 + k // 5:5d}{'ETH':5s}{'X':>5s}{k + 1:5d}" + "".join(f"{x:8.3f}" for x in row) + "  0.1000 -0.2000  0.0000"
        for k, row in enumerate(positions().tolist())
    ]
    (folder / "conf.gro").write_text(COORDINATES.format(rows="\n".join(rows)))
    return folder / "topol.top", folder / "conf.gro"


def energies(folder: Path, **options) -> dict[str, float]:
    system, topology = from_gromacs(*write(folder), defines={"MACRO": "0 2.5 2"} | options, periodic=False)
    found = ForceField(topology, Options(lennard_jones="all", coulomb="all")).energies(
        system, all_pairs(system, half=True)
    )
    return {name: float(value) / KJ_PER_MOL_EV for name, value in found.items()}


def test_units_types_and_residues_come_out_of_the_files(tmp_path: Path) -> None:
    system, topology = from_gromacs(*write(tmp_path), defines={"MACRO": "0 2.5 2"})
    assert system.atomic_numbers.tolist() == [1, 6, 6, 8, 1] * 2
    assert system.masses.tolist() == [1.008, 12.01, 13.0, 16.0, 1.008] * 2
    assert topology.nonbonded.charges[:5].tolist() == [0.1, 0.1, -0.2, -0.3, 0.1]
    torch.testing.assert_close(system.positions, 10 * positions())
    assert system.velocities[0].tolist() == pytest.approx([1e-3, -2e-3, 0.0])
    assert system.cell[0].tolist() == (30.0 * torch.eye(3)).tolist() and system.periodic.all()
    assert topology.bonds.length[:4].tolist() == pytest.approx([1.1, 1.5, 1.4, 1.2])
    assert topology.bonds.stiffness[3] == pytest.approx(31.0 * KJ_PER_MOL_EV)
    assert topology.name_atom(8) == "atom 8 (O1 of ETH 2)"
    # Three bonds and fewer exclude; atoms 0 and 3 of each copy are that far.
    assert len(topology.nonbonded.exclusions) == 20


def test_pairs_take_their_own_the_listed_or_the_generated_parameters(tmp_path: Path) -> None:
    _, topology = from_gromacs(*write(tmp_path), defines={"MACRO": "0 2.5 2"})
    pairs = topology.pairs14
    assert pairs.sigma[:2].tolist() == pytest.approx([2.8, 2.5])
    assert pairs.epsilon[:2].tolist() == pytest.approx(
        [0.5 * math.sqrt(0.06 * 0.71) * KJ_PER_MOL_EV, 0.4 * KJ_PER_MOL_EV]
    )
    assert pairs.charge_product[0] == pytest.approx(0.8 * 0.1 * -0.3)
    kinds = topology.nonbonded.kind
    assert float(topology.nonbonded.sigma[kinds[1], kinds[3]]) == pytest.approx(3.1)


@pytest.mark.parametrize(("rule", "sigma"), [("2", 0.30), ("3", math.sqrt(0.34 * 0.26))])
def test_combination_rules_are_those_of_the_defaults(rule: str, sigma: float, tmp_path: Path) -> None:
    _, topology = from_gromacs(*write(tmp_path), defines={"MACRO": "0 2.5 2", "RULE": rule})
    kinds = topology.nonbonded.kind
    assert float(topology.nonbonded.sigma[kinds[1], kinds[0]]) == pytest.approx(10 * sigma)
    assert float(topology.nonbonded.epsilon[kinds[1], kinds[0]]) == pytest.approx(
        math.sqrt(0.36 * 0.06) * KJ_PER_MOL_EV
    )


def test_the_first_rule_reads_c6_and_c12(tmp_path: Path) -> None:
    sigma, epsilon = 0.3, 0.7
    numbers = f"{4 * epsilon * sigma**6} {4 * epsilon * sigma**12}"
    field = FORCE.replace("0.34  0.36", numbers).replace("0.26  0.06", numbers).replace("0.30 0.71", numbers)
    field = field.replace("CA OS 1 0.31 0.9", "CA OS 1 0 0").replace("0.2 0.01", numbers)
    top = MOLECULE.replace("0.25 0.4", numbers)
    _, topology = from_gromacs(*write(tmp_path, field=field, top=top), defines={"MACRO": "0 2.5 2", "RULE": "1"})
    assert float(topology.nonbonded.sigma[0, 0]) == pytest.approx(3.0)
    assert float(topology.nonbonded.epsilon[0, 1]) == pytest.approx(epsilon * KJ_PER_MOL_EV)


def dihedral(points: torch.Tensor) -> float:
    """The angle of GROMACS, 180 degrees for the outer atoms apart."""
    a, b, c = points.diff(dim=0)
    left, right = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
    return math.atan2(float(b.norm() * (a @ right)), float(left @ right))


def test_every_form_of_dihedral_has_the_energy_of_the_manual(tmp_path: Path) -> None:
    found = energies(tmp_path)
    expected = 0.0
    for start in (0, 5):
        at = positions()[start : start + 5]
        first, second = dihedral(at[[0, 1, 2, 3]]), dihedral(at[[4, 1, 2, 3]])
        expected += 0.7 * (1 + math.cos(first - math.pi)) + 0.2 * (1 + math.cos(2 * first))
        expected += 2.5 * (1 + math.cos(2 * second))
        expected += sum(c * math.cos(dihedral(at[[3, 2, 1, 0]]) - math.pi) ** n for n, c in enumerate(range(1, 7)))
        waves = [1 + math.cos(second), 1 - math.cos(2 * second), 1 + math.cos(3 * second), 1 - math.cos(4 * second)]
        expected += sum(0.5 * n * wave for n, wave in enumerate(waves, 1))
    assert found["torsions"] == pytest.approx(expected, rel=1e-10)
    improper = sum(0.5 * 40 * (dihedral(positions()[[s, s + 1, s + 2, s + 4]]) - math.radians(20)) ** 2 for s in (0, 5))
    # The angle is taken around the circle.
    assert found["harmonic_impropers"] <= improper + 1e-9


def test_conditions_macros_and_joined_lines_are_followed(tmp_path: Path) -> None:
    top = MOLECULE.replace("[ bonds ]", "[ bonds ]\n#ifdef STIFF\n2 3 1 0.15 \\\n 9999\n#else")
    top = top.replace("3 4 1\n5 2", "3 4 1\n#endif\n5 2")
    paths = write(tmp_path, top=top)
    _, loose = from_gromacs(*paths, defines={"MACRO": "0 2.5 2"})
    _, stiff = from_gromacs(*paths, defines={"MACRO": "0 2.5 2", "STIFF": ""})
    assert len(loose.bonds.atoms) == 8 and len(stiff.bonds.atoms) == 4
    assert float(stiff.bonds.stiffness[0]) == pytest.approx(99.99 * KJ_PER_MOL_EV)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("CA CA 1 0.15 2000\n", "", r"field|bondtypes.*CA-CA.*atom 1 \(C1 of ETH 1\)"),
        ("3 CA 1 ETH C2", "3 CX 1 ETH C2", r"C2 of ETH 1 is of type CX"),
        ("MOL 2", "WAT 2", r"counts WAT, which is not described; known are MOL"),
        ("1 2 3 1\n2 3 4 5", "1 2 3 1\n2 3 4 8 1 2 3", r"function 8 of \[ angles \].*O1 of ETH 1"),
        ("[ system ]", "[ thole_polarization ]\n1 2 3\n[ system ]", r"topol.top:\d+': \[ thole_polarization \]"),
        ("1 RULE yes", "2 RULE yes", r"nonbonded function 2"),
        ("[ system ]", "#ifdef A\n[ system ]", r"ends within an #ifdef"),
        ("5 2 1 0.12", "5 22 1 0.12", r"names no 2 of the molecule's 5 atoms"),
        ("HA HA 1 0.2 0.01", "HA HA 1 0.2", r"parameters of HA-HA are 2 numbers"),
        ("9 MACRO", "9 torsion_ILE", r"not 'torsion_ILE'; a name among them is a macro"),
    ],
)
def test_what_lacks_or_is_not_known_is_refused_by_name(old: str, new: str, words: str, tmp_path: Path) -> None:
    top, field = MOLECULE.replace(old, new), FORCE.replace(old, new)
    if "0.01" in old:
        top = top.replace("1 4 1\n", "1 5 1\n")
    with pytest.raises(InputError, match=words):
        from_gromacs(*write(tmp_path, top=top, field=field), defines={"MACRO": "0 2.5 2"})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    top, gro = write(tmp_path, top=MOLECULE.replace("field.itp", "amber99sb.ff/forcefield.itp"))
    with pytest.raises(StorageError, match=r"amber99sb.ff/forcefield.itp.*give `include`"):
        from_gromacs(top, gro)
    with pytest.raises(StorageError, match="does not exist"):
        from_gromacs(tmp_path / "none.top", gro)
    gro.write_text("\n".join(gro.read_text().split("\n")[:6]))
    with pytest.raises(InputError, match="ends before its 10 atoms"):
        read_coordinates(gro)


def test_a_slanted_box_has_gromacs_order_of_components(tmp_path: Path) -> None:
    _, gro = write(tmp_path)
    gro.write_text(gro.read_text().replace("3.00000   3.00000   3.00000", "3 4 5 0 0 1 0 0.5 -0.5"))
    assert read_coordinates(gro).cell.tolist() == [[30.0, 0.0, 0.0], [10.0, 40.0, 0.0], [5.0, -5.0, 50.0]]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "defines", "expected"),
    [
        ("01.1water", ["FLEXIBLE"], {"bonds": 1.63805, "angles": 0.014803}),
        ("02.6water", [], {"nonbonded": -108.277803}),
    ],
)
def test_waters_have_the_energies_and_forces_of_gromacs(
    name: str, defines: list[str], expected: dict[str, float], data_mirror: Path
) -> None:
    folder = data_mirror / "biomolecular/parmed_gromacs" / name
    system, topology = from_gromacs(folder / "topol.top", folder / "conf.gro", defines=defines, periodic=False)
    assert (topology.waters is None) == bool(defines)
    constant = 138.935485 * 10 * KJ_PER_MOL_EV
    field = ForceField(topology, Options(lennard_jones="all", coulomb="all", coulomb_constant=constant))
    pairs = all_pairs(system, half=True)
    found = {key: float(value) / KJ_PER_MOL_EV for key, value in field.energies(system, pairs).items()}
    found["nonbonded"] = found["lennard_jones"] + found["coulomb"]
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=3e-6, abs=1e-6)
    forces = differentiate(field, system, pairs).forces.numpy() * 10 / KJ_PER_MOL_EV
    theirs = numpy.loadtxt(folder / "force.xvg", ndmin=1)[1:].reshape(-1, 3)
    # GROMACS ran in single precision.
    assert numpy.abs(forces - theirs).max() < 5e-6 * numpy.abs(theirs).max()
