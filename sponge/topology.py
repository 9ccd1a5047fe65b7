"""What holds molecules together: the terms of a classical force field, in flat arrays of atoms and parameters.

A `Topology` describes the same atoms as a `sponge.system.System`, in the same order and units (angstrom,
electronvolt, elementary charge, radian). Readers and builders make it, `sponge.forcefield` turns it into energies,
`sponge.dynamics` keeps its constraints. Every parameter is a float64 tensor, so that it may ask for a gradient.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree


class HarmonicBonds(Tree):
    """1/2 k (r - r0)^2 between two atoms; Urey-Bradley terms have the same form."""

    atoms: Int[Tensor, "bonds 2"]
    length: Float[Tensor, " bonds"]
    """r0 [angstrom]"""
    stiffness: Float[Tensor, " bonds"]
    """k [eV/angstrom^2]"""


class HarmonicAngles(Tree):
    """1/2 k (theta - theta0)^2 at the middle one of three atoms."""

    atoms: Int[Tensor, "angles 3"]
    angle: Float[Tensor, " angles"]
    """theta0 [rad]"""
    stiffness: Float[Tensor, " angles"]
    """k [eV/rad^2]"""


class PeriodicTorsions(Tree):
    """k (1 + cos(n phi - phi0)) about the middle two of four atoms; a sum is several rows of the same atoms."""

    atoms: Int[Tensor, "torsions 4"]
    periodicity: Int[Tensor, " torsions"]
    """n; 0 adds the constant k (1 + cos(phi0)), which Ryckaert-Bellemans forms need"""
    phase: Float[Tensor, " torsions"]
    """phi0 [rad]"""
    barrier: Float[Tensor, " torsions"]
    """k [eV]"""


class HarmonicImpropers(Tree):
    """1/2 k (psi - psi0)^2, the difference taken around the circle, psi the dihedral angle of four atoms."""

    atoms: Int[Tensor, "impropers 4"]
    angle: Float[Tensor, " impropers"]
    """psi0 [rad]"""
    stiffness: Float[Tensor, " impropers"]
    """k [eV/rad^2]"""


class TorsionMaps(Tree):
    """CMAP: an energy tabulated over two dihedral angles, interpolated by bicubic splines [MacKerell2004]."""

    atoms: Int[Tensor, "terms 8"]
    """of the first dihedral and of the second"""
    table: Int[Tensor, " terms"]
    """which of the grids"""
    grids: list[Float[Tensor, "_ _"]]
    """[eV]; entry (i, j) is at phi = i 2 pi / size and psi = j 2 pi / size, both from 0 to 2 pi without the end"""


class ScaledPairs(Tree):
    """1-4 pairs, with Lennard-Jones and Coulomb parameters of their own, scaling included; never cut off."""

    atoms: Int[Tensor, "pairs 2"]
    sigma: Float[Tensor, " pairs"]
    """[angstrom]"""
    epsilon: Float[Tensor, " pairs"]
    """[eV]"""
    charge_product: Float[Tensor, " pairs"]
    """[e^2]"""


class Nonbonded(Tree):
    """Charges, and Lennard-Jones parameters of each pair of kinds of atom: any combination rule is a table."""

    charges: Float[Tensor, " atoms"]
    """[e]"""
    kind: Int[Tensor, " atoms"]
    sigma: Float[Tensor, "kinds kinds"]
    """[angstrom], symmetric"""
    epsilon: Float[Tensor, "kinds kinds"]
    """[eV], symmetric"""
    exclusions: Int[Tensor, "pairs 2"]
    """pairs, first < second, sorted, each once, that have no nonbonded interaction (1-2, 1-3, 1-4 and what else the
    force field says); of 1-4 pairs the scaled one is in `Topology.pairs14`"""


class GeneralisedBorn(Tree):
    """Parameters of each atom of the generalised Born models."""

    radius: Float[Tensor, " atoms"]
    """intrinsic Born radius, without the offset [angstrom]"""
    screening: Float[Tensor, " atoms"]
    """S_x, dimensionless"""


class DistanceConstraints(Tree):
    """Pairs of atoms held at a distance; rigid water is in `RigidWaters` instead."""

    atoms: Int[Tensor, "constraints 2"]
    length: Float[Tensor, " constraints"]
    """[angstrom]"""


class RigidWaters(Tree):
    """Three atoms, oxygen first, held rigid: an isosceles triangle."""

    atoms: Int[Tensor, "waters 3"]
    oxygen_hydrogen: Float[Tensor, " waters"]
    """[angstrom]"""
    hydrogen_hydrogen: Float[Tensor, " waters"]
    """[angstrom]"""


class VirtualSites(Tree):
    """Massless sites placed by three atoms a, b, c: r = w_a a + w_b b + w_c c + w_x (b - a) x (c - a).

    Two parents: c is b again, with weight 0. Their masses are 0 in the system; forces on them go to the parents.
    """

    site: Int[Tensor, " sites"]
    parents: Int[Tensor, "sites 3"]
    weights: Float[Tensor, "sites 3"]
    """they sum to 1"""
    cross: Float[Tensor, " sites"]
    """w_x [1/angstrom]"""


class PositionRestraints(Tree):
    """1/2 k max(d - w, 0)^2 of the distance d of an atom, at its nearest image, from a place."""

    atoms: Int[Tensor, " restraints"]
    reference: Float[Tensor, "restraints 3"]
    """[angstrom]; it stays where it is while a cell changes"""
    stiffness: Float[Tensor, " restraints"]
    """k [eV/angstrom^2]"""
    width: Float[Tensor, " restraints"]
    """w [angstrom]; 0 is a spring alone"""


class DistanceRestraints(Tree):
    """1/2 k times the square of how far the distance of two atoms lies outside of two bounds."""

    atoms: Int[Tensor, "restraints 2"]
    lower: Float[Tensor, " restraints"]
    """[angstrom]"""
    upper: Float[Tensor, " restraints"]
    """[angstrom]; infinity for none"""
    stiffness: Float[Tensor, " restraints"]
    """k [eV/angstrom^2]"""


class Residue(Tree):
    """A residue's name, number and chain as its file writes them."""

    name: str
    number: str
    """with the insertion code, where there is one"""
    chain: str = ""


