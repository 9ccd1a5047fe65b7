"""The parts of `sponge` keep the contracts that the core states for their kinds."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from ase.build import molecule

from mindsci import plugins, testing
from mindsci.errors import InputError
from sponge import from_ase
from sponge.data.frames import Frames, Splits, of_equal_size
from sponge.dynamics import (
    Forces,
    Kick,
    Move,
    NoseHooverChain,
    OrnsteinUhlenbeck,
    Refreshed,
    StochasticRescaling,
    langevin,
    nose_hoover,
    stochastic_rescaling,
    velocity_verlet,
)
from sponge.plugin import plugin
from sponge.potentials import MolCT, PhysNet, SchNet
from sponge.system import System
from sponge.tasks import PotentialTask


@pytest.fixture
def potential() -> SchNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SchNet(elements=["H", "O"], features=8, interactions=2, gaussians=8).double().requires_grad_(False)


@pytest.fixture
def water(potential: SchNet) -> System:
    atoms = molecule("H2O")
    random = numpy.random.default_rng(0)
    atoms.positions += 0.1 * random.normal(size=(3, 3))
    atoms.set_momenta(random.normal(size=(3, 3)))
    system = from_ase(atoms)
    return Forces.of(potential, system)(system)


def test_every_flow_keeps_the_contract(potential: SchNet, water: System) -> None:
    forces = Forces.of(potential, water)
    thermostat = OrnsteinUhlenbeck.of(water, temperature=300.0, friction=0.01, seed=0)
    for flow in (Kick(), Move(), Refreshed(flow=Move(), forces=forces), thermostat):
        testing.check_flow(flow, water, 0.5)
    chain = NoseHooverChain.of(water, temperature=300.0)
    rescaling = StochasticRescaling.of(water, temperature=300.0, seed=0)
    water = rescaling.start(chain.start(water))
    for step in (velocity_verlet(forces), langevin(forces, thermostat), chain, rescaling):
        testing.check_flow(step, water, 0.5)
    for step in (nose_hoover(forces, chain), stochastic_rescaling(forces, rescaling)):
        testing.check_flow(step, water, 0.5)


def made_up_frames(count: int) -> Frames:
    random = numpy.random.default_rng(count)
    positions = molecule("H2O").positions + 0.1 * random.normal(size=(count, 3, 3))
    return of_equal_size(
        torch.tensor([8, 1, 1]),
        torch.as_tensor(positions, dtype=torch.float32),
        energy=torch.as_tensor(-2000.0 + random.normal(size=count)),
        forces=torch.as_tensor(random.normal(size=(count, 3, 3)), dtype=torch.float32),
    )


def test_the_training_task_keeps_the_contract() -> None:
    data = Splits(train=made_up_frames(12), validation=made_up_frames(5), test=made_up_frames(6))
    model = SchNet(elements=["H", "O"], features=8, interactions=2, gaussians=8)
    testing.check_task(PotentialTask(model, data, batch_size=4, energy_weight=0.1, force_weight=1.0))


def test_terms_that_a_model_offers_enter_the_loss_by_their_weight() -> None:
    data = Splits(train=made_up_frames(12), validation=made_up_frames(5), test=made_up_frames(6))
    models = {
        "ponder": MolCT(elements=["H", "O"], features=8, heads=2, basis=8, cycles=2),
        "hierarchy": PhysNet(elements=["H", "O"], features=8, modules=2, basis=8),
    }
    for name, model in models.items():
        losses = []
        for weight in (0.0, 0.5):
            task = PotentialTask(model, data, batch_size=4, energy_weight=0.1, force_weight=1.0, terms={name: weight})
            loss, metrics = task.loss(task.batches("train").at(0))
            losses.append(loss.detach())
        assert float(losses[1] - losses[0]) == pytest.approx(0.5 * float(metrics[name]), rel=1e-4)
        assert name in task.summarise({one: float(value) for one, value in metrics.items()})
        testing.check_task(task)
    with pytest.raises(InputError, match=r"loss.terms.ponder: this PhysNet offers \['hierarchy'\]"):
        PotentialTask(model, data, batch_size=4, energy_weight=0.1, force_weight=1.0, terms={"ponder": 1.0})
    with pytest.raises(InputError, match="this MolCT offers no terms"):
        single = MolCT(elements=["H", "O"], features=8, heads=2)
        PotentialTask(single, data, batch_size=4, energy_weight=0.1, force_weight=1.0, terms={"ponder": 1.0})


def test_the_potential_survives_its_weights_file(potential: SchNet, water: System) -> None:
    testing.check_module(potential, water, water.neighbors)


def test_every_item_of_the_plugin_can_be_imported(repository: Path) -> None:
    for kind in plugins.KINDS:
        for target in getattr(plugin, kind).values():
            assert callable(plugins.load(target)), target
