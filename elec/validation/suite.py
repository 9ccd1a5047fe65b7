"""`mindsci validate elec`: every case with a known answer, each with its error, its gate, its cells and its seconds."""

from __future__ import annotations

from mindsci.errors import UnknownNameError
from mindsci.plugins import load
from mindsci.report import Report

CASES = {
    "cavities": "elec.validation.cavities:validations",
    "guides": "elec.validation.guides:validations",
    "antennas": "elec.validation.antennas:validations",
    "slabs": "elec.validation.slabs:validations",
    "dipole": "elec.validation.dipole:validations",
    "inverse": "elec.validation.inverse:validations",
    "spheres": "elec.validation.spheres:validations",
    "gradients": "elec.validation.gradients:validations",
    "conductors": "elec.validation.conductors:validations",
}
"""Name of a group of cases -> function without arguments that returns its rows."""


def elec(only: str = "") -> Report:
    """Returns the rows of all groups, or of those that `only` names, separated by commas."""
    wanted = [name.strip() for name in only.split(",") if name.strip()] or list(CASES)
    rows = []
    for name in wanted:
        if name not in CASES:
            raise UnknownNameError.of("group of cases", name, CASES)
        rows += load(CASES[name])()
    return Report(name="elec", rows=rows)
