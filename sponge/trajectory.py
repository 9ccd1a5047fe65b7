"""Trajectories: a journal while a run goes on, H5MD and extended XYZ when it ends or stops.

The journal is a file of records of one size. It is appended to and cut back to a number of records, so that a
run that was killed continues from its restart to the same bits; the formats that other programs read are
written from it, whole, beside and renamed.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from mindsci import units
from mindsci.errors import StorageError
from mindsci.files import storage_errors
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory
from sponge.system import System
from sponge.thermodynamics import degrees_of_freedom

BAR = units.PASCAL_EV * 1e5
"""1 bar [eV/angstrom^3]"""
GRAM_PER_CM3 = units.DALTON_KG * 1e27
"""1 Da/angstrom^3 [g/cm^3]"""
ROWS = 1000
"""records converted in one go"""


class Topology(Tree):
    """What does not change along a trajectory."""

    atomic_numbers: NDArray[Any]
    masses: NDArray[Any]
    cell: NDArray[Any]
    """of the start"""
    periodic: tuple[bool, bool, bool]
    freedom: float
    """3 N - constraints - 3 degrees of freedom, that the temperature counts; N without virtual sites"""

    @classmethod
    def of(cls, system: System) -> Topology:
        """Returns the topology of the first system, which is that of all its replicas."""
        atoms = slice(int(system.atom_counts[0]))
        return cls(
            atomic_numbers=system.atomic_numbers[atoms].cpu().numpy(),
            masses=system.masses[atoms].cpu().double().numpy(),
            cell=system.cell[0].cpu().double().numpy(),
            periodic=tuple(system.periodic[0].tolist()),
            freedom=float(degrees_of_freedom(system)[0]),
        )

    def trajectory(self, frames: NDArray[Any]) -> Trajectory:
        """Returns frames of a journal as tensors."""
        return Trajectory(
            positions=torch.tensor(frames["positions"]),
            time=torch.tensor(frames["time"]),
            atomic_numbers=torch.tensor(self.atomic_numbers),
            masses=torch.tensor(self.masses),
            cell=torch.tensor(frames["cell"]),
            periodic=self.periodic,
            velocities=torch.tensor(frames["velocities"]),
        )


class Journal:
    """A file of frames: step, time [fs], stage, energies [eV], temperature [K], pressure [eV/angstrom^3], cell,
    positions and velocities.

    A frame of several replicas is a record of each, one after the other.
    """

    def __init__(self, path: Path, topology: Topology, dtype: Any, replicas: int = 1) -> None:
        self.path, self.topology, self.replicas = path, topology, replicas
        shape = (len(topology.atomic_numbers), 3)
        self.record = numpy.dtype(
            [
                ("step", numpy.int64),
                ("time", numpy.float64),
                ("stage", numpy.int64),
                ("potential", numpy.float64),
                ("kinetic", numpy.float64),
                ("temperature", numpy.float64),
                ("pressure", numpy.float64),
                ("cell", numpy.float64, (3, 3)),
                ("positions", dtype, shape),
                ("velocities", dtype, shape),
            ]
        )

    def begin(self, n_frames: int) -> None:
        """Keeps the first n_frames, which a restart has seen, and drops the rest.

        Raises StorageError where fewer are there: the run cannot be continued.
        """
        size = n_frames * self.replicas * self.record.itemsize
        if n_frames and (not self.path.exists() or self.path.stat().st_size < size):
            raise StorageError(f"'{self.path}' is missing or cut short; start the run anew in another folder")
        with storage_errors(self.path), self.path.open("ab") as file:
            file.truncate(size)

    def append(self, frames: dict[str, Any]) -> int:
        """Adds frames and returns how many; they are on disk when it returns.

        An array for each field: step, time, stage (frames), potential (frames, replicas), cell (frames, replicas, 3,
        3), positions and velocities (frames, atoms of all replicas, 3); pressure (frames, replicas), if it is known.
        """
        shape = (len(frames["step"]), self.replicas)
        rows = numpy.empty(shape, dtype=self.record)
        for name in ("step", "time", "stage"):
            rows[name] = frames[name][:, None]
        rows["potential"], rows["cell"] = frames["potential"], frames["cell"]
        rows["pressure"] = frames.get("pressure", numpy.nan)
        for name in ("positions", "velocities"):
            rows[name] = frames[name].reshape(*shape, len(self.topology.masses), 3)
        rows["kinetic"], rows["temperature"] = thermal_state(rows["velocities"], self.topology)
        with storage_errors(self.path), self.path.open("ab") as file:
            file.write(rows.tobytes())
            file.flush()
            os.fsync(file.fileno())
        return len(rows)

    def read(self, replica: int = 0) -> NDArray[Any]:
        """Returns the frames of a replica, mapped from the disk."""
        if self.path.stat().st_size == 0:
            return numpy.empty(0, dtype=self.record)
        return numpy.memmap(self.path, dtype=self.record, mode="r").reshape(-1, self.replicas)[:, replica]


def thermal_state(velocities: NDArray[Any], topology: Topology) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns kinetic energy [eV] and temperature [K] of velocities (..., atoms, 3) [angstrom/fs].

    The temperature is that of the motion about the centre of mass, with the degrees of freedom that constraints leave:
    right in a thermostat that lets the centre diffuse and in NVE, where it moves on for ever.
    """
    velocities, masses = velocities.astype(numpy.float64), topology.masses
    weights = masses[:, None]
    kinetic = 0.5 * (weights * velocities**2).sum((-2, -1)) / units.ACCELERATION
    centre = (weights * velocities).sum(-2) / masses.sum()
    internal = kinetic - 0.5 * masses.sum() * (centre**2).sum(-1) / units.ACCELERATION
    return kinetic, 2.0 * internal / (topology.freedom * units.BOLTZMANN_EV)


