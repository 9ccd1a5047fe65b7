"""Energies of the covalent terms, one value a term [eV]."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sponge.cells import completed_cell, inverse
from sponge.system import System
from sponge.topology import HarmonicAngles, HarmonicBonds, HarmonicImpropers, PeriodicTorsions


def between(system: System, first: Int[Tensor, " terms"], second: Int[Tensor, " terms"]) -> Float[Tensor, "terms 3"]:
    """Returns second - first at the nearest image [angstrom], for atoms much closer than half the cell."""
    vectors = system.positions.index_select(0, second) - system.positions.index_select(0, first)
    return nearest_image(system, vectors, first)


def nearest_image(
    system: System, vectors: Float[Tensor, "terms 3"], atom: Int[Tensor, " terms"]
) -> Float[Tensor, "terms 3"]:
    """Returns vectors [angstrom] less the vectors of the cell of each atom's system that bring them nearest."""
    if not bool(system.periodic.any()):
        return vectors
    owner = system.system.index_select(0, atom)
    complete = completed_cell(system.cell, system.periodic)
    with torch.no_grad():
        fractions = torch.einsum("td,tdk->tk", vectors, inverse(complete).index_select(0, owner))
        shift = fractions.round() * system.periodic.index_select(0, owner)
    return vectors - torch.einsum("tk,tkd->td", shift, system.cell.index_select(0, owner))


def bonds(system: System, terms: HarmonicBonds) -> Float[Tensor, " bonds"]:
    """Returns 1/2 k (r - r0)^2 of each bond."""
    r = torch.linalg.vector_norm(between(system, *terms.atoms.unbind(1)), dim=-1)
    return 0.5 * terms.stiffness * (r - terms.length) ** 2


def angles(system: System, terms: HarmonicAngles) -> Float[Tensor, " angles"]:
    """Returns 1/2 k (theta - theta0)^2 of each angle."""
    first, middle, last = terms.atoms.unbind(1)
    a, b = between(system, middle, first), between(system, middle, last)
    # By the arc tangent: the arc cosine loses half the digits near a straight angle.
    theta = torch.atan2(torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1), (a * b).sum(-1))
    return 0.5 * terms.stiffness * (theta - terms.angle) ** 2


def dihedrals(system: System, atoms: Int[Tensor, "terms 4"]) -> Float[Tensor, " terms"]:
    """Returns the dihedral angles from -pi to pi, 0 where the outer atoms eclipse, positive clockwise [rad]."""
    i, j, k, m = atoms.unbind(1)
    a, b, c = between(system, i, j), between(system, j, k), between(system, k, m)
    left, right = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
    return torch.atan2(torch.linalg.vector_norm(b, dim=-1) * (a * right).sum(-1), (left * right).sum(-1))


def torsions(system: System, terms: PeriodicTorsions) -> Float[Tensor, " torsions"]:
    """Returns k (1 + cos(n phi - phi0)) of each row."""
    return terms.barrier * (1.0 + torch.cos(terms.periodicity * dihedrals(system, terms.atoms) - terms.phase))


def harmonic_impropers(system: System, terms: HarmonicImpropers) -> Float[Tensor, " impropers"]:
    """Returns 1/2 k (psi - psi0)^2 of each, the difference taken around the circle."""
    difference = dihedrals(system, terms.atoms) - terms.angle
    difference = difference - 2.0 * math.pi * (difference / (2.0 * math.pi)).round().detach()
    return 0.5 * terms.stiffness * difference**2
