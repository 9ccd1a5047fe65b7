"""Extra points of Amber's topologies as virtual sites: the fourth and fifth points of waters."""

from __future__ import annotations

import itertools

import numpy
import torch
from numpy.typing import NDArray

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.builders.prmtop import Prmtop
from sponge.topology import Topology, VirtualSites

LONE_PAIR_HALF_ANGLE = numpy.radians(0.5 * 109.47)
"""Between the two lone pairs of a five-point water: Amber builds them so whatever the file says [Case2023]"""


class Sites(Tree):
    """The virtual sites of a prmtop."""

    record: VirtualSites | None
    site_of: NDArray[numpy.int64]
    """of each atom its parent if it is a site, else -1"""
    links: NDArray[numpy.int64]
    """site and parent"""
    exclusions: NDArray[numpy.int64]
    """a site excludes its parents and whatever its first parent excludes"""


def is_site(prmtop: Prmtop) -> NDArray[numpy.bool_]:
    """Returns which atoms are extra points: by their element 0, or by their kind EP."""
    n_atoms = prmtop.pointers["atoms"]
    kinds = prmtop.get("AMBER_ATOM_TYPE")
    site = prmtop["MASS"] == 0.0
    if kinds is not None:
        site = site | numpy.isin(kinds[:n_atoms], ["EP", "EPW", "LP"])
    return numpy.asarray(site)


def virtual_sites(prmtop: Prmtop, numbers: NDArray[numpy.int64], names: Topology) -> Sites:
    """Returns the sites of waters of four and five points.

    Raises InputError for an extra point of another molecule: its frame is not in the file.
    """
    n_atoms = len(numbers)
    site_of = numpy.full(n_atoms, -1)
    none = numpy.zeros((0, 2), dtype=numpy.int64)
    if (numbers != 0).all():
        return Sites(record=None, site_of=site_of, links=none, exclusions=none)
    rows = numpy.concatenate([prmtop.rows("BONDS_INC_HYDROGEN", 3), prmtop.rows("BONDS_WITHOUT_HYDROGEN", 3)])
    atoms, length = rows[:, :2] // 3, prmtop["BOND_EQUIL_VALUE"][rows[:, 2] - 1]
    distance: dict[tuple[int, int], float] = {}
    for (i, j), value in zip(atoms.tolist(), length.tolist(), strict=True):
        distance[min(i, j), max(i, j)] = value
        for one, other in ((i, j), (j, i)):
            if numbers[one] == 0 and numbers[other] != 0:
                site_of[one] = other
    frames = []
    for site in (numbers == 0).nonzero()[0].tolist():
        frames.append(_frame(prmtop, site, site_of, numbers, distance, names))
    parents = numpy.array([frame[0] for frame in frames])
    sites = (numbers == 0).nonzero()[0]
    record = VirtualSites(
        site=torch.from_numpy(sites),
        parents=torch.from_numpy(parents),
        weights=torch.tensor([frame[1] for frame in frames], dtype=torch.float64),
        cross=torch.tensor([frame[2] for frame in frames], dtype=torch.float64),
    )
    links = numpy.stack([sites, site_of[sites]], axis=1)
    family = numpy.concatenate([numpy.stack([sites, parents[:, k]], axis=1) for k in range(3)])
    brothers = [[a, b] for a, b in itertools.pairwise(sites.tolist()) if site_of[a] == site_of[b]]
    exclusions = numpy.concatenate([family, numpy.array(brothers, dtype=numpy.int64).reshape(-1, 2)])
    return Sites(record=record, site_of=site_of, links=links, exclusions=exclusions)


def _frame(
    prmtop: Prmtop,
    site: int,
    site_of: NDArray[numpy.int64],
    numbers: NDArray[numpy.int64],
    distance: dict[tuple[int, int], float],
    names: Topology,
) -> tuple[list[int], list[float], float]:
    """Parents, weights and the factor of the cross product: on the bisector, or a lone pair beside it."""
    residue = numpy.searchsorted(prmtop["RESIDUE_POINTER"] - 1, site, side="right")
    bounds = numpy.append(prmtop["RESIDUE_POINTER"] - 1, len(numbers))
    members = range(bounds[residue - 1], bounds[residue])
    oxygen = int(site_of[site])
    hydrogens = [atom for atom in members if numbers[atom] == 1]
    sites = [atom for atom in members if numbers[atom] == 0]
    if oxygen < 0 or numbers[oxygen] != 8 or len(hydrogens) != 2 or len(sites) > 2 or len(members) != 3 + len(sites):
        raise InputError(
            f"'{prmtop.path}': {names.name_atom(site)} is an extra point of what is no water of four or five points; "
            "where it lies is not in the file. Write the topology with a force field without extra points"
        )
    bond = [distance.get((min(oxygen, h), max(oxygen, h)), 0.0) for h in hydrogens]
    across = distance.get((min(hydrogens), max(hydrogens)), _from_angle(prmtop, oxygen, bond[0]))
    height = (bond[0] ** 2 - 0.25 * across**2) ** 0.5
    reach = distance[min(oxygen, site), max(oxygen, site)]
    along, aside = reach, 0.0
    if len(sites) == 2:
        # Lone pairs point away from the hydrogens, one on each side of their plane.
        along = -reach * float(numpy.cos(LONE_PAIR_HALF_ANGLE))
        aside = reach * float(numpy.sin(LONE_PAIR_HALF_ANGLE)) * (1.0 if site == sites[0] else -1.0)
    share = along / (2.0 * height)
    return [oxygen, *hydrogens], [1.0 - 2.0 * share, share, share], aside / (height * across)


def _from_angle(prmtop: Prmtop, oxygen: int, bond: float) -> float:
    rows = numpy.concatenate([prmtop.rows("ANGLES_INC_HYDROGEN", 4), prmtop.rows("ANGLES_WITHOUT_HYDROGEN", 4)])
    found = rows[rows[:, 1] // 3 == oxygen]
    angle = float(prmtop["ANGLE_EQUIL_VALUE"][found[0, 3] - 1]) if len(found) else numpy.pi
    return float(2.0 * bond * numpy.sin(0.5 * angle))
