"""Trajectories in the formats of the field, written from the journal of a run."""

from collections.abc import Callable, Sequence

from mindsci.errors import InputError
from sponge.formats.dcd import read_dcd, write_dcd
from sponge.formats.extxyz import write_extxyz
from sponge.formats.h5md import write_h5md
from sponge.formats.pdb import write_pdb
from sponge.formats.xtc import read_xtc, write_xtc, xtc_files

WRITERS: dict[str, tuple[str, Callable[..., None]]] = {
    "h5md": ("trajectory.h5", write_h5md),
    "extxyz": ("trajectory.extxyz", write_extxyz),
    "dcd": ("trajectory.dcd", write_dcd),
    "xtc": ("trajectory.xtc", write_xtc),
    "pdb": ("trajectory.pdb", write_pdb),
}
"""name of the file, and what writes it, of each format"""


def check_formats(names: Sequence[str]) -> None:
    """Raises InputError where a format needs a package that is missing: before a run, not after it."""
    if "xtc" in names:
        try:
            xtc_files()
        except ImportError as error:
            raise InputError(f"output.formats: {error}") from None


__all__ = [
    "WRITERS",
    "check_formats",
    "read_dcd",
    "read_xtc",
    "write_dcd",
    "write_extxyz",
    "write_h5md",
    "write_pdb",
    "write_xtc",
]
