"""`mindsci validate md`: energies, forces and virials of classical force fields against published numbers."""

from sponge.validation.report import md

__all__ = ["md"]
