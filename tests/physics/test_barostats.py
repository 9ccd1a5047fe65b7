"""Barostats sample the volumes that statistical mechanics says, and keep what they should.

Setups: (a) cells of 4 atoms on springs to a lattice that scales with the cell, and a spring C/2 (ln L)^2 on the
logarithm of each edge. The integral over atoms is the same for every cell, so that at no pressure the size v of a part
of d axes has the density exp(-C e^2 / (2 d k_B T)) dv with e = ln v: e is normal, with mean and variance both
d k_B T / C. (b) An ideal gas of N particles at pressure P: V^N exp(-P V / k_B T), a gamma distribution. (c) Boxes of 8
rigid waters.

Tolerances: n independent values of a normal variable give its variance to sqrt(2 / n) and its mean to sd / sqrt(n), of
which four each; samples are far enough apart (a move forgets itself in 1 / 0.05 steps of the barostats of first order,
300 fs of the pistons) to count as independent, within a factor of two that is allowed for. Distributions: Pearson's
statistic with 12 bins of equal probability exceeds 31.3 once in a thousand.
"""

from __future__ import annotations

import functools
import math

import numpy
import pytest
import torch
from breathing import MASS, SIDE, SPRING, Breathing, Nothing, cubes, logs_of_parts
from rigid_systems import held, water_box
from scipy import stats

from mindsci import testing, tree, units
from mindsci.errors import InputError
from mindsci.solvers import Splitting, rollout
from sponge import degrees_of_freedom, kinetic_energy, replicate, restart, select, validate_barostats
from sponge.builders import replicate_topology
from sponge.dynamics import (
    BerendsenBarostat,
    BerendsenThermostat,
    Bodies,
    CellRescaling,
    Constraints,
    Forces,
    MonteCarloBarostat,
    NoseHooverChain,
    OrnsteinUhlenbeck,
    Pistons,
    StochasticRescaling,
    at_pressure,
    langevin,
    martyna_tobias_klein,
    maxwell_boltzmann,
    stochastic_rescaling,
    velocity_verlet,
)
from sponge.reporting import drift
from sponge.system import System
from sponge.thermodynamics import volume
from sponge.topology import Topology
from sponge.validate_barostats import slope_of_densities

KELVIN = 300.0
THERMAL = units.BOLTZMANN_EV * KELVIN
SPREAD = 0.2
"""sqrt(k_B T / C)"""
BINS = 12
BAROSTATS = ("monte_carlo", "cell_rescaling", "pistons")


def setup(
    name: str,
    forces: Forces,
    system: System,
    *,
    pressure: float | torch.Tensor,
    coupling: str,
    removed: int,
    rate: float,
) -> tuple[Splitting, System]:
    """The integrator with a barostat, and the system as it needs it; rate: of relaxation for one step of 1 fs."""
    if removed:
        bath = StochasticRescaling.of(system, temperature=KELVIN, time=30.0, removed=removed, seed=2)
        integrator, system = stochastic_rescaling(forces, bath), bath.start(system)
    else:
        bath = OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=1 / 30.0, seed=2)
        integrator = langevin(forces, bath)
    options = {"temperature": KELVIN, "pressure": pressure, "coupling": coupling}
    if name == "monte_carlo":
        barostat = MonteCarloBarostat.of(forces, system, every=1, width=0.3, seed=4, **options)
        return at_pressure(integrator, barostat), barostat.start(system)
    if name == "cell_rescaling":
        options |= {"time": 3.0 / rate, "removed": removed, "every": 1}
        barostat = CellRescaling.of(forces, system, compressibility=1.0, seed=4, **options)
        return at_pressure(integrator, barostat), barostat.start(system)
    pistons = Pistons.of(forces, system, period=300.0, removed=removed, **options)
    return martyna_tobias_klein(forces, pistons, bath), pistons.start(system)


