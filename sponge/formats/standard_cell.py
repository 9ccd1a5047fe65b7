"""Cells as lengths and angles, which is all that DCD, XTC and PDB know: positions turn with them."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray


def turned(positions: NDArray[Any], cell: NDArray[Any]) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Returns positions (frames, atoms, 3) and cells (frames, 3, 3) with a along x and b in the plane of x and y.

    What is so already, and what has no cell, stays as it is.
    """
    cell = cell.astype(numpy.float64)
    upper = numpy.abs(cell[:, [0, 0, 1], [1, 2, 2]]).max(initial=0.0)
    if upper == 0.0 or numpy.linalg.matrix_rank(cell).min() < 3:
        return positions.astype(numpy.float64), cell
    rotation, lower = numpy.linalg.qr(cell.transpose(0, 2, 1))
    # Positive diagonals; the third vector keeps the handedness of the cell.
    signs = numpy.sign(numpy.diagonal(lower, axis1=1, axis2=2))
    signs[:, 2] *= numpy.sign(numpy.linalg.det(rotation)) * signs.prod(1)
    rotation = rotation * signs[:, None, :]
    return numpy.einsum("fai,fij->faj", positions, rotation), cell @ rotation


def lengths_and_angles(cell: NDArray[Any]) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Returns the lengths [angstrom] and the cosines of alpha, beta, gamma of cells (frames, 3, 3)."""
    lengths = numpy.linalg.norm(cell, axis=-1)
    unit = cell / lengths[..., None]
    cosines = numpy.stack([(unit[:, i] * unit[:, j]).sum(-1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=-1)
    return lengths, numpy.clip(cosines, -1.0, 1.0)


def cell_of(lengths: NDArray[Any], cosines: NDArray[Any]) -> NDArray[numpy.float64]:
    """Returns cells (frames, 3, 3) of lengths and cosines of angles, a along x; zero where a length is zero."""
    a, b, c = lengths.T
    alpha, beta, gamma = cosines.T
    sine = numpy.sqrt(1.0 - gamma**2)
    cell = numpy.zeros((len(lengths), 3, 3))
    cell[:, 0, 0] = a
    cell[:, 1, 0], cell[:, 1, 1] = b * gamma, b * sine
    cell[:, 2, 0] = c * beta
    cell[:, 2, 1] = c * (alpha - beta * gamma) / sine
    cell[:, 2, 2] = numpy.sqrt(numpy.maximum(c**2 - cell[:, 2, 0] ** 2 - cell[:, 2, 1] ** 2, 0.0))
    return numpy.where((lengths > 0).all(1)[:, None, None], cell, 0.0)
