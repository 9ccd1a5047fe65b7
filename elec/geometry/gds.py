"""Layers of a GDSII layout as solids: each polygon drawn out over the height that a stack gives its layer.

Read with gdstk, which flattens references, arrays and their transformations, and unites the polygons of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elec.geometry.part import Part
from elec.geometry.polygon import lift, signed_area, triangulate
from mindsci.errors import InputError, MissingExtraError, StorageError, UnknownNameError
from mindsci.tree import Tree

Key = tuple[int, int]


class Layer(Tree):
    """What a layer of a layout is made of and where it lies."""

    low: float
    """[m]"""
    high: float
    """[m]"""
    material: str
    name: str | None = None
    """of the part; "layer 1/0" by default"""


def read_gds(
    path: str | Path, stack: Mapping[int | Key, Layer | tuple[float, float, str]], *, cell: str | None = None
) -> list[Part]:
    """Returns one closed part for each layer of the stack, in its order, in metres along x and y; z from the stack.

    Arguments: stack, layer number or (layer, datatype) -> `Layer` or (low [m], high [m], material), where a number
    alone means datatype 0; cell, the name of the cell to take, which may be left out where only one is in no other.
    Polygons of a layer that touch or overlap are united, their holes kept; lines without a width fill nothing and are
    left out.

    Raises InputError for a file that cannot be read, a layer with nothing in it, a cell that has to be named.
    """
    gdstk = _gdstk(path)
    library = _library(gdstk, Path(path))
    chosen = _cell(library, path, cell)
    drawn: dict[Key, list[Any]] = {}
    for polygon in chosen.get_polygons():
        if polygon.area() > 0:
            drawn.setdefault((polygon.layer, polygon.datatype), []).append(polygon)
    parts = []
    for given, entry in stack.items():
        key = given if isinstance(given, tuple) else (given, 0)
        layer = entry if isinstance(entry, Layer) else Layer(low=entry[0], high=entry[1], material=entry[2])
        name = layer.name or f"layer {key[0]}/{key[1]}"
        if not layer.high > layer.low:
            raise InputError(f"{name} from {layer.low:g} to {layer.high:g} m: high must be above low")
        if key not in drawn:
            known = ", ".join(f"{number}/{kind}" for number, kind in sorted(drawn)) or "none"
            raise InputError(
                f"cell '{chosen.name}' of '{path}' has nothing in layer {key[0]}/{key[1]}; layers: {known}"
            )
        united = gdstk.boolean(drawn[key], [], "or", precision=library.precision / library.unit)
        rims = [torch.from_numpy(polygon.points * library.unit) for polygon in united if polygon.area() > 0]
        parts.append(_drawn_out(name, rims, layer))
    return parts


def _drawn_out(name: str, rims: list[Tensor], layer: Layer) -> Part:
    vertices, faces, start = [], [], 0
    for rim in rims:
        rim = _without_repeats(rim)
        if float(signed_area(rim)) < 0:
            rim = rim.flip(0)
        # A hole is reached by a cut, drawn there and back: points at one place are one vertex, and the cut is no wall.
        places, numbers = torch.unique(rim, dim=0, return_inverse=True)
        n = len(places)
        lid = numbers[triangulate(rim)]
        sides = torch.stack([numbers, numbers.roll(-1)], dim=1)
        codes, back = sides[:, 0] * n + sides[:, 1], sides[:, 1] * n + sides[:, 0]
        sides = sides[~torch.isin(codes, back)]
        here, following = sides.unbind(1)
        walls = [torch.stack([here, following, following + n], 1), torch.stack([here, following + n, here + n], 1)]
        ends = [torch.tensor(end, dtype=torch.float64) for end in (layer.low, layer.high)]
        vertices += [lift(places, end, 2) for end in ends]
        faces.append(torch.cat([lid.flip(1), lid + n, *walls]) + start)
        start += 2 * n
    return Part(name=name, vertices=torch.cat(vertices), faces=torch.cat(faces), material=layer.material)


def _without_repeats(rim: Tensor) -> Tensor:
    """The corners without those that repeat the one before."""
    return rim[(rim != rim.roll(1, 0)).any(1)]


def _gdstk(path: str | Path) -> Any:
    try:
        import gdstk
    except ImportError:
        raise MissingExtraError.of("gdstk", "cad", f"reading the layout '{path}'") from None
    return gdstk


def _library(gdstk: Any, path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"there is no layout '{path}'; check the path")
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except OSError as error:
        raise StorageError(f"cannot read the layout '{path}': {error.strerror}") from None
    # gdstk prints to the terminal and may return an empty library; a GDSII file begins with its header record.
    if head[2:4] != b"\x00\x02":
        raise InputError(f"'{path}' is no GDSII file: it does not begin with a header record; export it again as GDSII")
    try:
        return gdstk.read_gds(str(path))
    except RuntimeError as error:
        raise InputError(f"'{path}' cannot be read as GDSII ({error}); export it again") from None


def _cell(library: Any, path: str | Path, name: str | None) -> Any:
    known = {cell.name: cell for cell in library.cells}
    if name is not None:
        if name not in known:
            raise UnknownNameError.of("cell", name, known)
        return known[name]
    top = library.top_level()
    if len(top) != 1:
        names = ", ".join(sorted(cell.name for cell in top)) or "none"
        raise InputError(f"'{path}' has {len(top)} cells that are in no other ({names}); name one with cell = ...")
    return top[0]
