"""What a file calls its labels and in which units they are; one structure of it, converted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
from numpy.typing import NDArray

from mindsci import units
from mindsci.errors import InputError, nearest
from mindsci.tree import Tree

PER_MOLE = {
    "kcal/mol": units.KCAL_PER_MOL_EV,
    "kJ/mol": units.KJ_PER_MOL_EV,
    "kj/mol": units.KJ_PER_MOL_EV,
}
"""energies a mole of systems, of which pint says that they are no energies [eV]"""

PLAUSIBLE = (1e-5, 1e3)
"""units of energy [eV] and length [angstrom] in which files state molecules"""


class Structure(Tree):
    """One structure of a file, in the file's units: atoms, cell, and every label that it has, by its key."""

    numbers: NDArray[Any]
    positions: NDArray[Any]
    cell: NDArray[Any]
    periodic: tuple[bool, bool, bool]
    labels: Mapping[str, Any]


class Convention(Tree):
    """Keys of the labels and factors from the file's units to angstrom and eV; None: the file has no such label."""

    energy: str | None = "energy"
    forces: str | None = "forces"
    stress: str | None = "stress"
    """dE/d(strain) / volume, as in ASE"""
    virial: str | None = "virial"
    """-dE/d(strain); used where there is no stress"""
    named: tuple[str, ...] = ()
    """keys that must occur, because someone named them"""
    length: float = 1.0
    energy_unit: float = 1.0
    force_unit: float = 1.0
    stress_unit: float = 1.0

    def label(self, structure: Structure, key: str | None, shape: tuple[int, ...], where: str) -> NDArray[Any] | None:
        """Returns a label in the file's units, None where the structure has none.

        Raises InputError naming file, frame and key for one that is not finite, or of another shape.
        """
        if key is None or key not in structure.labels:
            return None
        try:
            value = numpy.asarray(structure.labels[key], dtype=numpy.float64)
        except (TypeError, ValueError):
            raise InputError(f"{where}, {key}: {structure.labels[key]!r} is no number; mend the frame") from None
        if value.size == 6 and shape == (3, 3):  # Voigt's order
            value = value.reshape(6)[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
        if value.size != numpy.prod(shape):
            raise InputError(f"{where}, {key}: {value.size} numbers, expected {int(numpy.prod(shape))}; mend the frame")
        if not numpy.isfinite(value).all():
            raise InputError(f"{where}, {key}: not finite (NaN or infinite); leave the frame out")
        return value.reshape(shape)


def convention(keys: Mapping[str, str], unit: Mapping[str, str], *, where: str) -> Convention:
    """Returns the convention of keys such as {"energy": "U0"} and units such as {"energy": "hartree", "length": "nm"}.

    Forces are in energy/length and stresses in energy/length^3 unless "force" and "stress" are given. Raises InputError
    for a key or unit that is not known, and where the units of energy and length are not stated.
    """
    labels, sorts = ("energy", "forces", "stress", "virial"), ("energy", "length", "force", "stress")
    for given, known, what in ((keys, labels, "keys"), (unit, sorts, "units")):
        for name in given:
            if name not in known:
                raise InputError(f"{where}, {what}.{name}: unknown{nearest(name, known)}; known: {', '.join(known)}")
    for name in ("energy", "length"):
        if name not in unit:
            raise InputError(f'{where}: the unit of {name} is not stated; add for example units.{name} = "eV"')
    energy, length = energy_factor(unit["energy"]), units.parse(f"1 {unit['length']}", "angstrom")
    _check_size("energy", unit["energy"], energy, "eV", '"kcal/mol"' if "cal" in unit["energy"] else '"eV"')
    _check_size("length", unit["length"], length, "angstrom", '"angstrom"')
    force = energy / length
    if "force" in unit:
        top, _, bottom = unit["force"].rpartition("/")
        force = energy_factor(top) / units.parse(f"1 {bottom}", "angstrom")
    stress = units.parse(f"1 {unit['stress']}", "eV/angstrom^3") if "stress" in unit else energy / length**3
    return Convention(
        **{name: keys[name] or None for name in keys},
        named=tuple(key for key in keys.values() if key),
        length=length,
        energy_unit=energy,
        force_unit=force,
        stress_unit=stress,
    )


def _check_size(name: str, unit: str, factor: float, of: str, usual: str) -> None:
    """Raises InputError for a unit that no file of molecules is in."""
    low, high = PLAUSIBLE
    if not low < factor < high:
        raise InputError(
            f"units.{name} = '{unit}' is {factor:.3g} {of}, and what is measured in it here is between {low:g} and "
            f"{high:g} {of}; did you mean {usual}?"
        )


def energy_factor(unit: str) -> float:
    """Returns an energy, of one system or of a mole of them, in eV."""
    return PER_MOLE[unit] if unit in PER_MOLE else units.parse(f"1 {unit}", "eV")
