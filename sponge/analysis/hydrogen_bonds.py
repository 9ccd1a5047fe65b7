"""Hydrogen bonds by distance and angle."""

from __future__ import annotations

import math

import torch
from jaxtyping import Int
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory
from sponge.forcefield.bonded import nearest_image
from sponge.neighbors import NeighborSearch, displacements

ELECTRONEGATIVE = (7, 8, 9)
"""nitrogen, oxygen, fluorine: what gives hydrogen bonds, and takes them"""
BOUND = 1.3
"""[angstrom]; a hydrogen this close to an atom is bound to it"""
FRAMES = 50
"""looked at in one go"""


class HydrogenBonds(Tree):
    """How many there are in each frame."""

    count: Int[Tensor, " frames"]
    donors: int
    """hydrogens that may give one"""

    @property
    def per_donor(self) -> float:
        """Mean number of bonds over that of the hydrogens; twice as much is that of bonds over waters."""
        return float(self.count.double().mean()) / max(self.donors, 1)


def hydrogen_bonds(trajectory: Trajectory, *, distance: float = 3.5, angle: float = math.radians(30)) -> HydrogenBonds:
    """Returns bonds D-H...A with D to A below a distance [angstrom] and A-D-H below an angle [rad] [Luzar1996].

    D and A are nitrogen, oxygen or fluorine; the hydrogens of a donor are those that are bound to it in the first
    frame. Raises InputError where there are none.
    """
    if not (distance > 0 and 0 < angle <= math.pi):
        raise InputError(f"distance = {distance} angstrom, angle = {angle} rad; use positive ones, the angle up to pi")
    pairs = _donors(trajectory)
    if len(pairs) == 0:
        raise InputError("no hydrogen is bound to nitrogen, oxygen or fluorine, so there is no hydrogen bond")
    counts = [
        _count(trajectory.frames(slice(first, first + FRAMES)), pairs, distance, math.cos(angle))
        for first in range(0, trajectory.n_frames, FRAMES)
    ]
    return HydrogenBonds(count=torch.cat(counts), donors=len(pairs))


def _donors(trajectory: Trajectory) -> Int[Tensor, "hydrogens 2"]:
    """Donor and hydrogen of each bond in the first frame."""
    first = trajectory.frames(slice(0, 1)).batch()
    found = NeighborSearch(cutoff=BOUND).build(first)
    numbers = first.atomic_numbers
    kinds = torch.tensor(ELECTRONEGATIVE, device=numbers.device)
    kept = torch.isin(numbers[found.centre], kinds) & (numbers[found.neighbor] == 1)
    return torch.stack([found.centre[kept], found.neighbor[kept]], dim=1)


def _count(piece: Trajectory, pairs: Tensor, distance: float, cosine: float) -> Int[Tensor, " frames"]:
    batch, n_atoms = piece.batch(), piece.n_atoms
    found = NeighborSearch(cutoff=distance).build(batch)
    kinds = torch.tensor(ELECTRONEGATIVE, device=batch.atomic_numbers.device)
    wanted = torch.isin(batch.atomic_numbers, kinds)
    kept = (wanted[found.centre] & wanted[found.neighbor]).nonzero().flatten()
    vectors = displacements(batch, found)[kept]
    donor = found.centre[kept]
    # Each donor meets each of its hydrogens: at most four, one after the other.
    order = pairs[:, 0].argsort(stable=True)
    donors, hydrogens = pairs[order].T.contiguous()
    starts = torch.searchsorted(donors, torch.arange(n_atoms + 1, device=donors.device))
    total = torch.zeros(piece.n_frames, dtype=torch.int64, device=donors.device)
    for place in range(int(starts.diff().max())):
        own = donor % n_atoms
        has = (starts[own + 1] - starts[own] > place).nonzero().flatten()
        hydrogen = hydrogens[starts[own[has]] + place] + n_atoms * (donor[has] // n_atoms)
        bond = nearest_image(batch, batch.positions[hydrogen] - batch.positions[donor[has]], donor[has])
        across = vectors[has]
        lined = (bond * across).sum(-1) > cosine * bond.norm(dim=-1) * across.norm(dim=-1)
        total = total.index_add(0, batch.system[donor[has][lined]], torch.ones_like(donor[has][lined]))
    return total
