"""Quantities with units at the boundary, plain floats inside.

Inside, `elec` computes in SI; `sponge` in angstrom, femtosecond, electronvolt, dalton and kelvin. The
constants are CODATA 2018 [Tiesinga2021], as scipy ships them.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from scipy import constants

from mindsci.errors import InputError

SPEED_OF_LIGHT = constants.c
"""[m/s], exact"""
VACUUM_PERMEABILITY = constants.mu_0
"""[H/m]"""
VACUUM_PERMITTIVITY = constants.epsilon_0
"""[F/m]"""
VACUUM_IMPEDANCE = constants.physical_constants["characteristic impedance of vacuum"][0]
"""[ohm]"""
ELEMENTARY_CHARGE = constants.e
"""[C], exact"""
AVOGADRO = constants.N_A
"""[1/mol], exact"""

BOLTZMANN_EV = constants.k / constants.e
"""Boltzmann constant [eV/K]"""
COULOMB_EV_ANGSTROM = constants.e / (4 * math.pi * constants.epsilon_0) * 1e10
"""energy of two elementary charges 1 angstrom apart [eV angstrom]"""
ACCELERATION = constants.e / constants.physical_constants["atomic mass constant"][0] * 1e-10
"""1 eV/angstrom/Da as an acceleration [angstrom/fs^2]"""
KCAL_PER_MOL_EV = 1000 * constants.calorie / constants.N_A / constants.e
"""1 kcal/mol [eV]"""
KJ_PER_MOL_EV = 1000 / constants.N_A / constants.e
"""1 kJ/mol [eV]"""
PASCAL_EV = 1e-30 / constants.e
"""1 Pa [eV/angstrom^3]"""
DALTON_KG = constants.physical_constants["atomic mass constant"][0]
"""1 Da [kg]"""


@functools.cache
def registry() -> Any:
    """Returns pint's registry, built at the first use because it takes a while."""
    import pint

    return pint.UnitRegistry(cache_folder=None)


def parse(text: str | float, unit: str) -> float:
    """Returns the value of a quantity such as "2.4 GHz", in `unit`.

    Raises InputError, with the fix, for a bare number, an unknown unit or a wrong dimension.
    """
    import pint

    if not isinstance(text, str):
        raise InputError(f'{text!r} has no unit; write it as a string with one, for example "{text} {unit}"')
    try:
        quantity = registry().Quantity(text)
    except pint.UndefinedUnitError as error:
        names = (
            ", ".join(f"'{name}'" for name in error.args[0])
            if isinstance(error.args[0], tuple)
            else f"'{error.args[0]}'"
        )
        raise InputError(f"'{text}': unknown unit {names}; write for example \"1 {unit}\"") from None
    except Exception as error:  # pint's tokenizer raises whatever it meets; the cause is always the text
        raise InputError(f"'{text}' is not a quantity ({error}); write a number and a unit, \"1 {unit}\"") from None
    if isinstance(quantity, (int, float)) or (quantity.unitless and unit not in ("", "dimensionless")):
        raise InputError(f"'{text}' has no unit; write for example \"{text} {unit}\"")
    try:
        value = float(quantity.to(unit).magnitude)
    except pint.DimensionalityError:
        raise InputError(f"'{text}' is {quantity.dimensionality}, but a quantity in {unit} is needed") from None
    if not math.isfinite(value):
        raise InputError(f"'{text}' is not finite; write a number")
    return value
