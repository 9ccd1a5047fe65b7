"""Parts of a case: CAD files, or constructive shapes written in the case itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from elec.geometry import Part, Scene, Solid, box, cylinder, extrusion, read_part, sheet, sphere
from elec.geometry.read import EXACT_FORMATS
from elec.geometry.scene import Body
from elec.grid import ThreeLengths, TwoLengths
from elec.materials import MaterialTable, material_library
from mindsci.config import InputFile, Quantity, Table
from mindsci.errors import InputError

Axis = Literal["x", "y", "z"]


class BoxTable(Table):
    """A box along the axes between two corners."""

    low: ThreeLengths
    high: ThreeLengths


class SphereTable(Table):
    center: ThreeLengths
    radius: Quantity("m")  # type: ignore[valid-type]


class CylinderTable(Table):
    """A round cylinder between the centres of its ends."""

    start: ThreeLengths
    end: ThreeLengths
    radius: Quantity("m")  # type: ignore[valid-type]


class ExtrusionTable(Table):
    """A polygon drawn out along an axis; corners are (x, y) for z, (y, z) for x and (z, x) for y."""

    corners: list[TwoLengths] = Field(min_length=3)
    low: Quantity("m")  # type: ignore[valid-type]
    high: Quantity("m")  # type: ignore[valid-type]
    axis: Axis = "z"


class SheetTable(Table):
    """Thin metal in the plane axis = at: a polygon, or the rectangle between two corners; coordinates as above."""

    axis: Axis = "z"
    at: Quantity("m")  # type: ignore[valid-type]
    corners: list[TwoLengths] | None = None
    low: TwoLengths | None = None
    high: TwoLengths | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> SheetTable:
        rectangle = self.low is not None and self.high is not None
        if rectangle == (self.corners is not None) or (self.low is None) != (self.high is None):
            raise InputError("a sheet is a rectangle, low and high, or a polygon, corners; give the one or the other")
        return self

    def polygon(self) -> list[tuple[float, float]]:
        """Returns the corners [m]."""
        if self.corners is not None:
            return list(self.corners)
        assert self.low is not None and self.high is not None
        (a, b), (c, d) = self.low, self.high
        return [(a, b), (c, b), (c, d), (a, d)]


class ShapeTable(Table):
    """One solid, perhaps with others taken from it."""

    box: BoxTable | None = None
    sphere: SphereTable | None = None
    cylinder: CylinderTable | None = None
    extrusion: ExtrusionTable | None = None
    subtract: list[ShapeTable] = []
    """solids that are taken away"""
    intersect: list[ShapeTable] = []
    """solids within which it is kept"""

    def solid(self) -> Solid:
        """Returns the constructive solid."""
        made = self._primitive()
        for other in self.intersect:
            made = made & other.solid()
        for other in self.subtract:
            made = made - other.solid()
        return made

    def _primitive(self) -> Solid:
        if self.box is not None:
            return box(self.box.low, self.box.high)
        if self.sphere is not None:
            return sphere(self.sphere.center, self.sphere.radius)
        if self.cylinder is not None:
            return cylinder(self.cylinder.start, self.cylinder.end, self.cylinder.radius)
        if self.extrusion is not None:
            made = self.extrusion
            return extrusion(made.corners, made.low, made.high, axis=made.axis)
        raise InputError("a shape needs one of box, sphere, cylinder or extrusion")

    def given(self) -> list[str]:
        """Returns the names of the shapes that the table holds."""
        return [name for name in ("box", "sphere", "cylinder", "extrusion") if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _one_shape(self) -> ShapeTable:
        self.check_shapes(self.given())
        return self

    def check_shapes(self, given: list[str]) -> None:
        if len(given) != 1:
            raise InputError(f"{', '.join(given) or 'no shape'}: give one of box, sphere, cylinder or extrusion")


class PartTable(ShapeTable):
    """One entry of `[[geometry.parts]]`: a CAD file, a shape, or a sheet of thin metal."""

    file: InputFile | None = None
    sheet: SheetTable | None = None
    material: str | MaterialTable = "pec"
    """a name, or a material of this part alone, such as { sheet_resistance = "377 ohm" }"""
    kind: Literal["solid", "sheet"] = "solid"
    """of the file"""
    name: str | None = None
    unit: str | None = None
    """length unit of this file, where it differs from the geometry's"""

    def check_shapes(self, given: list[str]) -> None:
        given = [*given, *(name for name in ("file", "sheet") if getattr(self, name) is not None)]
        if len(given) != 1:
            raise InputError(
                f"{', '.join(given) or 'no shape'}: give one of file, box, sphere, cylinder, extrusion or sheet"
            )
        if self.file is None and self.name is None:
            raise InputError('a part that comes from no file needs a name; add name = "patch"')
        if (self.file is not None or self.sheet is not None) and (self.subtract or self.intersect):
            raise InputError("subtract and intersect act on shapes of the case; a file or a sheet stays whole")

    @property
    def known_as(self) -> str:
        """The name of the material; that of a part alone has the name of the part."""
        if isinstance(self.material, str):
            return self.material
        return f"that of {self.name or (self.file.stem if self.file is not None else '')}"

    def part(self, unit: str | None) -> Part | Body:
        """Returns the part; `unit` is that of the files that record none."""
        if self.file is not None:
            own = None if self.file.suffix.lower() in EXACT_FORMATS else unit
            return read_part(self.file, unit=self.unit or own, kind=self.kind, name=self.name, material=self.known_as)
        assert self.name is not None
        if self.sheet is not None:
            made = sheet(self.sheet.polygon(), self.sheet.at, axis=self.sheet.axis)
            return made.part(self.name, material=self.known_as)
        return Body(name=self.name, solid=self.solid(), material=self.known_as)


class GeometryTable(Table):
    """The table `[geometry]`."""

    parts: list[PartTable] = []
    unit: str | None = None
    """length unit of the STL, PLY, OBJ and OFF files; STEP and IGES files record their own"""
    background: str = "vacuum"

    def scene(self, materials: dict[str, MaterialTable]) -> Scene:
        """Returns the parts with their materials."""
        parts: Any = tuple(part.part(self.unit) for part in self.parts)
        own = {part.known_as: part.material for part in self.parts if not isinstance(part.material, str)}
        return Scene(parts=parts, materials=material_library({**materials, **own}), background=self.background)
