"""Which atoms of a structure are bonded, told by their distances."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sponge.builders.assembly import sorted_pairs

STRETCH = 1.25
"""Two heavy atoms are bonded within so many times the sum of their covalent radii: bonds of refined structures lie
below 1.1, atoms two bonds apart above 1.4"""
HYDROGEN_REACH = 2.0
"""A hydrogen belongs to the nearest heavy atom of its residue, this far at most [angstrom]"""
BONDING = (5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)
"""Elements that form covalent bonds; metals are ions"""


def bonds_by_distance(
    positions: NDArray[numpy.float64],
    atomic_numbers: NDArray[numpy.int64],
    residue_of_atom: NDArray[numpy.int64],
) -> NDArray[numpy.int64]:
    """Returns pairs of bonded atoms, first < second, sorted; names of atoms and residues do not enter.

    Heavy atoms are bonded where they are near for their radii [Cordero2008], whatever their residues: peptide bonds,
    disulfides and glycosidic bonds are found, breaks of a chain stay breaks.
    """
    from ase.data import covalent_radii

    heavy = numpy.isin(atomic_numbers, BONDING).nonzero()[0]
    hydrogen = (atomic_numbers == 1).nonzero()[0]
    found = [numpy.zeros((0, 2), dtype=numpy.int64)]
    if len(heavy):
        radii = covalent_radii[atomic_numbers]
        tree = cKDTree(positions[heavy])
        pairs = heavy[tree.query_pairs(2.0 * STRETCH * float(radii[heavy].max()), output_type="ndarray")]
        length = numpy.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        found.append(pairs[length < STRETCH * radii[pairs].sum(1)])
        if len(hydrogen):
            found.append(_of_hydrogens(positions, residue_of_atom, tree, heavy, hydrogen))
    return sorted_pairs(numpy.concatenate(found), len(positions)).numpy()


def _of_hydrogens(
    positions: NDArray[numpy.float64],
    residue_of_atom: NDArray[numpy.int64],
    tree: cKDTree,
    heavy: NDArray[numpy.int64],
    hydrogen: NDArray[numpy.int64],
) -> NDArray[numpy.int64]:
    distance, index = tree.query(positions[hydrogen], k=min(8, len(heavy)), distance_upper_bound=HYDROGEN_REACH)
    distance, index = distance.reshape(len(hydrogen), -1), index.reshape(len(hydrogen), -1)
    near = numpy.isfinite(distance)
    candidate = heavy[numpy.where(near, index, 0)]
    near &= residue_of_atom[candidate] == residue_of_atom[hydrogen][:, None]
    first = near.argmax(1)
    rows = numpy.arange(len(hydrogen))
    return numpy.stack([hydrogen, candidate[rows, first]], axis=1)[near[rows, first]]
