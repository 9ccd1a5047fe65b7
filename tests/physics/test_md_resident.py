"""Dynamics with lists that stay on the device moves atoms as with lists made anew whenever half the skin is used.

Setup: a Lennard-Jones liquid of 108 atoms, float64, 120 K. Lists differ in the pairs beyond the cutoff alone, whose
energy and force are zero, and in the order of sums: trajectories of 60 steps agree to 1e-9.
"""

from __future__ import annotations

import logging

import pytest
import torch
from ase.build import bulk

from mindsci.errors import InputError
from mindsci.solvers import rollout
from sponge import from_ase
from sponge.dynamics import Forces, maxwell_boltzmann, velocity_verlet
from sponge.dynamics.resident import Resident
from sponge.potentials import LennardJones
from sponge.system import System


@pytest.fixture
def liquid() -> tuple[System, Forces]:
    system = from_ase(bulk("Ar", "fcc", a=5.8, cubic=True).repeat(3))
    forces = Forces.of(LennardJones(cutoff=6.0), system, skin=0.6)
    return forces(maxwell_boltzmann(system, temperature=240.0, seed=0)), forces


def test_a_resident_list_drops_no_pair(liquid: tuple[System, Forces], caplog: pytest.LogCaptureFixture) -> None:
    system, forces = liquid
    step = velocity_verlet(forces)
    expected, _ = rollout(step, system, n_steps=60, dt=10.0)
    # Forty steps to a list are far too many: a chunk is run again with more lists until none has used its skin.
    resident = Resident(step=step, forces=forces, interval=40, chunk=40)
    with caplog.at_level(logging.INFO), torch.no_grad():
        found, _ = rollout(resident, system, n_steps=60, dt=10.0)
    assert "run again" in caplog.text
    assert found.neighbors is None
    assert torch.allclose(found.positions, expected.positions, rtol=0, atol=1e-9)
    assert torch.allclose(found.momenta, expected.momenta, rtol=0, atol=1e-9)


def test_a_list_that_is_too_short_grows(
    liquid: tuple[System, Forces], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, forces = liquid
    step = velocity_verlet(forces)
    expected, _ = rollout(step, system, n_steps=30, dt=10.0)
    rooms = iter([500, 1000])
    room = Resident._room
    monkeypatch.setattr(Resident, "_room", staticmethod(lambda edges: next(rooms, None) or room(edges)))
    with caplog.at_level(logging.INFO), torch.no_grad():
        found, _ = rollout(Resident(step=step, forces=forces, interval=5), system, n_steps=30, dt=10.0)
    assert caplog.text.count("get room") == 2
    assert torch.allclose(found.positions, expected.positions, rtol=0, atol=1e-9)


def test_atoms_too_fast_for_any_list_are_reported(liquid: tuple[System, Forces]) -> None:
    system, forces = liquid
    resident = Resident(step=velocity_verlet(forces), forces=forces, interval=2)
    with pytest.raises(InputError, match="half the skin"):
        resident.advance(system, 0.0, 400.0, 3)
    with pytest.raises(InputError, match="a skin"):
        Resident(step=velocity_verlet(forces), forces=Forces.of(LennardJones(), system, skin=0.0))
