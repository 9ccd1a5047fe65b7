"""Density, dielectric constant, hydrogen bonds, RMSD, dihedral angles, Yeh and Hummer's correction: known answers."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from scipy.spatial.transform import Rotation

from mindsci import tree
from mindsci.errors import InputError
from sponge.analysis import (
    Trajectory,
    backbone_dihedrals,
    density,
    deviations,
    dielectric_constant,
    dihedral_angles,
    finite_size_correction,
    hydrogen_bonds,
)
from sponge.topology import Residue, Topology

WATER = [[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.23999, 0.92663, 0.0]]


def frames(positions: list, numbers: list[int], *, edge: float = 0.0, **others: object) -> Trajectory:
    places = torch.tensor(positions, dtype=torch.float64)
    count = len(places)
    return Trajectory(
        positions=places,
        time=torch.arange(count, dtype=torch.float64),
        atomic_numbers=torch.tensor(numbers),
        masses=torch.tensor([{1: 1.008, 8: 15.999}.get(number, 12.0) for number in numbers], dtype=torch.float64),
        cell=(edge * torch.eye(3, dtype=torch.float64)).expand(count, 3, 3),
        periodic=(edge > 0,) * 3,
        **others,
    )


def test_density_is_mass_over_volume() -> None:
    """One water in 29.9 angstrom^3: liquid."""
    found = density(frames([WATER] * 10, [8, 1, 1], edge=29.9 ** (1 / 3)))
    assert found.value == pytest.approx(18.015 / 6.02214076e23 / 29.9e-24, rel=1e-6)
    assert found.error == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(InputError, match="has no volume"):
        density(frames([WATER], [8, 1, 1]))


def test_dielectric_constant_of_a_dipole_that_turns_freely() -> None:
    """<M> = 0 and <M^2> = mu^2: 1 + mu^2 / (3 epsilon_0 V k_B T), with 2 D in 30 angstrom^3 at 300 K."""
    debye = 0.2081943
    half = 0.5 * 2.0 * debye / 0.4
    places = [
        [(5 + half * sign * axis).tolist(), (5 - half * sign * axis).tolist()]
        for axis in numpy.eye(3)
        for sign in (1, -1)
    ]
    charges = torch.tensor([0.4, -0.4])
    turning = frames(places, [6, 6], edge=10.0, charges=charges)
    found = dielectric_constant(turning, temperature=300.0, blocks=2)
    moment, volume = 2.0 * 3.33564e-30, 1e-27
    expected = 1.0 + moment**2 / (3 * 8.8541878128e-12 * volume * 1.380649e-23 * 300.0)
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert found.running[0] == pytest.approx(1.0)
    with pytest.raises(InputError, match=r"sum to 0\.8 e"):
        dielectric_constant(tree.replace(turning, charges=charges.abs()), temperature=300.0)
    with pytest.raises(InputError, match="has no charges"):
        dielectric_constant(tree.replace(turning, charges=None), temperature=300.0)


@pytest.mark.parametrize(
    ("distance", "degrees", "shift", "count"),
    [(2.9, 0, 0, 1), (2.9, 29, 0, 1), (2.9, 31, 0, 0), (3.49, 0, 0, 1), (3.51, 0, 0, 0), (2.9, 10, 12.0, 1)],
)
def test_hydrogen_bonds_are_told_by_distance_and_angle(
    distance: float, degrees: float, shift: float, count: int
) -> None:
    """A water's first hydrogen points along x at an oxygen whose own hydrogens point away; also over the border."""
    angle = math.radians(degrees)
    away = [distance * math.cos(angle), 0.0, distance * math.sin(angle)]
    other = [[away[0] + shift + x, away[1] + y, away[2]] for x, y in ((0, 0), (0.6, 0.75), (0.6, -0.75))]
    found = hydrogen_bonds(frames([WATER + other] * 3, [8, 1, 1] * 2, edge=12.0))
    assert found.count.tolist() == [count] * 3
    assert found.donors == 4 and found.per_donor == count / 4


