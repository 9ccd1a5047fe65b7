"""What trajectories tell, where the answer is known: an ideal gas, a lattice, a random walk, a harmonic molecule.

Ideal gas: pairs of independent atoms are uncorrelated, so that the number in a bin has the variance of a Poisson
count; the sum of 40 squared deviations is chi-squared, and leaves its central 99.8 % twice in a thousand. Random walk
of steps with variance s^2 an axis: <r^2> = 3 s^2 n and D = s^2 / (2 dt); the error by blocks is that of five values,
hence six of it. Diatomic: velocity Verlet turns with sin(omega' dt / 2) = omega dt / 2 [Hairer2003]; a parabola through
a Hann peak errs by less than a twentieth of its width.
"""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from ase.build import bulk
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.solvers import rollout
from sponge import create, displacements, from_ase
from sponge.analysis import (
    RadialCounts,
    Trajectory,
    mean_square_displacement,
    peaks,
    radial_distribution,
    unwrapped,
    velocity_autocorrelation,
    vibrational_spectrum,
)
from sponge.analysis.motion import squared_displacements
from sponge.analysis.spectrum import PER_CENTIMETRE
from sponge.dynamics import Forces, velocity_verlet
from sponge.neighbors import Neighbors
from sponge.potentials import Potential
from sponge.system import System

CELL = torch.tensor([[11.0, 0.0, 0.0], [3.0, 10.0, 0.0], [-2.0, 4.0, 12.0]], dtype=torch.float64)


def gas(frames: int, atoms: int = 60) -> Trajectory:
    """Atoms anywhere in a leaning cell, a third of them helium, the others neon."""
    random = torch.Generator().manual_seed(4)
    places = torch.rand(frames, atoms, 3, dtype=torch.float64, generator=random)
    numbers = torch.tensor([2, 10, 10]).repeat(atoms // 3)
    return Trajectory(
        positions=places @ CELL,
        time=torch.arange(frames, dtype=torch.float64),
        atomic_numbers=numbers,
        masses=numbers.double(),
        cell=CELL.expand(frames, 3, 3),
        periodic=(True, True, True),
    )


def test_an_ideal_gas_has_no_structure_to_its_statistical_error() -> None:
    trajectory, bins = gas(100), 40
    found = radial_distribution(trajectory, cutoff=9.0, bins=bins)
    assert found.names() == ["He-He", "He-Ne", "Ne-Ne"]
    batch = trajectory.batch()
    for k, (g, ideal) in enumerate(zip(found.g, found.counts.ideal(batch).sum(0), strict=True)):
        ordered = 2.0 if found.counts.pairs[k][0] == found.counts.pairs[k][1] else 1.0
        expected = ideal / ordered
        statistic = float(((g - 1.0) ** 2 * expected).sum())
        low, high = stats.chi2.ppf([0.001, 0.999], bins)
        assert low < statistic < high, found.names()[k]
        # The error by blocks is that of the counts, within what 40 bins of 5 blocks allow.
        ratio = (found.error[k] ** 2 * expected)[5:].mean()
        assert float(ratio) == pytest.approx(1.0, abs=5 * math.sqrt(2 / 4 / (bins - 5)))
    sphere = 4.0 / 3.0 * math.pi * 9.0**3 / float(torch.linalg.det(CELL))
    assert float(found.coordination[1, -1]) == pytest.approx(40 * sphere, rel=0.02)


def test_pieces_of_a_trajectory_give_what_it_gives_whole() -> None:
    trajectory = gas(30)
    whole = radial_distribution(trajectory, cutoff=6.0, bins=20)
    pieces = radial_distribution((trajectory.frames(slice(k, k + 7)) for k in range(0, 30, 7)), cutoff=6.0, bins=20)
    assert torch.allclose(whole.g, pieces.g, rtol=1e-12)
    assert torch.allclose(whole.error, pieces.error, rtol=1e-9)


def test_a_lattice_has_its_shells_beyond_half_the_cell() -> None:
    """Face-centred cubic: 12, 6, 24 and 12 neighbours at a sqrt(k / 2), whatever cell describes it."""
    for atoms in (bulk("Ar", "fcc", a=5.0), bulk("Ar", "fcc", a=5.0, cubic=True).repeat((2, 1, 1))):
        system = from_ase(atoms)
        still = Trajectory.of(system, positions=system.positions[None].repeat(2, 1, 1), interval=1.0)
        found = radial_distribution(still, cutoff=7.5, bins=300)
        for number, shells in ((12, 1), (18, 2), (42, 3), (54, 4)):
            place = int(5.0 * math.sqrt(shells / 2) / 0.025 + 2)
            assert float(found.coordination[0, place]) == pytest.approx(number, abs=1e-12)
            assert float(found.coordination[0, place - 5]) < number
        assert int((found.g[0] > 0).sum()) == 4


def test_smooth_counts_are_whole_and_have_the_derivative_of_differences() -> None:
    batch = gas(3, 12).batch()
    counts = RadialCounts.of(batch, cutoff=5.0, bins=25, width=0.3)
    sharp = RadialCounts.of(batch, cutoff=5.0, bins=25)
    assert torch.allclose(counts.count(batch)[..., :20].sum(), sharp.count(batch)[..., :20].sum(), rtol=0.05)
    weights = torch.linspace(-1, 1, 25, dtype=torch.float64)

    def total(positions: Tensor) -> Tensor:
        return (counts.distribution(tree.replace(batch, positions=positions)) * weights).sum()

    positions = batch.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(positions), positions)
    along = torch.randn(positions.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-5
    difference = (total(batch.positions + step * along) - total(batch.positions - step * along)) / (2 * step)
    # What is cut off beyond REACH widths, 7e-6 of a pair, comes and goes with the pairs.
    assert float((gradient * along).sum()) == pytest.approx(float(difference), rel=1e-4)


def walk(frames: int = 2000, atoms: int = 50, step: float = 0.3) -> Trajectory:
    random = torch.Generator().manual_seed(7)
    steps = step * torch.randn(frames, atoms, 3, dtype=torch.float64, generator=random)
    base = gas(1, 60)
    return Trajectory(
        positions=base.positions[:, :atoms] + steps.cumsum(0),
        time=2.0 * torch.arange(frames, dtype=torch.float64),
        atomic_numbers=base.atomic_numbers[:atoms],
        masses=base.masses[:atoms],
        cell=CELL.expand(frames, 3, 3),
        periodic=(True, True, True),
    )


def test_a_random_walk_diffuses_as_it_must() -> None:
    trajectory = walk()
    found = mean_square_displacement(trajectory, remove_drift=False, fit=(10.0, 100.0))
    expected = 0.3**2 / (2 * 2.0)
    assert abs(float(found.diffusion[0]) - expected) < 6 * float(found.error[0])
    assert float(found.error[0]) < 0.05 * expected
    assert torch.allclose(found.squared[0, :6], 3 * 0.09 * torch.arange(6, dtype=torch.float64), rtol=0.02)
    assert found.groups == ("all", "He", "Ne")


def test_transforms_give_the_mean_over_windows() -> None:
    paths = walk(40, 3).positions
    found = squared_displacements(paths)
    for lag in (0, 1, 7, 39):
        direct = ((paths[lag:] - paths[: 40 - lag]) ** 2).sum(-1).mean(0)
        assert torch.allclose(found[lag], direct, rtol=1e-10, atol=1e-10)


def test_wrapped_paths_are_refused_and_unwrapped_to_what_they_were() -> None:
    trajectory = walk(300, 10)
    fractions = trajectory.positions @ torch.linalg.inv(CELL)
    wrapped = tree.replace(trajectory, positions=(fractions - torch.floor(fractions)) @ CELL)
    with pytest.raises(InputError, match="Use unwrap = true"):
        mean_square_displacement(wrapped)
    paths = unwrapped(wrapped).positions
    there = trajectory.positions - trajectory.positions[:1]
    assert torch.allclose(paths - paths[:1], there, atol=1e-9)


class Spring(Potential):
    """Every pair bound by a spring of some length."""

    cutoff, half, stiffness, length = 5.0, True, 140.0, 1.1

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        r = torch.linalg.vector_norm(displacements(system, neighbors), dim=-1)
        energy = 0.5 * self.stiffness * (r - self.length) ** 2
        return energy.new_zeros(system.n_systems).index_add(0, system.system[neighbors.centre], energy)


@pytest.fixture(scope="module")
def diatomic() -> Trajectory:
    """Nitrogen, stretched by 0.02 angstrom and let go."""
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.3, 1.0, 0.4]], dtype=torch.float64)
    positions[1] *= 1.12 / positions[1].norm()
    system = create(positions, torch.tensor([7, 7]))
    forces = Forces.of(Spring(), system)
    with torch.no_grad():
        _, seen = rollout(
            velocity_verlet(forces),
            forces(system),
            n_steps=1000,
            dt=1.0,
            observe=lambda state: {"positions": state.positions, "momenta": state.momenta},
        )
    return Trajectory.of(system, positions=seen["positions"], momenta=seen["momenta"], interval=1.0)


