"""How long the time step of the scheme may be with given media, and where it is unstable at one that is too long."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from elec.fdtd.media import BOX, Media
from elec.fdtd.walls import Walls
from elec.grid import Grid
from mindsci import tree

# Steps in which a mode that misses the time step by half a thousandth grows 10^7 times, for the noise may hold little
# of it; how many run at a time.
STEPS, AT_A_TIME = 280, 10
# Stable noise of unit size stays well below this everywhere: the steps are Chebyshev polynomials, bounded by 1.
GROWN = 20.0
# An unstable mode is where its size is at least this fraction of that of the largest within REACH edges.
NEARBY, REACH = 0.1, 3


def largest_time_step(grid: Grid, media: Media, *, walls: Walls = BOX, n_iterations: int = 80) -> float:
    """Returns the largest stable time step [s] of the lossless scheme with these media: 2 / sqrt(lambda_max).

    lambda_max of curl (1/mu) curl (1/epsilon) comes from Lanczos iterations [Lanczos1950] on the scheme itself: from
    rest, one step of dt0 takes E to E - dt0^2 K E. The iterations approach it from below, isolated modes at a cut
    first and to many digits.
    """
    media = _lossless(media)
    apply = _curl_curl(grid, media, walls)
    weight = _edge_weights(grid, media, walls)
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


def unstable_edges(grid: Grid, media: Media, dt: float, *, walls: Walls = BOX) -> Bool[Tensor, "3 x y z"]:
    """Returns the edges around which the lossless scheme with these media is unstable at dt [s]; none where it is not.

    The step of the run itself is applied to noise: from the right magnetic field it makes of each mode a Chebyshev
    polynomial of its eigenvalue, which stays within 1 where the mode is stable and grows as an exponential where not.
    All unstable modes show at once, each at its place.
    """
    media = _lossless(media)
    root = _edge_weights(grid, media, walls).sqrt()
    free = root > 0
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(root.shape, dtype=torch.float64, generator=generator).to(root.device)
    step = _closed_step(grid, media, walls)
    start = tree.replace(step.start(), electric=torch.where(free, noise / torch.where(free, root, 1.0), 0.0))
    half = step.advance(start, 0.0, dt, 1).magnetic
    fields = tree.replace(start, magnetic=-0.5 * half)
    for _ in range(STEPS // AT_A_TIME):
        fields = step.advance(fields, 0.0, dt, AT_A_TIME)
        size = (fields.electric * root).abs()
        if float(size.max()) > GROWN:
            around = size.amax(0, keepdim=True)[None]
            for axis in range(3):
                width, pad = [1, 1, 1], [0, 0, 0]
                width[axis], pad[axis] = 2 * REACH + 1, REACH
                around = functional.max_pool3d(around, tuple(width), stride=1, padding=tuple(pad))
            around = around[0]
            return (size > GROWN) & (size > NEARBY * around)
    return torch.zeros_like(free)


def _lossless(media: Media) -> Media:
    """The media in double precision, without a graph, loss or dispersion: what sets the time step.

    Without coupling too, which has its own bound (`elec.fdtd.coupling`).
    """
    changed = {
        "permittivity": media.permittivity.detach().to(torch.float64),
        "permeability": media.permeability.detach().to(torch.float64),
        "conductivity": torch.zeros((), dtype=torch.float64, device=media.metal.device).expand(media.metal.shape),
    }
    return tree.replace(media, **changed, poles=None, magnetic_conductivity=None, magnetic_poles=None, coupling=None)


def _curl_curl(grid: Grid, media: Media, walls: Walls) -> Callable[[Tensor], Tensor]:
    """E -> (1/epsilon) curl (1/mu) curl E, by the step that the runs take."""
    step = _closed_step(grid, media, walls)
    dt, rest = 0.5 * grid.courant_limit(), step.start()

    def apply(electric: Tensor) -> Tensor:
        after = step.advance(tree.replace(rest, electric=electric), 0.0, dt, 1)
        return (electric - after.electric) / dt**2

    return apply


def _closed_step(grid: Grid, media: Media, walls: Walls) -> Any:
    """The step without layers; real, since a phase of the walls changes no bound."""
    from elec.fdtd.step import yee_step

    return yee_step(grid, media, walls=tree.replace(walls, phase=(0.0, 0.0, 0.0)))


def _edge_weights(grid: Grid, media: Media, walls: Walls) -> Float[Tensor, "3 x y z"]:
    """Twice the energy of each edge for a field of one, over the vacuum permittivity; zero on metal."""
    weight = walls.widths(grid).volumes().to(media.permittivity) * media.permittivity
    return torch.where(media.metal, torch.zeros_like(weight), weight)