def test_a_turned_copy_has_no_deviation_and_a_swollen_one_what_it_swelled() -> None:
    """RMSD of a body scaled by 1 + s about its centre is s times its radius of gyration; a mirror image is none."""
    generator = numpy.random.default_rng(1)
    body = generator.normal(size=(12, 3))
    turns = Rotation.random(20, random_state=2).as_matrix()
    moved = [(body @ turn + generator.normal(size=3) * 5).tolist() for turn in turns]
    found = deviations(frames([body.tolist(), *moved], [6] * 12))
    assert float(found.deviation.max()) < 1e-10 and float(found.fluctuation.max()) < 1e-10
    centre = body.mean(0)
    swollen = ((body - centre) * 1.1 @ turns[0]).tolist()
    radius = math.sqrt(((body - centre) ** 2).sum(-1).mean())
    found = deviations(frames([body.tolist(), swollen], [6] * 12))
    assert float(found.deviation[1]) == pytest.approx(0.1 * radius)
    mirrored = (body * [1, 1, -1]).tolist()
    _, error = Rotation.align_vectors(body - centre, numpy.array(mirrored) - numpy.mean(mirrored, 0))
    found = deviations(frames([body.tolist(), mirrored], [6] * 12))
    assert float(found.deviation[1]) == pytest.approx(error / math.sqrt(12))


def test_the_fluctuation_of_atoms_that_shake_is_their_width() -> None:
    """Normal displacements of width s: sqrt(3) s, less what six degrees of freedom of the fit take of 3 N."""
    generator = numpy.random.default_rng(4)
    body, width, n_atoms = 5.0 * generator.normal(size=(40, 3)), 0.1, 40
    shaking = body + width * generator.normal(size=(400, n_atoms, 3))
    found = deviations(frames(shaking.tolist(), [6] * n_atoms))
    expected = width * math.sqrt(3.0 * (1.0 - 6.0 / (3 * n_atoms)))
    assert float((found.fluctuation**2).mean().sqrt()) == pytest.approx(expected, rel=0.01)


def test_dihedral_angles_and_their_map() -> None:
    """Butane-like chains turned to known angles; the densities of one and of two angles integrate to one."""
    angles = [-179.0, -60.0, 45.0, 179.0]
    chains = []
    for degrees in angles:
        turn = math.radians(degrees)
        end = [1.5, math.cos(turn), math.sin(turn)]
        chains.append([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], end, [2.5, math.cos(turn), math.sin(turn)]])
    found = dihedral_angles(frames(chains, [6] * 5), torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]]), bins=36)
    numpy.testing.assert_allclose(numpy.degrees(found.angles[:, 0].numpy()), angles, atol=1e-9)
    numpy.testing.assert_allclose(found.angles[:, 1], found.angles[:, 0], atol=1e-12)
    width = 2 * math.pi / 36
    numpy.testing.assert_allclose(found.density.sum(1) * width, 1.0)
    together = found.joint()
    assert float(together.sum()) * width**2 == pytest.approx(1.0)
    assert float(together.diagonal().sum()) * width**2 == pytest.approx(1.0)
    with pytest.raises(InputError, match="names an atom twice"):
        dihedral_angles(frames(chains, [6] * 5), torch.tensor([[0, 1, 1, 3]]))
    with pytest.raises(InputError, match="outside of 0 to 4"):
        dihedral_angles(frames(chains, [6] * 5), torch.tensor([[0, 1, 2, 9]]))


def test_phi_and_psi_are_found_by_names() -> None:
    """ACE-ALA-NME: C of ACE, N, CA, C of ALA; N, CA, C of ALA, N of NME."""
    topology = Topology(
        n_atoms=6,
        atom_names=("CH3", "C", "N", "CA", "C", "N"),
        residues=tuple(Residue(name=name, number=str(k)) for k, name in enumerate(("ACE", "ALA", "NME"))),
        residue_of_atom=torch.tensor([0, 0, 1, 1, 1, 2]),
        connectivity=torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]),
    )
    phi, psi = backbone_dihedrals(topology)
    assert phi.tolist() == [[1, 2, 3, 4]] and psi.tolist() == [[2, 3, 4, 5]]


def test_the_correction_of_diffusion_is_that_of_yeh_and_hummer() -> None:
    """2.837297 k_B T / (6 pi eta L) by SI constants: water at 298.15 K, 0.89 mPa s, 20 angstrom: 3.48e-6 cm^2/s."""
    viscosity = 0.89e-3 / 1.602176634e-19 * 1e-30 * 1e15
    found = finite_size_correction(temperature=298.15, viscosity=viscosity, length=20.0)
    expected = 2.837297 * 1.380649e-23 * 298.15 / (6 * math.pi * 0.89e-3 * 20e-10)
    assert found * 1e-5 == pytest.approx(expected, rel=1e-6)
    assert 0.1 * found == pytest.approx(3.48e-6, rel=1e-3)
    with pytest.raises(InputError, match="use positive ones"):
        finite_size_correction(temperature=298.15, viscosity=0.0, length=20.0)
