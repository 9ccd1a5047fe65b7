"""Conductors known by their surface, in the media: sheets as poles on edges, skins as magnetic poles on faces.

A sheet K = Y(s) E in a plane of edges is the admittivity Y(s) / d on them, with d the distance of the cells' centres
beside the plane. A skin E = Z(s) K puts the voltage Z(s) H l on the part l of a face's border that lies on the
conductor, where H is the field of the face itself: Faraday's law over the open area A of the face reads

    mu A dH/dt + Z(s) l H = -(voltages of the open edges),

so that it is the magnetic admittivity Z(s) l / A: edges on the surface stay metal, and what it takes is Z |H|^2 for
each square of the surface, however that lies on the grid (`elec.geometry.cuts`). H is that of the face rather than of
the surface: second order on flat walls, where H hardly changes across, first order in cell over radius on round ones.

Both are passive ladders, taken at the middle of the step like all poles: no time step that is stable without them
becomes unstable. [Oh1995] has the idea, in another discretisation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elec.fdtd.media import LEAST_WEIGHT, Media, padded
from elec.fdtd.poles import Poles, join_poles
from elec.geometry.conductors import sheets_on_edges, skins_on_faces
from elec.geometry.cuts import Cuts
from elec.grid import Grid
from mindsci import tree


def with_sheets(media: Media, scene: Any, grid: Grid) -> Media:
    """Returns media with the sheets of a scene that fields pass through."""
    poles = [media.poles] if media.poles is not None else []
    conductivity = media.conductivity
    for surface, components in sheets_on_edges(scene, grid):
        weight = padded(components, media.metal.shape[1:], value=0.0)
        weight = torch.where(media.metal, 0.0, weight)
        conductivity = conductivity + (surface.conductance * weight).to(conductivity)
        poles += _terms(weight, [(rate, 0.0, drive) for rate, drive in surface.branches])
    return tree.replace(media, conductivity=conductivity, poles=join_poles(poles))


def with_skins(media: Media, scene: Any, grid: Grid, cuts: Cuts | None) -> Media:
    """Returns media with the skins of a scene's conductors.

    The metal of the media must be that of the cuts, which are None where there are no solids of metal.
    """
    poles = [media.magnetic_poles] if media.magnetic_poles is not None else []
    conductivity = media.magnetic_conductivity
    for skin, components in skins_on_faces(scene, grid, cuts):
        weight = padded(components, media.metal.shape[1:], value=0.0)
        if skin.resistance:
            none = torch.zeros_like(media.permeability) if conductivity is None else conductivity
            conductivity = none + (skin.resistance * weight).to(none)
        poles += _terms(weight, [(rate, resistance, 0.0) for rate, resistance in skin.branches])
    return tree.replace(media, magnetic_conductivity=conductivity, magnetic_poles=join_poles(poles))


def _terms(weight: Tensor, branches: list[tuple[float, float, float]]) -> list[Poles]:
    """Terms (rate, jump, drive) times a weight [1/m] at each place that has one."""
    places = (weight.detach() > LEAST_WEIGHT).nonzero()
    if not len(places):
        return []
    own = weight[tuple(places.unbind(1))].to(torch.complex128)
    return [
        Poles(edges=places, rate=torch.full_like(own.detach(), rate), jump=jump * own, drive=drive * own)
        for rate, jump, drive in branches
    ]
