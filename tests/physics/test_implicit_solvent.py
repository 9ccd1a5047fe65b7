"""Generalised Born models against sander, OpenMM and Born's own formula.

Energies of capped aspartic acid (ash) as sander prints them, with and without salt, to four decimals of kcal/mol: half
a unit of the last. Forces of OpenMM on alanine dipeptide, single precision: 1e-4 of the largest. An atom alone has
Born's energy, -1/2 (1 - 1 / dielectric) q^2 / B; two far apart see each other through the dielectric: rounding, and
the square of radius over distance.
"""

from __future__ import annotations

import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
import torch

from mindsci import tree, units
from mindsci.errors import InputError
from sponge import system as systems
from sponge.builders import from_amber, with_born_radii
from sponge.forcefield import ForceField, Options, born
from sponge.forcefield.options import SOLVENTS
from sponge.neighbors.lists import all_pairs
from sponge.potentials.potential import differentiate
from sponge.system import System
from sponge.topology import GeneralisedBorn, Nonbonded, Topology
from sponge.validation.solvent import SANDER, ash_energy

OPEN = Options(lennard_jones="all", coulomb="all")


def charged(radii: list[float], charges: list[float]) -> Topology:
    n = len(radii)
    zero = torch.zeros((1, 1), dtype=torch.float64)
    nonbonded = Nonbonded(
        charges=torch.tensor(charges, dtype=torch.float64),
        kind=torch.zeros(n, dtype=torch.int64),
        sigma=zero + 1.0,
        epsilon=zero,
        exclusions=torch.zeros((0, 2), dtype=torch.int64),
    )
    screening = torch.full((n,), 0.8, dtype=torch.float64)
    parameters = GeneralisedBorn(radius=torch.tensor(radii, dtype=torch.float64), screening=screening)
    return Topology(n_atoms=n, nonbonded=nonbonded, generalised_born=parameters)


def energies(topology: Topology, positions: torch.Tensor, **options) -> dict[str, float]:
    system = systems.create(positions, torch.full((len(positions),), 6))
    field = ForceField(topology, tree.replace(OPEN, **options))
    return {name: float(value) for name, value in field.energies(system, all_pairs(system, half=True)).items()}


