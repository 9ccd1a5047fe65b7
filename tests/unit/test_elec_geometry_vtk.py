"""VTK files, read back by a parser that follows the format's description and nothing of the writer."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from elec.geometry import box, sheet, write_parts, write_rectilinear
from elec.grid import Grid
from mindsci.errors import InputError

GRID = Grid(
    x=torch.tensor([0.0, 1, 3, 4], dtype=torch.float64),
    y=torch.tensor([0.0, 2, 3], dtype=torch.float64),
    z=torch.tensor([0.0, 1, 2, 4, 8], dtype=torch.float64),
)
NUMPY_TYPES = {"Float32": "<f4", "Float64": "<f8", "UInt8": "u1", "Int32": "<i4", "Int64": "<i8"}


def read_vtr(path) -> tuple[str, dict[tuple[str, str], np.ndarray]]:
    """Returns the extent and the arrays by (section, name) of a file with raw appended data and 8-byte headers."""
    head, _, tail = path.read_bytes().partition(b'<AppendedData encoding="raw">')
    data = tail[tail.index(b"_") + 1 :]
    root = ElementTree.fromstring(head + b"</VTKFile>")
    assert root.attrib["byte_order"] == "LittleEndian" and root.attrib["header_type"] == "UInt64"
    arrays = {}
    piece = root.find("RectilinearGrid/Piece")
    for section in piece:
        for array in section:
            start = int(array.attrib["offset"])
            size = int(np.frombuffer(data, "<u8", 1, start)[0])
            dtype = np.dtype(NUMPY_TYPES[array.attrib["type"]])
            values = np.frombuffer(data, dtype, size // dtype.itemsize, start + 8)
            arrays[section.tag, array.attrib["Name"]] = values.reshape(-1, int(array.attrib["NumberOfComponents"]))
    return piece.attrib["Extent"], arrays


def test_fields_come_back_at_their_places(tmp_path):
    cells = torch.arange(24, dtype=torch.float32).reshape(3, 2, 4)
    electric = torch.randn(3, 4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "fields.vtr"
    write_rectilinear(path, GRID, {"permittivity": cells, 'a < "b"': cells > 3}, {"E": electric})
    extent, arrays = read_vtr(path)
    assert extent == "0 3 0 2 0 4"
    assert arrays["Coordinates", "z"].ravel().tolist() == [0, 1, 2, 4, 8]
    # VTK runs through x first, then y, then z, and keeps the components of a vector together.
    assert np.array_equal(arrays["CellData", "permittivity"].reshape(4, 2, 3), cells.numpy().transpose(2, 1, 0))
    assert np.array_equal(arrays["CellData", 'a < "b"'].reshape(4, 2, 3), (cells > 3).numpy().transpose(2, 1, 0))
    assert np.array_equal(arrays["PointData", "E"].reshape(5, 3, 4, 3), electric.numpy().transpose(3, 2, 1, 0))


def test_a_field_that_does_not_fit_the_grid_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(InputError, match=r"'permittivity' has shape \[2, 3, 4\]; the grid needs \[3, 2, 4\]"):
        write_rectilinear(tmp_path / "x.vtr", GRID, {"permittivity": torch.zeros(2, 3, 4)})
    with pytest.raises(InputError, match="complex64 has no VTK type"):
        write_rectilinear(tmp_path / "x.vtr", GRID, {"phasor": torch.zeros(3, 2, 4, dtype=torch.complex64)})
    assert list(tmp_path.iterdir()) == []


def test_parts_carry_their_number_and_material(tmp_path):
    import meshio

    board = box((0, 0, 0), (1, 1, 1)).part("board", material="fr4")
    trace = sheet([(0, 0), (1, 0), (1, 1)], 1.0).part("trace")
    legend = write_parts(tmp_path / "parts.vtu", [board, trace])
    assert legend == {"part": {0: "board", 1: "trace"}, "material": {0: "fr4", 1: "pec"}}
    mesh = meshio.read(tmp_path / "parts.vtu")
    assert mesh.cell_data["part"][0].tolist() == [0] * 12 + [1]
    assert mesh.cell_data["material"][0].tolist() == [0] * 12 + [1]
    last = mesh.points[mesh.cells[0].data[-1]]
    assert np.array_equal(last, trace.triangles()[0].numpy())
    with pytest.raises(InputError, match="no parts to write"):
        write_parts(tmp_path / "none.vtu", [])
