"""What fills the grid: permittivity and conductivity of each electric edge, permeability of each face, metal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from elec.fdtd.coupling import Coupling, coupled_media
from elec.fdtd.poles import Poles, join_poles
from elec.fdtd.walls import Walls
from elec.grid import Grid
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY

BOX = Walls()
# Edges that hold less of a material than this have no poles of it.
LEAST_WEIGHT = 1e-9


class Media(Tree):
    """Coefficients of Maxwell's equations in the padded layout of `Fields`: component, then nodes.

    metal marks edges whose electric field is held at zero; the outer walls and the entries with no edge behind them
    are always among them. poles add currents that follow the field: dispersion, and lumped elements.

    They are effective coefficients. A conductor that cuts an edge, of which the fraction l is outside, and a face, of
    which the fraction a is outside, is described by the same equations [Dey1997]: with l E as the electric field that
    is stored (the voltage along the whole edge over its length), the permittivity, the conductivity and what poles add
    are divided by l, and the permeability is multiplied by a. The scheme stays symmetric and keeps its energy.

    Magnetic loss is the dual of the electric one: a conductivity, and poles on faces, which may also be the skin of a
    conductor beside them (`elec.fdtd.skin`).
    """

    permittivity: Float[Tensor, "3 nodes_x nodes_y nodes_z"]
    """relative"""
    conductivity: Float[Tensor, "3 nodes_x nodes_y nodes_z"]
    """[S/m]"""
    permeability: Float[Tensor, "3 nodes_x nodes_y nodes_z"]
    """relative"""
    metal: Bool[Tensor, "3 nodes_x nodes_y nodes_z"]
    poles: Poles | None = None
    magnetic_conductivity: Float[Tensor, "3 nodes_x nodes_y nodes_z"] | None = None
    """[ohm/m]; None where there is none"""
    magnetic_poles: Poles | None = None
    """on faces, with a jump in [H/m] and a drive in [ohm/(m s)]"""
    coupling: Coupling | None = None
    """the entries beside the diagonal of the permittivity at slanted interfaces"""


def uniform_media(
    grid: Grid,
    *,
    permittivity: Any = 1.0,
    conductivity: Any = 0.0,
    permeability: Any = 1.0,
    metal: Tensor | None = None,
    poles: Poles | None = None,
    magnetic_conductivity: Any = None,
    magnetic_poles: Poles | None = None,
    walls: Walls = BOX,
    dtype: torch.dtype = torch.float64,
) -> Media:
    """Returns media from numbers, or from tensors that broadcast to (3, nodes_x, nodes_y, nodes_z).

    Numbers take no memory for each cell. Conductivity in [S/m], the magnetic one in [ohm/m].
    """
    shape = (3, *(grid.nodes(axis).numel() for axis in range(3)))
    device = grid.x.device

    def spread(value: Any) -> Tensor:
        tensor = value if isinstance(value, Tensor) else torch.tensor(value)
        return tensor.to(device=device, dtype=dtype).expand(shape)

    outside = outer_walls(shape[1:], walls=walls, device=device)
    return Media(
        permittivity=spread(permittivity),
        conductivity=spread(conductivity),
        permeability=spread(permeability),
        metal=outside if metal is None else outside | metal.to(device),
        poles=poles,
        magnetic_conductivity=None if magnetic_conductivity is None else spread(magnetic_conductivity),
        magnetic_poles=magnetic_poles,
    )


def outer_walls(
    nodes: Sequence[int], *, walls: Walls = BOX, device: torch.device | str = "cpu"
) -> Bool[Tensor, "3 x y z"]:
    """Returns the edges on which no update acts: those on conducting walls, and the padding.

    The edges at the last node are among them but for a magnetic wall: they are conductor, or copies of those at the
    first.
    """
    mask = torch.zeros(3, *nodes, dtype=torch.bool, device=device)
    for component in range(3):
        for axis in range(3):
            last = nodes[axis] - 1
            if axis == component or walls.sides(axis)[1] != "pmc":
                mask[component].select(axis, last).fill_(True)
            if axis != component and walls.sides(axis)[0] == "pec":
                mask[component].select(axis, 0).fill_(True)
    return mask


def padded(components: Sequence[Tensor], nodes: Sequence[int], *, value: float | bool) -> Tensor:
    """Returns three components of different shapes in one tensor of the shape of the nodes."""
    parts = []
    for component in components:
        missing = [have - need for have, need in zip(nodes, component.shape, strict=True)]
        if min(missing) < 0:
            raise InputError(f"a component of shape {list(component.shape)} does not fit into {list(nodes)} nodes")
        pads = [extra for count in reversed(missing) for extra in (0, count)]
        parts.append(functional.pad(component, pads, value=value))
    return torch.stack(parts)


def scene_poles(scene: Any, grid: Grid) -> Poles | None:
    """Returns the poles of a scene's dispersive materials on the edges that they reach, weighted as at interfaces."""
    found = []
    for material in scene.dispersive():
        weights = scene.edge_response(grid, material.name)
        nodes = [grid.nodes(axis).numel() for axis in range(3)]
        weight = padded(weights, nodes, value=0.0)
        edges = (weight > LEAST_WEIGHT).nonzero()
        found.append(material_poles(material.poles, edges, weight[tuple(edges.unbind(1))]))
    return join_poles(found)


