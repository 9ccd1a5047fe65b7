"""Gradients of averages over trajectories: through the path, and through the ensemble that it samples.

Paths: 8 Lennard-Jones atoms, 20 steps of velocity Verlet or of a Nosé-Hoover chain at 8 fs, float64; a central
difference with a relative step of 1e-4 errs by about 1e-8. Ensemble: the derivative of the weights is the fluctuation
formula, d<O>/dp = <dO/dp> - (<O dU/dp> - <O><dU/dp>) / k_B T, an identity for any set of frames [Thaler2021]; and for
springs <x^2> = k_B T / k, whose derivative is known: n values give it to sqrt(8 / n) of itself, five of them.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from ase.build import bulk
from jaxtyping import Float
from torch import Tensor, nn

from mindsci import units
from mindsci.errors import InputError
from mindsci.solvers import Checkpoint, Direct, Reversible
from sponge import create, from_ase, kinetic_energy
from sponge.analysis import RadialCounts
from sponge.dynamics import (
    Forces,
    NoseHooverChain,
    OrnsteinUhlenbeck,
    Reweighting,
    TrajectoryAverage,
    langevin,
    maxwell_boltzmann,
    nose_hoover,
    velocity_verlet,
)
from sponge.neighbors import Neighbors
from sponge.potentials import LennardJones, PairSpline, Potential
from sponge.system import System

VALUES = {"epsilon": 0.010341, "sigma": 3.4}


def cube() -> System:
    return maxwell_boltzmann(from_ase(bulk("Ar", "sc", a=3.9).repeat(2)), temperature=60.0, seed=2)


def verlet(forces: Forces, system: System) -> tuple[Any, System]:
    return velocity_verlet(forces), system


def chain(forces: Forces, system: System) -> tuple[Any, System]:
    bath = NoseHooverChain.of(system, temperature=60.0, period=80.0)
    return nose_hoover(forces, bath), bath.start(system)


def structure(batch: System) -> Tensor:
    """A smooth radial distribution, weighed into one number."""
    counts = RadialCounts.of(batch, cutoff=6.0, bins=20, width=0.2)
    return (counts.distribution(batch)[:, 0] * torch.linspace(1.0, -1.0, 20, dtype=torch.float64)).sum(-1)


def path_average(potential: Potential, integrator: Any, adjoint: Any) -> Tensor:
    options = {"n_steps": 20, "dt": 8.0, "every": 5, "integrator": integrator, "gradient": adjoint}
    return TrajectoryAverage(cube(), observable=structure, **options)(potential)


@pytest.mark.parametrize("integrator", [verlet, chain])
def test_the_adjoints_agree_and_match_finite_differences(integrator: Any) -> None:
    found = []
    for adjoint in (Direct(), Checkpoint(), Reversible()):
        potential = LennardJones(cutoff=5.5, trainable=True)
        value = path_average(potential, integrator, adjoint)
        found.append(torch.stack(torch.autograd.grad(value, [potential.epsilon, potential.sigma])))
    assert torch.allclose(found[1], found[0], rtol=1e-11)
    assert torch.allclose(found[2], found[0], rtol=1e-9)
    for index, (name, value) in enumerate(VALUES.items()):
        ends = [
            float(path_average(LennardJones(cutoff=5.5, **(VALUES | {name: value * (1 + s)})), integrator, Direct()))
            for s in (1e-4, -1e-4)
        ]
        assert float(found[0][index]) == pytest.approx((ends[0] - ends[1]) / (2e-4 * value), rel=1e-5)


def bath(forces: Forces, system: System) -> tuple[Any, System]:
    return langevin(forces, OrnsteinUhlenbeck.of(system, temperature=90.0, friction=0.02, seed=4)), system


def sampler(observable: Any, **options: Any) -> TrajectoryAverage:
    settings = {"n_steps": 60, "dt": 8.0, "every": 5, "equilibration": 10, "temperature": 90.0} | options
    return TrajectoryAverage(cube(), integrator=bath, observable=observable, **settings)


@pytest.mark.parametrize("kind", ["structure", "energy"])
def test_reweighting_is_the_fluctuation_formula_and_the_difference_of_its_averages(kind: str) -> None:
    potential = LennardJones(cutoff=5.5, trainable=True)
    parameters = [potential.epsilon, potential.sigma]

    def observable(batch: System) -> Tensor:
        return structure(batch) if kind == "structure" else potential(batch, batch.neighbors)

    average = sampler(observable, gradient=Reweighting(share=0.05))
    found = torch.autograd.grad(average(potential), parameters)
    frames = average._frames
    for k, parameter in enumerate(parameters):
        energies, values = potential(frames, frames.neighbors), observable(frames)
        slope_u = torch.stack([torch.autograd.grad(one, parameter, retain_graph=True)[0] for one in energies])
        slope_o = torch.zeros_like(slope_u)
        if kind == "energy":
            slope_o = slope_u
        covariance = (values * slope_u).mean() - values.mean() * slope_u.mean()
        expected = slope_o.mean() - covariance / (units.BOLTZMANN_EV * 90.0)
        assert float(found[k]) == pytest.approx(expected.item(), rel=1e-9)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter *= 1 + sign * 1e-4
                ends.append(float(average(potential)))
                parameter /= 1 + sign * 1e-4
        assert float(found[k]) == pytest.approx((ends[0] - ends[1]) / (2e-4 * parameter.item()), rel=1e-4)
    assert average.n_runs == 1


def test_a_new_run_is_made_when_too_few_frames_still_count() -> None:
    average = sampler(structure, gradient=Reweighting(share=0.9))
    average(LennardJones(cutoff=5.5))
    assert average.n_runs == 1 and average.effective == pytest.approx(12.0)
    average(LennardJones(cutoff=5.5, epsilon=0.0104))
    assert average.n_runs == 1 and 0.9 * 12 < average.effective < 12.0
    average(LennardJones(cutoff=5.5, sigma=3.6))
    assert average.n_runs == 2 and average.effective == pytest.approx(12.0)


class Springs(Potential):
    """Every atom bound to the origin by a spring."""

    cutoff = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        return system.sum_over_atoms(0.5 * self.stiffness * (system.positions**2).sum(-1))


def test_the_ensemble_has_the_derivative_of_theory() -> None:
    count, kelvin = 400, 300.0
    system = create(torch.zeros(count, 3, dtype=torch.float64), torch.full((count,), 2), system=torch.arange(count))
    # At friction x dt = 1 and omega dt = 0.8 positions are canonical, and forgotten within ten steps [Leimkuhler2013].
    dt = 0.8 / math.sqrt(0.5 / 4.0026 * units.ACCELERATION)

    def hot(forces: Forces, start: System) -> tuple[Any, System]:
        return langevin(forces, OrnsteinUhlenbeck.of(start, temperature=kelvin, friction=1 / dt, seed=7)), start

    average = TrajectoryAverage(
        system,
        integrator=hot,
        observable=lambda batch: (batch.positions**2).mean(-1),
        n_steps=150,
        dt=dt,
        every=10,
        equilibration=60,
        temperature=kelvin,
    )
    springs = Springs()
    value = average(springs)
    (slope,) = torch.autograd.grad(value, springs.stiffness)
    thermal, n_values = units.BOLTZMANN_EV * kelvin, 3 * count * 15
    assert float(value.detach()) == pytest.approx(thermal / 0.5, rel=5 * math.sqrt(2 / n_values))
    assert float(slope) == pytest.approx(-thermal / 0.25, rel=5 * math.sqrt(8 / n_values))


def test_a_spline_follows_the_potential_it_is_fitted_to_and_ends_smoothly() -> None:
    lennard_jones = LennardJones(cutoff=7.0)
    dimer = from_ase(bulk("Ar", "sc", a=20.0).repeat((2, 1, 1)))
    r = torch.linspace(3.0, 7.0, 200, dtype=torch.float64)
    energies = []
    for distance in r:
        positions = torch.zeros(2, 3, dtype=torch.float64)
        positions[1, 0] = distance
        one = create(positions, dimer.atomic_numbers)
        energies.append(float(Forces.of(lennard_jones, one)(one).energy[0]))
    spline = PairSpline(first=3.0, cutoff=7.0, pieces=40, epsilon=0.01, sigma=3.0, trainable=True)
    spline.fit(r, torch.tensor(energies, dtype=torch.float64))
    error = spline.pair_energy(r) - torch.tensor(energies)
    assert float(error.detach().abs().max()) < 0.01 * 0.010341
    ends = torch.tensor([6.999, 7.0, 7.5], dtype=torch.float64, requires_grad=True)
    energy = spline.pair_energy(ends)
    (slope,) = torch.autograd.grad(energy.sum(), ends)
    assert float(energy.detach().abs().max()) < 1e-9 and float(slope.detach().abs().max()) < 1e-6
    near = torch.tensor([2.999, 3.001], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(spline.pair_energy(near).sum(), near)
    assert float(slope[0].detach()) == pytest.approx(float(slope[1].detach()), rel=0.01)


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(InputError, match="needs the temperature"):
        TrajectoryAverage(cube(), integrator=bath, observable=kinetic_energy, n_steps=2, dt=1.0)
    with pytest.raises(InputError, match="give no frame"):
        TrajectoryAverage(cube(), integrator=bath, observable=kinetic_energy, n_steps=2, dt=1.0, every=3, temperature=1)
    with pytest.raises(InputError, match="between 0 and 1"):
        Reweighting(share=1.0)
    with pytest.raises(InputError, match="cannot undo M"):
        average = sampler(structure, gradient=Reversible())
        average(LennardJones(cutoff=5.5, trainable=True))
