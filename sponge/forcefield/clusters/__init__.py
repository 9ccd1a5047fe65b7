"""The compiled engine of a force field on the CPU: pairs of clusters of atoms, in vectors of the processor."""

from sponge.forcefield.clusters.bonded import PARTS
from sponge.forcefield.clusters.nonbonded import CompiledTerms
from sponge.forcefield.clusters.search import ClusterList, ClusterSearch
from sponge.forcefield.clusters.verlet import verlet_steps

__all__ = ["PARTS", "ClusterList", "ClusterSearch", "CompiledTerms", "verlet_steps"]