@pytest.mark.data
@pytest.mark.parametrize("model", SOLVENTS)
@pytest.mark.parametrize("salt", [0.0, 1.0])
def test_the_energy_in_a_solvent_is_sanders(model: str, salt: float, data_mirror: Path) -> None:
    found = ash_energy(data_mirror / "biomolecular", model, salt)
    assert found == pytest.approx(SANDER[model][int(salt)], abs=5e-5)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "model"), [("HCT_NoCutoff", "hct"), ("OBC1_NonPeriodic", "obc1"), ("GBn2_NoCutoff", "gbn2")]
)
def test_forces_with_a_surface_are_openmms(name: str, model: str, data_mirror: Path) -> None:
    folder = data_mirror / "biomolecular/openmm_systems"
    files = folder / "alanine-dipeptide-implicit.prmtop", folder / "alanine-dipeptide-implicit.inpcrd"
    system, topology = from_amber(*files, periodic=False)
    lines = (folder / "alanine-dipeptide-implicit.pdb").read_text().split("\n")
    places = [[float(line[at : at + 8]) for at in (30, 38, 46)] for line in lines if line.startswith("ATOM")]
    system = tree.replace(system, positions=torch.tensor(places, dtype=torch.float64))
    root = xml.parse(folder / f"alanine-dipeptide-implicit-forces/{name}.xml").getroot()
    theirs = torch.tensor([[float(force.attrib[axis]) for axis in "xyz"] for force in root.iter("Force")]).double()
    options = tree.replace(OPEN, implicit_solvent=model, surface_tension=0.0054 * units.KCAL_PER_MOL_EV)
    found = differentiate(ForceField(topology, options), system, all_pairs(system, half=True)).forces
    assert float((found * 10 / units.KJ_PER_MOL_EV - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


@pytest.mark.parametrize("model", SOLVENTS)
def test_an_atom_alone_has_the_energy_of_born(model: str) -> None:
    found = energies(charged([1.5], [0.5]), torch.zeros((1, 3)).double(), implicit_solvent=model)
    # Nothing is integrated over: what is left is the radius, less its offset.
    radius = 1.5 - born.MODELS[model].offset
    expected = -0.5 * (1.0 - 1.0 / 78.5) * units.COULOMB_EV_ANGSTROM * 0.25 / radius
    assert found["generalised_born"] == pytest.approx(expected, rel=1e-12)


def test_charges_far_apart_are_weakened_by_the_dielectric_and_screened_by_salt() -> None:
    topology = charged([1.5, 1.7], [1.0, -1.0])
    places = torch.tensor([[0.0, 0.0, 0.0], [200.0, 0.0, 0.0]]).double()
    for salt in (0.0, 0.2):
        options = {"implicit_solvent": "obc2", "salt": salt}
        together = energies(topology, places, **options)
        alone = sum(
            energies(charged([radius], [charge]), places[:1], **options)["generalised_born"]
            for radius, charge in ((1.5, 1.0), (1.7, -1.0))
        )
        left = together["coulomb"] + together["generalised_born"] - alone
        kappa = born.debye(tree.replace(OPEN, **options))
        expected = -units.COULOMB_EV_ANGSTROM / 78.5 / 200.0 * torch.exp(torch.tensor(-200.0 * kappa).double())
        assert left == pytest.approx(float(expected), abs=1e-4 * units.COULOMB_EV_ANGSTROM / 78.5 / 200.0)


def test_the_length_of_debye_is_that_of_salt_water() -> None:
    # 3.04 angstrom over the root of the molarity at room temperature, shortened by Amber's 0.73.
    assert 0.73 / born.debye(tree.replace(OPEN, salt=0.25)) == pytest.approx(3.04 / 0.5, rel=2e-3)


@pytest.mark.parametrize("model", SOLVENTS)
def test_derivatives_by_positions_and_parameters_are_right(model: str) -> None:
    generator = torch.Generator().manual_seed(5)
    grid = torch.cartesian_prod(*[torch.arange(2)] * 3).double()[:6] * 1.7
    places = (grid + 0.3 * torch.rand((6, 3), generator=generator).double()).requires_grad_()
    topology = charged([1.22, 1.53, 1.71, 1.58, 1.31, 1.83], [0.3, -0.4, 0.5, -0.2, 0.1, -0.3])
    system = systems.create(places.detach(), torch.tensor([1, 8, 6, 7, 1, 16]))
    pairs = all_pairs(system)
    options = tree.replace(OPEN, implicit_solvent=model, salt=0.1, surface_tension=1e-3)
    born_parameters, nonbonded = topology.generalised_born, topology.nonbonded
    inputs = [places, born_parameters.radius.requires_grad_(), nonbonded.charges.requires_grad_()]
    nucleic = torch.tensor([False, True, False, True, False, False])

    def energy(positions: torch.Tensor, radius: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
        parameters = tree.replace(born_parameters, radius=radius)
        moved = tree.replace(system, positions=positions)
        found = born.energies(moved, pairs, charges, parameters, nucleic, options)
        return sum(value.sum() for value in found.values())

    assert torch.autograd.gradcheck(energy, inputs, eps=1e-5, atol=1e-7)


def test_a_list_of_both_directions_gives_the_same() -> None:
    topology = charged([1.2, 1.5, 1.7], [0.3, -0.4, 0.5])
    places = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 0.0]]).double()
    system: System = systems.create(places, torch.tensor([1, 8, 6]))
    field = ForceField(topology, tree.replace(OPEN, implicit_solvent="gbn2"))
    both = [float(field(system, all_pairs(system, half=half))) for half in (True, False)]
    assert both[0] == pytest.approx(both[1], rel=1e-13)


def test_radii_of_the_sets_follow_bonds_and_residues() -> None:
    # Formic acid's ion and methylamine.
    numbers = torch.tensor([6, 8, 8, 1, 6, 7, 1, 1])
    links = torch.tensor([[0, 1], [0, 2], [0, 3], [4, 5], [4, 6], [5, 7]])
    topology = Topology(n_atoms=8, connectivity=links)
    found = {name: with_born_radii(topology, numbers, name).generalised_born.radius.tolist() for name in born_sets()}
    assert found["bondi"] == [1.7, 1.5, 1.5, 1.2, 1.7, 1.55, 1.2, 1.2]
    assert found["mbondi"][3] == 1.3 and found["mbondi"][7] == 1.3
    assert found["mbondi2"][3] == 1.2 and found["mbondi2"][7] == 1.3
    assert found["mbondi3"][1:3] == [1.4, 1.4]
    with pytest.raises(InputError, match="radii = 'bonds' is unknown"):
        with_born_radii(topology, numbers, "bonds")


def born_sets() -> tuple[str, ...]:
    return ("bondi", "mbondi", "mbondi2", "mbondi3")


@pytest.mark.parametrize(
    ("topology", "options", "words"),
    [
        (Topology(n_atoms=1), {"implicit_solvent": "obc2"}, "needs Born radii and charges"),
        (charged([0.8], [1.0]), {"implicit_solvent": "gbn"}, "atom 0 has a Born radius of 0.8 angstrom"),
        (charged([1.5], [1.0]), {"implicit_solvent": "obc"}, "use one of hct, obc1"),
        (charged([1.5], [1.0]), {"implicit_solvent": "hct", "salt": -1.0}, "salt = -1"),
        (
            charged([1.5], [1.0]),
            {"implicit_solvent": "hct", "coulomb": "pme", "lennard_jones": "cutoff"},
            "does not go with",
        ),
    ],
)
def test_what_has_no_solvent_is_refused(topology: Topology, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ForceField(topology, tree.replace(OPEN, **options))
