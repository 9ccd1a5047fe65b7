"""The table `[grid]`: cells given one by one (mode "explicit"), or found from parts and wavelength (mode "auto")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from elec.geometry import Scene
from elec.grid import AXES, GridTable, Layers, ThreeLengths, TwoLengths
from elec.mesh import Demand, Mesh, Station, automatic
from mindsci.config import Quantity, Table
from mindsci.errors import InputError, UnknownNameError
from mindsci.units import SPEED_OF_LIGHT

CELLS_PER_WAVELENGTH = 15
"""Largest cell of the air around the parts of an explicit grid, at the highest frequency of the pulse."""


class ExtentTable(Table):
    """The table `[grid.extent]`: where the grid ends along an axis, absorbing layers outside; parts may go beyond."""

    x: TwoLengths | None = None
    y: TwoLengths | None = None
    z: TwoLengths | None = None

    @model_validator(mode="after")
    def _in_order(self) -> ExtentTable:
        for axis in AXES:
            ends = getattr(self, axis)
            if ends is not None and not ends[0] < ends[1]:
                raise InputError(f"{axis} = {ends[0] * 1e3:g}, {ends[1] * 1e3:g} mm: the second must be larger")
        return self


class AutoGridTable(Table):
    """The table `[grid]` of mode "auto"."""

    mode: Literal["auto"]
    cells_per_wavelength: float = Field(default=15, ge=4)
    """least cells in a wavelength of each material, at excitation.frequency_max"""
    cells_across: int = Field(default=4, ge=1)
    """least cells across a layer, a strip, and a gap between metal"""
    cells_at_rim: float = Field(default=2.0, gt=0)
    """cells in the distance from a rim of thin metal to the next conductor"""
    growth: float = Field(default=1.3, gt=1, le=2)
    """largest ratio of neighbouring cells, everywhere"""
    margin: ThreeLengths | None = None
    """air between the parts and the ends of the grid"""
    extent: ExtentTable = ExtentTable()
    """ends of the grid; for axes that it does not name the margin counts"""
    smallest_cell: Quantity("m") | None = None  # type: ignore[valid-type]
    """two lines closer than this are one; a thousandth of the largest cell unless given"""
    absorber_cells: int = Field(default=10, ge=0)

    def ends(self, scene: Scene) -> list[tuple[float, float]]:
        """Returns where the grid ends along each axis [m]."""
        found: list[tuple[float, float]] = []
        for axis, name in enumerate(AXES):
            given = getattr(self.extent, name)
            if given is not None:
                found.append(given)
                continue
            if self.margin is None:
                raise InputError(f"grid: give margin, or extent.{name}, so that it is known where the grid ends")
            if not scene.parts:
                raise InputError(f"there are no parts to put a margin around; give extent.{name}")
            low, high = scene.bounds()[axis]
            found.append((low - self.margin[axis], high + self.margin[axis]))
            if not found[-1][0] < found[-1][1]:
                raise InputError(f"the parts have no extent along {name} and there is no margin; set grid.margin")
        return found

    def build(self, scene: Scene, frequency: float, layers: Layers, stations: Sequence[Sequence[Station]]) -> Mesh:
        """Returns the mesh for the highest frequency [Hz]."""
        demand = Demand(
            cells_per_wavelength=self.cells_per_wavelength,
            cells_across=self.cells_across,
            cells_at_rim=self.cells_at_rim,
            frequency=frequency,
        )
        return automatic(
            scene,
            demand,
            self.ends(scene),
            growth=self.growth,
            layers=layers,
            stations=stations,
            smallest=self.smallest_cell,
        )


def _mode_of(value: Any) -> str:
    mode = value.get("mode", "explicit") if isinstance(value, dict) else value.mode
    if mode not in ("explicit", "auto"):
        raise UnknownNameError.of("mode of the grid", str(mode), ("explicit", "auto"))
    return str(mode)


AnyGridTable = Annotated[
    Annotated[GridTable, Tag("explicit")] | Annotated[AutoGridTable, Tag("auto")], Discriminator(_mode_of)
]


def build_mesh(
    table: GridTable | AutoGridTable,
    scene: Scene,
    frequency: float,
    layers: Layers,
    stations: Sequence[Sequence[Station]],
) -> Mesh:
    """Returns the mesh of either table."""
    if isinstance(table, AutoGridTable):
        return table.build(scene, frequency, layers, stations)
    if not scene.parts:
        raise InputError('cells given one by one are those of parts, and there are none; use mode = "auto" with extent')
    air_cell = SPEED_OF_LIGHT / frequency / CELLS_PER_WAVELENGTH
    even = {count for sides in layers for count in sides}
    grid = table.build(
        scene.bounds(), scene.planes(), air_cell=air_cell, layers=None if even == {table.absorber_cells} else layers
    )
    return Mesh(grid=grid)
