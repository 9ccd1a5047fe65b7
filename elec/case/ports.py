"""Ports of a case: a resistive voltage source over a gap, or a mode of a line or guide that leaves the grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from jaxtyping import Complex, Float
from pydantic import Discriminator, Tag, model_validator
from torch import Tensor

from elec.fdtd import Circuit, LumpedElement, VoltagePort
from elec.grid import AXES, Grid, ThreeLengths
from elec.mesh import Mesh, Station, whole_block
from elec.ports import LumpedPort, ModePort, line_impedance
from mindsci.config import Quantity, Table
from mindsci.errors import InputError, UnknownNameError

SOURCE_BEHIND = 5
"""Cells from the plane where the waves are measured back to the source of a mode port."""
CLEAR = 2
"""Least cells between that source and the absorbing layer."""


class LumpedPortTable(Table):
    """An entry of `[[ports]]`: a voltage source with an inner resistance, over a box of grid edges."""

    kind: Literal["lumped"] = "lumped"
    name: str | None = None
    """p1, p2, ... unless given"""
    start: ThreeLengths
    stop: ThreeLengths
    direction: Literal["x", "y", "z"]
    resistance: Quantity("ohm") = "50 ohm"  # type: ignore[valid-type]

    def stations(self) -> list[list[Station]]:
        """Returns the lines that the port calls for on each axis."""
        return corner_stations(self.start, self.stop, "a port")

    def build(self, mesh: Mesh, waveform: Any, amplitude: float, band: tuple[float, float]) -> LumpedPort:
        """Returns the port on the lines of the mesh: where metal ends at a rim, the port does so too."""
        port = VoltagePort(
            start=mesh.corner(self.start),
            stop=mesh.corner(self.stop),
            axis=AXES.index(self.direction),
            resistance=self.resistance,
            waveform=waveform,
            amplitude=amplitude,
        )
        return LumpedPort(port=port)

    def reference(self, placed: Any, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the impedance of the port's waves [ohm]."""
        found: Tensor = placed.impedance(frequencies)
        return found

    def note(self) -> str:
        return f"lumped port, {self.resistance:g} ohm along {self.direction}"


