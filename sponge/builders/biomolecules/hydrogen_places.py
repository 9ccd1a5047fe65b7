"""Where hydrogens go: ideal angles about the atoms that hold them, and room for those that can turn."""

from __future__ import annotations

from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sponge.builders.biomolecules.structure import Structure

Vector = NDArray[numpy.float64]
TETRAHEDRAL = numpy.arccos(-1.0 / 3.0)
TRIGONAL = 2.0 * numpy.pi / 3.0
WATER = numpy.radians(104.52)
BEND = {8: numpy.radians(108.5), 16: numpy.radians(96.0)}
"""The angle at an oxygen or sulphur with one heavy neighbour [rad]"""
TURNS = 12
"""places that a hydroxyl tries"""
ORIENTATIONS = 48
"""that a water tries"""
NEAR = 5.0
"""Atoms within this distance make the room of a turn [angstrom]"""


class Site(NamedTuple):
    """A heavy atom that lacks hydrogens."""

    atom: int
    names: tuple[str, ...]
    """of the new hydrogens"""
    length: float
    """of their bonds [angstrom]"""
    coordination: int
    """of the atom with all its hydrogens"""
    neighbors: tuple[int, ...]
    """atoms bonded to it that are there"""
    planar_neighbor: bool
    """whether a carbon of three bonds is among them"""
    beyond: tuple[int, ...]
    """neighbours of the first neighbour"""


def place_hydrogens(structure: Structure, sites: list[Site]) -> list[Vector]:
    """Returns the positions [angstrom] of the hydrogens of each site, one after the other, in the order of the sites.

    Those with a place of their own come first; then hydroxyls, thiols and waters turn, each seeing those before it.
    """
    placed: list[Vector | None] = [None] * len(sites)
    for turning in (False, True):
        known = [structure.positions, *(one for one in placed if one is not None)]
        tree = cKDTree(numpy.concatenate(known))
        later: list[Vector] = []
        for number, site in enumerate(sites):
            choices = _directions(structure, site)
            if (len(choices) > 1) != turning:
                continue
            centre = structure.positions[site.atom]
            if turning:
                near = [tree.data[tree.query_ball_point(centre, NEAR)]]
                near += [one for one in later[-200:] if numpy.linalg.norm(one[0] - centre) < NEAR]
                chosen = _roomiest(centre, site, choices, numpy.concatenate(near))
            else:
                chosen = choices[0]
            place = centre + site.length * chosen
            placed[number] = place
            later.append(place)
    return [one for one in placed if one is not None]


def _roomiest(centre: Vector, site: Site, choices: list[Vector], near: Vector) -> Vector:
    """The directions whose nearest atom, beyond the site itself, is farthest."""
    others = near[numpy.linalg.norm(near - centre, axis=1) > 0.1]
    if not len(others):
        return choices[0]

    def room(directions: Vector) -> float:
        places = centre + site.length * directions
        return float(numpy.linalg.norm(places[:, None] - others[None], axis=-1).min())

    return max(choices, key=room)


def _directions(structure: Structure, site: Site) -> list[Vector]:
    """Unit vectors of the hydrogens; several choices where they can turn."""
    places, element = structure.positions, int(structure.atomic_numbers[site.atom])
    known = [_unit(places[one] - places[site.atom]) for one in site.neighbors]
    count = len(site.names)
    planar = (element == 6 and site.coordination == 3) or (
        element == 7 and site.coordination == 3 and site.planar_neighbor
    )
    if not known:
        return _free(count, site.coordination)
    if len(known) == 1 and element in (8, 16) and not _is_water(structure, site):
        return _hydroxyl(structure, site, known[0], element)
    if len(known) == 1 and _is_water(structure, site):
        return [_around(known[0], WATER, turn)[None] for turn in _turns(known[0], None, TURNS)]
    if len(known) >= 3 or (len(known) == 2 and (planar or site.coordination == 2)):
        return [_unit(-numpy.sum(known, axis=0))[None]]
    if len(known) == 2:
        back, across = _unit(-(known[0] + known[1])), _unit(numpy.cross(known[0], known[1]))
        half = 0.5 * TETRAHEDRAL
        # Of the two the first is HB2, HG2, ... of amino acids, where neighbours come in the order of their names.
        pair = [numpy.cos(half) * back + sign * numpy.sin(half) * across for sign in (-1.0, 1.0)]
        return [numpy.stack(pair[:count])]
    if site.coordination == 2:
        return [-known[0][None]]
    reference = _reference(structure, site)
    angle, steps, first = (TRIGONAL, 2, 0.0) if planar else (TETRAHEDRAL, 3, numpy.pi / 3.0)
    axis = _turns(known[0], reference, steps, first)
    return [numpy.stack([_around(known[0], angle, turn) for turn in axis[:count]])]


