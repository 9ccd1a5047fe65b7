"""Trajectories: a journal while a run goes on, from which `sponge.formats` writes when it ends or stops.

The journal is a file of records of one size. It is appended to and cut back to a number of records, so that a
run that was killed continues from its restart to the same bits; the formats that other programs read are
written from it, whole, beside and renamed.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

import sponge.topology
from mindsci import units
from mindsci.errors import StorageError
from mindsci.files import storage_errors
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory
from sponge.formats.rows import pieces
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
    names: tuple[str, ...] = ()
    """of the atoms; symbols of the elements where there are none"""
    residues: tuple[tuple[str, str, str], ...] = ()
    """name, number and chain of the residue of each atom; none where the system has no topology"""
    charges: NDArray[Any] | None = None
    """[e], of a force field"""

    @classmethod
    def of(cls, system: System, molecules: sponge.topology.Topology | None = None) -> Topology:
        """Returns the topology of the first system, which is that of all its replicas; molecules: with its names."""
        atoms = slice(int(system.atom_counts[0]))
        named: dict[str, Any] = {}
        if molecules is not None and molecules.residue_of_atom is not None:
            owners = [molecules.residues[k] for k in molecules.residue_of_atom[atoms].tolist()]
            named["residues"] = tuple((one.name, one.number, one.chain) for one in owners)
            named["names"] = molecules.atom_names[atoms]
        if molecules is not None and molecules.nonbonded is not None:
            named["charges"] = molecules.nonbonded.charges[atoms].detach().cpu().double().numpy()
        return cls(
            **named,
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
            charges=None if self.charges is None else torch.tensor(self.charges),
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


def write_energies(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes a table of energies [eV] and temperature [K]; in a cell volume, density, and pressures that are known."""
    head = ["step", "time [fs]", "stage", "potential [eV]", "kinetic [eV]", "total [eV]", "temperature [K]"]
    periodic = all(topology.periodic)
    pressed = periodic and len(frames) and bool(numpy.isfinite(frames["pressure"]).any())
    head += ["volume [angstrom^3]", "density [g/cm^3]"] * periodic + ["pressure [bar]"] * pressed
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        for _, rows in pieces(frames):
            columns = [rows["potential"], rows["kinetic"], rows["potential"] + rows["kinetic"], rows["temperature"]]
            columns += [*volume_and_density(rows, topology)] * periodic + [rows["pressure"] / BAR] * pressed
            for row, *values in zip(rows, *columns, strict=True):
                time, *energies = (repr(float(value)) for value in (row["time"], *values))
                table.writerow([int(row["step"]), time, int(row["stage"]), *energies])
