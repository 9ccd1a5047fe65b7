"""Perfect metal that cuts cells: effective coefficients of the ordinary scheme, stable at the ordinary time step.

With l the fraction of an edge outside metal and a that of a face, Faraday's law integrated over the open part of each
face is second order [Dey1997]. In terms of the stored field l E (the voltage over the whole length) that divides
permittivity, conductivity and pole strengths by l and multiplies permeability by a: the kernels see ordinary media, and
the discrete energy is conserved as ever.

Small faces between long edges would oscillate too fast for the time step: `elec.fdtd.balance` gives each face an area
of at least alpha times what its edges call for. alpha starts well below one, and rises only on cut faces where the
scheme itself, applied to noise, shows an unstable mode (`elec.fdtd.stability`). The step is never cut, and no cell that
metal does not touch is changed for more than what it gives to a neighbour.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd.balance import SHORTEST, balanced_media, faces_of, is_cut
from elec.fdtd.coupling import coupled_media
from elec.fdtd.media import (
    BOX,
    Media,
    in_precision,
    outer_walls,
    padded,
    padded_cross,
    scene_magnetics,
    scene_poles,
)
from elec.fdtd.skin import with_sheets, with_skins
from elec.fdtd.stability import largest_time_step, unstable_edges
from elec.fdtd.walls import Walls
from elec.grid import Grid
from mindsci import tree
from mindsci.errors import InputError

logger = logging.getLogger(__name__)

# alpha at the Courant limit of the plain scheme where the search begins, its growth where a mode is unstable, and the
# rounds in which that must suffice.
FIRST_ALPHA, GROWTH, MOST_ROUNDS = 0.8, 1.1, 40
# The time step of a run whose own is not given, as a fraction of the Courant limit.
USUAL_COURANT = 0.99
# The search asks for a time step this much longer: what its finite number of steps cannot see stays below it.
MARGIN = 5e-4


def conformal_media(
    media: Media,
    edge_fraction: Float[Tensor, "3 nodes_x nodes_y nodes_z"],
    face_fraction: Float[Tensor, "3 nodes_x nodes_y nodes_z"],
    grid: Grid,
    *,
    dt: float | None = None,
    walls: Walls = BOX,
) -> Media:
    """Returns media whose metal cuts edges and faces, stable at dt [s] (default: 0.99 of the Courant limit).

    The fractions lie outside metal (`elec.geometry.Cuts`, padded); media hold the material of the open part of each
    edge and face. Differentiable in the fractions and in the media. Raises InputError where dt cannot be made stable.
    """
    dt = USUAL_COURANT * grid.courant_limit() if dt is None else dt
    # Metal along the grid cuts nothing, but what moves it may ask for a gradient: that of covering more.
    moved = edge_fraction.requires_grad or face_fraction.requires_grad
    if not moved and not bool((is_cut(edge_fraction) | is_cut(face_fraction)).any()):
        return tree.replace(media, metal=media.metal | (edge_fraction <= SHORTEST))
    whole = (dt / grid.courant_limit()) ** 2
    # Where metal touches nothing, an area above that of the cell itself would only slow the wave down.
    highest = [torch.where(cut, torch.inf, min(whole, 1.0)) for cut in _touched(edge_fraction, face_fraction)]
    alpha = [torch.full_like(limit, FIRST_ALPHA * whole) for limit in highest]
    for round_ in range(MOST_ROUNDS):
        balanced, balance = balanced_media(media, edge_fraction, face_fraction, grid, alpha=alpha, walls=walls)
        unstable = faces_of(_faces_beside(unstable_edges(grid, balanced, (1.0 + MARGIN) * dt, walls=walls)))
        if not any(bool(part.any()) for part in unstable):
            logger.info(
                "conformal metal: stable after %d rounds; %.2g of the cut area moved, %.2g added",
                round_, balance.moved, balance.enlarged,
            )  # fmt: skip
            return balanced
        before, alpha = (
            alpha,
            [
                torch.where(here, torch.minimum(GROWTH * value, limit), value)
                for here, value, limit in zip(unstable, alpha, highest, strict=True)
            ],
        )
        if all(torch.equal(old, new) for old, new in zip(before, alpha, strict=True)):
            break
    largest = (1.0 - 2.0 * MARGIN) * largest_time_step(grid, balanced, walls=walls)
    raise InputError(
        f"dt = {dt * 1e12:.4g} ps is above the largest stable step {largest * 1e12:.4g} ps of this metal on this grid; "
        f"use dt <= {largest * 1e12:.4g} ps, or move grid lines off its surface"
    )


def _touched(edge_fraction: Tensor, face_fraction: Tensor) -> list[Tensor]:
    """Faces of which metal covers a part, or a part of an edge."""
    covered = (face_fraction < 1.0 - SHORTEST) | _faces_beside(edge_fraction < 1.0 - SHORTEST)
    return list(faces_of(covered))


def _faces_beside(edges: Tensor) -> Tensor:
    """Faces with an edge that is marked."""
    marked = torch.zeros_like(edges)
    for normal in range(3):
        for component, across in (((normal + 1) % 3, (normal + 2) % 3), ((normal + 2) % 3, (normal + 1) % 3)):
            size = edges.shape[across + 1] - 1
            both = edges[component].narrow(across, 0, size) | edges[component].narrow(across, 1, size)
            marked[normal].narrow(across, 0, size).logical_or_(both)
    return marked


def cut_scene_media(
    scene: Any,
    grid: Grid,
    *,
    dt: float | None = None,
    walls: Walls = BOX,
    dtype: torch.dtype = torch.float64,
    cross_terms: bool = True,
) -> Media:
    """Returns the media of an `elec.geometry.Scene` whose metal solids cut cells; sheets lie on planes of the grid.

    dt [s] as for `conformal_media`, which raises InputError where it cannot be made stable. cross_terms as for
    `scene_media`.
    """
    nodes = [grid.nodes(axis).numel() for axis in range(3)]
    edges, cuts = scene.edge_materials(grid), scene.metal_cuts(grid)
    outside = outer_walls(nodes, walls=walls, device=grid.x.device)
    media = Media(
        permittivity=padded(edges.relative_permittivity, nodes, value=1.0),
        conductivity=padded(edges.conductivity, nodes, value=0.0),
        **scene_magnetics(scene, grid),
        metal=padded(scene.sheet_edges(grid), nodes, value=True) | outside,
        poles=scene_poles(scene, grid),
    )
    cross = padded_cross(edges.cross, nodes)
    edge_fraction = padded(cuts.edges, nodes, value=1.0)
    media = with_sheets(media, scene, grid)
    media = conformal_media(media, edge_fraction, padded(cuts.faces, nodes, value=1.0), grid, dt=dt, walls=walls)
    if cross_terms:
        media = coupled_media(media, cross, grid, walls=walls)
    return in_precision(with_skins(media, scene, grid, cuts), dtype)
