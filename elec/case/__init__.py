"""Cases of the task "elec/antenna": their tables, and the model that a case becomes."""

from elec.case.antenna import AntennaCase
from elec.case.march import Column, Solution, scattering, solve
from elec.case.model import Model, assemble, prepare

__all__ = [
    "AntennaCase",
    "Column",
    "Model",
    "Solution",
    "assemble",
    "prepare",
    "scattering",
    "solve",
]
