"""Charges, Lennard-Jones tables, exclusions and 1-4 pairs of a structure whose atoms have kinds."""

from __future__ import annotations

import numpy
import torch
from numpy.typing import NDArray

from mindsci.errors import InputError
from mindsci.units import KJ_PER_MOL_EV
from sponge.builders.assembly import sorted_pairs
from sponge.builders.biomolecules.assignment import Assignment
from sponge.builders.biomolecules.neighborhood import pairs_by_bonds
from sponge.builders.biomolecules.templates import NANOMETRE
from sponge.builders.biomolecules.terms import Parameters
from sponge.topology import Nonbonded, ScaledPairs


def nonbonded_terms(
    found: Assignment, near: list[list[int]], parameters: Parameters
) -> tuple[Nonbonded, ScaledPairs | None]:
    """Returns the nonbonded part of a `Topology`, and its 1-4 pairs. Raises InputError where there is none."""
    if parameters.scale_coulomb is None or parameters.scale_lennard_jones is None:
        raise InputError("the force field has no NonbondedForce; give the file that has it too")
    kinds = sorted(set(found.kinds))
    number = {kind: at for at, kind in enumerate(kinds)}
    kind_of_atom = numpy.array([number[kind] for kind in found.kinds])
    own = [parameters.lennard_jones[kind] for kind in kinds]
    sigma, epsilon = _mixed(own, kinds, parameters)
    merged, sigma, epsilon = _without_repeats(sigma, epsilon)
    close, third = pairs_by_bonds(near)
    families = site_families(found)
    exclusions = numpy.concatenate([close, third, _of_sites(found, numpy.concatenate([close, third])), families])
    nonbonded = Nonbonded(
        charges=torch.from_numpy(found.charges),
        kind=torch.from_numpy(merged[kind_of_atom]),
        sigma=torch.from_numpy(NANOMETRE * sigma),
        epsilon=torch.from_numpy(KJ_PER_MOL_EV * epsilon),
        exclusions=sorted_pairs(exclusions, len(found.kinds)),
    )
    own14 = [parameters.lennard_jones_14.get(kind, parameters.lennard_jones[kind]) for kind in kinds]
    sigma14, epsilon14 = _mixed(own14, kinds, parameters)
    scaled = numpy.concatenate([third, _of_sites(found, third)])
    return nonbonded, _scaled(found, scaled, kind_of_atom, sigma14, epsilon14, parameters)


def _scaled(
    found: Assignment,
    pairs: NDArray[numpy.int64],
    kind_of_atom: NDArray[numpy.int64],
    sigma: NDArray[numpy.float64],
    epsilon: NDArray[numpy.float64],
    parameters: Parameters,
) -> ScaledPairs | None:
    if not len(pairs):
        return None
    which = tuple(kind_of_atom[pairs].T)
    charges = found.charges[pairs]
    return ScaledPairs(
        atoms=torch.from_numpy(pairs),
        sigma=torch.from_numpy(NANOMETRE * sigma[which]),
        epsilon=torch.from_numpy(KJ_PER_MOL_EV * (parameters.scale_lennard_jones or 0.0) * epsilon[which]),
        charge_product=torch.from_numpy((parameters.scale_coulomb or 0.0) * charges.prod(1)),
    )


def _mixed(
    own: list[tuple[float, float]], kinds: list[str], parameters: Parameters
) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Tables of sigma [nm] and epsilon [kJ/mol]: means by Lorentz and Berthelot, and what pairs have of their own."""
    one_sigma, one_epsilon = numpy.array(own).T
    sigma = 0.5 * (one_sigma[:, None] + one_sigma[None, :])
    epsilon = numpy.sqrt(one_epsilon[:, None] * one_epsilon[None, :])
    number = {kind: at for at, kind in enumerate(kinds)}
    for first, second, own_sigma, own_epsilon in parameters.special:
        rows = [number[kind] for kind in first if kind in number]
        columns = [number[kind] for kind in second if kind in number]
        for which in (numpy.ix_(rows, columns), numpy.ix_(columns, rows)):
            sigma[which], epsilon[which] = own_sigma, own_epsilon
    return sigma, epsilon


def _without_repeats(
    sigma: NDArray[numpy.float64], epsilon: NDArray[numpy.float64]
) -> tuple[NDArray[numpy.int64], NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Kinds whose rows are the same become one: returns the new number of each, and the smaller tables."""
    # Where there is no depth, the size is without meaning.
    sigma = numpy.where(epsilon == 0.0, 0.1, sigma)
    rows = numpy.concatenate([sigma, epsilon], axis=1)
    _, first, merged = numpy.unique(rows, axis=0, return_index=True, return_inverse=True)
    return merged.reshape(-1), sigma[numpy.ix_(first, first)], epsilon[numpy.ix_(first, first)]


def _of_sites(found: Assignment, pairs: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
    """Pairs that sites take from their first parents."""
    if not found.parent:
        return numpy.zeros((0, 2), dtype=numpy.int64)
    children: dict[int, list[int]] = {}
    for site, parent in found.parent.items():
        children.setdefault(parent, []).append(site)
    more = []
    for i, j in pairs.tolist():
        ours, theirs = children.get(i, []), children.get(j, [])
        more += [(one, other) for one in [i, *ours] for other in [j, *theirs] if (one, other) != (i, j)]
    return numpy.array(more, dtype=numpy.int64).reshape(-1, 2)


def site_families(found: Assignment) -> NDArray[numpy.int64]:
    """Returns pairs of sites with their first parents, and of sites of one parent."""
    children: dict[int, list[int]] = {}
    for site, parent in found.parent.items():
        children.setdefault(parent, []).append(site)
    more = [(one, other) for parent, sites in children.items() for one in [parent, *sites] for other in sites]
    return numpy.array([(one, other) for one, other in more if one != other], dtype=numpy.int64).reshape(-1, 2)