def _is_water(structure: Structure, site: Site) -> bool:
    """Returns whether a site is an oxygen whose only neighbours are hydrogens."""
    return int(structure.atomic_numbers[site.atom]) == 8 and all(
        structure.atomic_numbers[one] == 1 for one in site.neighbors
    )


def _hydroxyl(structure: Structure, site: Site, bond: Vector, element: int) -> list[Vector]:
    """Staggered or anywhere in steps; an acid's points to its other oxygen, as the stable form does."""
    angle = BEND.get(element, TETRAHEDRAL)
    oxygens = [one for one in site.beyond if structure.atomic_numbers[one] == 8]
    if site.planar_neighbor and oxygens:
        toward = structure.positions[oxygens[0]] - structure.positions[site.neighbors[0]]
        return [_around(bond, angle, _turns(bond, toward, 1)[0])[None]]
    reference = _reference(structure, site)
    steps = 2 if site.planar_neighbor else TURNS
    return [_around(bond, angle, turn)[None] for turn in _turns(bond, reference, steps)]


def _reference(structure: Structure, site: Site) -> Vector | None:
    """From the neighbour to one of its others, what a dihedral angle is measured from: an oxygen or a heavy atom."""
    if not site.beyond:
        return None
    elements = structure.atomic_numbers
    chosen = min(site.beyond, key=lambda one: (elements[one] != 8, elements[one] == 1, one))
    return numpy.asarray(structure.positions[chosen] - structure.positions[site.neighbors[0]])


def _turns(bond: Vector, reference: Vector | None, count: int, first: float = 0.0) -> list[Vector]:
    """Unit vectors across a bond, evenly around it, the first at a dihedral angle from a reference."""
    if reference is None or numpy.linalg.norm(numpy.cross(bond, reference)) < 1e-3:
        reference = numpy.eye(3)[int(numpy.abs(bond).argmin())]
    across = _unit(reference - (reference @ bond) * bond)
    other = numpy.cross(bond, across)
    angles = first + 2.0 * numpy.pi * numpy.arange(count) / count
    return [numpy.cos(angle) * across + numpy.sin(angle) * other for angle in angles]


def _around(bond: Vector, angle: float, across: Vector) -> Vector:
    """The unit vector at an angle from a bond, on the side of `across`."""
    return numpy.cos(angle) * bond + numpy.sin(angle) * across


def _free(count: int, coordination: int) -> list[Vector]:
    """Directions about an atom without neighbours, in many orientations: a water, ammonium."""
    angle = WATER if coordination == 2 else TETRAHEDRAL
    golden = numpy.pi * (3.0 - 5.0**0.5)
    found = []
    for number in range(ORIENTATIONS):
        # A spiral over the sphere, and a turn about its points: even, and the same in every run.
        z = 1.0 - (2.0 * number + 1.0) / ORIENTATIONS
        ring = (1.0 - z * z) ** 0.5
        axis = numpy.array([ring * numpy.cos(golden * number), ring * numpy.sin(golden * number), z])
        around = _turns(axis, None, max(coordination - 1, 1), golden * number)
        found.append(numpy.stack([axis, *(_around(axis, angle, turn) for turn in around)])[:count])
    return found


def _unit(vector: Vector) -> Vector:
    length = numpy.linalg.norm(vector)
    return vector / length if length > 1e-6 else numpy.array([1.0, 0.0, 0.0])
