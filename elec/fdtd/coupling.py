"""The entries beside the diagonal of an effective permittivity: edges near slanted interfaces that act on one another.

With Xi the inverse of the tensor of an edge's box [Kottke2008], E_e = sum over f of M_ef D_f, where M_ee = Xi_ee and,
for edges e and f of two components that meet in a node, M_ef = a_ef (Xi(e) + Xi(f)) / 2 with a_ef the share of e's box
that f's box has too, one quarter on even cells. Interpolating D from the four neighbours and taking the mean of both
edges' tensors makes M symmetric under the volumes of the edges [Werner2007], and the scheme second order on curved
interfaces, which the diagonal alone is not [Farjadpour2006]. Tensors that belong to the nodes, or to the corners of
cells, would make M positive by construction, but they average along slanted interfaces twice and stay first order.

M is a sum over nodes of matrices of the six edges that meet there, each edge with half of its diagonal at each end.
Where such a matrix leaves [LEAST times its diagonal, MOST], its entries beside the diagonal are reduced until it does
not: then M is positive, and stable up to 1 / sqrt(MOST) = 0.99 of the Courant limit. On spheres of permittivity up to
12 that happens nowhere.

In a step, edges change by what their own coefficients give, and then each by drive_e (epsilon0 / dt) sum over f of C_ef
(change of E_f), with C_ef = M_ef epsilon_e epsilon_f: to first order in C that is what a capacitance between the edges
gives beside any loss, and without loss it is M exactly. It changes nothing in the compiled laws, and -dt undoes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from elec.fdtd.walls import Walls
from elec.grid import Grid
from mindsci import tree
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY

if TYPE_CHECKING:
    from elec.fdtd.media import Media

# Bounds of the matrix of each node: of I + C in the units of its diagonal, and of M over that of vacuum.
LEAST, MOST = 0.1, 1.0 / 0.99**2
# Coupling below this, as a fraction of both edges' own permittivity, is rounding.
NEGLIGIBLE = 1e-9
BISECTIONS = 20


class Coupling(Tree):
    """Pairs of edges; each pair occurs twice, once for each edge that it acts on."""

    edges: Int[Tensor, "edges 4"]
    """component, then the three node indices; each once"""
    rows: Int[Tensor, "pairs"]
    """place in `edges` of the edge that is acted on"""
    columns: Int[Tensor, "pairs"]
    """place in `edges` of the edge that acts"""
    capacity: Tensor
    """relative permittivity of each pair; complex where Bloch-periodic walls lie between"""

    def index(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        component, i, j, k = self.edges.unbind(1)
        return component, i, j, k

    def weights(self, drive: Float[Tensor, "3 x y z"], dt: float) -> Tensor:
        """Returns what a change of one at the column of each pair adds at its row; drive [m s/F]."""
        return drive[self.index()][self.rows] * (VACUUM_PERMITTIVITY / dt) * self.capacity

    def coupled(self, before: Tensor, after: Tensor, drive: Tensor, dt: float) -> Tensor:
        """Returns the field after a step whose own coefficients have made it `after`."""
        index = self.index()
        change = after[index] - before[index]
        added = self.weights(drive, dt) * change[self.columns]
        total = torch.zeros_like(change).index_add(0, self.rows, added.to(change))
        return after.index_put(index, total, accumulate=True)

    def without(self, held: Bool[Tensor, "3 x y z"]) -> Coupling | None:
        """Returns the pairs of which no edge is marked; None where none is left."""
        free = ~held[self.index()]
        kept = free[self.rows] & free[self.columns]
        if bool(kept.all()):
            return self
        if not bool(kept.any()):
            return None
        return _listed(self.edges[self.rows[kept]], self.edges[self.columns[kept]], self.capacity[kept])


class _Pairs(NamedTuple):
    """Edges e and f that meet in a node: their places among its six, and M_ef as seen from each of them."""

    node: Int[Tensor, "pairs 3"]
    places: tuple[int, int]
    e: Int[Tensor, "pairs 4"]
    f: Int[Tensor, "pairs 4"]
    on_e: Tensor
    on_f: Tensor


def coupled_media(
    media: Media, cross: Float[Tensor, "3 2 nodes_x nodes_y nodes_z"], grid: Grid, *, walls: Walls
) -> Media:
    """Returns the media with their coupling.

    cross: the entries (c, c + 1) and (c, c + 2) of Xi at the edges of component c. Metal and edges with loss or poles
    keep their diagonal alone.
    """
    excluded = media.metal | (media.conductivity.detach() != 0)
    if media.poles is not None:
        excluded[media.poles.index()] = True
    pairs = list(_pairs(media.permittivity, cross, excluded, grid, walls))
    if not pairs:
        return media
    kept = _reduction(pairs, media.permittivity.detach(), media.metal.shape[1:])
    rows, columns, capacity = [], [], []
    for one, factor in zip(pairs, kept, strict=True):
        both = factor * media.permittivity[one.e.unbind(1)] * media.permittivity[one.f.unbind(1)]
        rows += [one.e, one.f]
        columns += [one.f, one.e]
        capacity += [one.on_e * both, one.on_f * both]
    return tree.replace(media, coupling=_listed(torch.cat(rows), torch.cat(columns), torch.cat(capacity)))


def _listed(rows: Tensor, columns: Tensor, capacity: Tensor) -> Coupling:
    edges, place = torch.unique(torch.cat([rows, columns]), dim=0, return_inverse=True)
    first, second = place.split(len(rows))
    order = torch.argsort(first, stable=True)
    return Coupling(edges=edges, rows=first[order], columns=second[order], capacity=capacity[order])


def _pairs(permittivity: Tensor, cross: Tensor, excluded: Tensor, grid: Grid, walls: Walls) -> Iterator[_Pairs]:
    """The pairs of each two components, of the edges behind and before a node (side 0 and 1) along their axes."""
    nodes = permittivity.shape[1:]
    device = permittivity.device
    before = [_before(size, walls.periodic(axis), device) for axis, size in enumerate(nodes)]
    images = torch.zeros(tuple(nodes), dtype=torch.bool, device=device)
    for axis in range(3):
        if walls.periodic(axis):
            images.select(axis, -1).fill_(True)
    shares = [_shares(grid, walls, axis, before[axis]) for axis in range(3)]
    for q in range(3):
        p = (q + 1) % 3

        def at(values: Tensor, axis: int, side: int) -> Tensor:
            return values.index_select(axis, before[axis]) if side else values

        for s, t in itertools.product((0, 1), repeat=2):
            entry = 0.5 * (at(cross[q, 0], q, s) + at(cross[p, 1], p, t))
            size = entry.detach().abs() * (at(permittivity[q], q, s) * at(permittivity[p], p, t)).detach().sqrt()
            open_ = ~(at(excluded[q], q, s) | at(excluded[p], p, t) | images)
            node = ((size > NEGLIGIBLE) & open_).nonzero()
            if not len(node):
                continue
            value = entry[node.unbind(1)]
            e, f = _edge(node, q, s, before), _edge(node, p, t, before)
            phase = _phase(walls, q, s, node) / _phase(walls, p, t, node)
            on_e = value * shares[p][t][node[:, p]].to(value) / phase
            on_f = value * shares[q][s][node[:, q]].to(value) * phase
            yield _Pairs(node, (2 * q + s, 2 * p + t), e, f, on_e, on_f)


def _before(size: int, periodic: bool, device: torch.device) -> Tensor:
    """The index before each; before the first one lies padding, or the last cell of a periodic axis."""
    index = torch.arange(-1, size - 1, device=device)
    index[0] = size - 2 if periodic else size - 1
    return index


def _shares(grid: Grid, walls: Walls, axis: int, before: Tensor) -> tuple[Tensor, Tensor]:
    """Of an edge across the axis, the share of its box next to the edge along the axis behind or before its node.

    A half along its own length, and along the axis the half cell over the width of the box, of which a magnetic wall
    leaves one side.
    """
    cell, dual = grid.spacing(axis), walls.dual_spacing(grid, axis)
    cell = torch.cat([cell, cell[-1:]])
    if walls.sides(axis)[0] == "pmc":
        dual = torch.cat([0.5 * dual[:1], dual[1:]])
    if walls.sides(axis)[1] == "pmc":
        dual = torch.cat([dual[:-1], 0.5 * dual[-1:]])
    share = 0.25 * cell.to(before.device) / dual.to(before.device)
    return share, 0.25 * cell.to(before.device)[before] / dual.to(before.device)


def _edge(node: Tensor, component: int, side: int, before: Sequence[Tensor]) -> Tensor:
    index = list(node.unbind(1))
    if side:
        index[component] = before[component][index[component]]
    return torch.stack([torch.full_like(index[0], component), *index], dim=1)


def _phase(walls: Walls, axis: int, side: int, node: Tensor) -> Tensor | float:
    """The field before the first node of a periodic axis over that of the edge that stands for it."""
    if not (side and walls.periodic(axis) and walls.factor(axis) != 1.0):
        return 1.0
    one = torch.ones(len(node), dtype=torch.complex128, device=node.device)
    return torch.where(node[:, axis] == 0, one / walls.factor(axis), one)


def _reduction(pairs: Sequence[_Pairs], permittivity: Tensor, nodes: Sequence[int]) -> list[Tensor]:
    """Factors for the pairs that keep the matrix of every node within its bounds."""
    _, n_y, n_z = nodes
    names = [(one.node[:, 0] * n_y + one.node[:, 1]) * n_z + one.node[:, 2] for one in pairs]
    known, place = torch.unique(torch.cat(names), return_inverse=True)
    places = place.split([len(name) for name in names])
    diagonal = torch.zeros(len(known), 6, dtype=torch.float64, device=known.device)
    beside = torch.zeros(len(known), 6, 6, dtype=torch.float64, device=known.device)
    for one, where in zip(pairs, places, strict=True):
        a, b = one.places
        diagonal[where, a] = 1.0 / permittivity[one.e.unbind(1)].to(torch.float64)
        diagonal[where, b] = 1.0 / permittivity[one.f.unbind(1)].to(torch.float64)
        # Twice, for the diagonal belongs to the node by half.
        entry = 2.0 * one.on_e.detach().abs().sqrt() * one.on_f.detach().abs().sqrt()
        entry = (entry * (one.on_e.detach() / _phase_free(one)).real.sign()).to(torch.float64)
        beside[where, a, b] = beside[where, b, a] = entry
    diagonal = torch.where(diagonal > 0, diagonal, diagonal.amax(1, keepdim=True))
    factor = _largest_factor(diagonal, beside)
    return [factor[where].to(one.on_e.real.dtype) for one, where in zip(pairs, places, strict=True)]


def _phase_free(one: _Pairs) -> Tensor | float:
    """What on_e has beside the sign of its real value, for Bloch-periodic walls."""
    return (one.on_e / one.on_f).detach().sqrt() if one.on_e.is_complex() else 1.0


def _largest_factor(diagonal: Float[Tensor, "nodes 6"], beside: Float[Tensor, "nodes 6 6"]) -> Float[Tensor, "nodes"]:
    """Returns the largest factor up to 1 of the entries beside the diagonal that keeps the bounds."""
    root = diagonal.rsqrt()
    scaled = root[:, :, None] * beside * root[:, None, :]
    eye = torch.eye(6, dtype=diagonal.dtype, device=diagonal.device)
    highest = diagonal.amax(1).clamp(min=1.0) * MOST

    def fits(factor: Tensor, which: Tensor) -> Tensor:
        low = torch.linalg.eigvalsh(eye + factor[:, None, None] * scaled[which])[:, 0]
        whole = torch.diag_embed(diagonal[which]) + factor[:, None, None] * beside[which]
        return (low >= LEAST) & (torch.linalg.eigvalsh(whole)[:, -1] <= highest[which])

    found = torch.ones_like(highest)
    everywhere = torch.arange(len(found), device=found.device)
    bad = everywhere[~fits(found, everywhere)]
    low, high = torch.zeros_like(found[bad]), torch.ones_like(found[bad])
    for _ in range(BISECTIONS if len(bad) else 0):
        middle = 0.5 * (low + high)
        good = fits(middle, bad)
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return found.index_put((bad,), low)