@pytest.mark.parametrize(
    ("name", "coupling"),
    [
        ("monte_carlo", "anisotropic"),
        ("cell_rescaling", "semi_isotropic"),
        ("pistons", "isotropic"),
        *(
            pytest.param(name, coupling, marks=pytest.mark.slow)
            for name in BAROSTATS
            for coupling in ("isotropic", "semi_isotropic", "anisotropic")
        ),
    ],
)
def test_each_part_of_the_cell_has_the_distribution_of_its_springs(name: str, coupling: str) -> None:
    replicas, samples, every = 256, 2, 40
    system, places = cubes(replicas, 4)
    stiffness = THERMAL / SPREAD**2
    forces = Forces.of(Breathing(stiffness, places), system, virial=True)
    # omega dt = 0.2 lowers kinetic energies, and with them the pressure, by (omega dt)^2 / 4 = 1 % [Leimkuhler2013].
    dt = 8.0 if name == "pistons" else 0.2 / math.sqrt(SPRING / MASS * units.ACCELERATION)
    moving = forces(maxwell_boltzmann(system, temperature=KELVIN, seed=1))
    rate = 0.05 / dt * 3.0 * SIDE**3 / stiffness
    step, moving = setup(name, forces, moving, pressure=0.0, coupling=coupling, removed=0, rate=rate)
    parts = next(flow.parts for flow in step.flows.values() if hasattr(flow, "parts"))
    with torch.no_grad():
        moving, _ = rollout(step, moving, n_steps=120, dt=dt)
        _, seen = rollout(
            step,
            moving,
            n_steps=samples * every,
            dt=dt,
            start=120,
            every=every,
            observe=lambda s: logs_of_parts(s, parts),
        )
    count = 0.5 * samples * replicas
    for part, axes in enumerate(parts.sum(1).tolist()):
        values, width = seen[:, :, part].flatten(), axes * SPREAD**2
        assert float(values.var()) == pytest.approx(width, rel=4 * math.sqrt(2 / count))
        assert float(values.mean()) == pytest.approx(width, abs=4 * math.sqrt(width / count))


def gamma_statistic(volumes: torch.Tensor, shape: float, scale: float) -> float:
    edges = stats.gamma.ppf(numpy.linspace(0, 1, BINS + 1), shape, scale=scale)
    found, _ = numpy.histogram(volumes.flatten().numpy(), edges)
    expected = volumes.numel() / BINS
    return float(((found - expected) ** 2).sum() / expected)


@pytest.mark.parametrize("name", BAROSTATS)
def test_volumes_of_an_ideal_gas_have_a_gamma_distribution(name: str) -> None:
    """Two pressures in one batch; shape N + 1 and scale k_B T / P each, also where the total momentum is kept at zero.

    With N = 4 the shape of N or N + 2 would be refused. Of the barostat of first order the step over the time of
    relaxation is 0.05.
    """
    replicas, atoms, samples, every = 256, 4, 2, 40
    system, _ = cubes(replicas, atoms)
    low = (atoms + 1) * THERMAL / SIDE**3
    pressure = torch.where(torch.arange(replicas) % 2 == 0, low, 2.0 * low).double()
    forces = Forces.of(Nothing(), system, virial=True)
    moving = forces(maxwell_boltzmann(system, temperature=KELVIN, seed=1))
    dt = 12.0
    step, moving = setup(
        name, forces, moving, pressure=pressure, coupling="isotropic", removed=3, rate=0.15 / dt / (1.5 * low)
    )
    with torch.no_grad():
        moving, _ = rollout(step, moving, n_steps=100, dt=dt)
        moving, seen = rollout(step, moving, n_steps=samples * every, dt=dt, start=100, every=every, observe=volume)
    limit = stats.chi2.ppf(0.999, BINS - 1)
    for k, factor in ((0, 1.0), (1, 2.0)):
        volumes, scale = seen[:, k::2], THERMAL / (factor * low)
        assert gamma_statistic(volumes, atoms + 1, scale) < limit
        assert gamma_statistic(volumes, atoms, scale) > limit
        assert gamma_statistic(volumes, atoms + 2, scale) > limit


