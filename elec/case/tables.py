"""Tables of a case file that say how a run is driven, when it ends, and what is kept of it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from elec.fdtd.walls import Walls
from elec.fdtd.waveforms import GaussianDerivative, ModulatedGaussian
from elec.grid import AXES, Layers
from mindsci.config import Quantity, Table
from mindsci.errors import InputError


def _read_decibels(value: Any) -> float:
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d*)?)\s*dB\s*", value) if isinstance(value, str) else None
    if found is None:
        raise InputError(f'{value!r} is not a level in dB; write it as "-50 dB"')
    return float(found.group(1))


Decibels = Annotated[float, BeforeValidator(_read_decibels), PlainSerializer(lambda value: f"{value:g} dB")]


class ExcitationTable(Table):
    """The table `[excitation]`: a pulse without a DC part, 20 dB down at frequency_max."""

    frequency_max: Quantity("Hz")  # type: ignore[valid-type]
    frequency_min: Quantity("Hz") | None = None  # type: ignore[valid-type]
    """where the pulse is 20 dB down on the low side too: for guides with a cut-off"""
    amplitude: Quantity("V") = "1 V"  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _in_order(self) -> ExcitationTable:
        if self.frequency_min is not None and not 0 < self.frequency_min < self.frequency_max:
            raise InputError(
                f"frequency_min = {self.frequency_min:g} Hz, frequency_max = {self.frequency_max:g} Hz: give "
                "0 < frequency_min < frequency_max"
            )
        return self

    def waveform(self) -> GaussianDerivative | ModulatedGaussian:
        """Returns the pulse."""
        return pulse(self.frequency_min, self.frequency_max)


def pulse(frequency_min: float | None, frequency_max: float) -> GaussianDerivative | ModulatedGaussian:
    """Returns a pulse without a DC part, 20 dB down at frequency_max [Hz], and at frequency_min where it is given."""
    if frequency_min is None:
        return GaussianDerivative(frequency_max=frequency_max)
    return ModulatedGaussian(frequency=0.5 * (frequency_min + frequency_max), bandwidth=frequency_max - frequency_min)


class FrequencyTable(Table):
    """The table `[frequencies]`: where S-parameters are given."""

    start: Quantity("Hz")  # type: ignore[valid-type]
    stop: Quantity("Hz")  # type: ignore[valid-type]
    points: int = Field(default=501, ge=3)

    @model_validator(mode="after")
    def _in_order(self) -> FrequencyTable:
        if not 0 < self.start < self.stop:
            raise InputError(
                f"start = {self.start:g} Hz, stop = {self.stop:g} Hz: give 0 < start < stop (the pulse has no DC part)"
            )
        return self


class TimeTable(Table):
    """The table `[time]`: the step, and when to stop."""

    courant: float = Field(default=0.9, gt=0)
    """step as a fraction of the Courant limit"""
    step: Quantity("s") | None = None  # type: ignore[valid-type]
    """step itself; overrides courant"""
    n_steps: int = Field(default=20_000, ge=1)
    """most steps of a run"""
    decay: Decibels = "-60 dB"  # type: ignore[assignment]
    """a run ends once what the ports record has fallen this far below its peak"""
    ring_out: bool = False
    """continue records that still ring after n_steps to `decay`, by the free oscillations that they are made of"""

    @model_validator(mode="after")
    def _possible(self) -> TimeTable:
        if self.courant > 1.0 and self.step is None:
            raise InputError(f"courant = {self.courant:g} is above the Courant limit, 1; use at most 0.99")
        if self.decay >= 0:
            raise InputError(f"decay = {self.decay:g} dB must be negative; -50 dB is usual")
        return self


class FieldTable(Table):
    """The table `[fields]`: frequencies at which E is kept, and the layer of cells of the pictures."""

    frequencies: list[Quantity("Hz")] = []  # type: ignore[valid-type]
    """where the volume is kept and pictured; without any, the picture's layer near the resonances"""
    normal: Literal["x", "y", "z"] | None = None
    """normal of the plane; the thinnest direction of the parts unless given"""
    at: Quantity("m") | None = None  # type: ignore[valid-type]
    """position of the plane; the middle of the parts unless given"""


class FarFieldTable(Table):
    """The table `[far_field]`: directivity, gain and patterns at some frequencies."""

    frequencies: list[Quantity("Hz")] = []  # type: ignore[valid-type]
    pec: Literal["ground", "mirror"] = "ground"
    """what a conducting wall of the grid is: a plane without end, nothing behind it; or a plane of symmetry"""


Boundary = Literal["absorbing", "pec", "pmc", "periodic"]


def _both_sides(value: Any) -> Any:
    return [value, value] if isinstance(value, str) else value


Sides = Annotated[tuple[Boundary, Boundary], BeforeValidator(_both_sides)]


class BoundaryTable(Table):
    """The table `[boundaries]`: what the grid ends on, low and high side of each axis, or one word for both.

    "pec" is a conducting wall, or a plane across which the electric field is odd; "pmc" one across which
    it is even: half the model is enough, quarter with two.
    """

    x: Sides = ("absorbing", "absorbing")
    y: Sides = ("absorbing", "absorbing")
    z: Sides = ("absorbing", "absorbing")

    @model_validator(mode="after")
    def _possible(self) -> BoundaryTable:
        self.walls()
        return self

    def walls(self) -> Walls:
        """Returns what lies behind the outermost nodes; behind absorbing layers there is metal."""
        return Walls(
            **{axis: tuple("pec" if side == "absorbing" else side for side in self.sides(axis)) for axis in AXES}
        )

    def sides(self, axis: str) -> tuple[Boundary, Boundary]:
        """Returns the boundaries of an axis, by its name."""
        found: tuple[Boundary, Boundary] = getattr(self, axis)
        return found

    def layers(self, cells: int) -> Layers:
        """Returns the absorbing cells of each side."""
        x, y, z = (tuple(cells if side == "absorbing" else 0 for side in self.sides(axis)) for axis in AXES)
        return (x, y, z)  # type: ignore[return-value]
