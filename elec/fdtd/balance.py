"""Areas of cut faces and permittivities of cut edges in the balance that the ordinary time step asks for.

Small faces between long edges oscillate too fast. The row of curl curl that belongs to a face sums the lengths of its
edges over its area, so a face calls for the area

    a >= alpha * mean(l / epsilon_r of its four edges)

which a whole cell meets with 1 and a plane wall parallel to the grid violates below one half. Two changes bring
it about, neither of which costs an order:

- An edge that runs along the wall carries a field that grows with its distance from the wall, so more permittivity on
  it stores only energy of the third order in the cell. That serves walls that run along an axis.
- Otherwise area moves to the face from neighbours of the same component across an open edge. The sum is conserved, and
  the magnetic field stays what it was if the voltage of the edge between them changes by O(h) of itself. The cells at
  walls are a share O(h) of all and each changes its energy by O(h) of itself at most, so the whole changes by O(h^2).
  Enlarging the face without taking the area elsewhere, as [Benkler2006] does, is of first order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from elec.fdtd.media import BOX, Media, padded
from elec.fdtd.walls import Walls
from elec.grid import Grid
from mindsci import tree
from mindsci.tree import Tree

Components = tuple[Tensor, Tensor, Tensor]

# Shorter open ends of edges are metal: their coefficients would leave the range in which float32 adds up.
SHORTEST = 1e-5
# Exponent of the share (1 - n_e^2)^k of an edge that counts as running along the wall: at 1000, within 2 degrees of it.
ALONG_WALL = 1000
# Rounds of adding permittivity, and of moving area: each leaves a fraction of what the one before left.
ROUNDS, PASSES = 8, 4
# What is smaller is nothing: its inverse squared, in a derivative, would leave the range of numbers.
TINY = 1e-30


class Balance(Tree):
    """What was changed for the sake of the time step."""

    moved: float
    """area moved between faces, as a fraction of the area of all cut faces"""
    enlarged: float
    """area that neighbours could not pay for, as such a fraction: an error of first order"""


def is_cut(fraction: Float[Tensor, "*n"]) -> Tensor:
    """Returns where metal leaves a part of an edge or a face."""
    return (fraction > SHORTEST) & (fraction < 1.0 - SHORTEST)


def balanced_media(
    media: Media,
    edge_fraction: Tensor,
    face_fraction: Tensor,
    grid: Grid,
    *,
    alpha: Sequence[Tensor],
    walls: Walls = BOX,
) -> tuple[Media, Balance]:
    """Returns media with the area that alpha, one number a face, calls for, and what that took; dt is not checked."""
    metal = media.metal | (edge_fraction <= SHORTEST)
    zero = torch.zeros((), dtype=edge_fraction.dtype, device=edge_fraction.device)
    open_length = torch.where(metal, zero, edge_fraction)
    # The inverse of the permittivity of the voltage, and the area times permeability: mass matrices of the scheme.
    mobility = [_around(part, walls, c) for c, part in enumerate(edges_of(open_length / media.permittivity))]
    area = faces_of(face_fraction * media.permeability)
    stencil = _Stencil.of(grid, walls, face_fraction)
    wall = stencil.along_wall(faces_of(face_fraction))
    lighter = stencil.with_permittivity(mobility, area, wall, alpha)
    moved = stencil.with_area_moved(lighter, area, edges_of(open_length), alpha)
    need = [share * value for share, value in zip(alpha, stencil.need(lighter), strict=True)]
    final = [torch.maximum(have, wanted) for have, wanted in zip(moved, need, strict=True)]
    nodes = media.metal.shape[1:]
    inverse = torch.where(metal, zero, padded(lighter, nodes, value=0.0))
    free = inverse > 0
    length = torch.where(free, open_length, 1.0)
    permittivity = torch.where(free, 1.0 / torch.where(free, inverse, 1.0), media.permittivity)
    permeability = padded(final, nodes, value=1.0)
    # A face without an open edge has no voltage around it: any number will do but zero.
    permeability = torch.where(permeability > 0, permeability, torch.ones_like(permeability))
    changed = {
        "permittivity": permittivity.to(media.permittivity),
        "conductivity": (media.conductivity / length).to(media.conductivity),
        "permeability": permeability.to(media.permeability),
        "metal": metal,
    }
    if media.magnetic_conductivity is not None:
        changed["magnetic_conductivity"] = media.magnetic_conductivity * face_fraction.to(media.magnetic_conductivity)
    poles = media.poles
    if poles is not None:
        share = length[tuple(poles.edges.unbind(1))].to(poles.rate.real)
        changed["poles"] = tree.replace(poles, jump=poles.jump / share, drive=poles.drive / share)
    with torch.no_grad():
        cut = sum(float(is_cut(values).sum()) for values in faces_of(face_fraction))
        balance = Balance(
            moved=sum(0.5 * float((a - b).abs().sum()) for a, b in zip(moved, area, strict=True)) / max(cut, 1.0),
            enlarged=sum(float((a - b).sum()) for a, b in zip(final, moved, strict=True)) / max(cut, 1.0),
        )
    return tree.replace(media, **changed), balance


def _around(edges: Tensor, walls: Walls, component: int) -> Tensor:
    """Edges of a component with those at the last node of a periodic axis equal to those at the first."""
    for axis in range(3):
        if axis != component and walls.periodic(axis):
            edges = torch.cat([_lower(edges, axis), edges.narrow(axis, 0, 1)], dim=axis)
    return edges


def edges_of(values: Float[Tensor, "3 x y z"]) -> Components:
    """Returns the three components of different shapes that a padded tensor of edges holds."""
    ex, ey, ez = (values[c].narrow(c, 0, values.shape[c + 1] - 1) for c in range(3))
    return (ex, ey, ez)


def faces_of(values: Shaped[Tensor, "3 x y z"]) -> Components:
    """Returns the three components of different shapes that a padded tensor of faces holds."""
    parts = []
    for c in range(3):
        part = values[c]
        for axis in ((c + 1) % 3, (c + 2) % 3):
            part = part.narrow(axis, 0, part.shape[axis] - 1)
        parts.append(part)
    return (parts[0], parts[1], parts[2])


class _Stencil(Tree):
    """The grid as the balance of edges and faces sees it; every list runs over components."""

    spacing: Components
    """[m], shaped to broadcast along its axis"""
    dual: Components
    """[m]"""
    smallest: tuple[float, float, float]
    """[m]"""

    @classmethod
    def of(cls, grid: Grid, walls: Walls, like: Tensor) -> _Stencil:
        def along(values: Tensor, axis: int) -> Tensor:
            return values.to(like).reshape([-1 if other == axis else 1 for other in range(3)])

        sx, sy, sz = (along(grid.spacing(axis), axis) for axis in range(3))
        dx, dy, dz = (along(walls.dual_spacing(grid, axis), axis) for axis in range(3))
        return cls(spacing=(sx, sy, sz), dual=(dx, dy, dz), smallest=grid.smallest_cell())

    def sides(self, normal: int) -> list[tuple[int, int, slice, Tensor]]:
        """The four edges of the faces across an axis: (component, axis across, low or high ones, weight).

        The weight is the edge's part in the row of curl curl, in units of that of the finest cells: on even ones they
        add up to 1.
        """
        found = []
        for component, across in (((normal + 1) % 3, (normal + 2) % 3), ((normal + 2) % 3, (normal + 1) % 3)):
            scale = sum(1.0 / self.smallest[axis] ** 2 for axis in range(3) if axis != normal)
            for piece in (slice(None, -1), slice(1, None)):
                dual = self.dual[across][_at(across, piece)]
                found.append((component, across, piece, 0.5 / (self.spacing[across] * dual * scale)))
        return found

    def need(self, mobility: Sequence[Tensor]) -> list[Tensor]:
        """The area that alpha = 1 calls for on each face."""
        return [
            sum(mobility[c][_at(across, piece)] * weight for c, across, piece, weight in self.sides(normal))
            for normal in range(3)
        ]  # type: ignore[misc]

    def along_wall(self, open_area: Sequence[Tensor]) -> list[Tensor]:
        """How far each edge runs along the wall near it, 1 or 0 but for a narrow range of angles between.

        The open areas of a cell's faces sum up to the wall's own vector of area, by the divergence theorem.
        """
        walls = []
        for axis in range(3):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            walls.append(-open_area[axis].diff(dim=axis) * self.spacing[first] * self.spacing[second])
        shares = []
        for component in range(3):
            around = [_sum_across(wall, component) for wall in walls]
            total = sum(part**2 for part in around)
            smallest = 1e-12 * self.smallest[0] ** 2 * self.smallest[1] ** 2
            along = 1.0 - around[component] ** 2 / (total + smallest)
            shares.append(along**ALONG_WALL)
        return shares

    def with_permittivity(
        self, mobility: Sequence[Tensor], area: Sequence[Tensor], wall: Sequence[Tensor], alpha: Sequence[Tensor]
    ) -> list[Tensor]:
        """Lowers the mobility of the edges along the wall until their faces have the area that they call for."""
        mobility = list(mobility)
        for _ in range(ROUNDS):
            need = self.need(mobility)
            can = self.need([value * share for value, share in zip(mobility, wall, strict=True)])
            factors = [torch.zeros_like(value) for value in mobility]
            for normal in range(3):
                excess = (need[normal] - area[normal] / alpha[normal]).clamp(min=0.0)
                part = _ratio(excess, can[normal]).clamp(max=1.0)
                part = torch.where(excess > 0, part, torch.zeros_like(part))
                for component, across, piece, _ in self.sides(normal):
                    both = _widened(part, across, low=piece.start is None)
                    factors[component] = torch.maximum(factors[component], both)
            mobility = [
                value * (1.0 - 0.999 * share * factor)
                for value, share, factor in zip(mobility, wall, factors, strict=True)
            ]
        return mobility

    def with_area_moved(
        self, mobility: Sequence[Tensor], area: Sequence[Tensor], open_length: Sequence[Tensor], alpha: Sequence[Tensor]
    ) -> list[Tensor]:
        """Moves area between faces of one component that share an open edge, from those that have more than enough."""
        moved = []
        for normal, need in enumerate(self.need(mobility)):
            p, q = (normal + 1) % 3, (normal + 2) % 3
            size = self.spacing[p] * self.spacing[q]
            have, wanted = area[normal] * size, alpha[normal] * need * size
            between = [
                (p, open_length[q].narrow(p, 1, max(open_length[q].shape[p] - 2, 0))),
                (q, open_length[p].narrow(q, 1, max(open_length[p].shape[q] - 2, 0))),
            ]
            for _ in range(PASSES):
                have = _pass_on(have, wanted, between)
            moved.append(have / size)
        return moved


def _at(axis: int, piece: slice) -> tuple[slice, ...]:
    return tuple(piece if other == axis else slice(None) for other in range(3))


def _sum_across(cells: Tensor, component: int) -> Tensor:
    """Sum over the cells around each edge of a component."""
    for axis in range(3):
        if axis != component:
            cells = _widened(cells, axis, low=True) + _widened(cells, axis, low=False)
    return cells


def _widened(values: Tensor, axis: int, *, low: bool) -> Tensor:
    """One entry more along an axis: a zero after the last where the values stay low, before the first where not."""
    shape = list(values.shape)
    shape[axis] = 1
    zero = torch.zeros(shape, dtype=values.dtype, device=values.device)
    return torch.cat([values, zero] if low else [zero, values], dim=axis)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """The quotient, zero where there is nothing to divide by, and with it the derivative."""
    some = whole > TINY
    return torch.where(some, part / torch.where(some, whole, 1.0), 0.0)


def _pass_on(have: Tensor, wanted: Tensor, between: Sequence[tuple[int, Tensor]]) -> Tensor:
    """One round: faces in need ask their neighbours in proportion to what these can spare and how open the edge is;
    a face that is asked for more than it can spare gives each the same share of what was asked."""
    need, spare = (wanted - have).clamp(min=0.0), (have - wanted).clamp(min=0.0)
    offers = [(axis, opening * _upper(spare, axis), opening * _lower(spare, axis)) for axis, opening in between]
    offered = torch.zeros_like(have)
    for axis, from_above, from_below in offers:
        offered = offered + _widened(from_above, axis, low=True) + _widened(from_below, axis, low=False)
    rate = torch.where(need > 0, _ratio(need, offered).clamp(max=1.0), torch.zeros_like(need))
    asked = torch.zeros_like(have)
    requests = []
    for axis, from_above, from_below in offers:
        up, down = _lower(rate, axis) * from_above, _upper(rate, axis) * from_below
        requests.append((axis, up, down))
        asked = asked + _widened(up, axis, low=False) + _widened(down, axis, low=True)
    share = torch.where(asked > spare, _ratio(spare, asked), torch.ones_like(spare))
    for axis, up, down in requests:
        flow = up * _upper(share, axis) - down * _lower(share, axis)
        have = have + _widened(flow, axis, low=True) - _widened(flow, axis, low=False)
    return have


def _lower(values: Tensor, axis: int) -> Tensor:
    return values.narrow(axis, 0, values.shape[axis] - 1)


def _upper(values: Tensor, axis: int) -> Tensor:
    return values.narrow(axis, 1, values.shape[axis] - 1)
