"""Materials: permittivity with poles, permeability and conductivity; perfect metal; conductors known by a surface."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.materials.dispersion import Pole, check_passive, susceptibility
from elec.materials.surface import Skin, Surface, thick_surface
from elec.numbers import Number, along, check_number
from mindsci.errors import InputError, UnknownNameError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY

Kind = Literal["dielectric", "pec", "sheet", "conductor"]
KINDS = ("dielectric", "pec", "sheet", "conductor")


class Material(Tree):
    """A linear material. Kinds: "dielectric"; "pec", a perfect conductor, which ignores the numbers; "sheet", a layer
    without thickness, known by the admittance per square or, where it is opaque, by the impedance of each of its sides;
    and "conductor", which fields do not enter, known by the impedance of its skin.

    Numbers may be tensors: gradients pass through them to the media.
    """

    name: str
    relative_permittivity: Number = 1.0
    """at infinite frequency, where there are poles"""
    relative_permeability: Number = 1.0
    conductivity: Number = 0.0
    """[S/m]"""
    magnetic_conductivity: Number = 0.0
    """[ohm/m]: magnetic loss"""
    poles: tuple[Pole, ...] = ()
    kind: Kind = "dielectric"
    surface: Surface | Skin | None = None

    def __post_init__(self) -> None:
        prefix = f"material '{self.name}': "
        check_number(prefix, "relative permittivity", self.relative_permittivity, lowest=1.0)
        check_number(prefix, "relative permeability", self.relative_permeability, lowest=1.0)
        check_number(prefix, "conductivity [S/m]", self.conductivity, lowest=0.0)
        check_number(prefix, "magnetic conductivity [ohm/m]", self.magnetic_conductivity, lowest=0.0)
        if self.kind not in KINDS:
            raise InputError(f"{prefix}kind '{self.kind}' is not known; use one of {', '.join(map(repr, KINDS))}")
        if (self.kind in ("sheet", "conductor")) != (self.surface is not None):
            raise InputError(
                f"{prefix}a sheet or conductor has a surface and nothing else has; make it with resistance_surface, "
                "foil_surface, drude_surface, layer_skin or thick_surface"
            )
        if self.kind == "conductor" and not isinstance(self.surface, Skin):
            raise InputError(f"{prefix}a conductor is known by the impedance of its skin; make it with thick_surface")
        check_passive(self.name, self.poles)

    @property
    def is_metal(self) -> bool:
        """Whether fields do not enter: a perfect conductor, or one known by its skin."""
        return self.kind == "pec" or isinstance(self.surface, Skin)

    def permittivity(self, frequencies: Float[Tensor, "f"], axis: int = 0) -> Complex[Tensor, "f"]:
        """Returns the complex relative permittivity along an axis, conductivity included; loss is -Im [Hz]."""
        f = torch.as_tensor(frequencies, dtype=torch.float64)
        epsilon, sigma = along(self.relative_permittivity, axis), along(self.conductivity, axis)
        return epsilon + susceptibility(self.poles, f) - 1j * sigma / (2.0 * math.pi * f * VACUUM_PERMITTIVITY)


PEC = Material(name="pec", kind="pec")
VACUUM = Material(name="vacuum")
AIR = Material(name="air")
CONDUCTORS = {"copper": 5.80e7, "silver": 6.17e7, "gold": 4.10e7, "aluminium": 3.77e7, "brass": 1.6e7}
"""[S/m] near room temperature; the conductivity of brass depends on its zinc"""
MICROWAVES = (1e8, 1e11)
"""[Hz] where the skins of the metals known by name hold; name a band in a table of your own for another."""


def good_conductor(
    name: str, conductivity: float, band: Sequence[float], *, relative_permeability: float = 1.0
) -> Material:
    """Returns a conductor [S/m] whose skin holds in a band [Hz]."""
    surface = thick_surface(conductivity, band, relative_permeability=relative_permeability)
    return Material(name=name, kind="conductor", surface=surface)


BUILTIN: Mapping[str, Material] = {"pec": PEC, "vacuum": VACUUM, "air": AIR} | {
    name: good_conductor(name, conductivity, MICROWAVES) for name, conductivity in CONDUCTORS.items()
}


def find_material(name: str, materials: Mapping[str, Material]) -> Material:
    """Returns the material of that name among the given and the built-in ones; UnknownNameError with the nearest."""
    known = dict(BUILTIN) | dict(materials)
    if name not in known:
        raise UnknownNameError.of("material", name, known)
    return known[name]
