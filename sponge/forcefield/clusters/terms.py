"""What the pair kernels need of a force field: constants, and numbers of each atom."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sponge.forcefield.clusters.pair_kernels import Shape, Terms
from sponge.forcefield.clusters.smooth import ewald_parts
from sponge.forcefield.options import Options
from sponge.topology import Nonbonded


class PairTerms(NamedTuple):
    """The nonbonded part of a force field in one precision."""

    dtype: Any
    constants: Terms
    charge: NDArray[Any]
    radius: NDArray[Any]
    depth: NDArray[Any]
    kind: NDArray[np.int32]
    rows: NDArray[np.int64]
    partners: NDArray[np.int32]
    """the atoms that each atom is excluded with, in either order"""
    tables: bool
    options: Options

    def shape(self, *, observed: bool) -> Shape:
        """Returns what is compiled into the kernel."""
        return Shape(
            lennard_jones=self.options.lennard_jones,
            coulomb=bool(self.charge.any()),
            slope=self.options.coulomb == "shifted_force",
            tables=self.tables,
            n_force=len(self.constants.force),
            n_energy=len(self.constants.energy),
            observed=observed,
        )


def pair_terms(nonbonded: Nonbonded, options: Options, dtype: Any) -> PairTerms:
    """Returns the arrays of a topology's pairs."""
    sigma, epsilon = (table.detach().double().numpy() for table in (nonbonded.sigma, nonbonded.epsilon))
    kind = nonbonded.kind.numpy().astype(np.int32)
    radius, root = 0.5 * np.diagonal(sigma), np.sqrt(4.0 * np.diagonal(epsilon))
    charges = nonbonded.charges.detach().double().numpy() * math.sqrt(options.coulomb_constant)
    rows, partners = _both_ways(nonbonded.exclusions.numpy(), len(kind))
    numbers, force, energy = _coulomb(options, dtype)
    return PairTerms(
        dtype=dtype,
        constants=Terms(
            numbers=numbers.astype(dtype),
            force=force,
            energy=energy,
            sigma=sigma.astype(dtype).reshape(-1),
            depth=(4.0 * epsilon).astype(dtype).reshape(-1),
            kinds=np.array([len(sigma)], np.int32),
        ),
        charge=charges.astype(dtype),
        radius=radius[kind].astype(dtype),
        depth=root[kind].astype(dtype),
        kind=kind,
        rows=rows,
        partners=partners,
        tables=not _combine(sigma, epsilon, radius, root),
        options=options,
    )


def _combine(sigma: NDArray[Any], epsilon: NDArray[Any], radius: NDArray[Any], root: NDArray[Any]) -> bool:
    """Whether the tables are those of Lorentz and Berthelot; where epsilon is zero any sigma is."""
    deep = 4.0 * epsilon
    same = np.isclose(root[:, None] * root, deep, rtol=1e-13, atol=0.0)
    return bool((same & (np.isclose(radius[:, None] + radius, sigma, rtol=1e-13, atol=0.0) | (deep == 0.0))).all())


def _both_ways(pairs: NDArray[np.int64], n_atoms: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    first, second = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((second, first))
    rows = np.searchsorted(first[order], np.arange(n_atoms + 1))
    return rows.astype(np.int64), second[order].astype(np.int32)


def _coulomb(options: Options, dtype: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The numbers of `Terms`, and the smooth parts of the force over r and of the energy.

    The energy over the product of the charges is 1 / r - smooth(r^2) + constant + slope r.
    """
    cutoff, way = options.cutoff, options.coulomb
    begin = options.switch_from if options.lennard_jones == "switch" and options.switch_from is not None else 0.0
    constant = slope = 0.0
    force, energy = np.zeros(1), np.zeros(1)
    if options.splits:
        energy, force = ewald_parts(options.alpha, cutoff, dtype)
    elif way == "shifted_force":
        alpha = options.damping
        energy, force = ewald_parts(alpha, cutoff, dtype)
        end = math.erfc(alpha * cutoff) / cutoff
        slope = end / cutoff + 2.0 * alpha / math.sqrt(math.pi) * math.exp(-((alpha * cutoff) ** 2)) / cutoff
        constant = -end - slope * cutoff
    elif way == "reaction_field":
        dielectric = options.dielectric
        field = (dielectric - 1.0) / (2.0 * dielectric + 1.0) / cutoff**3
        constant = -3.0 * dielectric / (2.0 * dielectric + 1.0) / cutoff
        # - field r^2, of u = 2 r^2 / cutoff^2 - 1.
        energy, force = -0.5 * field * cutoff**2 * np.ones(2), np.array([2.0 * field])
    numbers = [cutoff**2, cutoff**-2, cutoff, begin, 1.0 / (cutoff - begin), constant, slope, -1.0, 2.0 / cutoff**2]
    return np.array(numbers), force.astype(dtype), energy.astype(dtype)
