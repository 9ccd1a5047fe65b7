"""Perfect metal that cuts cells: effective coefficients of the ordinary scheme, stable at the ordinary time step.

With l the fraction of an edge outside metal and a that of a face, Faraday's law integrated over the open part of each
face is second order [Dey1997]. In terms of the stored field l E (the voltage over the whole length) that divides
permittivity, conductivity and pole strengths by l and multiplies permeability by a: the kernels see ordinary media, and
the discrete energy is conserved as ever.

Small faces between long edges oscillate too fast for the time step. The row of curl curl that belongs to a face sums
the lengths of its edges over its area, so a face calls for the area

    a >= alpha * mean(l / epsilon_r of its four edges)

which a whole cell meets with 1 and a plane wall parallel to the grid violates below one half. Two changes bring
it about, neither of which costs an order:

- An edge that runs along the wall carries a field that grows with its distance from the wall, so more permittivity on
  it stores only energy of the third order in the cell. That serves walls that run along an axis.
- Otherwise area moves to the face from neighbours of the same component across an open edge. The sum is conserved, and
  the magnetic field stays what it was if the voltage of the edge between them changes by O(h) of itself. The cells at
  walls are a share O(h) of all and each changes its energy by O(h) of itself at most, so the whole changes by O(h^2).
  Enlarging the face without taking the area elsewhere, as [Benkler2006] does, is of first order.

alpha rises until the largest eigenvalue of the scheme itself, found by Lanczos iterations, allows the time step asked
for. The step is never cut.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd.media import BOX, Media, in_precision, outer_walls, padded, scene_poles
from elec.fdtd.walls import Walls
from elec.grid import Grid
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree

logger = logging.getLogger(__name__)

Components = tuple[Tensor, Tensor, Tensor]

# Shorter open ends of edges are metal: their coefficients would leave the range in which float32 adds up.
SHORTEST = 1e-5
# alpha at the Courant limit of the plain scheme, where the search begins, its growth, and where it ends: at 1 no row of
# curl curl is larger than that of a whole cell.
FIRST_ALPHA, GROWTH, LAST_ALPHA = 0.85, 1.05, 1.3
# Exponent of the share (1 - n_e^2)^k of an edge that counts as running along the wall: at 1000, within 2 degrees of it.
ALONG_WALL = 1000
# Rounds of adding permittivity, and of moving area: each leaves a fraction of what the one before left.
ROUNDS, PASSES = 8, 4
# The time step of a run whose own is not given, as a fraction of the Courant limit.
USUAL_COURANT = 0.99
# What the iterations may miss of the largest eigenvalue; at a wall 80 of them come within 1e-4 of it.
MARGIN = 5e-4
TINY = 1e-300


class Balance(Tree):
    """What was changed for the sake of the time step."""

    alpha: float
    moved: float
    """area moved between faces, as a fraction of the area of all cut faces"""
    enlarged: int
    """faces made larger than their neighbours could pay for: each a small error of first order"""


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
    if not bool(_is_cut(edge_fraction).any() | _is_cut(face_fraction).any()):
        return _plain(media, edge_fraction)
    relative = (dt / grid.courant_limit()) ** 2
    alpha = FIRST_ALPHA
    while True:
        balanced, balance = balanced_media(
            media, edge_fraction, face_fraction, grid, alpha=alpha * relative, walls=walls
        )
        largest = largest_time_step(grid, balanced, walls=walls)
        if dt <= (1.0 - MARGIN) * largest:
            logger.info(
                "conformal metal: stable up to %.4g ps with alpha %.3g; %.2g of the cut area moved, %d faces enlarged",
                largest * 1e12, balance.alpha, balance.moved, balance.enlarged,
            )  # fmt: skip
            return balanced
        if alpha >= LAST_ALPHA:
            raise InputError(
                f"dt = {dt * 1e12:.4g} ps is above the largest stable step {largest * 1e12:.4g} ps of this metal on "
                f"this grid; use dt <= {(1.0 - 2 * MARGIN) * largest * 1e12:.4g} ps, or move grid lines off its surface"
            )
        alpha = min(alpha * GROWTH, LAST_ALPHA)


def cut_scene_media(
    scene: Any, grid: Grid, *, dt: float | None = None, walls: Walls = BOX, dtype: torch.dtype = torch.float64
) -> Media:
    """Returns the media of an `elec.geometry.Scene` whose metal solids cut cells; sheets lie on planes of the grid.

    dt [s] as for `conformal_media`, which raises InputError where it cannot be made stable.
    """
    nodes = [grid.nodes(axis).numel() for axis in range(3)]
    edges, cuts = scene.edge_materials(grid), scene.metal_cuts(grid)
    outside = outer_walls(nodes, walls=walls, device=grid.x.device)
    media = Media(
        permittivity=padded(edges.relative_permittivity, nodes, value=1.0),
        conductivity=padded(edges.conductivity, nodes, value=0.0),
        permeability=padded(scene.face_permeability(grid), nodes, value=1.0),
        metal=padded(scene.sheet_edges(grid), nodes, value=True) | outside,
        poles=scene_poles(scene, grid),
    )
    edge_fraction = padded(cuts.edges, nodes, value=1.0)
    media = conformal_media(media, edge_fraction, padded(cuts.faces, nodes, value=1.0), grid, dt=dt, walls=walls)
    return in_precision(media, dtype)


def _is_cut(fraction: Tensor) -> Tensor:
    return (fraction > SHORTEST) & (fraction < 1.0 - SHORTEST)


def _plain(media: Media, edge_fraction: Tensor) -> Media:
    return tree.replace(media, metal=media.metal | (edge_fraction <= SHORTEST))


def balanced_media(
    media: Media, edge_fraction: Tensor, face_fraction: Tensor, grid: Grid, *, alpha: float, walls: Walls = BOX
) -> tuple[Media, Balance]:
    """Returns media with the area that alpha calls for on every face, and what that took; no time step is checked."""
    metal = media.metal | (edge_fraction <= SHORTEST)
    zero = torch.zeros((), dtype=edge_fraction.dtype, device=edge_fraction.device)
    open_length = torch.where(metal, zero, edge_fraction)
    # The inverse of the permittivity of the voltage, and the area times permeability: mass matrices of the scheme.
    mobility = [_around(part, walls, c) for c, part in enumerate(_edges(open_length / media.permittivity))]
    area = _faces(face_fraction * media.permeability)
    stencil = _Stencil.of(grid, walls, face_fraction)
    wall = stencil.along_wall(_faces(face_fraction))
    lighter = stencil.with_permittivity(mobility, area, wall, alpha)
    moved = stencil.with_area_moved(lighter, area, _edges(open_length), alpha)
    need = [alpha * value for value in stencil.need(lighter)]
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
    poles = getattr(media, "poles", None)
    if poles is not None:
        share = length[tuple(poles.edges.unbind(1))].to(poles.rate.real)
        changed["poles"] = tree.replace(poles, jump=poles.jump / share, drive=poles.drive / share)
    with torch.no_grad():
        cut = sum(float(_is_cut(values).sum()) for values in _faces(face_fraction))
        balance = Balance(
            alpha=alpha,
            moved=sum(0.5 * float((a - b).abs().sum()) for a, b in zip(moved, area, strict=True)) / max(cut, 1.0),
            enlarged=sum(int((a - b > 1e-6).sum()) for a, b in zip(final, moved, strict=True)),
        )
    return tree.replace(media, **changed), balance


def largest_time_step(grid: Grid, media: Media, *, walls: Walls = BOX, n_iterations: int = 80) -> float:
    """Returns the largest stable time step [s] of the lossless scheme with these media: 2 / sqrt(lambda_max).

    lambda_max of curl (1/mu) curl (1/epsilon) comes from Lanczos iterations [Lanczos1950] on the scheme itself: from
    rest, one step of dt0 takes E to E - dt0^2 K E. The iterations approach it from below, isolated modes at a cut
    first and to many digits.
    """
    media = _lossless(media)
    apply = _curl_curl(grid, media, walls)
    weight = _edge_volumes(grid, walls).to(media.permittivity) * media.permittivity
    weight = torch.where(media.metal, torch.zeros_like(weight), weight)
    root = weight.sqrt()
    inverse_root = torch.where(weight > 0, 1.0 / torch.where(weight > 0, root, 1.0), 0.0)
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(weight.shape, dtype=torch.float64, generator=generator).to(weight.device) * (weight > 0)
    vector = vector / vector.norm()
    before, beta = torch.zeros_like(vector), 0.0
    diagonal, beside = [], []
    with torch.no_grad():
        for _ in range(n_iterations):
            image = root * apply(inverse_root * vector) - beta * before
            diagonal.append(float((image * vector).sum()))
            image = image - diagonal[-1] * vector
            beta = float(image.norm())
            if beta <= 1e-12 * abs(diagonal[0]):
                break
            beside.append(beta)
            before, vector = vector, image / beta
    size = len(diagonal)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if size > 1:
        off = torch.tensor(beside[: size - 1], dtype=torch.float64)
        matrix = matrix + torch.diag(off, 1) + torch.diag(off, -1)
    return 2.0 / math.sqrt(float(torch.linalg.eigvalsh(matrix)[-1]))


def _lossless(media: Media) -> Media:
    """The media in double precision, without a graph, loss or dispersion: what sets the time step."""
    changed = {
        "permittivity": media.permittivity.detach().to(torch.float64),
        "permeability": media.permeability.detach().to(torch.float64),
        "conductivity": torch.zeros((), dtype=torch.float64, device=media.metal.device).expand(media.metal.shape),
    }
    return tree.replace(media, **changed, **({"poles": None} if hasattr(media, "poles") else {}))


def _curl_curl(grid: Grid, media: Media, walls: Walls) -> Callable[[Tensor], Tensor]:
    """E -> (1/epsilon) curl (1/mu) curl E, by the step that the runs take."""
    from elec.fdtd.step import yee_step

    step = yee_step(grid, media, walls=tree.replace(walls, phase=(0.0, 0.0, 0.0)))
    dt, rest = 0.5 * grid.courant_limit(), step.start()

    def apply(electric: Tensor) -> Tensor:
        after = step.advance(tree.replace(rest, electric=electric), 0.0, dt, 1)
        return (electric - after.electric) / dt**2

    return apply


def _edge_volumes(grid: Grid, walls: Walls) -> Float[Tensor, "3 x y z"]:
    """Volume [m^3] that belongs to each electric edge, padded; a magnetic wall cuts it in half."""
    parts = []
    for component in range(3):
        sizes = []
        for axis in range(3):
            size = grid.spacing(axis) if axis == component else walls.dual_spacing(grid, axis)
            if axis != component and walls.sides(axis)[0] == "pmc":
                size = torch.cat([0.5 * size[:1], size[1:]])
            sizes.append(size)
        parts.append(sizes[0][:, None, None] * sizes[1][None, :, None] * sizes[2][None, None, :])
    return padded(parts, [grid.nodes(axis).numel() for axis in range(3)], value=0.0)


def _around(edges: Tensor, walls: Walls, component: int) -> Tensor:
    """Edges of a component with those at the last node of a periodic axis equal to those at the first."""
    for axis in range(3):
        if axis != component and walls.periodic(axis):
            edges = torch.cat([_lower(edges, axis), edges.narrow(axis, 0, 1)], dim=axis)
    return edges


def _edges(values: Float[Tensor, "3 x y z"]) -> Components:
    """The three components of different shapes that a padded tensor of edges holds."""
    ex, ey, ez = (values[c].narrow(c, 0, values.shape[c + 1] - 1) for c in range(3))
    return (ex, ey, ez)


def _faces(values: Float[Tensor, "3 x y z"]) -> Components:
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
        self, mobility: Sequence[Tensor], area: Sequence[Tensor], wall: Sequence[Tensor], alpha: float
    ) -> list[Tensor]:
        """Lowers the mobility of the edges along the wall until their faces have the area that they call for."""
        mobility = list(mobility)
        for _ in range(ROUNDS):
            need = self.need(mobility)
            can = self.need([value * share for value, share in zip(mobility, wall, strict=True)])
            factors = [torch.zeros_like(value) for value in mobility]
            for normal in range(3):
                excess = (need[normal] - area[normal] / alpha).clamp(min=0.0)
                part = (excess / (can[normal] + TINY)).clamp(max=1.0)
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
        self, mobility: Sequence[Tensor], area: Sequence[Tensor], open_length: Sequence[Tensor], alpha: float
    ) -> list[Tensor]:
        """Moves area between faces of one component that share an open edge, from those that have more than enough."""
        moved = []
        for normal, need in enumerate(self.need(mobility)):
            p, q = (normal + 1) % 3, (normal + 2) % 3
            size = self.spacing[p] * self.spacing[q]
            have, wanted = area[normal] * size, alpha * need * size
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


def _pass_on(have: Tensor, wanted: Tensor, between: Sequence[tuple[int, Tensor]]) -> Tensor:
    """One round: faces in need ask their neighbours in proportion to what these can spare and how open the edge is;
    a face that is asked for more than it can spare gives each the same share of what was asked."""
    need, spare = (wanted - have).clamp(min=0.0), (have - wanted).clamp(min=0.0)
    offers = [(axis, opening * _upper(spare, axis), opening * _lower(spare, axis)) for axis, opening in between]
    offered = torch.zeros_like(have)
    for axis, from_above, from_below in offers:
        offered = offered + _widened(from_above, axis, low=True) + _widened(from_below, axis, low=False)
    rate = torch.where(need > 0, (need / (offered + TINY)).clamp(max=1.0), torch.zeros_like(need))
    asked = torch.zeros_like(have)
    requests = []
    for axis, from_above, from_below in offers:
        up, down = _lower(rate, axis) * from_above, _upper(rate, axis) * from_below
        requests.append((axis, up, down))
        asked = asked + _widened(up, axis, low=False) + _widened(down, axis, low=True)
    share = torch.where(asked > spare, spare / (asked + TINY), torch.ones_like(spare))
    for axis, up, down in requests:
        flow = up * _upper(share, axis) - down * _lower(share, axis)
        have = have + _widened(flow, axis, low=True) - _widened(flow, axis, low=False)
    return have


def _lower(values: Tensor, axis: int) -> Tensor:
    return values.narrow(axis, 0, values.shape[axis] - 1)


def _upper(values: Tensor, axis: int) -> Tensor:
    return values.narrow(axis, 1, values.shape[axis] - 1)
