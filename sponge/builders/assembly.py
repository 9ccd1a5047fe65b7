"""From what a reader found to a system and its topology: the end that all readers share."""

from __future__ import annotations

import numpy
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.builders.coordinates import Coordinates
from sponge.builders.rigidity import Constraints, hold_rigid
from sponge.system import System, create
from sponge.topology import Topology


def assemble(
    coordinates: Coordinates,
    topology: Topology,
    *,
    atomic_numbers: Int[Tensor, " atoms"],
    masses: Float[Tensor, " atoms"],
    rigid_water: bool,
    constraints: Constraints,
    dtype: torch.dtype,
) -> tuple[System, Topology]:
    """Returns one system, periodic where the coordinates have a cell, and its topology with what is to be rigid.

    Virtual sites have element 0 and mass 0. Raises InputError where coordinates and topology differ in atoms.
    """
    n_atoms = topology.n_atoms
    if coordinates.positions.shape != (n_atoms, 3):
        raise InputError(
            f"{len(coordinates.positions)} positions for a topology of {n_atoms} atoms; give coordinates of the same "
            "atoms in the same order"
        )
    system = create(
        torch.as_tensor(numpy.ascontiguousarray(coordinates.positions), dtype=dtype),
        atomic_numbers,
        masses=masses.to(dtype),
        cell=None if coordinates.cell is None else torch.as_tensor(coordinates.cell, dtype=dtype)[None],
        periodic=(coordinates.cell is not None,) * 3,
    )
    if coordinates.velocities is not None:
        velocities = torch.as_tensor(numpy.ascontiguousarray(coordinates.velocities), dtype=dtype)
        system = tree.replace(system, momenta=system.masses[:, None] * velocities)
    return system, hold_rigid(topology, system.atomic_numbers, rigid_water=rigid_water, constraints=constraints)


def sorted_pairs(pairs: NDArray[numpy.int64], n_atoms: int) -> Int[Tensor, "pairs 2"]:
    """Returns pairs with first < second, sorted, each once: as `Nonbonded.exclusions` wants them."""
    pairs = numpy.asarray(pairs, dtype=numpy.int64).reshape(-1, 2)
    low, high = pairs.min(1, initial=n_atoms), pairs.max(1, initial=0)
    key = numpy.unique((low * n_atoms + high)[low != high])
    return torch.from_numpy(numpy.stack([key // n_atoms, key % n_atoms], axis=1))
