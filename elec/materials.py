"""Materials: constant permittivity, permeability and conductivity, or a perfect conductor.

A loss tangent is a figure at one frequency. It is converted to the conductivity that gives the same loss at that
frequency, sigma = 2 pi f epsilon0 epsilon_r tan(delta) [Pozar2012, sec. 1.3]; at another frequency the loss tangent of
that conductivity falls as 1 / f. `MaterialTable.note` says so in words, for the log of a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import model_validator

from mindsci.config import Quantity, Table
from mindsci.errors import InputError, UnknownNameError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY


def _check_number(prefix: str, quantity: str, value: float, *, lowest: float) -> None:
    if not (math.isfinite(value) and value >= lowest):
        raise InputError(
            f"{prefix}{quantity} = {value:g} must be a finite number of at least {lowest:g}"
            + ("; for metal use the material 'pec'" if lowest == 1.0 and "permittivity" in quantity else "")
        )


class Material(Tree):
    """A linear, isotropic, non-dispersive material; kind "pec" is a perfect conductor and ignores the numbers."""

    name: str
    relative_permittivity: float = 1.0
    relative_permeability: float = 1.0
    conductivity: float = 0.0
    """[S/m]"""
    kind: Literal["dielectric", "pec"] = "dielectric"

    def __post_init__(self) -> None:
        _check_number(f"material '{self.name}': ", "relative permittivity", self.relative_permittivity, lowest=1.0)
        _check_number(f"material '{self.name}': ", "relative permeability", self.relative_permeability, lowest=1.0)
        _check_number(f"material '{self.name}': ", "conductivity [S/m]", self.conductivity, lowest=0.0)
        if self.kind not in ("dielectric", "pec"):
            raise InputError(f"material '{self.name}': kind '{self.kind}' is not known; use 'dielectric' or 'pec'")

    @property
    def is_metal(self) -> bool:
        return self.kind == "pec"


PEC = Material(name="pec", kind="pec")
VACUUM = Material(name="vacuum")
AIR = Material(name="air")
BUILTIN: Mapping[str, Material] = {"pec": PEC, "vacuum": VACUUM, "air": AIR}


class MaterialTable(Table):
    """The table `[materials.NAME]` of a case file."""

    relative_permittivity: float = 1.0
    relative_permeability: float = 1.0
    conductivity: Quantity("S/m") | None = None
    loss_tangent: float | None = None
    loss_tangent_frequency: Quantity("Hz") | None = None
    kind: Literal["dielectric", "pec"] = "dielectric"

    @model_validator(mode="after")
    def _consistent(self) -> MaterialTable:
        if self.loss_tangent is not None and self.loss_tangent_frequency is None:
            raise InputError(
                "loss_tangent holds at one frequency only; add loss_tangent_frequency, e.g. "
                'loss_tangent_frequency = "2.45 GHz"'
            )
        if self.loss_tangent is None and self.loss_tangent_frequency is not None:
            raise InputError("loss_tangent_frequency is given without loss_tangent; add it or remove the frequency")
        if self.loss_tangent is not None and self.conductivity is not None:
            raise InputError("conductivity and loss_tangent both describe the loss; give one of them")
        if self.loss_tangent is not None and self.loss_tangent_frequency is not None:
            _check_number("", "loss tangent", self.loss_tangent, lowest=0.0)
            if not self.loss_tangent_frequency > 0:
                raise InputError(f"loss_tangent_frequency = {self.loss_tangent_frequency:g} Hz must be positive")
        _check_number("", "relative permittivity", self.relative_permittivity, lowest=1.0)
        _check_number("", "relative permeability", self.relative_permeability, lowest=1.0)
        _check_number("", "conductivity [S/m]", self.conductivity or 0.0, lowest=0.0)
        described = self.model_fields_set - {"kind"}
        if self.kind == "pec" and described:
            raise InputError(f'kind = "pec" is perfect metal and takes no {", ".join(sorted(described))}; remove it')
        return self

    def material(self, name: str) -> Material:
        """Returns the material of this table, a loss tangent turned into its conductivity."""
        conductivity = self.conductivity or 0.0
        if self.loss_tangent is not None and self.loss_tangent_frequency is not None:
            conductivity = loss_tangent_conductivity(
                self.loss_tangent, self.relative_permittivity, frequency=self.loss_tangent_frequency
            )
        return Material(
            name=name,
            relative_permittivity=self.relative_permittivity,
            relative_permeability=self.relative_permeability,
            conductivity=conductivity,
            kind=self.kind,
        )

    def note(self, name: str) -> str | None:
        """Returns a sentence for the log where the table's loss is only approximated, else None."""
        if self.loss_tangent is None or self.loss_tangent_frequency is None:
            return None
        return (
            f"material '{name}': loss tangent {self.loss_tangent:g} at {self.loss_tangent_frequency / 1e9:g} GHz is "
            f"taken as a conductivity of {self.material(name).conductivity:.4g} S/m; it is exact at that frequency only"
        )


def loss_tangent_conductivity(loss_tangent: float, relative_permittivity: float, *, frequency: float) -> float:
    """Returns the conductivity [S/m] with this loss tangent at one frequency [Hz], [Pozar2012, sec. 1.3]."""
    return 2.0 * math.pi * frequency * VACUUM_PERMITTIVITY * relative_permittivity * loss_tangent


def material_library(tables: Mapping[str, MaterialTable]) -> dict[str, Material]:
    """Returns the built-in materials and those of a case by name; a built-in name may not be redefined."""
    for name in tables:
        if name in BUILTIN:
            raise InputError(f"material '{name}' is built in and cannot be redefined; choose another name")
    return dict(BUILTIN) | {name: table.material(name) for name, table in tables.items()}


def find_material(name: str, materials: Mapping[str, Material]) -> Material:
    """Returns the material of that name among the given and the built-in ones; UnknownNameError with the nearest."""
    known = dict(BUILTIN) | dict(materials)
    if name not in known:
        raise UnknownNameError.of("material", name, known)
    return known[name]
