"""The Triton engine of the search: sorted into bins by operations of the device, searched by a kernel.

Nothing waits for the host, unless as much room as there are edges is to be made.
"""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor

from sponge import cells
from sponge.neighbors.lists import row_pointers
from sponge.system import System

DIVISIONS = (1.0, 1.0, 8.0)
"""bins within the reach along each axis, as in cell_kernels"""
BLOCK = 32
"""neighbours that one program looks at together"""


def cannot(device: torch.device) -> str | None:
    """Returns why the engine does not serve on a device, None where it does."""
    if importlib.util.find_spec("triton") is None:
        return "the package 'triton' is not installed; pip install 'mindsci[interpret]'"
    if device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return None
    return "it runs on CUDA devices, or anywhere with TRITON_INTERPRET=1 set before the start"


def edges(
    system: System, reach: float, *, half: bool, shifts: bool, capacity: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Returns rows, centre, neighbour and shift of every pair closer than `reach` [angstrom].

    capacity: edges to make room for; those beyond are left out, and `rows` tells how many there would be. 0: as many
    as there are, which the host asks for.
    """
    from sponge.neighbors.triton_kernels import edges_kernel

    n_atoms = system.n_atoms
    order, places, fractions, homes, bins, counts, spans, cell = divide(system, reach)
    owner, flags = system.system.contiguous(), system.periodic.to(torch.int32).contiguous()
    nothing, first = order.new_zeros(0), system.starts.contiguous()
    degree, no_rows = order.new_empty(n_atoms), order.new_zeros(n_atoms)
    common = (order, places, fractions, homes, owner, bins, counts, spans, cell, flags, first)
    options = {"HALF": half, "SHIFTS": shifts, "BLOCK": BLOCK, "num_warps": 1}
    none = torch.zeros(0, 3, dtype=torch.int32, device=order.device)
    # In an array, for a number would be rounded to float32.
    sizes = (places.new_tensor([reach * reach]), n_atoms)
    grid = (n_atoms,)
    edges_kernel[grid](*common, no_rows, degree, nothing, nothing, none, *sizes, 0, FILL=False, **options)
    rows = row_pointers(degree)
    size = capacity or int(rows[-1])
    centre, neighbor = order.new_zeros(size), order.new_zeros(size)
    shift = torch.zeros(size if shifts else 0, 3, dtype=torch.int32, device=order.device)
    if size:
        edges_kernel[grid](*common, rows, degree, centre, neighbor, shift, *sizes, size, FILL=True, **options)
    return rows, centre, neighbor, shift if shifts else None


def divide(system: System, reach: float) -> tuple[Tensor, ...]:
    """Returns what the kernel needs, atoms sorted by bin: as `cell_kernels.divide`, without a loop.

    A system has no more bins than atoms, so that its bins are numbered from its first atom on, and the sizes of all
    arrays are known beforehand.
    """
    cell = cells.completed_cell(system.cell.detach().double(), system.periodic)
    inverse, index = cells.inverse(cell), system.system
    positions = system.positions.detach().double()
    fraction = torch.einsum("ad,adk->ak", positions, inverse[index])
    periodic = system.periodic[index]
    home = torch.where(periodic, torch.floor(fraction), 0.0)
    fraction = fraction - home
    spread = index[:, None].expand(-1, 3)
    blank = fraction.new_zeros(system.n_systems, 3)
    low = blank.scatter_reduce(0, spread, fraction, "amin", include_self=False)
    high = blank.scatter_reduce(0, spread, fraction, "amax", include_self=False)
    extent = torch.where(system.periodic, 1.0, (high - low).clamp(min=1e-3 * reach))
    height = torch.where(system.periodic, 1.0 / torch.linalg.vector_norm(inverse, dim=-2), extent)
    fraction = torch.where(periodic, fraction, (fraction - low[index]) / extent[index])
    spans = reach / height * (1.0 + 1e-9) + 1e-12
    counts = _bins(spans, system.atom_counts)
    size = counts[index]
    at = torch.minimum((fraction * size).to(torch.int64), size - 1)
    which = system.starts[:-1][index] + (at[:, 0] * size[:, 1] + at[:, 1]) * size[:, 2] + at[:, 2]
    sorted_bins, order = which.sort(stable=True)
    bins = torch.searchsorted(sorted_bins, torch.arange(system.n_atoms + 1, device=order.device))
    places = (positions - torch.einsum("ak,akd->ad", home, cell[index]))[order].T.contiguous()
    homes = home[order].to(torch.int32).contiguous()
    return order, places, fraction[order].contiguous(), homes, bins, counts, spans.contiguous(), cell.contiguous()


def _bins(spans: Tensor, n_atoms: Tensor) -> Tensor:
    """Returns the number of bins along each axis of each system, not more in all than its atoms."""
    wanted = (torch.tensor(DIVISIONS, dtype=spans.dtype, device=spans.device) / spans).clamp(max=1e6)
    counts = wanted.floor().clamp(min=1.0)
    # Axes of several bins share what is too many; each pass either ends it or leaves one axis a single bin.
    for _ in range(3):
        excess = (n_atoms / counts.prod(-1)).clamp(max=1.0)
        several = (counts > 1).sum(-1).clamp(min=1)
        counts = (counts * (excess ** (1.0 / several))[:, None] + 1e-9).floor().clamp(min=1.0)
    return counts.to(torch.int64)
