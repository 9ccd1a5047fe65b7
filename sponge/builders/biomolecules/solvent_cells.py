"""Cells for a solute in solvent: rectangular, cube, truncated octahedron, rhombic dodecahedron."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError, UnknownNameError

SHAPES = {
    "cube": numpy.eye(3),
    "dodecahedron": numpy.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.5**0.5]]),
    "octahedron": numpy.array(
        [[1.0, 0.0, 0.0], [1.0 / 3.0, 8.0**0.5 / 3.0, 0.0], [-1.0 / 3.0, 2.0**0.5 / 3.0, 6.0**0.5 / 3.0]]
    ),
}
"""Row vectors for images a distance of 1 apart: of the volume of a cube, 71 % and 77 %"""
LEAST_EDGE = 6.0
"""[angstrom]"""


def solvent_cell(positions: NDArray[numpy.float64], shape: str, padding: float) -> NDArray[numpy.float64]:
    """Returns the row vectors [angstrom] of a cell with at least `padding` about a solute.

    "box" has edges of its own along x, y and z, and serves where the solute does not turn. The others hold the sphere
    about it: whichever way it turns, its images stay twice the padding away.
    """
    if shape not in ("box", *SHAPES):
        raise UnknownNameError.of("shape of a cell", shape, ["box", *SHAPES])
    if not padding >= 0.0:
        raise InputError(f"padding = {padding:g} angstrom; use 0 or more, 10 as a rule")
    low, high = positions.min(0), positions.max(0)
    if shape == "box":
        cell = numpy.diag(high - low + 2.0 * padding)
    else:
        radius = float(numpy.linalg.norm(positions - 0.5 * (low + high), axis=1).max())
        cell = 2.0 * (radius + padding) * SHAPES[shape]
    check_cell(cell)
    return cell


def check_cell(cell: NDArray[numpy.float64]) -> None:
    """Raises InputError for a cell that has no volume, or is too thin for a molecule of water."""
    if cell.shape != (3, 3) or not numpy.isfinite(cell).all():
        raise InputError(f"cell has shape {list(cell.shape)}; give three row vectors in angstrom")
    volume = abs(float(numpy.linalg.det(cell)))
    faces = numpy.linalg.norm(numpy.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    if not volume > 0 or float((volume / faces).min()) < LEAST_EDGE:
        width = float((volume / faces).min()) if volume > 0 else 0.0
        raise InputError(
            f"the cell is {width:.3g} angstrom thin, less than {LEAST_EDGE:g}; give more padding or a larger cell"
        )


def images(
    positions: NDArray[numpy.float64], cell: NDArray[numpy.float64], reach: float
) -> tuple[NDArray[numpy.float64], NDArray[numpy.int64]]:
    """Returns positions with those of their images that lie within `reach` of the cell, and whose image each is.

    The cell begins at the origin; positions lie in it, or nearly.
    """
    shifts = numpy.stack(numpy.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    inverse = numpy.linalg.inv(cell)
    # How far, in fractions of each vector, a distance reaches.
    margin = reach * numpy.linalg.norm(inverse, axis=0)
    fractional = (positions @ inverse)[None] + shifts[:, None]
    near = ((fractional > -margin) & (fractional < 1.0 + margin)).all(-1)
    near |= (shifts == 0).all(1)[:, None]
    which, atom = near.nonzero()
    return positions[atom] + shifts[which] @ cell, atom