class Topology(Tree):
    """The molecules of one system; a part that is None is absent."""

    n_atoms: int
    nonbonded: Nonbonded | None = None
    bonds: HarmonicBonds | None = None
    angles: HarmonicAngles | None = None
    urey_bradley: HarmonicBonds | None = None
    torsions: PeriodicTorsions | None = None
    impropers: PeriodicTorsions | None = None
    harmonic_impropers: HarmonicImpropers | None = None
    torsion_maps: TorsionMaps | None = None
    pairs14: ScaledPairs | None = None
    generalised_born: GeneralisedBorn | None = None
    constraints: DistanceConstraints | None = None
    waters: RigidWaters | None = None
    virtual_sites: VirtualSites | None = None
    position_restraints: PositionRestraints | None = None
    distance_restraints: DistanceRestraints | None = None
    connectivity: Int[Tensor, "links 2"] | None = None
    """all covalent bonds, also those without a term (rigid water): molecules are its connected parts"""
    atom_names: tuple[str, ...] = ()
    residues: tuple[Residue, ...] = ()
    residue_of_atom: Int[Tensor, " atoms"] | None = None

    def name_atom(self, atom: int) -> str:
        """Returns "atom 5 (CA of ALA 2, chain A)", counted from 0: how messages name atoms."""
        if not self.atom_names or self.residue_of_atom is None:
            return f"atom {atom}"
        residue = self.residues[int(self.residue_of_atom[atom])]
        chain = f", chain {residue.chain}" if residue.chain.strip() else ""
        return f"atom {atom} ({self.atom_names[atom]} of {residue.name} {residue.number}{chain})"


def lorentz_berthelot(
    sigma: Float[Tensor, " kinds"], epsilon: Float[Tensor, " kinds"]
) -> tuple[Float[Tensor, "kinds kinds"], Float[Tensor, "kinds kinds"]]:
    """Returns the tables of sigma, the arithmetic mean, and of epsilon, the geometric one [Lorentz1881]."""
    return 0.5 * (sigma[:, None] + sigma[None, :]), torch.sqrt(epsilon[:, None] * epsilon[None, :])


def molecules(topology: Topology) -> Int[Tensor, " atoms"]:
    """Returns the number of the molecule of each atom, counted from 0 in the order of first atoms.

    Raises InputError where the topology has no connectivity.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if topology.connectivity is None:
        raise InputError("the topology has no connectivity, so its molecules are unknown; give `connectivity`")
    first, second = topology.connectivity.T.cpu().numpy()
    links = coo_array((torch.ones(len(first)).numpy(), (first, second)), shape=(topology.n_atoms,) * 2)
    _, label = connected_components(links, directed=False)
    found = torch.from_numpy(label).to(torch.int64)
    _, index = torch.unique(found, return_inverse=True)
    first_atom = torch.full((int(index.max()) + 1,), topology.n_atoms).scatter_reduce(
        0, index, torch.arange(topology.n_atoms), "amin"
    )
    return first_atom.argsort().argsort()[index]