def material_poles(poles: Sequence[Any], edges: Int[Tensor, "edges 4"], weight: Float[Tensor, "edges"]) -> Poles:
    """Returns terms on edges for poles of a relative permittivity (`elec.materials.Pole`) times the edge's weight."""

    def everywhere(value: Any) -> Tensor:
        return torch.as_tensor(value, dtype=torch.complex128, device=edges.device).expand(len(edges))

    scale = VACUUM_PERMITTIVITY * weight.to(torch.float64)
    none = [torch.zeros(0, dtype=torch.complex128, device=edges.device)]
    return Poles(
        edges=edges.repeat(len(poles), 1),
        rate=torch.cat([everywhere(pole.rate) for pole in poles] or none),
        jump=torch.cat([everywhere(pole.copies * pole.jump) * scale for pole in poles] or none),
        drive=torch.cat([everywhere(pole.copies * pole.drive) * scale for pole in poles] or none),
    )


def scene_magnetics(scene: Any, grid: Grid) -> dict[str, Tensor | None]:
    """Returns the permeability and the magnetic conductivity of a scene's faces, by name; None for no such loss."""
    nodes = [grid.nodes(axis).numel() for axis in range(3)]
    faces = scene.face_materials(grid)
    lossy = any(bool((part != 0).any()) for part in faces.magnetic_conductivity)
    return {
        "permeability": padded(faces.relative_permeability, nodes, value=1.0),
        "magnetic_conductivity": padded(faces.magnetic_conductivity, nodes, value=0.0) if lossy else None,
    }


def scene_media(
    scene: Any, grid: Grid, *, walls: Walls = BOX, dtype: torch.dtype = torch.float64, cross_terms: bool = True
) -> Media:
    """Returns the media of the parts of an `elec.geometry.Scene` on a grid; metal follows the grid's own edges.

    cross_terms: whether edges at slanted interfaces act on one another (`elec.fdtd.coupling`): second order there.
    Without them, first order, all gradients of media go through the fused adjoint.

    Raises InputError for solids that are conductors with a skin: their surface must be known better than that.
    """
    from elec.fdtd.skin import with_sheets, with_skins

    if any(part.kind == "solid" and scene.material(part).kind == "conductor" for part in scene.parts):
        raise InputError("solids of good conductors need cut_scene_media, which knows the area of their surface")
    nodes = [grid.nodes(axis).numel() for axis in range(3)]
    edges = scene.edge_materials(grid)
    cross = padded_cross(edges.cross, nodes)
    media = Media(
        permittivity=padded(edges.relative_permittivity, nodes, value=1.0),
        conductivity=padded(edges.conductivity, nodes, value=0.0),
        **scene_magnetics(scene, grid),
        metal=padded(edges.metal, nodes, value=True) | outer_walls(nodes, walls=walls, device=grid.x.device),
        poles=scene_poles(scene, grid),
    )
    media = with_skins(with_sheets(media, scene, grid), scene, grid, None)
    if cross_terms:
        media = coupled_media(media, cross, grid, walls=walls)
    return in_precision(media, dtype)


def padded_cross(
    cross: tuple[Sequence[Tensor], Sequence[Tensor]], nodes: Sequence[int]
) -> Float[Tensor, "3 2 nodes_x nodes_y nodes_z"]:
    """Returns the cross terms of `elec.geometry.EdgeMaterials` as `coupled_media` takes them."""
    return torch.stack([padded(entries, nodes, value=0.0) for entries in cross], dim=1)


def in_precision(media: Media, dtype: torch.dtype) -> Media:
    """Returns media in another precision; poles stay in double, for a rate that is rounded up may grow."""
    return tree.replace(tree.to(media, dtype=dtype), poles=media.poles, magnetic_poles=media.magnetic_poles)