def volume_and_density(frames: NDArray[Any], topology: Topology) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the volume [angstrom^3] and the density [g/cm^3] of each frame; not a number without a whole cell."""
    if not all(topology.periodic):
        nothing = numpy.full(len(frames), numpy.nan)
        return nothing, nothing
    volume = numpy.abs(numpy.linalg.det(frames["cell"]))
    return volume, topology.masses.sum() * GRAM_PER_CM3 / volume


def write_h5md(path: Path, frames: NDArray[Any], topology: Topology, *, creator_version: str) -> None:
    """Writes an H5MD 1.1 file [deBuyl2014]: positions, velocities and observables with their units.

    The file is made in memory and written whole: HDF5 crashes where a disk fills up under it.
    """
    import h5py

    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        _fill_h5md(file, frames, topology, creator_version)
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
    for first, rows in _pieces(frames):
        values[first : first + len(rows)] = rows[field]
    if like is None:
        group.create_dataset("step", data=frames["step"])
        group.create_dataset("time", data=frames["time"]).attrs["unit"] = "fs"
    else:
        group["step"], group["time"] = like["step"], like["time"]
    return group


def write_extxyz(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes an extended XYZ file that ASE reads, momenta and potential energy included."""
    import ase
    from ase import units as ase_units
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import write_extxyz as write_frames

    with path.open("w", encoding="utf-8") as file:
        for _, rows in _pieces(frames):
            images = []
            for row in rows:
                atoms = ase.Atoms(
                    numbers=topology.atomic_numbers,
                    positions=row["positions"],
                    masses=topology.masses,
                    cell=row["cell"],
                    pbc=topology.periodic,
                    info={"step": int(row["step"]), "time_fs": float(row["time"]), "stage": int(row["stage"])},
                )
                atoms.set_momenta(topology.masses[:, None] * row["velocities"] / ase_units.fs)
                atoms.calc = SinglePointCalculator(atoms, energy=float(row["potential"]))
                images.append(atoms)
            write_frames(file, images)


def write_energies(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes a table of energies [eV] and temperature [K]; in a cell volume, density, and pressures that are known."""
    head = ["step", "time [fs]", "stage", "potential [eV]", "kinetic [eV]", "total [eV]", "temperature [K]"]
    periodic = all(topology.periodic)
    pressed = periodic and len(frames) and bool(numpy.isfinite(frames["pressure"]).any())
    head += ["volume [angstrom^3]", "density [g/cm^3]"] * periodic + ["pressure [bar]"] * pressed
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        for _, rows in _pieces(frames):
            columns = [rows["potential"], rows["kinetic"], rows["potential"] + rows["kinetic"], rows["temperature"]]
            columns += [*volume_and_density(rows, topology)] * periodic + [rows["pressure"] / BAR] * pressed
            for row, *values in zip(rows, *columns, strict=True):
                time, *energies = (repr(float(value)) for value in (row["time"], *values))
                table.writerow([int(row["step"]), time, int(row["stage"]), *energies])


def _pieces(frames: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    for first in range(0, len(frames), ROWS):
        yield first, frames[first : first + ROWS]
