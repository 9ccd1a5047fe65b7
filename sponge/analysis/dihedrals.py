"""Dihedral angles of frames: their distribution, and the map of two of them, as of phi and psi of a peptide."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory
from sponge.forcefield import bonded
from sponge.topology import Topology


class Dihedrals(Tree):
    """Angles of each frame, and their densities."""

    angles: Float[Tensor, "frames dihedrals"]
    """[rad], -pi to pi"""
    centres: Float[Tensor, " bins"]
    """of the bins [rad]"""
    density: Float[Tensor, "dihedrals bins"]
    """[1/rad]"""

    def joint(self, first: int = 0, second: int = 1) -> Float[Tensor, "bins bins"]:
        """Returns the density of two of the angles together [1/rad^2]."""
        bins = len(self.centres)
        one, other = (_bins(self.angles[:, k], bins) for k in (first, second))
        counts = torch.bincount(one * bins + other, minlength=bins**2).double().reshape(bins, bins)
        return counts / counts.sum() * (bins / (2.0 * math.pi)) ** 2


def dihedral_angles(trajectory: Trajectory, atoms: Int[Tensor, "dihedrals 4"], *, bins: int = 72) -> Dihedrals:
    """Returns the dihedral angles of four atoms each, counted from 0, IUPAC's sign.

    Raises InputError for atoms that are not there, or named twice in one dihedral.
    """
    if atoms.ndim != 2 or atoms.shape[1] != 4 or len(atoms) == 0 or bins < 1:
        raise InputError("a dihedral angle is four atoms, [[4, 6, 8, 14]], and there is one bin or more")
    if int(atoms.min()) < 0 or int(atoms.max()) >= trajectory.n_atoms:
        raise InputError(f"a dihedral names an atom outside of 0 to {trajectory.n_atoms - 1}; count atoms from 0")
    if bool((atoms.sort(1).values.diff(dim=1) == 0).any()):
        raise InputError("a dihedral names an atom twice; give four different ones")
    batch = trajectory.batch()
    shifts = trajectory.n_atoms * torch.arange(trajectory.n_frames)[:, None, None]
    found = bonded.dihedrals(batch, (atoms[None] + shifts).reshape(-1, 4)).double()
    angles = found.reshape(trajectory.n_frames, len(atoms))
    counts = [torch.bincount(_bins(column, bins), minlength=bins) for column in angles.unbind(1)]
    width = 2.0 * math.pi / bins
    return Dihedrals(
        angles=angles,
        centres=-math.pi + width * (torch.arange(bins, dtype=torch.float64) + 0.5),
        density=torch.stack(counts).double() / (trajectory.n_frames * width),
    )


def _bins(angles: Float[Tensor, " frames"], bins: int) -> Int[Tensor, " frames"]:
    return ((angles / (2.0 * math.pi) + 0.5) * bins).floor().long().clamp(0, bins - 1)


def backbone_dihedrals(topology: Topology) -> tuple[Int[Tensor, "phi 4"], Int[Tensor, "psi 4"]]:
    """Returns the atoms of phi (C, N, CA, C) and of psi (N, CA, C, N) of each residue that has both, by their names.

    Raises InputError for a topology without names.
    """
    if not topology.atom_names or topology.residue_of_atom is None or topology.connectivity is None:
        raise InputError("the topology has no names or no bonds, by which a backbone is known; give the atoms")
    owner, names = topology.residue_of_atom.tolist(), topology.atom_names
    place = {(residue, name): atom for atom, (residue, name) in enumerate(zip(owner, names, strict=True))}
    before, after = {}, {}
    for one, other in topology.connectivity.tolist():
        for carbon, nitrogen in ((one, other), (other, one)):
            if (names[carbon], names[nitrogen]) == ("C", "N") and owner[carbon] != owner[nitrogen]:
                before[owner[nitrogen]], after[owner[carbon]] = carbon, nitrogen
    phi, psi = [], []
    for residue in sorted(set(before) & set(after)):
        backbone = [place.get((residue, name)) for name in ("N", "CA", "C")]
        if None not in backbone:
            phi.append([before[residue], *backbone])
            psi.append([*backbone, after[residue]])
    shape = (-1, 4)
    return torch.tensor(phi, dtype=torch.int64).reshape(shape), torch.tensor(psi, dtype=torch.int64).reshape(shape)
