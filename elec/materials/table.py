"""The table `[materials.NAME]` of a case file.

A loss tangent is a figure at one frequency. It is converted to the conductivity that gives the same loss at that
frequency, sigma = 2 pi f epsilon0 epsilon_r tan(delta) [Pozar2012, sec. 1.3]; at another frequency the loss tangent of
that conductivity falls as 1 / f. `MaterialTable.note` says so in words, for the log of a run.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from elec.materials.dispersion import Pole, debye, drude, lorentz
from elec.materials.material import BUILTIN, Material
from elec.materials.surface import (
    Skin,
    Surface,
    foil_surface,
    layer_skin,
    resistance_surface,
    skin_depth,
    thick_surface,
)
from elec.numbers import Number, along, check_number
from mindsci.config import InputFile, Quantity, Table
from mindsci.errors import InputError
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY, parse

if TYPE_CHECKING:
    from elec.materials.fit import Fit


def _along_axes(unit: str) -> Any:
    """The type of one number, or three for x, y and z, in a unit."""

    def read(value: Any) -> Number:
        if isinstance(value, (list, tuple)):
            return tuple(parse(entry, unit) for entry in value)  # type: ignore[return-value]
        return parse(value, unit)

    def write(value: Number) -> str | list[str]:
        return [f"{one!r} {unit}" for one in value] if isinstance(value, tuple) else f"{value!r} {unit}"

    return Annotated[float | tuple[float, float, float], BeforeValidator(read), PlainSerializer(write)]


def _read_number(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


OneOrThree = Annotated[float | tuple[float, float, float], BeforeValidator(_read_number)]
Conductivity = _along_axes("S/m")
MagneticConductivity = _along_axes("ohm/m")


class DebyeTable(Table):
    """strength / (1 + s tau)."""

    strength: float = Field(gt=0)
    relaxation_time: Quantity("s")  # type: ignore[valid-type]


class DrudeTable(Table):
    """(2 pi f_p)^2 / (s^2 + s gamma)."""

    plasma_frequency: Quantity("Hz")  # type: ignore[valid-type]
    damping: Quantity("1/s") = "0 1/s"  # type: ignore[valid-type]


class LorentzTable(Table):
    """strength omega0^2 / (omega0^2 + s gamma + s^2)."""

    strength: float = Field(gt=0)
    frequency: Quantity("Hz")  # type: ignore[valid-type]
    damping: Quantity("1/s") = "0 1/s"  # type: ignore[valid-type]


class PairTable(Table):
    """residue / (s - rate) and its conjugate; each number as real and imaginary part."""

    rate: tuple[Quantity("1/s"), Quantity("1/s")]  # type: ignore[valid-type]
    residue: tuple[Quantity("1/s"), Quantity("1/s")]  # type: ignore[valid-type]


class MaterialTable(Table):
    """The table `[materials.NAME]` of a case file."""

    relative_permittivity: OneOrThree = 1.0
    """one number, or three for x, y and z; at infinite frequency where there are poles"""
    relative_permeability: OneOrThree = 1.0
    conductivity: Conductivity | None = None  # type: ignore[valid-type]
    magnetic_conductivity: MagneticConductivity | None = None  # type: ignore[valid-type]
    loss_tangent: float | None = None
    magnetic_loss_tangent: float | None = None
    loss_tangent_frequency: Quantity("Hz") | None = None  # type: ignore[valid-type]
    debye: list[DebyeTable] = []
    drude: list[DrudeTable] = []
    lorentz: list[LorentzTable] = []
    pole_pairs: list[PairTable] = []
    file: InputFile | None = None
    """optical constants to fit: .yml of refractiveindex.info, or .csv"""
    n_poles: int = Field(default=4, ge=0, le=20)
    wavelengths: tuple[Quantity("m"), Quantity("m")] | None = None  # type: ignore[valid-type]
    """the range of the file that is fitted"""
    kind: Literal["dielectric", "pec", "sheet", "conductor"] = "dielectric"
    sheet_resistance: Quantity("ohm") | None = None  # type: ignore[valid-type]
    thickness: Quantity("m") | None = None  # type: ignore[valid-type]
    band: tuple[Quantity("Hz"), Quantity("Hz")] | None = None  # type: ignore[valid-type]
    """where the skin effect of a conductor, or of a sheet with a thickness, is followed"""

    @model_validator(mode="before")
    @classmethod
    def _is_sheet(cls, given: Any) -> Any:
        """What only a sheet has says that it is one."""
        if isinstance(given, dict) and "kind" not in given and {"sheet_resistance", "thickness"} & set(given):
            return {**given, "kind": "sheet"}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> MaterialTable:
        self._check_loss()
        self._check_kind()
        check_number("", "relative permittivity", self.relative_permittivity, lowest=1.0)
        check_number("", "relative permeability", self.relative_permeability, lowest=1.0)
        check_number("", "conductivity [S/m]", self.conductivity or 0.0, lowest=0.0)
        check_number("", "magnetic conductivity [ohm/m]", self.magnetic_conductivity or 0.0, lowest=0.0)
        described = self._described()
        if self.kind == "pec" and described:
            raise InputError(f'kind = "pec" is perfect metal and takes no {", ".join(sorted(described))}; remove it')
        if self.file is not None and described - {"file", "n_poles", "wavelengths"}:
            others = ", ".join(sorted(described - {"file", "n_poles", "wavelengths"}))
            raise InputError(f"file gives the whole permittivity; remove {others}, or the file")
        if self.file is None and described & {"n_poles", "wavelengths"}:
            raise InputError("n_poles and wavelengths say how a file is fitted; add file, or remove them")
        return self

    def _described(self) -> set[str]:
        """What says more than its default does: a resolved case repeats the defaults."""
        fields = type(self).model_fields
        return {name for name in fields if name != "kind" and getattr(self, name) != fields[name].get_default()}

    def _check_loss(self) -> None:
        tangents = {"loss_tangent": self.loss_tangent, "magnetic_loss_tangent": self.magnetic_loss_tangent}
        given = {name: value for name, value in tangents.items() if value is not None}
        for name, value in given.items():
            if self.loss_tangent_frequency is None:
                raise InputError(
                    f"{name} holds at one frequency only; add loss_tangent_frequency, e.g. "
                    'loss_tangent_frequency = "2.45 GHz"'
                )
            check_number("", name.replace("_", " "), value, lowest=0.0)
            conductivity = name.replace("loss_tangent", "conductivity")
            if getattr(self, conductivity) is not None:
                raise InputError(f"{conductivity} and {name} both describe the loss; give one of them")
        if self.loss_tangent_frequency is not None:
            if not given:
                raise InputError("loss_tangent_frequency is given without loss_tangent; add it or remove the frequency")
            if not self.loss_tangent_frequency > 0:
                raise InputError(f"loss_tangent_frequency = {self.loss_tangent_frequency:g} Hz must be positive")

    def _check_kind(self) -> None:
        given = self._described()
        if self.kind == "conductor" and not {"conductivity", "band"} <= given:
            raise InputError(
                'kind = "conductor" needs its conductivity and the band of frequencies, e.g. band = ["1 GHz", "10 GHz"]'
            )
        if self.kind == "sheet" and given not in ({"sheet_resistance"}, {"conductivity", "thickness", "band"}):
            raise InputError(
                'kind = "sheet" takes sheet_resistance, or conductivity, thickness and band, and nothing else'
            )
        allowed = {"conductor": {"conductivity", "band", "relative_permeability"}}.get(self.kind)
        if allowed is not None and given - allowed:
            raise InputError(f'kind = "conductor" takes no {", ".join(sorted(given - allowed))}; remove it')
        surface = given & {"sheet_resistance", "thickness", "band"}
        if self.kind == "dielectric" and surface:
            raise InputError(
                f'{", ".join(sorted(surface))} describe a surface; set kind = "sheet" or kind = "conductor"'
            )

    def material(self, name: str) -> Material:
        """Returns the material of this table: a loss tangent turned into its conductivity, a file into poles."""
        if self.file is not None:
            return self.fit(name).material
        if self.kind in ("sheet", "conductor"):
            return Material(name=name, kind=self.kind, surface=self._surface())
        conductivity: Number = self.conductivity or 0.0
        magnetic: Number = self.magnetic_conductivity or 0.0
        if self.loss_tangent is not None:
            conductivity = self._of_tangent(self.loss_tangent, VACUUM_PERMITTIVITY, self.relative_permittivity)
        if self.magnetic_loss_tangent is not None:
            magnetic = self._of_tangent(self.magnetic_loss_tangent, VACUUM_PERMEABILITY, self.relative_permeability)
        return Material(
            name=name,
            relative_permittivity=self.relative_permittivity,
            relative_permeability=self.relative_permeability,
            conductivity=conductivity,
            magnetic_conductivity=magnetic,
            poles=self._poles(),
            kind=self.kind,
        )

    def _of_tangent(self, tangent: float, unit: float, number: Number) -> Number:
        """The conductivity with this loss tangent at its frequency."""
        factor = 2.0 * math.pi * (self.loss_tangent_frequency or 0.0) * unit * tangent
        if isinstance(number, tuple):
            return (factor * number[0], factor * number[1], factor * number[2])
        return factor * number

    def _poles(self) -> tuple[Pole, ...]:
        found: list[Pole] = []
        for debye_table in self.debye:
            found += debye(debye_table.strength, debye_table.relaxation_time)
        for drude_table in self.drude:
            found += drude(drude_table.plasma_frequency, drude_table.damping)
        for lorentz_table in self.lorentz:
            found += lorentz(lorentz_table.strength, lorentz_table.frequency, lorentz_table.damping)
        for pair in self.pole_pairs:
            found.append(Pole(rate=complex(*pair.rate), jump=complex(*pair.residue)))
        return tuple(found)

    def _surface(self) -> Surface | Skin:
        if self.sheet_resistance is not None:
            return resistance_surface(self.sheet_resistance)
        conductivity, band = along(self.conductivity or 0.0, 0), self.band or (0.0, 0.0)
        if self.thickness is not None:
            # Thinner than its skin it leaks, and has one field on both sides; thicker it has two, and next to no leak.
            thin = self.thickness <= skin_depth(conductivity, band[1])
            return (foil_surface if thin else layer_skin)(conductivity, self.thickness, band)
        return thick_surface(conductivity, band, relative_permeability=along(self.relative_permeability, 0))

    def fit(self, name: str) -> Fit:
        """Returns the fit to the table's file."""
        if self.file is None:
            raise InputError(f"material '{name}' names no file to fit")
        return _fitted(name, self.file, self.n_poles, self.wavelengths)

    def note(self, name: str) -> str | None:
        """Returns a sentence for the log where the table is only approximated, else None."""
        if self.file is not None:
            return self.fit(name).report()
        if self.kind in ("sheet", "conductor") and self.sheet_resistance is None:
            low, high = self.band or (0.0, 0.0)
            surface = self._surface()
            sort = ""
            if self.kind == "sheet":
                opaque = isinstance(surface, Skin)
                sort = "taken as opaque, with a skin on each side; " if opaque else "thinner than its skin; "
            return (
                f"material '{name}': {sort}its skin effect is followed within {100.0 * surface.error:.2g} % from "
                f"{low:.4g} to {high:.4g} Hz"
            )
        material, said = self.material(name), []
        for kind, tangent, conductivity, unit in (
            ("", self.loss_tangent, material.conductivity, "S/m"),
            ("magnetic ", self.magnetic_loss_tangent, material.magnetic_conductivity, "ohm/m"),
        ):
            if tangent is not None:
                numbers = conductivity if isinstance(conductivity, tuple) else (conductivity,)
                shown = ", ".join(f"{number:.4g}" for number in numbers)
                at = f"{(self.loss_tangent_frequency or 0.0) / 1e9:g} GHz"
                said.append(
                    f"{kind}loss tangent {tangent:g} at {at} is taken as a {kind}conductivity of {shown} {unit}"
                )
        return f"material '{name}': {', and '.join(said)}; it is exact at that frequency only" if said else None


@functools.lru_cache(maxsize=32)
def _fitted(name: str, path: Path, n_poles: int, wavelengths: tuple[float, float] | None) -> Fit:
    from elec.materials.fit import fit_material
    from elec.materials.optical import frequency_band, read_optical_constants

    band = None if wavelengths is None else frequency_band(wavelengths)
    return fit_material(name, read_optical_constants(path), n_poles=n_poles, band=band)


def loss_tangent_conductivity(loss_tangent: float, relative_permittivity: float, *, frequency: float) -> float:
    """Returns the conductivity [S/m] with this loss tangent at one frequency [Hz], [Pozar2012, sec. 1.3]."""
    return 2.0 * math.pi * frequency * VACUUM_PERMITTIVITY * relative_permittivity * loss_tangent


def material_library(tables: Mapping[str, MaterialTable]) -> dict[str, Material]:
    """Returns the built-in materials and those of a case by name; a built-in name may not be redefined."""
    for name in tables:
        if name in BUILTIN:
            raise InputError(f"material '{name}' is built in and cannot be redefined; choose another name")
    return dict(BUILTIN) | {name: table.material(name) for name, table in tables.items()}
