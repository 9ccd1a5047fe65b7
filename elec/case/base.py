"""What every case of the field solver has: parts, grid, boundaries, time, and what is kept of the fields."""

from __future__ import annotations

from typing import ClassVar, Literal

from elec.case.mesh import AnyGridTable
from elec.case.ports import ElementTable
from elec.case.shapes import GeometryTable
from elec.case.tables import BoundaryTable, FarFieldTable, FieldTable, TimeTable
from elec.materials import MaterialTable
from mindsci.config import Case


class FieldCase(Case):
    """A case that the FDTD engine runs, whatever drives it."""

    several_processes: ClassVar[bool] = True
    geometry: GeometryTable = GeometryTable()
    materials: dict[str, MaterialTable] = {}
    grid: AnyGridTable
    boundaries: BoundaryTable = BoundaryTable()
    elements: list[ElementTable] = []
    time: TimeTable = TimeTable()
    fields: FieldTable = FieldTable()
    far_field: FarFieldTable = FarFieldTable()
    engine: Literal["auto", "reference", "numba", "triton"] = "auto"
    precision: Literal["float32", "float64"] = "float32"