@functools.cache
def wet() -> tuple[Forces, Constraints, System, Topology]:
    """Two boxes of rigid water at 300 K."""
    system, topology = water_box(2)
    system, topology = replicate(system, 2), replicate_topology(topology, 2)
    forces, constraints, system = held(topology, system, virial=True)
    system = maxwell_boltzmann(system, temperature=KELVIN, seed=1, constraints=constraints)
    bath = OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=0.02, seed=3, constraints=constraints)
    with torch.no_grad():
        warm, _ = rollout(langevin(forces, bath), system, n_steps=60, dt=2.0)
    drawn = maxwell_boltzmann(warm, temperature=KELVIN, seed=5, constraints=constraints)
    return forces, constraints, drawn, topology


@pytest.mark.parametrize("coupling", ["anisotropic", pytest.param("isotropic", marks=pytest.mark.slow)])
def test_what_pistons_and_chains_keep_fluctuates_to_second_order_in_dt(coupling: str) -> None:
    """Rigid water, whose molecules the cell moves as wholes."""
    forces, constraints, system, topology = wet()
    steps, rms = (1.0, 2.0, 4.0), []
    for dt in steps:
        pistons = Pistons.of(
            forces, system, temperature=KELVIN, pressure=6e-5, period=400.0, topology=topology, coupling=coupling
        )
        chain = NoseHooverChain.of(system, temperature=KELVIN, period=100.0)
        step = martyna_tobias_klein(forces, pistons, chain, constraints)
        with torch.no_grad():
            after, seen = rollout(
                step,
                chain.start(pistons.start(system)),
                n_steps=round(60 / dt),
                dt=dt,
                observe=lambda s, p=pistons, c=chain: p.conserved(s) + c.conserved(s),
            )
        time = dt * numpy.arange(len(seen))
        rms.append(numpy.sqrt(sum(drift(time, seen[:, k].numpy())[1] ** 2 for k in range(2))))
        assert float(constraints.error(after).max()) < 1e-13
        assert not torch.allclose(volume(after), volume(system), rtol=1e-3)
        assert torch.allclose(after.sum_over_atoms(after.momenta), torch.zeros(2, 3).double(), atol=1e-11)
    slope = numpy.polyfit(numpy.log(steps), numpy.log(rms), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.15), rms


def test_work_of_cell_rescaling_is_what_the_energy_gains_to_first_order() -> None:
    """Without a thermostat: a random error of the power 3/2 of the step of the barostat in each move [Bernetti2020].

    Over a number of moves that goes as one over the step, it makes a slope of 1.
    """
    system, places = cubes(64, 4)
    stiffness = THERMAL / SPREAD**2
    forces = Forces.of(Breathing(stiffness, places), system, virial=True)
    moving = forces(maxwell_boltzmann(system, temperature=KELVIN, seed=1))
    rms, steps = [], (2, 4, 8)
    for every in steps:
        barostat = CellRescaling.of(
            forces,
            moving,
            temperature=KELVIN,
            pressure=1e-4,
            time=400.0,
            compressibility=3.0 * SIDE**3 / stiffness,
            every=every,
            seed=3,
        )
        start = barostat.start(moving)
        with torch.no_grad():
            after, _ = rollout(at_pressure(velocity_verlet(forces), barostat), start, n_steps=64, dt=2.5)
        gained = barostat.conserved(after) - barostat.conserved(start)
        rms.append(float(gained.square().mean().sqrt()))
        total = after.energy + kinetic_energy(after) - start.energy - kinetic_energy(start)
        assert rms[-1] < 0.1 * float(total.square().mean().sqrt())
    slope = numpy.polyfit(numpy.log(steps), numpy.log(rms), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.3), rms


