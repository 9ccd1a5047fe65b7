"""The Ewald sum beyond its real-space part, with a conducting boundary [eV]."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sponge.cells import inverse
from sponge.system import System

AT_ONCE = 2**21
"""Phases, one of each atom and wave, that are held at a time: 16 MiB in float64"""


def reciprocal(
    system: System, charges: Float[Tensor, " atoms"], *, alpha: float, reach: float
) -> Float[Tensor, " systems"]:
    """Returns 2 pi / V sum over 0 < |k| <= reach of exp(-k^2 / 4 alpha^2) / k^2 |S(k)|^2 [e^2/angstrom] [Ewald1921].

    Waves are taken some at a time and, where derivatives are wanted, computed again for them: never all at once.
    """
    edges = system.starts.tolist()
    found = []
    for owner in range(system.n_systems):
        atoms = slice(edges[owner], edges[owner + 1])
        cell = system.cell[owner]
        numbers = wave_numbers(cell.detach(), reach)
        inputs = (system.positions[atoms], cell, charges[atoms])
        total = torch.zeros((), dtype=torch.float64, device=cell.device)
        for some in numbers.split(max(1, AT_ONCE // (edges[owner + 1] - edges[owner]))):
            if torch.is_grad_enabled() and any(one.requires_grad for one in inputs):
                part = checkpoint(_of_waves, *inputs, some, alpha, use_reentrant=False, preserve_rng_state=False)
            else:
                part = _of_waves(*inputs, some, alpha)
            total = total + part
        # Half of the wave vectors are listed: twice.
        found.append(4.0 * math.pi / torch.linalg.det(cell).abs() * total)
    return torch.stack(found).double()


def _of_waves(positions: Tensor, cell: Tensor, charges: Tensor, numbers: Tensor, alpha: float) -> Float[Tensor, ""]:
    k = numbers.to(cell.dtype) @ (2.0 * math.pi * inverse(cell).mT)
    square = (k * k).sum(-1)
    phases = positions @ k.mT
    real = charges @ torch.cos(phases)
    imaginary = charges @ torch.sin(phases)
    weight = torch.exp(-square / (4.0 * alpha**2)) / square
    return (weight * (real**2 + imaginary**2)).double().sum()


def wave_numbers(cell: Float[Tensor, "3 3"], reach: float) -> Int[Tensor, "waves 3"]:
    """Returns the whole numbers of the wave vectors up to a length [1/angstrom], one of each two opposite ones."""
    most = (reach * torch.linalg.vector_norm(cell, dim=-1) / (2.0 * math.pi)).floor().to(torch.int64).tolist()
    axes = [torch.arange(-size, size + 1, device=cell.device) for size in most]
    numbers = torch.cartesian_prod(*axes).reshape(-1, 3)
    first, second, third = numbers.unbind(1)
    upper = (first > 0) | ((first == 0) & ((second > 0) | ((second == 0) & (third > 0))))
    length = torch.linalg.vector_norm(numbers.to(cell.dtype) @ (2.0 * math.pi * inverse(cell).mT), dim=-1)
    return numbers[upper & (length <= reach)]


def self_energy(system: System, charges: Float[Tensor, " atoms"], alpha: float) -> Float[Tensor, " systems"]:
    """Returns -alpha / sqrt(pi) sum q^2 [e^2/angstrom]."""
    return -alpha / math.sqrt(math.pi) * system.sum_over_atoms(charges.double() ** 2)


def background(system: System, charges: Float[Tensor, " atoms"], alpha: float) -> Float[Tensor, " systems"]:
    """Returns -pi Q^2 / (2 V alpha^2) of the uniform charge that neutralises a net one Q [e^2/angstrom]."""
    net = system.sum_over_atoms(charges.double())
    return -math.pi * net**2 / (2.0 * torch.linalg.det(system.cell).abs().double() * alpha**2)
