"""Validations of the shipped potential: energy conservation, and its errors on the test frames."""

from __future__ import annotations

import math

import numpy
import torch

from mindsci import units
from mindsci.report import Report, Row
from mindsci.solvers import rollout
from sponge.batch import replicate
from sponge.builders import from_smiles
from sponge.dynamics import Forces, maxwell_boltzmann, minimise, velocity_verlet
from sponge.potentials.loading import load_potential
from sponge.potentials.potential import Potential
from sponge.reporting import drift
from sponge.system import System
from sponge.thermodynamics import kinetic_energy
from sponge.threads import suited_threads
from sponge.validate_potentials import potentials

STEPS_FS = (0.25, 0.5, 1.0)


def nve(
    pretrained: str = "schnet_ethanol",
    smiles: str = "CCO",
    temperature: float = 300.0,
    femtoseconds: float = 100.0,
    trajectories: int = 4,
    picoseconds: float = 100.0,
) -> Report:
    """Energy conservation of velocity Verlet: the fluctuation of the total energy falls as dt^2.

    The same starts and the same physical time at dt = 0.25, 0.5 and 1 fs, float64; fluctuation is the root
    mean square about a straight line. Verlet follows a Hamiltonian that differs from the true one by a term in
    dt^2 [Hairer2003], so the slope is 2, up to the next term in dt^4: at 1 fs the fastest vibration, of 9 fs,
    turns by omega dt = 0.7, hence +- 0.15.
    """
    potential = load_potential(pretrained=pretrained, dtype=torch.float64)
    system, forces = _warm_ethanol(potential, smiles, temperature, trajectories)
    fluctuation, slopes = [], []
    for dt in STEPS_FS:
        energy = total_energies(system, forces, dt=dt, n_steps=round(femtoseconds / dt))
        time = dt * numpy.arange(len(energy))
        fits = [drift(time, energy[:, k]) for k in range(system.n_systems)]
        fluctuation.append(math.sqrt(sum(rms**2 for _, rms in fits) / len(fits)))
        slopes.append(sum(slope for slope, _ in fits) / len(fits))
    n_atoms = system.n_atoms // system.n_systems
    rows = [
        Row(
            case=f"energy fluctuation at {dt:g} fs, rms",
            measured=1e3 * rms,
            unit="meV",
            extra={"drift, meV/ps/atom": 1e6 * slope / n_atoms},
        )
        for dt, rms, slope in zip(STEPS_FS, fluctuation, slopes, strict=True)
    ]
    slope = float(numpy.polyfit(numpy.log(STEPS_FS), numpy.log(fluctuation), 1)[0])
    rows.append(
        Row(
            case="slope of log(fluctuation) over log(dt)",
            measured=slope,
            reference=2.0,
            gate="2.0 +- 0.15",
            ok=abs(slope - 2.0) <= 0.15,
        )
    )
    rows.append(single_precision_drift(potential, smiles, temperature, picoseconds=picoseconds))
    return Report(name="nve", rows=rows)


def single_precision_drift(
    potential: Potential, smiles: str, temperature: float, copies: int = 2, picoseconds: float = 100.0, dt: float = 0.5
) -> Row:
    """Slope of the total energy over 100 ps in float32, in the form for use; the mean of the replicas.

    Energies are summed in float64. The standard error is that of the slopes of the replicas.
    """
    warm, _ = _warm_ethanol(potential, smiles, temperature, copies)
    system = warm.to(dtype=torch.float32)
    forces = Forces.of(potential.for_use(dtype=torch.float32), system)
    every = 20
    with torch.no_grad():
        start = forces(system)
    energy = total_energies(start, forces, dt=dt, n_steps=round(1e3 * picoseconds / dt), every=every)
    time = 1e-3 * dt * every * numpy.arange(len(energy))
    unit = units.KJ_PER_MOL_EV * system.n_atoms / copies
    slopes = numpy.array([drift(time, energy[:, k])[0] / unit for k in range(copies)])
    return Row(
        case=f"drift of the total energy over {picoseconds:g} ps at {dt:g} fs, float32",
        measured=float(slopes.mean()),
        unit="kJ/mol/ps/atom",
        reference=0.0,
        gate="|drift| < 0.005",
        ok=bool(abs(slopes).max() < 0.005),
        extra={"standard error": float(slopes.std(ddof=1) / math.sqrt(copies)), "replicas": copies},
    )


def _warm_ethanol(potential: Potential, smiles: str, temperature: float, copies: int) -> tuple[System, Forces]:
    """A batch of copies of the minimised molecule, each with its own momenta."""
    single = from_smiles(smiles, dtype=torch.float64)
    relaxed = minimise(Forces.of(potential, single), single, max_force=0.01).system
    batch = replicate(relaxed, copies)
    forces = Forces.of(potential, batch)
    with torch.no_grad():
        warm = forces(maxwell_boltzmann(batch, temperature=temperature, seed=1))
    return warm, forces


def total_energies(system: System, forces: Forces, *, dt: float, n_steps: int, every: int = 1) -> numpy.ndarray:
    """Returns the total energy [eV] of each system after every so many steps of velocity Verlet, (frames, systems)."""
    with torch.no_grad(), suited_threads(system):
        _, energy = rollout(
            velocity_verlet(forces),
            system,
            n_steps=n_steps,
            dt=dt,
            observe=lambda state: state.energy + kinetic_energy(state),
            every=every,
        )
    return energy.cpu().numpy()


def ethanol() -> Report:
    """Errors of the shipped SchNet on the 1000 test frames of revised MD17, against the metrics of its card."""
    return potentials(only="schnet_ethanol")
