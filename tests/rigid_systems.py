"""Small systems with constraints: a box of rigid water, and hydrocarbons whose bonds are held."""

from __future__ import annotations

import math

import torch

from mindsci import units
from sponge import create, from_ase
from sponge.dynamics import Constraints, Forces
from sponge.forcefield import ForceField, Options
from sponge.system import System
from sponge.topology import (
    DistanceConstraints,
    HarmonicAngles,
    Nonbonded,
    Residue,
    RigidWaters,
    Topology,
    lorentz_berthelot,
)

LENGTH, ANGLE = 1.0, math.radians(109.47)
"""of SPC/E [angstrom], [rad]"""
SMOOTH = Options(cutoff=4.0, lennard_jones="force_shift", coulomb="shifted_force")


def water_box(side: int, *, spacing: float = 3.105, seed: int = 0) -> tuple[System, Topology]:
    """side^3 SPC/E waters in a cube at the density of the liquid, each turned at random, on a lattice."""
    generator = torch.Generator().manual_seed(seed)
    count = side**3
    lattice = torch.cartesian_prod(*[torch.arange(side)] * 3).double() * spacing
    half = 0.5 * ANGLE
    x, y = math.sin(half), math.cos(half)
    shape = torch.tensor([[0.0, 0.0, 0.0], [x, y, 0.0], [-x, y, 0.0]], dtype=torch.float64)
    turns, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))
    positions = (lattice[:, None] + LENGTH * shape @ turns).reshape(-1, 3)
    first = torch.arange(0, 3 * count, 3)
    excluded = torch.stack([torch.stack([first + i, first + j], 1) for i, j in ((0, 1), (0, 2), (1, 2))], 1)
    depth = 78.19743111 * units.BOLTZMANN_EV
    across = 2.0 * LENGTH * x
    topology = Topology(
        n_atoms=3 * count,
        nonbonded=Nonbonded(
            charges=torch.tensor([-0.8476, 0.4238, 0.4238]).double().repeat(count),
            kind=torch.tensor([0, 1, 1]).repeat(count),
            sigma=torch.full((2, 2), 3.16555789).double(),
            epsilon=torch.tensor([[depth, 0.0], [0.0, 0.0]]).double(),
            exclusions=excluded.reshape(-1, 2),
        ),
        waters=RigidWaters(
            atoms=torch.arange(3 * count).reshape(-1, 3),
            oxygen_hydrogen=torch.full((count,), LENGTH).double(),
            hydrogen_hydrogen=torch.full((count,), across).double(),
        ),
        connectivity=excluded[:, :2].reshape(-1, 2),
    )
    cell = side * spacing * torch.eye(3).double()
    numbers = torch.tensor([8, 1, 1]).repeat(count)
    return create(positions, numbers, cell=cell[None], periodic=(True, True, True)), topology


def hydrocarbon(
    name: str = "cyclobutane", *, bonds_held: str = "all", stretched: float = 0.0
) -> tuple[System, Topology]:
    """A molecule of ASE's collection with springs on its angles, and its bonds ("all", or of "hydrogens") held.

    stretched: noise on the positions [angstrom].
    """
    from ase.build import molecule

    system = from_ase(molecule(name))
    points, numbers = system.positions, system.atomic_numbers
    distance = torch.cdist(points, points)
    limit = torch.where((numbers[:, None] == 1) | (numbers[None, :] == 1), 1.25, 1.65)
    bonded = ((distance < limit) & ~torch.eye(len(points), dtype=torch.bool)).nonzero()
    bonds = bonded[bonded[:, 0] < bonded[:, 1]]
    angles = [
        (i, j, k)
        for j in range(len(points))
        for i in bonded[bonded[:, 0] == j, 1].tolist()
        for k in bonded[bonded[:, 0] == j, 1].tolist()
        if i < k
    ]
    chosen = bonds if bonds_held == "all" else bonds[(numbers[bonds] == 1).any(1)]
    count = len(points)
    sigma, epsilon = lorentz_berthelot(torch.tensor([3.4, 2.6]).double(), torch.tensor([0.004, 0.001]).double())
    rows = torch.tensor(angles)
    a, b = points[rows[:, 0]] - points[rows[:, 1]], points[rows[:, 2]] - points[rows[:, 1]]
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    topology = Topology(
        n_atoms=count,
        nonbonded=Nonbonded(
            charges=torch.zeros(count).double(),
            kind=(numbers == 1).long(),
            sigma=sigma,
            epsilon=epsilon,
            exclusions=_near(bonds, count),
        ),
        angles=HarmonicAngles(atoms=rows, angle=torch.acos(cosine), stiffness=torch.full((len(rows),), 4.0).double()),
        constraints=DistanceConstraints(atoms=chosen, length=distance[chosen[:, 0], chosen[:, 1]]),
        connectivity=bonds,
        atom_names=tuple(f"{'C' if n == 6 else 'H'}{k}" for k, n in enumerate(numbers.tolist())),
        residue_of_atom=torch.zeros(count, dtype=torch.int64),
        residues=(Residue(name="HYC", number="1"),),
    )
    if stretched:
        noise = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        system = create(points + stretched * noise, numbers)
    return system, topology


def _near(bonds: torch.Tensor, count: int) -> torch.Tensor:
    """Pairs within three bonds."""
    one = torch.zeros(count, count)
    one[bonds[:, 0], bonds[:, 1]] = one[bonds[:, 1], bonds[:, 0]] = 1.0
    reach = one + one @ one + one @ one @ one
    return torch.triu(reach, 1).nonzero()


def held(
    topology: Topology, system: System, options: Options = SMOOTH, *, virial: bool = False, **choices: object
) -> tuple:
    """Forces, constraints, and the system on them with its forces."""
    constraints = Constraints.of(topology, system, **choices)
    system = constraints.start(system)
    forces = Forces.of(ForceField(topology, options), system, skin=0.4, virial=virial)
    return forces, constraints, forces(system)
