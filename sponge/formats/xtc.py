"""XTC, the compressed trajectories of GROMACS, by mdtraj [McGibbon2015]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError
from sponge.formats.rows import pieces
from sponge.formats.standard_cell import turned

if TYPE_CHECKING:
    from sponge.trajectory import Topology

NANOMETRE, PICOSECOND = 10.0, 1e3
"""[angstrom], [fs]"""


def xtc_files() -> Any:
    """Returns mdtraj's class of files. Raises ImportError with the line that installs it."""
    try:
        from mdtraj.formats import XTCTrajectoryFile
    except ImportError:
        raise ImportError('XTC needs mdtraj: pip install "mindsci[md]", or take the format "dcd"') from None
    return XTCTrajectoryFile


def write_xtc(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes positions, rounded to 0.01 angstrom, times and cells."""
    boxed = all(topology.periodic)
    with xtc_files()(str(path), "w", force_overwrite=True) as file:
        for _, rows in pieces(frames):
            positions, cells = turned(rows["positions"], rows["cell"])
            file.write(
                (positions / NANOMETRE).astype(numpy.float32),
                time=(rows["time"] / PICOSECOND).astype(numpy.float32),
                step=rows["step"].astype(numpy.int32),
                box=(cells / NANOMETRE).astype(numpy.float32) if boxed else None,
            )


def read_xtc(path: Path, count: int) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]:
    """Yields positions, times [fs] and cells (None without) of frames, so many at a time."""
    kind = xtc_files()
    try:
        with kind(str(path), "r") as file:
            while len((piece := file.read(n_frames=count))[0]):
                positions, time, _, box = piece
                cells = None if box is None or not box.any() else NANOMETRE * box.astype(numpy.float64)
                yield NANOMETRE * positions, PICOSECOND * time.astype(numpy.float64), cells
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read as an XTC trajectory ({error}); is it cut short?") from None
