"""Attention of each atom over its neighbours and itself, on rows of neighbours of equal length."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from mindsci.tree import Tree
from sponge.neighbors import Neighbors
from sponge.neighbors.lists import row_pointers


class Slots(Tree):
    """Neighbours of every atom in a rectangle, the atom itself first, the last slots of short rows void."""

    neighbor: Int[Tensor, "atoms slots"]
    edge: Int[Tensor, "atoms slots"]
    """of the list that the slots were made from; the number of its edges stands for the atom itself"""
    filled: Bool[Tensor, "atoms slots"]

    def pick(self, of_edges: Float[Tensor, "edges_and_self *rest"]) -> Float[Tensor, "atoms slots *rest"]:
        """Returns a value of each edge, with that of an atom and itself after the last, for each slot."""
        rest = of_edges.shape[1:]
        return of_edges.index_select(0, self.edge.flatten()).view(*self.edge.shape, *rest)

    def pick_atoms(self, of_atoms: Float[Tensor, "atoms features"]) -> Float[Tensor, "atoms slots features"]:
        """Returns a value of the neighbour in each slot."""
        return of_atoms.index_select(0, self.neighbor.flatten()).view(*self.neighbor.shape, -1)


def slots(neighbors: Neighbors) -> Slots:
    """Returns the slots of a list; a half list fills those of both atoms of a pair.

    The host waits for the length of the longest row.
    """
    n_atoms = len(neighbors.rows) - 1
    centre, neighbor = neighbors.centre, neighbors.neighbor
    if neighbors.worst is not None:  # The last edges of a list of fixed capacity are void.
        used = int(neighbors.rows[-1])
        centre, neighbor = centre[:used], neighbor[:used]
    edge = torch.arange(len(centre), device=centre.device)
    rows = neighbors.rows.clamp(max=len(centre))  # One that is too full is made anew; until then nothing may break.
    if neighbors.half:
        centre, neighbor, edge = torch.cat((centre, neighbor)), torch.cat((neighbor, centre)), edge.repeat(2)
        centre, order = centre.sort(stable=True)
        neighbor, edge = neighbor.index_select(0, order), edge.index_select(0, order)
        rows = row_pointers(torch.bincount(centre, minlength=n_atoms))
    degree = rows.diff()
    place = torch.arange(int(degree.max()), device=centre.device)
    filled = place < degree[:, None]
    at = torch.where(filled, rows[:-1, None] + place, 0).flatten()
    atoms = torch.arange(n_atoms, device=centre.device)[:, None]
    own = torch.full_like(atoms, neighbors.n_edges)

    def rectangle(values: Tensor, own: Tensor) -> Tensor:
        found = values.index_select(0, at).view(filled.shape) if len(values) else own.expand(filled.shape)
        return torch.cat((own, torch.where(filled, found, own)), dim=1)

    return Slots(
        neighbor=rectangle(neighbor, atoms),
        edge=rectangle(edge, own),
        filled=torch.cat((torch.ones_like(atoms, dtype=torch.bool), filled), dim=1),
    )


class Residual(nn.Module):
    """x + W2 silu(W1 x + b1) + b2."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, features)
        self.outer = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(silu(self.inner(x)))


class EgoAttention(nn.Module):
    """x_a + W_o sum over b, a itself among them, of w_ab W_v z_ab, in several heads [Zhang2020; Vaswani2017].

    z_ab = LayerNorm(x_b * g_ab + time); w_ab = f_ab exp(s_ab) / sum over c of f_ac exp(s_ac), f the envelope of a pair,
    1 for an atom and itself, s_ab = (W_q z_aa) . (W_k z_ab) / sqrt(features / heads).
    """

    def __init__(self, features: int, heads: int, feed_forward: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(features)
        self.query, self.key, self.value, self.out = (nn.Linear(features, features, bias=False) for _ in range(4))
        self.feed_forward = nn.Sequential(nn.LayerNorm(features), Residual(features)) if feed_forward else None

    def forward(
        self,
        x: Float[Tensor, "atoms features"],
        embedded: Float[Tensor, "atoms slots features"],
        envelope: Float[Tensor, "atoms slots"],
        where: Slots,
        time: Float[Tensor, " features"] | None = None,
    ) -> Float[Tensor, "atoms features"]:
        z = where.pick_atoms(x) * embedded
        # What the norm multiplies and adds is done later, on atoms instead of edges.
        z = layer_norm(z if time is None else z + time, x.shape[-1:], eps=self.norm.eps)
        x = x + self.out(self._mix(self.weights(z, envelope), z))
        return x if self.feed_forward is None else self.feed_forward(x)

    def weights(
        self, z: Float[Tensor, "atoms slots features"], envelope: Float[Tensor, "atoms slots"]
    ) -> Float[Tensor, "atoms heads slots"]:
        """Returns the weight of each slot in each head; those of an atom add up to one.

        z: normalised, before the norm's own factor and offset.
        """
        features = z.shape[-1]
        size = features // self.heads
        # (W_q z_aa) . (W_k z_ab) = (W_k^T W_q z_aa) . z_ab: a key for every atom and head, not for every edge. What is
        # added to all keys of an atom changes no weight.
        query = self.query(z[:, 0] * self.norm.weight + self.norm.bias).view(-1, self.heads, size).transpose(0, 1)
        keys = (self.key.weight * self.norm.weight).view(self.heads, size, features)
        query = torch.bmm(query, keys).transpose(0, 1)
        scores = torch.bmm(query, z.mT) * size**-0.5
        outside = (envelope == 0)[:, None]
        scores = scores - scores.detach().masked_fill(outside, -torch.inf).amax(-1, keepdim=True)
        shares = torch.exp(scores.masked_fill(outside, 0.0)) * envelope[:, None]
        return shares / shares.sum(-1, keepdim=True)

    def _mix(self, weights: Tensor, z: Tensor) -> Float[Tensor, "atoms features"]:
        # sum_b w_ab (W_v z_ab) = W_v (sum_b w_ab z_ab); the weights of an atom add up to one.
        features = z.shape[-1]
        values = self.value.weight.view(self.heads, features // self.heads, features)
        mixed = torch.bmm(weights, z) * self.norm.weight + self.norm.bias
        mixed = torch.bmm(mixed.transpose(0, 1), values.mT)
        return mixed.transpose(0, 1).reshape(-1, features)
