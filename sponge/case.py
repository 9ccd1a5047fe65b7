"""The case of task "sponge/md": a system, a potential, a minimisation and stages of dynamics."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mindsci import hub
from mindsci.config import Case, InputFile, Quantities, Quantity, Table
from mindsci.runs import Run
from mindsci.solvers import Flow
from sponge.analysis.case import AnalysisTable
from sponge.builders import from_file, from_smiles
from sponge.dynamics import (
    Forces,
    NoseHooverChain,
    OrnsteinUhlenbeck,
    StochasticRescaling,
    langevin,
    nose_hoover,
    stochastic_rescaling,
    velocity_verlet,
)
from sponge.potentials.loading import load_potential
from sponge.simulation import simulate
from sponge.system import System


class SystemTable(Table):
    """`[system]`: what is simulated, by SMILES string or from a structure file."""

    smiles: str | None = None
    file: InputFile | None = None
    replicas: int = Field(default=1, ge=1)
    """copies that run side by side as one batch, each with random numbers of its own"""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.smiles is None) == (self.file is None):
            raise ValueError('give one of smiles = "CCO" and file = "structure.pdb"')
        return self


class PotentialTable(Table):
    """`[potential]`: a pretrained card by name, or the model.toml of a training run with its weights beside."""

    pretrained: str | None = None
    model: InputFile | None = None
    models: list[InputFile] | None = None
    """several trainings of the same elements: an ensemble, whose members' disagreement is known"""
    uncertainty_limit: Quantity("eV/angstrom") | None = None
    """of an ensemble: the run stops where the standard deviation of an atom's force is above"""
    engine: Literal["auto", "reference", "numba"] = "auto"
    """auto takes the fastest form of the potential on the device"""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.pretrained, self.model, self.models)) != 1:
            raise ValueError(
                'give one of pretrained = "schnet_ethanol", model = "runs/training/model.toml" and models = [...]'
            )
        if self.uncertainty_limit is not None and not self.uncertainty_limit > 0:
            raise ValueError(f"uncertainty_limit = {self.uncertainty_limit} eV/angstrom; use a positive one")
        return self


class MinimiseTable(Table):
    """`[minimise]`: relax the system first; left out, it starts as it was built."""

    max_force: Quantity("eV/angstrom") = "0.01 eV/angstrom"
    max_steps: int = Field(default=2000, ge=1)
    method: Literal["fire", "lbfgs"] = "fire"


class _Stage(Table):
    n_steps: int = Field(ge=1)
    dt: Quantity("fs")
    momenta: Literal["keep", "draw"] | None = None
    """draw: from the Maxwell-Boltzmann distribution; by default only for the first stage of a system at rest"""

    temperature: Quantities("K") | None = None
    """one for all, or a list with one for each replica"""

    @model_validator(mode="after")
    def _is_physical(self) -> Self:
        if not self.dt > 0:
            raise ValueError(f'dt = {self.dt} fs; use a positive one, such as "0.5 fs"')
        if min(self.temperatures(), default=0.0) < 0:
            raise ValueError(f"temperature = {min(self.temperatures())} K; none is negative")
        return self

    def temperatures(self) -> tuple[float, ...]:
        """Returns the temperatures that the stage names [K]."""
        given = self.temperature
        return given if isinstance(given, tuple) else () if given is None else (given,)

    def kelvin(self) -> float | Tensor:
        """Returns the temperature of all systems, or a tensor with one for each."""
        given = self.temperature
        return torch.tensor(given, dtype=torch.float64) if isinstance(given, tuple) else given


class LangevinStage(_Stage):
    """A stage at constant temperature, BAOAB."""

    kind: Literal["langevin"]
    temperature: Quantities("K")
    friction: Quantity("1/fs") = "0.01 / fs"

    @model_validator(mode="after")
    def _slows_down(self) -> Self:
        if self.friction < 0:
            raise ValueError(f"friction = {self.friction} / fs; it is not negative")
        return self

    def begin(self, forces: Forces, system: System, seed: int) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system as it needs it."""
        thermostat = OrnsteinUhlenbeck.of(system, temperature=self.kelvin(), friction=self.friction, seed=seed)
        return langevin(forces, thermostat), system


class NoseHooverStage(_Stage):
    """A stage at constant temperature, a Nosé-Hoover chain: deterministic, and it keeps the total momentum."""

    kind: Literal["nose_hoover"]
    temperature: Quantities("K")
    period: Quantity("fs") = "100 fs"
    links: int = Field(default=3, ge=1)

    def begin(self, forces: Forces, system: System, seed: int) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system with its chain."""
        thermostat = NoseHooverChain.of(system, temperature=self.kelvin(), period=self.period, links=self.links)
        return nose_hoover(forces, thermostat), thermostat.start(system)


class RescalingStage(_Stage):
    """A stage at constant temperature, stochastic velocity rescaling; it keeps the total momentum."""

    kind: Literal["csvr"]
    temperature: Quantities("K")
    time: Quantity("fs") = "100 fs"

    def begin(self, forces: Forces, system: System, seed: int) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system with its count of heat."""
        thermostat = StochasticRescaling.of(system, temperature=self.kelvin(), time=self.time, seed=seed)
        return stochastic_rescaling(forces, thermostat), thermostat.start(system)


class NVEStage(_Stage):
    """A stage at constant energy, BAB; its temperature serves to draw momenta, if they are drawn."""

    kind: Literal["nve"]

    def begin(self, forces: Forces, system: System, seed: int) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system as it needs it."""
        return velocity_verlet(forces), system


Stage = Annotated[LangevinStage | NoseHooverStage | RescalingStage | NVEStage, Field(discriminator="kind")]


class OutputTable(Table):
    """`[output]`: a frame is kept after every so many steps of a stage."""

    every: int = Field(default=10, ge=1)


class MolecularDynamicsCase(Case):
    """The whole case file."""

    system: SystemTable
    potential: PotentialTable
    minimise: MinimiseTable | None = None
    stages: list[Stage] = Field(min_length=1)
    output: OutputTable = OutputTable()
    analysis: AnalysisTable | None = None
    """of the frames of the last stage"""
    precision: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _momenta_have_a_temperature(self) -> Self:
        for number, stage in enumerate(self.stages):
            if stage.momenta == "draw" and stage.temperature is None:
                raise ValueError(f'stages.{number}: momenta = "draw" needs a temperature, such as "300 K"')
            count = len(stage.temperatures())
            if count != self.system.replicas and isinstance(stage.temperature, tuple):
                raise ValueError(
                    f"stages.{number}: {count} temperatures for {self.system.replicas} replicas; give one for each, "
                    f"or set system.replicas = {count}"
                )
        return self

    def run(self, run: Run) -> None:
        """Simulates, and writes the trajectory, energies, a picture and the figures of the run."""
        dtype = getattr(torch, self.precision)
        if self.system.smiles is not None:
            system = from_smiles(self.system.smiles, seed=self.seed, dtype=dtype)
        else:
            system = from_file(self.system.file, dtype=dtype)  # type: ignore[arg-type]
        potential = load_potential(
            pretrained=self.potential.pretrained,
            model=self.potential.models or self.potential.model,
            device=run.device,
            dtype=dtype,
        )
        if self.potential.pretrained is not None:
            domain = hub.find_card(hub.PretrainedCard, self.potential.pretrained).domain
            limits = "".join(f"; {name} {limit}" for name, limit in domain.limits.items())
            run.log(f"{self.potential.pretrained} is made for: {domain.description}{limits}")
        fast = potential.for_use(device=run.device, dtype=dtype, engine=self.potential.engine)
        simulate(self, run, system, fast)
