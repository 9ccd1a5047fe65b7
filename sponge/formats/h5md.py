"""H5MD 1.1, written from the journal of a run [deBuyl2014]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

import mindsci
from sponge.formats.rows import pieces

if TYPE_CHECKING:
    from sponge.trajectory import Topology


def write_h5md(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes an H5MD 1.1 file [deBuyl2014]: positions, velocities and observables with their units.

    The file is made in memory and written whole: HDF5 crashes where a disk fills up under it.
    """
    import h5py

    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        _fill_h5md(file, frames, topology, mindsci.__version__)
        file.flush()
        image = file.id.get_file_image()
    path.write_bytes(image)


def _fill_h5md(file: Any, frames: NDArray[Any], topology: Topology, creator_version: str) -> None:
    _write_header(file, creator_version)
    atoms = file.create_group("particles/atoms")
    box = atoms.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = numpy.array(["periodic" if axis else "none" for axis in topology.periodic], dtype="S8")
    atoms.create_dataset("species", data=topology.atomic_numbers.astype(numpy.int32))
    atoms.create_dataset("mass", data=topology.masses).attrs["unit"] = "u"
    if topology.charges is not None:
        charges = atoms.create_dataset("charge", data=topology.charges)
        charges.attrs["unit"], charges.attrs["type"] = "e", "effective"
    position = _write_element(atoms, "position", "Angstrom", frames, "positions")
    _write_element(atoms, "velocity", "Angstrom fs-1", frames, "velocities", position)
    if any(topology.periodic):
        if len(frames) and bool((frames["cell"] != topology.cell).any()):
            _write_element(box, "edges", "Angstrom", frames, "cell", position)
        else:
            box.create_dataset("edges", data=topology.cell).attrs["unit"] = "Angstrom"
    observables = file.create_group("observables")
    _write_element(observables, "potential_energy", "eV", frames, "potential", position)
    _write_element(observables, "kinetic_energy", "eV", frames, "kinetic", position)
    _write_element(observables, "temperature", "K", frames, "temperature", position)
    if len(frames) and bool(numpy.isfinite(frames["pressure"]).any()):
        _write_element(observables, "pressure", "eV Angstrom-3", frames, "pressure", position)


def _write_header(file: Any, creator_version: str) -> None:
    header = file.create_group("h5md")
    header.attrs["version"] = numpy.array([1, 1], dtype=numpy.int32)
    # The format asks for an author; a run knows only the program.
    header.create_group("author").attrs["name"] = "mindsci"
    creator = header.create_group("creator")
    creator.attrs["name"] = "mindsci sponge"
    creator.attrs["version"] = creator_version
    header.create_group("modules/units").attrs["version"] = numpy.array([1, 0], dtype=numpy.int32)


def _write_element(parent: Any, name: str, unit: str, frames: NDArray[Any], field: str, like: Any = None) -> Any:
    """A time-dependent element; elements that are sampled together share `step` and `time` by hard links."""
    group = parent.create_group(name)
    shape, kind = frames.dtype[field].shape, frames.dtype[field].base
    chunk = (max(1, min(len(frames), 2**18 // max(1, int(numpy.prod(shape))))), *shape)
    values = group.create_dataset("value", shape=(len(frames), *shape), dtype=kind, chunks=chunk)
    values.attrs["unit"] = unit
    for first, rows in pieces(frames):
        values[first : first + len(rows)] = rows[field]
    if like is None:
        group.create_dataset("step", data=frames["step"])
        group.create_dataset("time", data=frames["time"]).attrs["unit"] = "fs"
    else:
        group["step"], group["time"] = like["step"], like["time"]
    return group
