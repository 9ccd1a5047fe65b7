"""The covalent terms of a topology as the compiled loops take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sponge.forcefield.clusters import bonded_kernels as kernels
from sponge.forcefield.clusters.smooth import ewald_parts
from sponge.forcefield.options import Options
from sponge.topology import Topology

PARTS = ("bonds", "urey_bradley", "angles", "torsions", "impropers", "harmonic_impropers", "pairs14")
"""of a topology, which these loops take"""
NEAR = 4.0
"""[angstrom]: excluded pairs up to this far take their wave from a polynomial"""


class Terms(NamedTuple):
    """A kernel, its number of terms, and the arrays of these."""

    kernel: Callable[..., None]
    count: int
    arrays: tuple[Any, ...]

    def share(self, thread: int, threads: int, frame: kernels.Frame, forces: Any, out: Any) -> None:
        """Takes the terms that fall to a thread."""
        first, last = self.count * thread // threads, self.count * (thread + 1) // threads
        if last > first:
            self.kernel(first, last, frame, *self.arrays, forces, out)


def bonded_terms(topology: Topology, options: Options) -> list[Terms]:
    """Returns the terms of a topology, with those that a sum over waves of "pme" counts too much."""
    found = []
    for name in ("bonds", "urey_bradley"):
        one = getattr(topology, name)
        if one is not None:
            found.append(_terms(kernels.bonds, one.atoms, one.length, one.stiffness))
    if (bent := topology.angles) is not None:
        found.append(_terms(kernels.angles, bent.atoms, bent.angle, bent.stiffness))
    for name in ("torsions", "impropers"):
        one = getattr(topology, name)
        if one is not None:
            found.append(_terms(kernels.dihedrals, one.atoms, one.periodicity, one.phase, one.barrier))
    if (kept := topology.harmonic_impropers) is not None:
        around = -kept.angle.new_ones(len(kept.angle)).long()
        found.append(_terms(kernels.dihedrals, kept.atoms, around, kept.angle, kept.stiffness))
    constant = options.coulomb_constant
    if (pairs := topology.pairs14) is not None:
        product = constant * pairs.charge_product
        found.append(_terms(kernels.scaled_pairs, pairs.atoms, pairs.sigma, pairs.epsilon, product))
    if options.coulomb == "pme" and topology.nonbonded is not None:
        charges = topology.nonbonded.charges.detach().double()
        first, second = topology.nonbonded.exclusions.unbind(1)
        product = constant * charges[first] * charges[second]
        kept_pairs = (product != 0.0).nonzero().flatten()
        terms = _terms(kernels.excluded_waves, topology.nonbonded.exclusions[kept_pairs], product[kept_pairs])
        series = ewald_parts(options.alpha, NEAR, np.float64)
        found.append(terms._replace(arrays=(*terms.arrays, 2.0 / NEAR**2, *series, options.alpha)))
    return [one for one in found if one.count]


def _terms(kernel: Callable[..., None], *tensors: Any) -> Terms:
    arrays = tuple(np.ascontiguousarray(one.detach().cpu().numpy()) for one in tensors)
    return Terms(kernel, len(arrays[0]), arrays)
