"""Parts to CAD files that are the same to the bit each time: binary STL, and STEP of polyhedra.

No date, no version, no order that depends on a hash is written.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from elec.geometry.part import Part
from elec.geometry.step import step_text
from mindsci.errors import InputError
from mindsci.files import writing
from mindsci.units import parse

STL_HEADER = b"mindsci".ljust(80, b"\0")


def write_stl(path: str | Path, part: Part, *, unit: str = "mm") -> None:
    """Writes the triangles of a part as binary STL in a unit of length, which the file itself does not record."""
    scale = parse(f"1 {unit}", "m")
    corners = _rounded(part.triangles().detach().cpu().numpy() / scale)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    # Adding zero turns -0.0 into 0.0: which of the two a product gives differs between processors.
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0).round(7) + 0.0
    record = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    record["normal"] = normals
    record["corners"] = corners
    with writing(path) as temporary:
        temporary.write_bytes(STL_HEADER + struct.pack("<I", len(record)) + record.tobytes())


def write_step(path: str | Path, part: Part) -> None:
    """Writes a solid with flat faces as STEP (AP214) in millimetres.

    Triangles of one plane that hang together become one face. Raises InputError for a sheet or a solid with a cavity.
    """
    if part.kind != "solid":
        raise InputError(f"part '{part.name}' is a {part.kind}: write_step takes solids; write a sheet with write_stl")
    vertices: Float[ndarray, "vertices 3"] = _rounded(part.vertices.detach().cpu().numpy() * 1e3)
    faces: Int[ndarray, "faces 3"] = part.faces.cpu().numpy()
    text = step_text(part.name, vertices, faces)
    with writing(path) as temporary:
        temporary.write_text(text, encoding="ascii", newline="\n")


def _rounded(values: ndarray) -> ndarray:
    """Twelve significant digits of the largest coordinate: drops the last-bit noise of changing units."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return values
    return np.round(values, 12 - int(np.floor(np.log10(largest)))) + 0.0
