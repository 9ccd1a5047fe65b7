"""A pair potential from the structure of a liquid, by reweighting trajectories (DiffTRe): half a minute.

    python docs/examples/fit_radial_distribution.py

The target is g(r) of liquid argon by Lennard-Jones with known sigma and epsilon, which are found again from a wrong
start: a pair potential is fixed by its g(r) up to a constant (Henderson's theorem). From 4 and 25 % off they come to 1
and 5 %, where the noise of so short runs hides the rest. Draws fit_radial_distribution.png.
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
from sponge.potentials import LennardJones

KELVIN, EPSILON, SIGMA, CUTOFF = 120.0, 0.010341, 3.4, 7.5
STEPS = 40

# 2 replicas of 108 atoms at the density of liquid argon, 1.374 g/cm^3: 0.0207 atoms/angstrom^3.
crystal = from_ase(bulk("Ar", "fcc", a=(4 / 0.0207) ** (1 / 3), cubic=True).repeat(3))
start = maxwell_boltzmann(replicate(crystal, 2), temperature=2 * KELVIN, seed=1)
counts = RadialCounts.of(start, cutoff=CUTOFF, bins=75)


def thermostatted(forces, system):
    return langevin(forces, OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=0.01, seed=2)), system


def structure(system, n_steps, equilibration):
    return TrajectoryAverage(
        system,
        integrator=thermostatted,
        observable=lambda batch: counts.distribution(batch)[:, 0],
        temperature=KELVIN,
        n_steps=n_steps,
        equilibration=equilibration,
        dt=10.0,
        every=20,
        gradient=Reweighting(share=0.5),
    )


reference = structure(start, 1000, 300)
with torch.no_grad():
    target = reference(LennardJones(epsilon=EPSILON, sigma=SIGMA, cutoff=CUTOFF))

# Least squares of g(r) by Adam, with rates that fall to nothing.
begin = (0.75 * EPSILON, 0.96 * SIGMA)
potential = LennardJones(epsilon=begin[0], sigma=begin[1], cutoff=CUTOFF, trainable=True)
average, curves = structure(reference.system, 400, 60), []
search = torch.optim.Adam([{"params": [potential.epsilon], "lr": 3e-4}, {"params": [potential.sigma], "lr": 0.015}])
fall = torch.optim.lr_scheduler.CosineAnnealingLR(search, STEPS)
for step in range(STEPS):
    search.zero_grad()
    found = average(potential)
    loss = (found - target).square().mean()
    loss.backward()
    search.step()
    fall.step()
    curves.append(found.detach())
    if step % 5 == 4:
        sigma, epsilon = potential.sigma.item(), potential.epsilon.item() / units.BOLTZMANN_EV
        print(
            f"step {step + 1}, {average.n_runs} runs: sigma {sigma:.4f} angstrom, epsilon {epsilon:.2f} K", flush=True
        )

print(f"rms of g(r) - target {math.sqrt(loss.item()):.4f}")
print(f"sigma   {potential.sigma.item():.4f} angstrom  (target {SIGMA}, start {begin[1]:.4f})")
print(
    f"epsilon {potential.epsilon.item() / units.BOLTZMANN_EV:.2f} K  (target {EPSILON / units.BOLTZMANN_EV:.2f}, "
    f"start {begin[0] / units.BOLTZMANN_EV:.2f})"
)

figure = Figure(figsize=(7.0, 4.0), dpi=120, layout="constrained")
axes = figure.subplots()
axes.plot(counts.middles, target, label="target")
axes.plot(counts.middles, curves[0], ":", label="start")
axes.plot(counts.middles, curves[-1], "--", label="fitted")
axes.set(xlabel="r [Å]", ylabel="g(r)")
axes.legend()
figure.savefig("fit_radial_distribution.png")
