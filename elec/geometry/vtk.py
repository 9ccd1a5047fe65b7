"""VTK files for ParaView: fields on the rectilinear grid (.vtr) and the triangles of the parts (.vtu)."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from elec.geometry.part import Part
from elec.grid import Grid
from mindsci.errors import InputError
from mindsci.files import writing

VTK_TYPES = {
    "float32": "Float32",
    "float64": "Float64",
    "uint8": "UInt8",
    "int32": "Int32",
    "int64": "Int64",
}


def write_rectilinear(
    path: str | Path,
    grid: Grid,
    cell_fields: Mapping[str, Tensor] | None = None,
    point_fields: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes fields on a grid as XML VTK (.vtr) with the numbers appended in binary; coordinates in [m].

    A cell field has the shape (nx, ny, nz), a point field (nx + 1, ny + 1, nz + 1); a vector field has its three
    components first. Raises InputError for another shape or type.
    """
    blocks: list[ndarray] = []
    nodes = tuple(n + 1 for n in grid.shape)
    extent = " ".join(f"0 {n}" for n in grid.shape)
    lines = [
        '<?xml version="1.0"?>',
        '<VTKFile type="RectilinearGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
        f'<RectilinearGrid WholeExtent="{extent}">',
        f'<Piece Extent="{extent}">',
        "<PointData>",
        *(_declare(name, _values(name, field, nodes), blocks) for name, field in (point_fields or {}).items()),
        "</PointData>",
        "<CellData>",
        *(_declare(name, _values(name, field, grid.shape), blocks) for name, field in (cell_fields or {}).items()),
        "</CellData>",
        "<Coordinates>",
        *(_declare(name, grid.nodes(axis).cpu().numpy(), blocks) for axis, name in enumerate(("x", "y", "z"))),
        "</Coordinates>",
        "</Piece>",
        "</RectilinearGrid>",
        '<AppendedData encoding="raw">',
        "_",
    ]
    with writing(path) as temporary, temporary.open("wb") as stream:
        stream.write("\n".join(lines).encode())
        for block in blocks:
            stream.write(struct.pack("<Q", block.nbytes))
            stream.write(block.tobytes())
        stream.write(b"\n</AppendedData>\n</VTKFile>\n")


def write_parts(path: str | Path, parts: Sequence[Part]) -> dict[str, dict[int, str]]:
    """Writes the triangles of parts (.vtu through meshio), each with the number of its part and material.

    Returns what the numbers mean: {"part": {0: "board", ...}, "material": {0: "fr4", ...}}.
    """
    import meshio

    if not parts:
        raise InputError("there are no parts to write; give at least one")
    materials = sorted({part.material for part in parts})
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    triangles = np.concatenate([part.faces.cpu().numpy() + int(s) for part, s in zip(parts, starts, strict=False)])
    counts = [len(part.faces) for part in parts]
    mesh = meshio.Mesh(
        points=np.concatenate([part.vertices.detach().cpu().numpy() for part in parts]),
        cells=[("triangle", triangles)],
        cell_data={
            "part": [np.repeat(np.arange(len(parts), dtype=np.int32), counts)],
            "material": [np.repeat(np.array([materials.index(p.material) for p in parts], dtype=np.int32), counts)],
        },
    )
    with writing(path) as temporary:
        mesh.write(temporary, file_format="vtu")
    return {
        "part": {number: part.name for number, part in enumerate(parts)},
        "material": dict(enumerate(materials)),
    }


def _values(name: str, field: Tensor, shape: tuple[int, ...]) -> ndarray:
    """The numbers of a field in VTK's order: x fastest, and the components of a vector together."""
    if tuple(field.shape) not in (shape, (3, *shape)):
        raise InputError(f"field '{name}' has shape {list(field.shape)}; the grid needs {list(shape)} or 3 of those")
    if field.dtype == torch.bool:
        field = field.to(torch.uint8)
    values = field.detach().cpu().numpy()
    if values.dtype.name not in VTK_TYPES:
        raise InputError(f"field '{name}' of type {values.dtype.name} has no VTK type; convert it to float32 first")
    return np.ascontiguousarray(values.transpose() if values.ndim == 3 else values.transpose(3, 2, 1, 0))


def _declare(name: str, values: ndarray, blocks: list[ndarray]) -> str:
    """Appends the numbers and returns the line that says where they are."""
    if sys.byteorder == "big":
        values = values.astype(values.dtype.newbyteorder("<"))
    offset = sum(8 + block.nbytes for block in blocks)
    blocks.append(values)
    components = values.shape[-1] if values.ndim == 4 else 1
    finite = math.prod(values.shape) and np.isfinite(values).all()
    bounds = f' RangeMin="{values.min()}" RangeMax="{values.max()}"' if finite else ""
    return (
        f'<DataArray type="{VTK_TYPES[values.dtype.name]}" Name={quoteattr(name)} NumberOfComponents="{components}"'
        f'{bounds} format="appended" offset="{offset}"/>'
    )
