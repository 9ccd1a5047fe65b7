"""Gradients through molecular dynamics: three adjoints, one derivative, and that of finite differences.

Setup: 8 Lennard-Jones atoms, 40 steps of velocity Verlet at 10 fs, float64; the objective is the spread of the atoms
at the end. The adjoints differ by rounding alone, 1e-11 after 40 reversed steps; a central difference with a
relative step of 1e-4 errs by about 1e-8.
"""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from mindsci.errors import InputError
from mindsci.solvers import Checkpoint, Direct, Reversible, rollout
from sponge import from_ase
from sponge.dynamics import Forces, OrnsteinUhlenbeck, langevin, maxwell_boltzmann, velocity_verlet
from sponge.potentials import LennardJones
from sponge.system import System


def cube() -> System:
    atoms = bulk("Ar", "sc", a=3.8).repeat(2)
    atoms.pbc = False
    return maxwell_boltzmann(from_ase(atoms), temperature=60.0, seed=2)


def objective(potential: LennardJones, adjoint: object, *, thermostat: bool = False) -> Tensor:
    system = cube()
    forces = Forces.of(potential, system)
    step = velocity_verlet(forces)
    if thermostat:
        step = langevin(forces, OrnsteinUhlenbeck.of(system, temperature=60.0, friction=0.01, seed=5))
    after, _ = rollout(step, forces(system), n_steps=40, dt=10.0, adjoint=adjoint)
    return ((after.positions - after.positions.mean(0)) ** 2).sum()


def gradient(adjoint: object, **options: bool) -> Tensor:
    potential = LennardJones(trainable=True)
    found = torch.autograd.grad(objective(potential, adjoint, **options), [potential.epsilon, potential.sigma])
    return torch.stack(found)


def test_the_three_adjoints_agree_and_match_finite_differences() -> None:
    direct = gradient(Direct())
    for adjoint in (Checkpoint(), Reversible()):
        assert torch.allclose(gradient(adjoint), direct, rtol=1e-11)
    values = {"epsilon": 0.010341, "sigma": 3.4}
    for index, (name, value) in enumerate(values.items()):
        ends = [
            float(objective(LennardJones(**(values | {name: value * (1 + sign * 1e-4)})), Direct())) for sign in (1, -1)
        ]
        assert float(direct[index]) == pytest.approx((ends[0] - ends[1]) / (2e-4 * value), rel=1e-5)


def test_a_thermostat_is_differentiated_by_checkpoints_and_refused_by_name_in_reverse() -> None:
    assert torch.allclose(gradient(Checkpoint(), thermostat=True), gradient(Direct(), thermostat=True), rtol=1e-11)
    with pytest.raises(InputError, match="Reversible cannot undo M"):
        gradient(Reversible(), thermostat=True)
