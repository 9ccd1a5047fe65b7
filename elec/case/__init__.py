"""Cases of the tasks "elec/antenna" (ports) and "elec/fields" (field sources): their tables, and their models."""

from elec.case.antenna import AntennaCase
from elec.case.fields import FieldsCase, solve_sources
from elec.case.march import Column, Solution, scattering, solve
from elec.case.model import Model, assemble, prepare
from elec.case.radiation import cross_sections, profiles, radiated
from elec.case.source_model import SourceModel, Sums, assemble_sources, prepare_sources

__all__ = [
    "AntennaCase",
    "Column",
    "FieldsCase",
    "Model",
    "Solution",
    "SourceModel",
    "Sums",
    "assemble",
    "assemble_sources",
    "cross_sections",
    "prepare",
    "prepare_sources",
    "profiles",
    "radiated",
    "scattering",
    "solve",
    "solve_sources",
]
