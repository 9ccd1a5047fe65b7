"""Parts from CAD files: STL, PLY, OBJ and OFF triangles, STEP and IGES through Open CASCADE (package cascadio)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from elec.geometry.mend import UNDECIDED, facing_outward, mended, undecided
from elec.geometry.part import FLAT_FRACTION, Part
from elec.geometry.solid_mesh import MeshSolid
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
IGES_FORMATS = (".iges", ".igs")
EXACT_FORMATS = (*STEP_FORMATS, *IGES_FORMATS)

# Curved faces of STEP and IGES become triangles that stay within this distance [m] and angle [rad] of the surface.
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
    vertices, faces = _read(path, unit)
    vertices, faces = (_closed if kind == "solid" else _flat)(path, vertices, faces)
    return Part(
        name=name or path.stem,
        vertices=torch.from_numpy(vertices),
        faces=torch.from_numpy(np.ascontiguousarray(faces)).long(),
        kind=kind,
        material=material,
    )


def read_solid(path: str | Path, *, unit: str | None = None) -> MeshSolid:
    """Returns the solid of a CAD file whose surface may be broken, lengths in metres; unit as for `read_part`.

    Repeated faces are dropped, faces turned so that neighbours agree and bodies face outward; holes, and bodies that
    cross, are left to the winding number, which says what is inside (see `MeshSolid`).

    Raises InputError, with a place, where the surface leaves that open: loose triangles, walls of no thickness.
    """
    path = Path(path)
    vertices, faces = _read(path, unit)
    faces = mended(vertices, faces)
    share, place = undecided(vertices, faces)
    if share > UNDECIDED:
        raise InputError(
            f"'{path}' bounds no solid: {share:.0%} of its area does not part an inside from an outside, as at "
            f"{_millimetres(place)}; close the surface there, give its walls a thickness, or read it as a sheet"
        )
    tensor = torch.from_numpy(np.ascontiguousarray(faces)).long()
    return MeshSolid(vertices=torch.from_numpy(vertices), faces=tensor)


def _read(path: Path, unit: str | None) -> tuple[Vertices, Faces]:
    """Vertices [m] that are distinct, and the triangles between them."""
    scale = _length_unit(path, unit)
    _check_file(path)
    vertices, faces = (_read_exact if path.suffix.lower() in EXACT_FORMATS else _read_triangles)(path)
    if len(faces) == 0:
        raise InputError(f"'{path}' holds no triangles; export the part again, with its surface")
    if not np.isfinite(vertices).all():
        raise InputError(f"'{path}' holds coordinates that are not finite numbers; export the part again")
    vertices = _scaled(_shortest_decimals(vertices), scale)
    size = float(np.linalg.norm(np.ptp(vertices[faces.reshape(-1)], axis=0)))
    return merge_vertices(vertices, faces, tolerance=FLAT_FRACTION * size)


def _length_unit(path: Path, unit: str | None) -> float:
    suffix = path.suffix.lower()
    if suffix in EXACT_FORMATS:
        if unit is not None:
            kind = "a STEP" if suffix in STEP_FORMATS else "an IGES"
            raise InputError(f"'{path}': {kind} file records its own unit; leave out unit = \"{unit}\"")
        # Open CASCADE hands STEP on in metres, but IGES in its own millimetres.
        return 1.0 if suffix in STEP_FORMATS else 1e-3
    if suffix not in TRIANGLE_FORMATS:
        known = ", ".join((*TRIANGLE_FORMATS, *EXACT_FORMATS))
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


def _read_exact(path: Path) -> tuple[Vertices, Faces]:
    """Triangles of a STEP or IGES file, in the unit that Open CASCADE gives them."""
    kind = "STEP" if path.suffix.lower() in STEP_FORMATS else "IGES"
    try:
        import cascadio
    except ImportError:
        raise MissingExtraError.of("cascadio", "cad", f"reading the {kind} file '{path}'") from None
    content = path.read_bytes()
    # Open CASCADE prints its own complaint to the terminal; do not let it get that far.
    if kind == "STEP" and b"ISO-10303-21" not in content[:4096]:
        raise InputError(f"'{path}' is no STEP file: it does not begin with ISO-10303-21; export it again as STEP")
    if kind == "IGES" and content[72:73] != b"S":
        raise InputError(f"'{path}' is no IGES file: its first line has no S in column 73; export it again as IGES")
    load = getattr(cascadio, "load", None)
    if load is None:
        raise MissingExtraError.of("cascadio >= 0.1", "cad", f"reading the {kind} file '{path}'")
    deflection = STEP_DEFLECTION * 1e3  # [mm]
    with _silent_output():
        converted = load(content, file_type=kind.lower(), tol_linear=deflection, tol_angular=STEP_ANGLE)
    if not converted:
        fix = "as AP203 or AP214" if kind == "STEP" else "as version 5.3"
        raise InputError(f"Open CASCADE cannot read '{path}' as {kind}; export it again, {fix}")
    return _read_glb(path, converted)


@contextlib.contextmanager
def _silent_output() -> Iterator[None]:
    """Keeps what Open CASCADE writes on the process's output from mixing with ours, which may be JSON."""
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)


def _read_glb(source: Path, converted: bytes) -> tuple[Vertices, Faces]:
    import trimesh

    try:
        loaded: Any = trimesh.load(io.BytesIO(converted), file_type="glb", process=False)
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
        place = _millimetres(vertices[gaps[0]].mean(0))
        edges = "1 open edge" if len(gaps) == 1 else f"{len(gaps)} open edges"
        raise InputError(
            f"'{path}' is not watertight: {edges}, one of them at {place}. Mend the part in the CAD program, take it "
            'as it is with read_solid, or set kind = "sheet" if it is a flat surface'
        )
    if len(unbalanced_edges(faces)):
        faces = oriented(faces)
        tangled = unbalanced_edges(faces)
        if len(tangled):
            raise InputError(
                f"'{path}': the faces do not agree on what is inside along {len(tangled)} edges, one of them at "
                f"{_millimetres(vertices[tangled[0]].mean(0))}; mend the part in the CAD program"
            )
    faces = facing_outward(vertices, faces)
    enclosed = volume(vertices, faces)
    extent = np.ptp(vertices, axis=0)
    if abs(enclosed) <= 1e-12 * float(np.linalg.norm(extent)) ** 3:
        raise InputError(f"'{path}' encloses no volume; set kind = \"sheet\" if it is a flat surface")
    return vertices, faces


def _millimetres(place: np.ndarray) -> str:
    return "(" + ", ".join(f"{coordinate * 1e3:.6g}" for coordinate in place) + ") mm"


def _flat(path: Path, vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """The mesh of a sheet; InputError where a triangle lies on no axis plane."""
    vertices, faces = without_slivers(vertices, faces)
    if len(faces) == 0:
        raise InputError(f"'{path}' has no area; export the part again")
    corners = vertices[faces]
    tolerance = FLAT_FRACTION * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    slanted = np.flatnonzero((np.ptp(corners, axis=1) > tolerance).all(1))
    if len(slanted):
        place = _millimetres(corners[slanted[0]].mean(0))
        raise InputError(
            f"'{path}': a sheet must lie on planes normal to x, y or z, but {len(slanted)} of its {len(faces)} "
            f'triangles do not, one of them at {place}; rotate the part, or give it as a solid (kind = "solid")'
        )
    return vertices, faces
