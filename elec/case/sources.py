"""Field sources of a case: a short dipole, a plane wave through a box of total field, a Gaussian beam from a sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from torch import Tensor

from elec.case.ports import corner_stations
from elec.fdtd import GaussianBeam, Media, Source, Walls, beam_sources, current_moment
from elec.fdtd.beam_sheet import TooEarly
from elec.fdtd.harmonics import UpTo, transverse, unit_vector
from elec.fdtd.plane_wave import SIDES, total_field_sources
from elec.grid import AXES, Grid, ThreeLengths
from elec.mesh import Station
from elec.preflight import Finding, error, warning
from mindsci import tree
from mindsci.config import Quantity, Table
from mindsci.errors import InputError, UnknownNameError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

SHEET_CLEARANCE = 2
"""Cells from the absorbing layers to the sheet of a beam, unless its place is given."""
STARTS = 4
"""Times that a beam whose rim leads is delayed by what it lacks."""


def _read_direction(value: Any) -> Any:
    if isinstance(value, str):
        name = value.strip()
        sign = -1.0 if name.startswith("-") else 1.0
        axis = name.lstrip("+-")
        if axis not in AXES or len(name) > 2:
            raise InputError(f'{value!r} is no direction; write an axis such as "x" or "-z", or [1, 0, 1]')
        return tuple(sign * float(axis == other) for other in AXES)
    if isinstance(value, (list, tuple)) and all(isinstance(part, (int, float)) for part in value):
        unit_vector(value, "direction")
    return value


Direction = Annotated[tuple[float, float, float], BeforeValidator(_read_direction)]
"""A direction that a case writes as an axis, "x" or "-z", or as three numbers."""


class Surroundings(Tree):
    """Where sources are placed, and the signal that they follow."""

    grid: Grid
    media: Media
    walls: Walls
    open_sides: tuple[str, ...]
    """sides without absorbing layers ("x low", ...)"""
    dt: float
    n_steps: int
    signal: Any
    continuous: bool
    frequencies: tuple[float, ...]
    """of the figures that are wanted [Hz]"""
    permittivity: float
    permeability: float

    @property
    def speed(self) -> float:
        """Of light in the background [m/s]."""
        return SPEED_OF_LIGHT / math.sqrt(self.permittivity * self.permeability)


class PlacedSource(Tree):
    """A source on the grid."""

    name: str
    table: Any
    sources: tuple[Source, ...]
    arrival: float = 0.0
    """when the signal's time zero passes the place that the figures refer to [s]"""
    beam: GaussianBeam | None = None
    note: str = ""


class DipoleTable(Table):
    """An entry of `[[sources]]`: a current along a short line; amplitude is current times length."""

    kind: Literal["dipole"]
    name: str | None = None
    position: ThreeLengths
    direction: Direction
    amplitude: Quantity("A m") = "1 A m"  # type: ignore[valid-type]

    def stations(self) -> list[list[Station]]:
        """Returns lines that put the position in the middle of an edge, where the dipole lies along an axis."""
        found = corner_stations(self.position, self.position, "a dipole")
        for axis in range(3):
            if abs(unit_vector(self.direction, "direction")[axis]) > 1.0 - 1e-9:
                found[axis] = [Station(at=self.position[axis], offsets=(-0.5, 0.5), why="a dipole", rank=1)]
        return found

    def place(self, name: str, around: Surroundings) -> tuple[PlacedSource, list[Finding]]:
        """Returns the source, shared by the edges around its position, and what is to be said about it."""
        grid, where = around.grid, ", ".join(f"{value * 1e3:.6g}" for value in self.position)
        for axis in range(3):
            nodes, inner = grid.nodes(axis), grid.inner(axis)
            low, high = float(nodes[inner[0]]), float(nodes[inner[-1]])
            if not low <= self.position[axis] <= high:
                raise InputError(
                    f"the dipole at ({where}) mm lies outside the grid or in its absorbing layers: {AXES[axis]} must "
                    f"be within {low * 1e3:.6g} to {high * 1e3:.6g} mm; move it, or widen the grid"
                )
        u = unit_vector(self.direction, "direction")
        moment = [float(self.amplitude * part) for part in u]
        source = current_moment(grid, self.position, moment, around.signal, walls=around.walls)
        if bool(around.media.metal[tuple(source.places.unbind(1))].any()):
            return PlacedSource(name=name, table=self, sources=()), [
                error(f"{name}: the dipole at ({where}) mm lies in metal, or touches it; move it off by a cell")
            ]
        note = f"dipole of {self.amplitude:g} A m at ({where}) mm on {len(source.places)} edges"
        return PlacedSource(name=name, table=self, sources=(source,), note=note), []


