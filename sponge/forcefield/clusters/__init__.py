"""The compiled engine of a force field on the CPU: pairs of clusters of atoms, in vectors of the processor."""

from sponge.forcefield.clusters.nonbonded import pair_forces
from sponge.forcefield.clusters.search import ClusterList, ClusterSearch
from sponge.forcefield.clusters.terms import PairTerms, pair_terms
from sponge.forcefield.clusters.verlet import verlet_steps

__all__ = ["ClusterList", "ClusterSearch", "PairTerms", "pair_forces", "pair_terms", "verlet_steps"]
