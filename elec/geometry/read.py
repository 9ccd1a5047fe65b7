"""Parts from CAD files: STL, PLY, OBJ and OFF triangles, STEP through Open CASCADE (package cascadio)."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from elec.geometry.part import FLAT_FRACTION, Part
from elec.geometry.topology import (
    Faces,
    Vertices,
    merge_vertices,
    open_edges,
    oriented,
    unbalanced_edges,
    volume,
    without_slivers,
)
from mindsci.errors import InputError, MissingExtraError, StorageError
from mindsci.units import parse

TRIANGLE_FORMATS = (".stl", ".ply", ".obj", ".off")
STEP_FORMATS = (".step", ".stp")

# Curved STEP faces become triangles that stay within this distance [m] and angle [rad] of the surface.
STEP_DEFLECTION = 1e-5
STEP_ANGLE = 0.2


def read_part(
    path: str | Path,
    *,
    unit: str | None = None,
    kind: Literal["solid", "sheet"] = "solid",
    name: str | None = None,
    material: str = "pec",
) -> Part:
    """Returns the part of a CAD file, lengths in metres.

    Arguments: unit, the length unit of an STL, PLY, OBJ or OFF file ("mm"), which these formats do not record; a STEP
    file records its own, so leave it out; kind, "solid" (closed surface) or "sheet" (flat, on axis planes); name, the
    file's stem by default; material, a name of the case's materials.

    Raises InputError for a file that is missing, empty, unreadable, not closed (solid) or not on axis planes (sheet).
    """
    path = Path(path)
    if kind not in ("solid", "sheet"):
        raise InputError(f"kind = '{kind}' is not known; use 'solid' or 'sheet'")
    scale = _length_unit(path, unit)
    _check_file(path)
    vertices, faces = _read_step(path) if path.suffix.lower() in STEP_FORMATS else _read_triangles(path)
    if len(faces) == 0:
        raise InputError(f"'{path}' holds no triangles; export the part again, with its surface")
    if not np.isfinite(vertices).all():
        raise InputError(f"'{path}' holds coordinates that are not finite numbers; export the part again")
    vertices = _scaled(_shortest_decimals(vertices), scale)
    size = float(np.linalg.norm(np.ptp(vertices[faces.reshape(-1)], axis=0)))
    vertices, faces = merge_vertices(vertices, faces, tolerance=FLAT_FRACTION * size)
    vertices, faces = (_closed if kind == "solid" else _flat)(path, vertices, faces)
    return Part(
        name=name or path.stem,
        vertices=torch.from_numpy(vertices),
        faces=torch.from_numpy(np.ascontiguousarray(faces)).long(),
        kind=kind,
        material=material,
    )


def _length_unit(path: Path, unit: str | None) -> float:
    suffix = path.suffix.lower()
    if suffix in STEP_FORMATS:
        if unit is not None:
            raise InputError(f"'{path}': a STEP file records its own unit; leave out unit = \"{unit}\"")
        return 1.0
    if suffix not in TRIANGLE_FORMATS:
        known = ", ".join((*TRIANGLE_FORMATS, *STEP_FORMATS))
        raise InputError(f"'{path}': files of type '{suffix}' cannot be read; convert it to one of {known}")
    if unit is None:
        raise InputError(f"'{path}': a {suffix[1:].upper()} file has no unit of length; add one, such as unit = \"mm\"")
    scale = parse(f"1 {unit}", "m")
    if not scale > 0:
        raise InputError(f'\'{path}\': unit = "{unit}" is no length; use "mm", "m", "inch" or the like')
    return scale


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there is no CAD file '{path}'; check the path, which is taken from the folder of the case")
    if not path.is_file():
        raise InputError(f"'{path}' is not a file; name the CAD file itself")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise StorageError(f"cannot read the CAD file '{path}': {error.strerror}") from None
    if empty:
        raise InputError(f"the CAD file '{path}' is empty (0 bytes); export the part again")


def _check_binary_stl(path: Path) -> None:
    """Refuses a binary STL that ends before the last of the triangles it declares; readers take it for text."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if b"\0" not in head or len(head) < 84:
        return
    declared = struct.unpack("<I", head[80:84])[0]
    needed, size = 84 + 50 * declared, path.stat().st_size
    if size < needed:
        raise InputError(
            f"'{path}' is cut short: it declares {declared} triangles, which take {needed} bytes, but has {size}; "
            "copy or export it again"
        )