class PlaneWaveTable(Table):
    """An entry of `[[sources]]`: a plane wave inside a box of total field; outside it the field is the scattered one.

    amplitude is the electric field at the corner of the box that the wave meets first. Sides of the box lie `clearance`
    cells before the absorbing layers, or on the walls where there are none.
    """

    kind: Literal["plane_wave"]
    name: str | None = None
    direction: Direction
    """of travel"""
    polarisation: Direction
    """of the electric field; its part along the direction is dropped"""
    amplitude: Quantity("V/m") = "1 V/m"  # type: ignore[valid-type]
    clearance: int = Field(default=5, ge=4)

    @model_validator(mode="after")
    def _across(self) -> PlaneWaveTable:
        transverse(self.polarisation, unit_vector(self.direction, "direction"))
        return self

    def stations(self) -> list[list[Station]]:
        return [[], [], []]

    def box(self, around: Surroundings) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the lowest and highest nodes of the box of total field."""
        grid = around.grid
        low = [
            0 if f"{name} low" in around.open_sides else grid.layers[axis][0] + self.clearance
            for axis, name in enumerate(AXES)
        ]
        high = [
            grid.shape[axis] - (0 if f"{name} high" in around.open_sides else grid.layers[axis][1] + self.clearance)
            for axis, name in enumerate(AXES)
        ]
        return tuple(low), tuple(high)

    def place(self, name: str, around: Surroundings) -> tuple[PlacedSource, list[Finding]]:
        """Returns the currents on the box, and what is to be said about them."""
        grid, (low, high) = around.grid, self.box(around)
        _check_mirrors(around, self.direction, self.polarisation)
        for axis in range(3):
            if not low[axis] < high[axis]:
                raise InputError(
                    f"no cell is left along {AXES[axis]} for the box of total field, {self.clearance} cells clear of "
                    "the absorbing layers; use a larger margin of the grid, or a smaller clearance"
                )
        diagonal = math.dist(*([float(grid.nodes(a)[end[a]]) for a in range(3)] for end in (low, high)))
        steps = around.n_steps
        if not around.continuous:
            steps = min(steps, math.ceil((around.signal.duration + diagonal / around.speed) / around.dt) + 4)
        made = total_field_sources(
            grid, around.dt, steps, low=low, high=high, direction=self.direction, polarisation=self.polarisation,
            waveform=around.signal, amplitude=self.amplitude, open_sides=around.open_sides, walls=around.walls,
            permittivity=around.permittivity, permeability=around.permeability,
        )  # fmt: skip
        sources = tuple(tree.replace(source, waveform=UpTo(waveform=source.waveform)) for source in made)
        ends = " to ".join(
            "(" + ", ".join(f"{float(grid.nodes(a)[end[a]]) * 1e3:.6g}" for a in range(3)) + ")" for end in (low, high)
        )
        note = f"plane wave of {self.amplitude:g} V/m along {list(self.direction)}, total field from {ends} mm"
        found = _check_surroundings(name, "the box of total field", made[0].places, around)
        return PlacedSource(name=name, table=self, sources=sources, note=note), found


class BeamTable(Table):
    """An entry of `[[sources]]`: a Gaussian beam, sent to the side to which it travels by a sheet across the grid.

    amplitude is the electric field at the focus. The sheet lies across the axis nearest to the direction, at `sheet`,
    or close to the absorbing layer on the side from which the beam comes.
    """

    kind: Literal["gaussian_beam"]
    name: str | None = None
    waist: Quantity("m")  # type: ignore[valid-type]
    """radius at the focus at which the field is 1 / e of that on the axis"""
    focus: ThreeLengths
    direction: Direction
    polarisation: Direction
    amplitude: Quantity("V/m") = "1 V/m"  # type: ignore[valid-type]
    sheet: Quantity("m") | None = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _possible(self) -> BeamTable:
        self.beam(1.0, 1.0)
        return self

    def beam(self, permittivity: float, permeability: float) -> GaussianBeam:
        """Returns the beam in a medium."""
        return GaussianBeam(
            waist=self.waist, focus=self.focus, direction=self.direction, polarisation=self.polarisation,
            permittivity=permittivity, permeability=permeability,
        )  # fmt: skip

    @property
    def axis(self) -> int:
        """Nearest to the beam."""
        return int(unit_vector(self.direction, "direction").abs().argmax())

    def stations(self) -> list[list[Station]]:
        """Returns a line at the focus along the axis, and one for the sheet."""
        found: list[list[Station]] = [[], [], []]
        for at in {self.focus[self.axis], self.focus[self.axis] if self.sheet is None else self.sheet}:
            found[self.axis].append(Station(at=at, why="a beam", rank=1))
        return found

    def node(self, grid: Grid) -> int:
        """Returns the node of the sheet. Raises InputError in the absorbing layers and off the lines."""
        inner, forward = grid.inner(self.axis), self.direction[self.axis] > 0
        if self.sheet is None:
            return inner[0] + SHEET_CLEARANCE if forward else inner[-1] - SHEET_CLEARANCE
        node = grid.node_index(self.axis, self.sheet, what="the beam's sheet")
        if not inner[0] < node < inner[-1]:
            raise InputError(
                f"the beam's sheet at {AXES[self.axis]} = {self.sheet * 1e3:.6g} mm lies in the absorbing layers; "
                "move it inside, or leave it out"
            )
        return node

    def place(self, name: str, around: Surroundings) -> tuple[PlacedSource, list[Finding]]:
        """Returns the currents on the sheet, and what is to be said about them."""
        grid, beam, node = around.grid, self.beam(around.permittivity, around.permeability), self.node(around.grid)
        _check_mirrors(around, self.direction, self.polarisation)
        delay, sources = 0.0, ()
        for attempt in range(STARTS):
            try:
                sources = beam_sources(
                    grid, around.dt, around.n_steps, beam=beam, axis=self.axis, node=node, waveform=around.signal,
                    amplitude=self.amplitude, delay=delay, walls=around.walls,
                )  # fmt: skip
                break
            except TooEarly as fault:
                if attempt == STARTS - 1:
                    raise
                delay += fault.lead
        plane = float(grid.nodes(self.axis)[node])
        way = (self.focus[self.axis] - plane) / float(beam.axes[0][self.axis])
        found = _check_surroundings(name, "the beam's sheet", sources[0].places, around)
        longest = around.speed / min(around.frequencies)
        if self.waist < longest:
            found.append(
                warning(
                    f"{name}: the waist of {self.waist * 1e3:.4g} mm is under a wavelength, {longest * 1e3:.4g} mm at "
                    f"{min(around.frequencies) / 1e9:g} GHz: the beam is exact, but it does not widen as the paraxial "
                    "formula says; use a wider waist where that matters"
                )
            )
        note = (
            f"Gaussian beam of {self.amplitude:g} V/m along {list(self.direction)}, waist {self.waist * 1e3:.4g} mm, "
            f"from the sheet {AXES[self.axis]} = {plane * 1e3:.6g} mm"
        )
        placed = PlacedSource(
            name=name, table=self, sources=tuple(sources), arrival=delay + way / around.speed, beam=beam, note=note
        )
        return placed, found


def _kind_of(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else value.kind
    if kind not in ("dipole", "plane_wave", "gaussian_beam"):
        raise UnknownNameError.of("kind of source", str(kind), ("dipole", "plane_wave", "gaussian_beam"))
    return str(kind)


SourceTable = Annotated[
    Annotated[DipoleTable, Tag("dipole")]
    | Annotated[PlaneWaveTable, Tag("plane_wave")]
    | Annotated[BeamTable, Tag("gaussian_beam")],
    Discriminator(_kind_of),
]


def open_sides(sides: Any) -> tuple[str, ...]:
    """Returns the sides of the grid without absorbing layers, by the boundaries of each axis."""
    return tuple(side for side in SIDES if sides(side[0])[0 if side.endswith("low") else 1] != "absorbing")


def _check_mirrors(around: Surroundings, direction: Sequence[float], polarisation: Sequence[float]) -> None:
    """Raises InputError for a wave that is not symmetric in a wall of the grid."""
    p = transverse(polarisation, unit_vector(direction, "direction"))
    for side in around.open_sides:
        axis = AXES.index(side[0])
        wall = around.walls.sides(axis)[0 if side.endswith("low") else 1]
        across = [float(p[other].abs()) for other in range(3) if other != axis]
        if (wall == "pec" and max(across) > 1e-9) or (wall == "pmc" and float(p[axis].abs()) > 1e-9):
            lies = f"along {side[0]}" if wall == "pec" else f"across {side[0]}"
            raise InputError(
                f"the boundary '{wall}' at the {side[2:]} side of {side[0]} is a mirror of fields that lie {lies} "
                f"there, and the wave's lies along {[round(float(part), 6) for part in p]}; turn the polarisation, or "
                "use another boundary"
            )


def _check_surroundings(name: str, what: str, places: Tensor, around: Surroundings) -> list[Finding]:
    """Returns an error where the currents of a wave pass through a part: they are those of the background."""
    media, index = around.media, tuple(places.unbind(1))
    metal = bool(media.metal[index].any())
    other = bool(((media.permittivity[index] / around.permittivity - 1.0).abs() > 1e-6).any())
    if not metal and not other:
        return []
    found = "metal" if metal else "another material than the background"
    return [
        error(
            f"{name}: {what} passes through {found}; it must lie in the background alone: give the grid a larger "
            "margin around the parts, or move them away from it"
        )
    ]
