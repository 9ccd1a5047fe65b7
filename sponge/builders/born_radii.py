"""Intrinsic Born radii by the sets that Amber names: for topologies that have none, or those of another set."""

from __future__ import annotations

from collections import defaultdict

import torch
from jaxtyping import Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.topology import GeneralisedBorn, Topology

SETS = ("bondi", "mbondi", "mbondi2", "mbondi3")
RADII = {0: 1.5, 1: 1.2, 6: 1.7, 7: 1.55, 8: 1.5, 9: 1.5, 14: 2.1, 15: 1.85, 16: 1.8, 17: 1.7}
"""of elements [angstrom], 0 for the others [Bondi1964]"""
SCREENING = {0: 0.8, 1: 0.85, 6: 0.72, 7: 0.79, 8: 0.85, 9: 0.88, 15: 0.86, 16: 0.96}
"""of elements [Hawkins1996], 0 for the others"""
ON_HYDROGEN = {"mbondi": {6: 1.3, 7: 1.3, 8: 0.8, 16: 0.8}, "mbondi2": {7: 1.3}, "mbondi3": {7: 1.3}}
"""radius of a hydrogen by what it is bonded to [angstrom]"""


def with_born_radii(topology: Topology, atomic_numbers: Int[Tensor, " atoms"], radii: str = "mbondi3") -> Topology:
    """Returns the topology with Born radii of a set and screening by element.

    bondi goes with "gbn", mbondi with "hct", mbondi2 with "obc1" and "obc2", mbondi3 with "gbn2", which also has rules
    for carboxylates and arginine. Raises InputError for a set that is not known, and without connectivity.
    """
    if radii not in SETS:
        raise InputError(f"radii = {radii!r} is unknown; use one of {', '.join(SETS)}")
    if topology.connectivity is None:
        raise InputError("the topology has no connectivity, by which radii are told; give `connectivity`")
    numbers = atomic_numbers.tolist()
    bonded: dict[int, list[int]] = defaultdict(list)
    for first, second in topology.connectivity.tolist():
        bonded[first].append(second)
        bonded[second].append(first)
    found = [RADII.get(number, RADII[0]) for number in numbers]
    for atom, number in enumerate(numbers):
        if number == 1 and bonded[atom]:
            found[atom] = ON_HYDROGEN.get(radii, {}).get(numbers[bonded[atom][0]], found[atom])
        if radii == "mbondi3":
            found[atom] = _third(topology, numbers, bonded, atom, found[atom])
    born = GeneralisedBorn(
        radius=torch.tensor(found, dtype=torch.float64),
        screening=torch.tensor([SCREENING.get(number, SCREENING[0]) for number in numbers], dtype=torch.float64),
    )
    return tree.replace(topology, generalised_born=born)


def _third(topology: Topology, numbers: list[int], bonded: dict[int, list[int]], atom: int, radius: float) -> float:
    """Oxygens of charged carboxylates, and hydrogens of arginine's head [Nguyen2013]."""
    if numbers[atom] == 8 and len(bonded[atom]) == 1 and numbers[carbon := bonded[atom][0]] == 6:
        bare = [other for other in bonded[carbon] if numbers[other] == 8 and len(bonded[other]) == 1]
        if len(bonded[carbon]) == 3 and len(bare) == 2:
            return 1.4
    if topology.atom_names and topology.residue_of_atom is not None:
        residue = topology.residues[int(topology.residue_of_atom[atom])]
        if residue.name == "ARG" and topology.atom_names[atom].startswith(("HH", "HE")):
            return 1.17
    return radius
