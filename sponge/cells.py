"""Cells: their inverse, how far apart their planes are, vectors where they have none; nothing waits for the host."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def completed_cell(cell: Float[Tensor, "systems 3 3"], periodic: Bool[Tensor, "systems 3"]) -> Float[Tensor, "s 3 3"]:
    """Returns cells whose open directions are unit vectors normal to the periodic ones and to each other."""
    given = torch.where(periodic[:, :, None], cell, 0.0)
    a, b, c = given.unbind(1)
    count = periodic.sum(-1)[:, None, None]
    # Two periodic vectors: only one of the three products is not zero.
    normal = _unit(_cross(a, b) + _cross(b, c) + _cross(c, a))[:, None]
    # One: the axis that it leans on least gives the first normal, and both give the second.
    single = given.sum(1)
    least = torch.nn.functional.one_hot(single.abs().argmin(-1), 3).to(cell)
    first = _unit(_cross(single, least))
    second = _unit(_cross(single, first))
    after, before = periodic.roll(1, -1)[:, :, None], periodic.roll(2, -1)[:, :, None]
    two_missing = torch.where(after, first[:, None], torch.where(before, second[:, None], 0.0))
    missing = torch.where(count == 2, normal, torch.where(count == 1, two_missing, torch.eye(3).to(cell)))
    return torch.where(periodic[:, :, None], given, missing)


def inverse(cell: Float[Tensor, "*systems 3 3"]) -> Float[Tensor, "*systems 3 3"]:
    """Returns the inverse of each cell by its adjugate: on a GPU, torch's own would wait for the host."""
    a, b, c = cell.unbind(-2)
    columns = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], dim=-1)
    return columns / (a * columns[..., 0]).sum(-1)[..., None, None]


def heights(cell: Float[Tensor, "*systems 3 3"]) -> Float[Tensor, "*systems 3"]:
    """Returns the distance between the two planes of each cell along each of its vectors [angstrom]."""
    return 1.0 / torch.linalg.vector_norm(inverse(cell), dim=-2)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.cross(a, b, dim=-1)


def _unit(vector: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    return vector / torch.where(norm > 0, norm, 1.0)