def _read_triangles(path: Path) -> tuple[Vertices, Faces]:
    import trimesh

    if path.suffix.lower() == ".stl":
        _check_binary_stl(path)
    try:
        mesh = trimesh.load_mesh(path, process=False)
        vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    except Exception as error:  # trimesh raises whatever its parsers meet in a broken file
        raise InputError(f"'{path}' cannot be read as {path.suffix[1:].upper()} ({error}); export it again") from None
    return vertices.reshape(-1, 3), faces.reshape(-1, 3)


def _read_step(path: Path) -> tuple[Vertices, Faces]:
    try:
        import cascadio
    except ImportError:
        raise MissingExtraError.of("cascadio", "cad", f"reading the STEP file '{path}'") from None
    if b"ISO-10303-21" not in path.read_bytes()[:4096]:
        # Open CASCADE prints its own complaint to the terminal; do not let it get that far.
        raise InputError(f"'{path}' is no STEP file: it does not begin with ISO-10303-21; export it again as STEP")
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "part.glb"
        status = cascadio.step_to_glb(str(path), str(converted), STEP_DEFLECTION * 1e3, STEP_ANGLE)
        if status != 0 or not converted.exists() or converted.stat().st_size == 0:
            raise InputError(f"Open CASCADE cannot read '{path}' as STEP; export it again, as AP203 or AP214")
        return _read_glb(path, converted)


def _read_glb(source: Path, converted: Path) -> tuple[Vertices, Faces]:
    import trimesh

    try:
        loaded: Any = trimesh.load(converted, process=False)
        mesh = loaded.to_mesh() if isinstance(loaded, trimesh.Scene) else loaded
    except (ValueError, KeyError, json.JSONDecodeError):
        raise InputError(f"'{source}' holds no solid or surface; export the part again, with its body") from None
    return np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)


def _shortest_decimals(vertices: Vertices) -> Vertices:
    """Undoes the rounding of a binary file: 0.787 mm stored in single precision is 0.78700000047684.

    Numbers that are exactly single precision are replaced by the shortest decimal that rounds to them, which is what
    the author of the part typed; other numbers are left alone.
    """
    single = vertices.astype(np.float32)
    if not np.array_equal(single.astype(np.float64), vertices):
        return vertices
    return single.astype(str).astype(np.float64)


def _scaled(vertices: Vertices, scale: float) -> Vertices:
    """In metres, to twelve digits: 8.4 mm times 0.001 is 0.0084000000000000012 m, which misses a plane at 0.0084 m."""
    return np.char.mod("%.12g", vertices * scale).astype(np.float64)


def _closed(path: Path, vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """The mesh of a solid, with its faces turned outward; InputError where it is not closed."""
    gaps = open_edges(faces)
    if len(gaps):
        place = ", ".join(f"{coordinate * 1e3:.6g}" for coordinate in vertices[gaps[0]].mean(0))
        edges = "1 open edge" if len(gaps) == 1 else f"{len(gaps)} open edges"
        raise InputError(
            f"'{path}' is not watertight: {edges}, one of them at ({place}) mm. Mend the part in the CAD program, or "
            'set kind = "sheet" if it is a flat surface'
        )
    if len(unbalanced_edges(faces)):
        faces = oriented(faces)
        tangled = unbalanced_edges(faces)
        if len(tangled):
            place = ", ".join(f"{coordinate * 1e3:.6g}" for coordinate in vertices[tangled[0]].mean(0))
            raise InputError(
                f"'{path}': the faces do not agree on what is inside along {len(tangled)} edges, one of them at "
                f"({place}) mm; mend the part in the CAD program"
            )
    enclosed = volume(vertices, faces)
    extent = np.ptp(vertices, axis=0)
    if abs(enclosed) <= 1e-12 * float(np.linalg.norm(extent)) ** 3:
        raise InputError(f"'{path}' encloses no volume; set kind = \"sheet\" if it is a flat surface")
    return vertices, faces if enclosed > 0 else faces[:, ::-1]


def _flat(path: Path, vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """The mesh of a sheet; InputError where a triangle lies on no axis plane."""
    vertices, faces = without_slivers(vertices, faces)
    if len(faces) == 0:
        raise InputError(f"'{path}' has no area; export the part again")
    corners = vertices[faces]
    tolerance = FLAT_FRACTION * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    slanted = np.flatnonzero((np.ptp(corners, axis=1) > tolerance).all(1))
    if len(slanted):
        place = ", ".join(f"{coordinate * 1e3:.6g}" for coordinate in corners[slanted[0]].mean(0))
        raise InputError(
            f"'{path}': a sheet must lie on planes normal to x, y or z, but {len(slanted)} of its {len(faces)} "
            f'triangles do not, one of them at ({place}) mm; rotate the part, or give it as a solid (kind = "solid")'
        )
    return vertices, faces
