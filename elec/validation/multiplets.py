"""Frequencies of all members of a multiplet of a cavity: eigenvalues of the scheme itself, without a run.

The grid breaks the symmetry of a sphere, so the 2 l + 1 equal modes of degree l split. A peak of a spectrum stands on
whichever members the source struck, and moves from member to member between grids: its error has no order. To first
order in what the grid changes, the eigenvalues of the multiplet are those of a matrix between its members, and their
mean is its trace over 2 l + 1: independent of the choice of members, an average of the wall's error over all of the
sphere, in which what depends on where walls lie in cells cancels. That mean is what an order can be judged by.

With D the curl on the cells, modes solve D^T mu^-1 D E = k^2 epsilon E, and the leapfrog oscillates at
sin(omega dt / 2) = c k dt / 2 exactly.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import eigsh

from elec.fdtd import Media
from elec.grid import Grid
from mindsci.units import SPEED_OF_LIGHT


def multiplet(
    grid: Grid, media: Media, frequency: float, members: int, dt: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the members' frequencies [Hz] nearest to a frequency, rising, and their fields in the padded layout.

    The media have no loss, and what surrounds the cavity is metal. dt [s] is the leapfrog's step.
    """
    free = torch.nonzero(~media.metal.reshape(-1))[:, 0].numpy()
    curl = _curl(grid)[:, free]
    permeability = media.permeability.reshape(-1).numpy()
    root = media.permittivity.reshape(-1).numpy()[free] ** -0.5
    scaled = sparse.diags(permeability**-0.5) @ curl @ sparse.diags(root)
    wanted = (2.0 / (SPEED_OF_LIGHT * dt) * math.sin(math.pi * frequency * dt)) ** 2
    start = np.random.default_rng(0).standard_normal(len(free))
    squares, vectors = eigsh((scaled.T @ scaled).tocsc(), k=members, sigma=wanted, v0=start)
    fields = np.zeros((members, media.metal.numel()))
    fields[:, free] = (root[:, None] * vectors).T
    found = np.arcsin(0.5 * SPEED_OF_LIGHT * dt * np.sqrt(squares)) / (math.pi * dt)
    order = np.argsort(found)
    return found[order], fields[order].reshape(members, *media.metal.shape)


def _curl(grid: Grid) -> sparse.csr_matrix:
    """Differences over cells of the three components at the nodes; rows behind the last cell are zero."""
    nodes = [cells + 1 for cells in grid.shape]
    steps = []
    for axis in range(3):
        pitch = np.append(1.0 / grid.spacing(axis).numpy(), 0.0)
        step = sparse.diags([-pitch, pitch[:-1]], [0, 1])
        parts = [step if other == axis else sparse.identity(nodes[other]) for other in range(3)]
        steps.append(sparse.kron(sparse.kron(parts[0], parts[1]), parts[2]))
    x, y, z = steps
    return sparse.bmat([[None, -z, y], [z, None, -x], [-y, x, None]]).tocsr()