def barostats_of_water(
    forces: Forces, system: System, topology: Topology, constraints: Constraints
) -> dict[str, tuple]:
    """The integrator with each barostat, and the system that it starts from."""
    rescaling = StochasticRescaling.of(system, temperature=KELVIN, time=50.0, seed=7)
    thermal = stochastic_rescaling(forces, rescaling, constraints)
    options = {"pressure": 6e-5, "topology": topology}
    found = {}
    for name, barostat in (
        ("monte_carlo", MonteCarloBarostat.of(forces, system, temperature=KELVIN, every=2, seed=1, **options)),
        (
            "cell_rescaling",
            CellRescaling.of(forces, system, temperature=KELVIN, time=200.0, every=3, seed=1, **options),
        ),
    ):
        found[name] = at_pressure(thermal, barostat), barostat.start(rescaling.start(system))
    pistons = Pistons.of(forces, system, temperature=KELVIN, period=200.0, **options)
    chain = NoseHooverChain.of(system, temperature=KELVIN)
    found["pistons"] = (
        martyna_tobias_klein(forces, pistons, chain, constraints),
        chain.start(pistons.start(system)),
    )
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_run_at_constant_pressure_goes_on_to_the_same_bits(dtype: torch.dtype) -> None:
    forces, constraints, system, topology = wet()
    if dtype == torch.float32:
        system = system.to(dtype=dtype)
        constraints = Constraints.of(topology, system)
        forces = Forces.of(forces.potential, system, skin=0.4, virial=True)
        system = forces(system)
    for name, (step, start) in barostats_of_water(forces, system, topology, constraints).items():
        with torch.no_grad():
            whole, _ = rollout(step, start, n_steps=14, dt=2.0)
            first, _ = rollout(step, start, n_steps=5, dt=2.0)
            kept = {key: value.clone() for key, value in restart.kept(first).items()}
            again = restart.restored(start, kept, forces)
            second, _ = rollout(step, again, n_steps=9, dt=2.0, start=5)
        for key, value in restart.kept(whole).items():
            assert torch.equal(value, restart.kept(second)[key]), (name, key)
        # In float32: half a unit in the last place of coordinates up to 8 angstrom, at both ends.
        assert float(constraints.error(whole).max()) < (1e-13 if dtype == torch.float64 else 2e-6)
        assert not torch.equal(whole.cell, start.cell), name
        assert all(getattr(whole, key).dtype == dtype for key in ("positions", "momenta", "cell", "forces"))


def test_a_system_changes_its_volume_alone_as_in_a_batch() -> None:
    forces, constraints, system, topology = wet()
    single = replicate_topology(water_box(2)[1], 1)
    together = barostats_of_water(forces, system, topology, constraints)
    for k in range(2):
        alone = select(system, k)
        own_forces, own_constraints, alone = held(single, alone, virial=True)
        for name, (step, start) in barostats_of_water(own_forces, alone, single, own_constraints).items():
            with torch.no_grad():
                one, _ = rollout(step, start, n_steps=6, dt=2.0)
                both, _ = rollout(together[name][0], together[name][1], n_steps=6, dt=2.0)
            assert torch.allclose(one.cell, select(both, k).cell, rtol=1e-10), name
            assert torch.allclose(one.positions, select(both, k).positions, rtol=0, atol=1e-8), name


def test_flows_of_barostats_keep_the_contract() -> None:
    system, places = cubes(2, 3)
    forces = Forces.of(Breathing(0.5, places), system, virial=True)
    moving = forces(maxwell_boltzmann(system, temperature=KELVIN, seed=1))
    for coupling in ("isotropic", "anisotropic"):
        pistons = Pistons.of(forces, moving, temperature=KELVIN, pressure=1e-4, coupling=coupling)
        chain = NoseHooverChain.of(moving, temperature=KELVIN)
        started = chain.start(pistons.start(moving))
        rates = {"piston_rates": started.auxiliary["piston_rates"] + 1e-3}
        started = tree.replace(started, auxiliary=started.auxiliary | rates)
        step = martyna_tobias_klein(forces, pistons, chain)
        for flow in (*step.flows.values(), step):
            testing.check_flow(flow, started, 2.0)
        rescaling = CellRescaling.of(
            forces, moving, temperature=KELVIN, pressure=1e-4, coupling=coupling, every=1, seed=3
        )
        testing.check_flow(rescaling, rescaling.start(moving), 2.0)
        monte_carlo = MonteCarloBarostat.of(
            forces, moving, temperature=KELVIN, pressure=1e-4, coupling=coupling, every=1, seed=3
        )
        testing.check_flow(monte_carlo, monte_carlo.start(moving), 2.0, gradients=False)


