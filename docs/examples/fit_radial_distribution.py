"""Pair potentials from the structure of a liquid, by reweighting trajectories (DiffTRe): about a minute.

    python docs/examples/fit_radial_distribution.py

The target is g(r) of liquid argon by Lennard-Jones with known sigma and epsilon. First these two are found again from a
wrong start; then a spline that knows of no formula is fitted to the same g(r), and compared with the Lennard-Jones
energies that it never saw. A potential is fixed by its g(r) up to a constant (Henderson's theorem). Draws
fit_radial_distribution.png.
"""

from __future__ import annotations

import math

import torch
from ase.build import bulk
from matplotlib.figure import Figure

from mindsci import units
from sponge import from_ase, replicate
from sponge.analysis import RadialCounts
from sponge.dynamics import OrnsteinUhlenbeck, Reweighting, TrajectoryAverage, langevin, maxwell_boltzmann
from sponge.potentials import LennardJones, PairSpline

KELVIN, EPSILON, SIGMA, CUTOFF = 120.0, 0.010341, 3.4, 7.5
torch.set_num_threads(2)

# 4 replicas of 108 atoms at the density of liquid argon, 1.374 g/cm^3: 0.0207 atoms/angstrom^3.
crystal = from_ase(bulk("Ar", "fcc", a=(4 / 0.0207) ** (1 / 3), cubic=True).repeat(3))
start = maxwell_boltzmann(replicate(crystal, 4), temperature=2 * KELVIN, seed=1)
counts = RadialCounts.of(start, cutoff=CUTOFF, bins=75)


def thermostatted(forces, system):
    return langevin(forces, OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=0.01, seed=2)), system


def structure(system, n_steps, equilibration, share=0.8):
    return TrajectoryAverage(
        system,
        integrator=thermostatted,
        observable=lambda batch: counts.distribution(batch)[:, 0],
        temperature=KELVIN,
        n_steps=n_steps,
        equilibration=equilibration,
        dt=10.0,
        every=20,
        gradient=Reweighting(share=share),
    )


def fit(potential, rates, n_steps):
    """Least squares of g(r) by Adam, with rates of (parameter, rate) that fall to nothing."""
    average = structure(melt, 400, 60)
    search = torch.optim.Adam([{"params": [parameter], "lr": rate} for parameter, rate in rates])
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(search, n_steps)
    for _ in range(n_steps):
        search.zero_grad()
        loss = (average(potential) - target).square().mean()
        loss.backward()
        search.step()
        fall.step()
    return average.n_runs, math.sqrt(loss.item())


reference = structure(start, 1000, 300)
with torch.no_grad():
    target = reference(LennardJones(epsilon=EPSILON, sigma=SIGMA, cutoff=CUTOFF))
melt = reference.system

begin = (0.75 * EPSILON, 0.96 * SIGMA)
lennard_jones = LennardJones(epsilon=begin[0], sigma=begin[1], cutoff=CUTOFF, trainable=True)
runs, rest = fit(lennard_jones, [(lennard_jones.epsilon, 3e-4), (lennard_jones.sigma, 0.01)], 60)
found = lennard_jones.epsilon.item(), lennard_jones.sigma.item()
print(f"Lennard-Jones, {runs} runs; rms of g(r) - target {rest:.4f}")
print(f"  sigma   {found[1]:.4f} angstrom  (target {SIGMA}, start {begin[1]:.4f})")
print(
    f"  epsilon {found[0] / units.BOLTZMANN_EV:.2f} K  (target {EPSILON / units.BOLTZMANN_EV:.2f}, "
    f"start {begin[0] / units.BOLTZMANN_EV:.2f})"
)

# The start of the spline is the potential of mean force, -k_B T ln g.
r = counts.middles
known = target > 0.05
spline = PairSpline(first=3.0, cutoff=CUTOFF, pieces=25, epsilon=0.01, sigma=3.2, trainable=True)
spline.fit(r[known], -units.BOLTZMANN_EV * KELVIN * torch.log(target[known]))
with torch.no_grad():
    before = spline.pair_energy(r)
runs, rest = fit(spline, [(spline.coefficients, 5e-4)], 80)


def exact(r):
    """The Lennard-Jones energy, shifted as that of the target."""
    x, y = (SIGMA / r) ** 6, (SIGMA / CUTOFF) ** 6
    slope = -24.0 / CUTOFF * (2.0 * y**2 - y)
    return EPSILON * (4.0 * (x**2 - x) - 4.0 * (y**2 - y) - (r - CUTOFF) * slope)


with torch.no_grad():
    after = spline.pair_energy(r)
meant = (r > 3.4) & (r < CUTOFF)
errors = [1e3 * float((one - exact(r))[meant].square().mean().sqrt()) for one in (before, after)]
print(f"spline, {runs} runs; rms of g(r) - target {rest:.4f}")
print(
    f"  rms of U(r) - Lennard-Jones, {SIGMA} to {CUTOFF} angstrom: {errors[1]:.2f} meV (start {errors[0]:.2f}, "
    f"depth of the well {1e3 * EPSILON:.2f})"
)

figure = Figure(figsize=(7.0, 6.0), dpi=120, layout="constrained")
upper, lower = figure.subplots(2, 1, sharex=True)
upper.plot(r, target, label="target")
with torch.no_grad():
    upper.plot(r, structure(melt, 400, 60)(spline), "--", label="spline")
upper.set(ylabel="g(r)")
upper.legend()
lower.plot(r, 1e3 * exact(r), label="Lennard-Jones of the target")
lower.plot(r, 1e3 * before, ":", label="start: potential of mean force")
lower.plot(r, 1e3 * after, "--", label="spline")
lower.set(xlabel="r [Å]", ylabel="energy [meV]", ylim=(-25, 30), xlim=(2.8, CUTOFF))
lower.legend()
figure.savefig("fit_radial_distribution.png")