def test_a_harmonic_molecule_vibrates_at_its_wavenumber(diatomic: Trajectory) -> None:
    omega = math.sqrt(2 * Spring.stiffness / float(diatomic.masses[0]) * units.ACCELERATION)
    exact = 2 * math.asin(0.5 * omega) / (2 * math.pi) * PER_CENTIMETRE
    found = vibrational_spectrum(diatomic, longest=400.0)
    place = peaks(found, above=0.1)
    assert len(place) == 1
    assert float(place[0]) == pytest.approx(exact, abs=0.05 * found.resolution)
    assert found.resolution == pytest.approx(PER_CENTIMETRE / 400, rel=0.01)
    density = found.density[0]
    assert float(torch.trapezoid(density, found.wavenumber)) == pytest.approx(1.0)
    high = found.wavenumber[density > 0.5 * density.max()]
    assert float(high[-1] - high[0]) == pytest.approx(found.resolution, rel=0.3)
    correlation = velocity_autocorrelation(diatomic, longest=30.0)
    angle = 2 * math.asin(0.5 * omega) * correlation.time
    assert numpy.allclose(correlation.values[0], torch.cos(angle), atol=0.01)


def test_impossible_analyses_are_refused_with_their_fix(diatomic: Trajectory) -> None:
    with pytest.raises(InputError, match="give the volume"):
        radial_distribution(diatomic, cutoff=5.0)
    with pytest.raises(InputError, match="no Xe in the system"):
        radial_distribution(diatomic, cutoff=5.0, pairs=[("N", "Xe")])
    with pytest.raises(InputError, match="no velocities"):
        vibrational_spectrum(gas(20))
    with pytest.raises(InputError, match="varies from 1 to 2"):
        time = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
        mean_square_displacement(tree.replace(gas(3), time=time))
    with pytest.raises(InputError, match="cannot be fitted"):
        mean_square_displacement(gas(8), unwrap=True)
    with pytest.raises(InputError, match="needs 2 to 1000 of the frames"):
        velocity_autocorrelation(diatomic, longest=1e5)
