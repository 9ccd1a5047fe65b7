"""Classical molecular dynamics beside OpenMM's and LAMMPS's: the same systems, each program in a process of its own."""

from sponge.bench_md.report import md

__all__ = ["md"]
