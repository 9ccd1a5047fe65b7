"""Rigid water and constrained bonds: terms of a flexible topology that become constraints."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.topology import DistanceConstraints, HarmonicBonds, RigidWaters, Topology, molecules

Constraints = Literal["hydrogens", "all"] | None
Record = TypeVar("Record")
SAME = 1e-4
"""Lengths that differ by less are one length: files round them [angstrom]"""


def keep_rows(record: Record | None, rows: Bool[Tensor, " rows"]) -> Record | None:
    """Returns a record of terms with some of its rows; None where none is left."""
    if record is None or not bool(rows.any()):
        return None
    return tree.map(lambda values: values[rows], record)


def hold_rigid(
    topology: Topology, atomic_numbers: Int[Tensor, " atoms"], *, rigid_water: bool, constraints: Constraints
) -> Topology:
    """Returns the topology with its waters rigid and bonds constrained, if asked for; their terms are taken out.

    `constraints` "hydrogens" holds each bond of a hydrogen at its rest length, "all" every bond. Waters that are
    rigid already stay so. Raises InputError for a water without lengths, and for one that is not isosceles.
    """
    if constraints not in ("hydrogens", "all", None):
        raise InputError(f"constraints = {constraints!r} is unknown; use 'hydrogens', 'all' or None")
    if rigid_water:
        topology = _rigid_waters(topology, atomic_numbers)
    bonds = topology.bonds
    if constraints is None or bonds is None:
        return topology
    held = torch.ones(len(bonds.atoms), dtype=torch.bool)
    if constraints == "hydrogens":
        held = (atomic_numbers[bonds.atoms] == 1).any(1)
    taken = keep_rows(bonds, held)
    if taken is None:
        return topology
    distances = DistanceConstraints(atoms=taken.atoms, length=taken.length)
    return tree.replace(topology, bonds=keep_rows(bonds, ~held), constraints=distances)


def find_waters(topology: Topology, atomic_numbers: Int[Tensor, " atoms"]) -> Int[Tensor, "waters 3"]:
    """Returns oxygen and hydrogens of each molecule of H2O; virtual sites (element 0) may belong to it."""
    molecule = molecules(topology)
    n_molecules = int(molecule.max()) + 1

    def count(which: Bool[Tensor, " atoms"]) -> Int[Tensor, " molecules"]:
        return torch.bincount(molecule[which], minlength=n_molecules)

    oxygen, hydrogen = atomic_numbers == 8, atomic_numbers == 1
    water = (count(oxygen) == 1) & (count(hydrogen) == 2) & (count(atomic_numbers != 0) == 3)
    mine = water[molecule]
    oxygens, hydrogens = (mine & oxygen).nonzero().flatten(), (mine & hydrogen).nonzero().flatten()
    oxygens = oxygens[molecule[oxygens].argsort(stable=True)]
    hydrogens = hydrogens[molecule[hydrogens].argsort(stable=True)]
    return torch.cat([oxygens[:, None], hydrogens.reshape(-1, 2)], dim=1)


def _rigid_waters(topology: Topology, numbers: Int[Tensor, " atoms"]) -> Topology:
    if topology.connectivity is None or not len(topology.connectivity):
        return topology
    waters = find_waters(topology, numbers)
    if topology.waters is not None:
        waters = waters[~torch.isin(waters[:, 0], topology.waters.atoms[:, 0])]
    if not len(waters):
        return topology
    owner = torch.full((topology.n_atoms,), -1)
    owner[waters] = torch.arange(len(waters))[:, None]
    rigid = _triangles(topology, numbers, waters, owner)
    if topology.waters is not None:
        rigid = tree.map(lambda old, new: torch.cat([old, new]), topology.waters, rigid)

    def outside(record: Any) -> Any:
        return None if record is None else keep_rows(record, ~(owner[record.atoms] >= 0).all(1))

    names = ("bonds", "angles", "urey_bradley")
    return tree.replace(topology, waters=rigid, **{name: outside(getattr(topology, name)) for name in names})


def _triangles(
    topology: Topology, numbers: Int[Tensor, " atoms"], waters: Int[Tensor, "waters 3"], owner: Int[Tensor, " atoms"]
) -> RigidWaters:
    long = torch.full((len(waters), 2), torch.nan, dtype=torch.float64)
    across = torch.full((len(waters),), torch.nan, dtype=torch.float64)
    bonds = keep_rows(topology.bonds, _inside(topology.bonds, owner))
    if bonds is not None:
        water, is_long = owner[bonds.atoms[:, 0]], numbers[bonds.atoms].sum(1) == 9
        second = (bonds.atoms == waters[water, 2][:, None]).any(1).to(torch.int64)
        long[water[is_long], second[is_long]] = bonds.length[is_long]
        across[water[~is_long]] = bonds.length[~is_long]
    angles = keep_rows(topology.angles, _inside(topology.angles, owner))
    if angles is not None:
        water = owner[angles.atoms[:, 0]]
        missing = across[water].isnan()
        across[water[missing]] = (2.0 * long[water, 0] * torch.sin(0.5 * angles.angle))[missing]
    bad = long.isnan().any(1) | across.isnan() | ((long[:, 0] - long[:, 1]).abs() > SAME)
    if bool(bad.any()):
        atom = int(waters[int(bad.nonzero()[0, 0]), 0])
        raise InputError(
            f"the water at {topology.name_atom(atom)} has no lengths of a rigid triangle (two equal O-H bonds, and an "
            "H-H bond or an angle); use rigid_water=False, or complete its force field"
        )
    return RigidWaters(atoms=waters, oxygen_hydrogen=long[:, 0], hydrogen_hydrogen=across)


def _inside(record: HarmonicBonds | Any | None, owner: Int[Tensor, " atoms"]) -> Bool[Tensor, " rows"]:
    if record is None:
        return torch.zeros(0, dtype=torch.bool)
    return (owner[record.atoms] >= 0).all(1)
