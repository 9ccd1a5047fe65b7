"""The systems of `mindsci bench md`, as arrays that every program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mindsci import tree, units
from sponge.forcefield import Options
from sponge.system import System, create
from sponge.topology import (
    DistanceConstraints,
    HarmonicAngles,
    HarmonicBonds,
    Nonbonded,
    PeriodicTorsions,
    RigidWaters,
    ScaledPairs,
    Topology,
)

SIGMA, EPSILON, MASS = 3.405, 0.0103235, 39.948
"""of argon [angstrom, eV, Da]"""
EDGE, KELVIN, CUTOFF = 34.78 / 6.0, 94.4, 8.5125
"""[angstrom] of the cubic cell of the crystal at 1.37 g/cm3; start of the run [K]; 2.5 sigma [angstrom]"""
OPENMM_TOLERANCE = 2e-3
"""the tolerance of `Options` that chooses the splitting of OpenMM's default"""


def argon(cells: int) -> dict[str, Any]:
    """Returns 4 cells^3 atoms on the crystal's places with velocities of 94.4 K [angstrom, angstrom/fs, eV, Da]."""
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = (corners + basis).reshape(-1, 3) * EDGE
    velocities = np.random.default_rng(1).normal(size=positions.shape)
    velocities -= velocities.mean(0)
    n = len(positions)
    wanted = 3 * n * units.BOLTZMANN_EV * KELVIN * units.ACCELERATION / MASS
    velocities *= np.sqrt(wanted / (velocities**2).sum())
    return {
        "positions": positions,
        "velocities": velocities,
        "cell": cells * EDGE * np.eye(3),
        "masses": np.full(n, MASS),
        "numbers": np.full(n, 18),
        "charges": np.zeros(n),
        "sigma": np.full(n, SIGMA),
        "epsilon": np.full(n, EPSILON),
        "cutoff": CUTOFF,
        "pme": False,
    }


def load(path: Path, dtype: torch.dtype) -> tuple[System, Topology, Options]:
    """Returns the system, its topology and how it is summed from a file of arrays."""
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    system = create(
        torch.as_tensor(held["positions"], dtype=dtype),
        torch.as_tensor(held["numbers"]),
        masses=torch.as_tensor(held["masses"], dtype=dtype),
        cell=torch.as_tensor(held["cell"], dtype=dtype)[None],
        periodic=(True, True, True),
    )
    momenta = torch.as_tensor(held["masses"][:, None] * held["velocities"], dtype=dtype)
    pme = bool(held["pme"])
    options = Options(
        cutoff=float(held["cutoff"]), coulomb="pme" if pme else "cutoff", tolerance=OPENMM_TOLERANCE, spline_order=5
    )
    return tree.replace(system, momenta=momenta), _topology(held), options


def _topology(held: dict[str, Any]) -> Topology:
    def numbers(name: str, columns: slice | int) -> Any:
        return torch.as_tensor(held[name][:, columns]).double()

    def atoms(name: str, count: int) -> Any:
        return torch.as_tensor(held[name][:, :count]).long()

    n, parts = len(held["masses"]), {}
    if "bonds" in held:
        parts = {
            "bonds": HarmonicBonds(atoms=atoms("bonds", 2), length=numbers("bonds", 2), stiffness=numbers("bonds", 3)),
            "angles": HarmonicAngles(
                atoms=atoms("angles", 3), angle=numbers("angles", 3), stiffness=numbers("angles", 4)
            ),
            "torsions": PeriodicTorsions(
                atoms=atoms("torsions", 4),
                periodicity=numbers("torsions", 4).long(),
                phase=numbers("torsions", 5),
                barrier=numbers("torsions", 6),
            ),
            "pairs14": ScaledPairs(
                atoms=atoms("pairs14", 2),
                charge_product=numbers("pairs14", 2),
                sigma=numbers("pairs14", 3),
                epsilon=numbers("pairs14", 4),
            ),
            "constraints": DistanceConstraints(atoms=atoms("constraints", 2), length=numbers("constraints", 2)),
            "waters": RigidWaters(
                atoms=atoms("waters", 3), oxygen_hydrogen=numbers("waters", 3), hydrogen_hydrogen=numbers("waters", 4)
            ),
        }
        parts = {name: one for name, one in parts.items() if len(one.atoms)}
    return Topology(n_atoms=n, nonbonded=_nonbonded(held), **parts)


def _nonbonded(held: dict[str, Any]) -> Nonbonded:
    kinds, kind = np.unique(np.stack([held["sigma"], held["epsilon"]], 1), axis=0, return_inverse=True)
    sigma, epsilon = torch.as_tensor(kinds).double().unbind(1)
    pairs = np.sort(held.get("exclusions", np.zeros((0, 2), dtype=np.int64)), axis=1)
    return Nonbonded(
        charges=torch.as_tensor(held["charges"]).double(),
        kind=torch.as_tensor(kind.reshape(-1)),
        sigma=0.5 * (sigma[:, None] + sigma),
        epsilon=torch.sqrt(epsilon[:, None] * epsilon),
        exclusions=torch.as_tensor(np.unique(pairs, axis=0)),
    )