class ModePortTable(Table):
    """An entry of `[[ports]]`: a mode of a uniform guide that runs into the absorbing layer behind the port.

    start and stop are two corners of a rectangle across the guide, in the reference plane; direction points to the
    device. Waves of a microstrip or coaxial line are stated against its characteristic impedance, those of other guides
    against their wave impedance.
    """

    kind: Literal["microstrip", "coaxial", "waveguide", "mode"]
    name: str | None = None
    """p1, p2, ... unless given"""
    start: ThreeLengths
    stop: ThreeLengths
    direction: Literal["+x", "-x", "+y", "-y", "+z", "-z"]
    mode: int = 0
    """0 has the largest propagation constant"""
    shift: Quantity("m") = "0 m"  # type: ignore[valid-type]
    """length of line that is taken off between the plane and the device"""

    @model_validator(mode="after")
    def _flat(self) -> ModePortTable:
        if self.start[self.axis] != self.stop[self.axis]:
            raise InputError(
                f"a {self.kind} port lies in a plane across its direction {self.direction}: give start and stop the "
                f"same {AXES[self.axis]}"
            )
        if self.mode < 0:
            raise InputError(f"mode = {self.mode}: count from 0")
        return self

    @property
    def axis(self) -> int:
        return AXES.index(self.direction[1])

    @property
    def sign(self) -> int:
        return 1 if self.direction[0] == "+" else -1

    def stations(self) -> list[list[Station]]:
        """Returns a row of even cells from behind the source to the reference plane."""
        first, last = (-SOURCE_BEHIND - 1, 1) if self.sign > 0 else (-1, SOURCE_BEHIND + 1)
        block = whole_block(self.start[self.axis], first, last, f"a {self.kind} port")
        return [[block] if axis == self.axis else [] for axis in range(3)]

    def build(self, mesh: Mesh, waveform: Any, amplitude: float, band: tuple[float, float]) -> ModePort:
        """Returns the port. Raises InputError where no line lies on its plane or its source is in the layers."""
        grid, axis = mesh.grid, self.axis
        node = grid.node_index(axis, self.start[axis], what=f"the {self.kind} port's plane")
        source = node - self.sign * SOURCE_BEHIND
        inside = grid.inner(axis)
        if not inside[0] + CLEAR <= source <= inside[-1] - CLEAR:
            raise InputError(
                f"the {self.kind} port's source, {SOURCE_BEHIND} cells behind its plane at {AXES[axis]} = "
                f"{self.start[axis] * 1e3:.6g} mm, is in the absorbing layer or less than {CLEAR} cells from it; move "
                "the plane towards the device, or widen the grid"
            )
        lines = grid.nodes(axis)
        return ModePort(
            axis=axis,
            direction=self.sign,
            source=float(lines[source]),
            probe=float(lines[node]),
            reference=float(lines[node]) + self.sign * self.shift,
            frequency=0.5 * (band[0] + band[1]),
            band=band,
            waveform=waveform,
            mode=self.mode,
            window=self._window(grid),
        )

    def _window(self, grid: Grid) -> tuple[tuple[int, int], tuple[int, int]]:
        """Node ranges of the guide's section, along the next two axes in cyclic order."""
        ranges = []
        for axis in ((self.axis + 1) % 3, (self.axis + 2) % 3):
            nodes = grid.nodes(axis)
            low, high = sorted((self.start[axis], self.stop[axis]))
            ranges.append((int((nodes - low).abs().argmin()), int((nodes - high).abs().argmin())))
        return ranges[0], ranges[1]

    def reference(self, placed: Any, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the impedance of the port's waves [ohm]."""
        if self.kind in ("microstrip", "coaxial"):
            return line_impedance(placed.family, frequencies)
        found: Tensor = placed.impedance(frequencies)
        return found

    def note(self) -> str:
        return f"{self.kind} port towards {self.direction}, mode {self.mode}"


def _kind_of(value: Any) -> str:
    kind = value.get("kind", "lumped") if isinstance(value, dict) else value.kind
    if kind not in ("lumped", "microstrip", "coaxial", "waveguide", "mode"):
        raise UnknownNameError.of("kind of port", str(kind), ("lumped", "microstrip", "coaxial", "waveguide", "mode"))
    return "lumped" if kind == "lumped" else "guide"


PortTable = Annotated[
    Annotated[LumpedPortTable, Tag("lumped")] | Annotated[ModePortTable, Tag("guide")], Discriminator(_kind_of)
]


class ElementTable(Table):
    """An entry of `[[elements]]`: resistance, inductance and capacitance, or some of them, over a box of grid edges."""

    name: str | None = None
    """element 1, element 2, ... unless given"""
    start: ThreeLengths
    stop: ThreeLengths
    direction: Literal["x", "y", "z"]
    connection: Literal["series", "parallel"] = "series"
    resistance: Quantity("ohm") | None = None  # type: ignore[valid-type]
    inductance: Quantity("H") | None = None  # type: ignore[valid-type]
    capacitance: Quantity("F") | None = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _possible(self) -> ElementTable:
        self.circuit()
        return self

    def circuit(self) -> Circuit:
        """Returns what the element is made of."""
        return Circuit(
            resistance=self.resistance,
            inductance=self.inductance,
            capacitance=self.capacitance,
            kind=self.connection,
        )

    def stations(self) -> list[list[Station]]:
        """Returns the lines that the element calls for on each axis."""
        return corner_stations(self.start, self.stop, "a lumped element")

    def build(self, mesh: Mesh) -> LumpedElement:
        """Returns the element on the lines of the mesh."""
        return LumpedElement(
            start=mesh.corner(self.start),
            stop=mesh.corner(self.stop),
            axis=AXES.index(self.direction),
            circuit=self.circuit(),
        )

    def note(self) -> str:
        given = (("ohm", self.resistance), ("H", self.inductance), ("F", self.capacitance))
        parts = ", ".join(f"{value:g} {unit}" for unit, value in given if value is not None)
        return f"{parts} in {self.connection} along {self.direction}"


def corner_stations(start: Sequence[float], stop: Sequence[float], why: str) -> list[list[Station]]:
    """Returns the lines through two corners of a box."""
    return [[Station(at=end, why=why, rank=1) for end in sorted({start[axis], stop[axis]})] for axis in range(3)]


def all_stations(tables: Sequence[LumpedPortTable | ModePortTable | ElementTable]) -> list[list[Station]]:
    """Returns what all ports and elements ask of each axis."""
    return [[station for table in tables for station in table.stations()[axis]] for axis in range(3)]