def test_weak_coupling_decays_to_temperature_and_pressure_and_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Of an ideal gas both laws are exact: T - T0 by exp(-t / tau); the pressure N k_B T / V, beta = 1 / P."""
    system, _ = cubes(2, 200)
    forces = Forces.of(Nothing(), system, virial=True)
    moving = forces(maxwell_boltzmann(system, temperature=torch.tensor([100.0, 600.0]), seed=1))
    thermostat = BerendsenThermostat.of(moving, temperature=KELVIN, time=100.0)
    assert "samples no ensemble" in caplog.text and "StochasticRescaling" in caplog.text
    after, _ = rollout(thermostat, moving, n_steps=100, dt=1.0)

    def excess(state: System) -> torch.Tensor:
        return 2 * kinetic_energy(state) / degrees_of_freedom(state) / units.BOLTZMANN_EV - KELVIN

    assert torch.allclose(excess(after), 0.99**100 * excess(moving), rtol=1e-9)
    inside = Bodies.of(moving).pressure(moving).mean(-1)
    barostat = BerendsenBarostat.of(
        forces, moving, pressure=0.5 * inside, time=100.0, compressibility=1.0 / (0.5 * inside), every=1
    )
    assert "CellRescaling" in caplog.text
    after, _ = rollout(barostat, moving, n_steps=400, dt=1.0)
    left = Bodies.of(after).pressure(after).mean(-1) / (0.5 * inside) - 1.0
    # Near the end the excess of pressure decays by exp(-t / tau), 4 times; it begins at 1, where it decays faster.
    assert torch.all((left > 0.2 * math.exp(-4)) & (left < math.exp(-4)))


def test_impossible_barostats_are_refused() -> None:
    forces, constraints, system, topology = wet()
    plain = Forces.of(forces.potential, system)
    common = {"temperature": KELVIN, "pressure": 0.0}
    with pytest.raises(InputError, match="needs a virial"):
        CellRescaling.of(plain, system, seed=0, **common)
    with pytest.raises(LookupError, match="did you mean 'isotropic'"):
        Pistons.of(forces, system, coupling="isotropy", **common)
    with pytest.raises(InputError, match="a constraint joins two bodies"):
        chain = NoseHooverChain.of(system, temperature=KELVIN)
        martyna_tobias_klein(forces, Pistons.of(forces, system, **common), chain, constraints)
    with pytest.raises(InputError, match="every = 0"):
        MonteCarloBarostat.of(forces, system, every=0, seed=0, **common)
    with pytest.raises(InputError, match=r"barostat\.start"):
        MonteCarloBarostat.of(forces, system, every=1, seed=0, **common)(system, 0.0, 1.0)
    with pytest.raises(InputError, match="replicate_topology"):
        Bodies.of(select(system, 0), topology)
    with pytest.raises(InputError, match="not periodic along all three axes"):
        open_system = tree.replace(system, periodic=torch.zeros_like(system.periodic))
        Pistons.of(forces, open_system, **common)
    with pytest.raises(InputError, match="pressure = nan"):
        Pistons.of(forces, system, temperature=KELVIN, pressure=float("nan"))
    with pytest.raises(InputError, match="a virtual site by itself"):
        Bodies.of(tree.replace(system, masses=torch.where(torch.arange(48) == 2, 0.0, system.masses)))


def test_the_ratio_of_densities_is_found_by_maximum_likelihood() -> None:
    """Of two normal densities of one width, whose ratio is exponential: slope (m_1 - m_2) / s^2; 3 % of 4e4 values."""
    random = numpy.random.default_rng(0)
    one, two = 100.0 + 2.0 * random.normal(size=20000), 101.5 + 2.0 * random.normal(size=20000)
    assert slope_of_densities(one, two) == pytest.approx(-1.5 / 4.0, rel=0.05)


@pytest.mark.slow
def test_volumes_of_a_fluid_at_two_pressures_have_the_ratio_of_theory() -> None:
    report = validate_barostats.barostats(replicas=32, picoseconds=10.0)
    assert report.ok, report.rows
