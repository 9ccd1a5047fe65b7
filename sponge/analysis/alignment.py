"""How far a structure moves away from another, and its atoms about their places: RMSD and RMSF."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory


class Deviation(Tree):
    """Root mean square deviation of each frame, and fluctuation of each atom."""

    deviation: Float[Tensor, " frames"]
    """from the reference, after the best fit [angstrom]"""
    fluctuation: Float[Tensor, " atoms"]
    """about the mean place, of the atoms that were fitted [angstrom]"""
    atoms: Bool[Tensor, " all"]


def superposed(
    places: Float[Tensor, "frames atoms 3"], reference: Float[Tensor, "atoms 3"]
) -> Float[Tensor, "frames atoms 3"]:
    """Returns the frames moved and turned onto the reference, with the least squared distance [Kabsch1976]."""
    centre = reference.mean(0)
    here, there = places - places.mean(1, keepdim=True), reference - centre
    left, _, right = torch.linalg.svd(here.mT @ there)
    # A reflection would fit better where the determinant is -1: the last axis, that of the least overlap, is turned.
    sign = torch.det(left @ right)
    signs = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign.sign()], dim=-1)
    return here @ (left * signs[:, None, :]) @ right + centre


def deviations(
    trajectory: Trajectory,
    *,
    atoms: Bool[Tensor, " atoms"] | None = None,
    reference: Float[Tensor, "atoms 3"] | None = None,
) -> Deviation:
    """Returns RMSD from a reference, the first frame unless given, and RMSF about the mean of the fitted frames.

    atoms: which are fitted and counted; all unless given. Molecules must be whole. Raises InputError for a reference of
    other atoms, and for fewer than three atoms.
    """
    chosen = torch.ones(trajectory.n_atoms, dtype=torch.bool) if atoms is None else atoms
    if int(chosen.sum()) < 3:
        raise InputError(f"{int(chosen.sum())} atoms are picked; a fit needs 3 or more")
    places = trajectory.positions.double()[:, chosen]
    if reference is not None and len(reference) != trajectory.n_atoms:
        raise InputError(
            f"the reference has {len(reference)} atoms, the trajectory {trajectory.n_atoms}; give the same"
        )
    target = places[0] if reference is None else reference.double()[chosen]
    fitted = superposed(places, target)
    mean = fitted.mean(0)
    return Deviation(
        deviation=((fitted - target) ** 2).sum(-1).mean(-1).sqrt(),
        fluctuation=((fitted - mean) ** 2).sum(-1).mean(0).sqrt(),
        atoms=chosen,
    )
