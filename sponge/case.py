"""The case of task "sponge/md": a system, its forces, a minimisation and stages of dynamics."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from mindsci import hub
from mindsci.config import Case, InputFile, Quantity, Table
from mindsci.errors import InputError
from mindsci.runs import Run
from sponge.analysis.case import AnalysisTable
from sponge.batch import replicate
from sponge.builders import replicate_topology
from sponge.force_field_table import ForceFieldTable, net_charge
from sponge.forcefield import ForceField
from sponge.model import Model
from sponge.potentials.loading import load_potential
from sponge.potentials.potential import Potential
from sponge.simulation import Simulation
from sponge.stages import Stage
from sponge.system import System
from sponge.system_table import SystemTable
from sponge.threads import suited_threads


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
    method: Literal["fire", "lbfgs", "steepest_descent"] = "fire"


class OutputTable(Table):
    """`[output]`: a frame is kept after every so many steps of a stage."""

    every: int = Field(default=10, ge=1)
    formats: list[Literal["h5md", "extxyz", "dcd", "xtc", "pdb"]] = ["h5md", "extxyz"]
    pressure: bool | None = None
    """whether frames have a pressure, which costs the virial of every step; with a barostat unless told otherwise"""


class MolecularDynamicsCase(Case):
    """The whole case file."""

    system: SystemTable
    potential: PotentialTable | None = None
    """a learned one"""
    forcefield: ForceFieldTable | None = None
    """the classical one of a system with a topology, unless a potential is given"""
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

    @model_validator(mode="after")
    def _one_kind_of_forces(self) -> Self:
        if self.potential is not None and self.forcefield is not None:
            raise ValueError("give [potential], a learned one, or [forcefield], the classical one of a topology")
        if self.potential is None and not self.system.has_topology:
            raise ValueError(
                "add a [potential]: only a system from prmtop, top or dataset brings a force field of its own"
            )
        return self

    @property
    def cell_moves(self) -> bool:
        """Whether a stage has a barostat."""
        return any(getattr(stage, "barostat", None) is not None for stage in self.stages)

    def run(self, run: Run) -> None:
        """Simulates, and writes the trajectory, energies, a picture and the figures of the run."""
        table = self.forcefield or ForceFieldTable()
        dtype = getattr(torch, self.precision)
        rigid = table.rigid() if self.potential is None else {}
        system, topology = self.system.load(seed=self.seed, dtype=dtype, **rigid)
        if topology is not None and self.potential is None:
            system, topology = table.prepared(system, topology)
        system = replicate(system.to(run.device), self.system.replicas)
        if topology is not None:
            topology = replicate_topology(topology, self.system.replicas)
        with suited_threads(system):
            if self.potential is not None:
                potential = self._learned(run, dtype)
                model = Model.of(potential, system, virial=self._wants_virial(system))
            else:
                assert topology is not None
                field = table.build(system, topology, cell_moves=self.cell_moves)
                self._tell(run, system, field)
                options = {"virial": self._wants_virial(system), "tolerance": table.constraint_tolerance}
                model = Model.of(field, system, field.topology, **options)
            Simulation(self, run, model).finish()

    def _wants_virial(self, system: System) -> bool:
        asked = self.output.pressure
        if (asked or self.cell_moves) and not bool(system.periodic.all()):
            wants = "output.pressure" if asked else "a barostat"
            raise InputError(
                f"{wants} needs a system that is periodic along all three axes, and this one is not; give coordinates "
                "with a cell, or leave it out"
            )
        return self.cell_moves if asked is None else asked or self.cell_moves

    def _learned(self, run: Run, dtype: torch.dtype) -> Potential:
        table = self.potential
        assert table is not None
        potential = load_potential(
            pretrained=table.pretrained, model=table.models or table.model, device=run.device, dtype=dtype
        )
        if table.pretrained is not None:
            domain = hub.find_card(hub.PretrainedCard, table.pretrained).domain
            limits = "".join(f"; {name} {limit}" for name, limit in domain.limits.items())
            run.log(f"{table.pretrained} is made for: {domain.description}{limits}")
        return potential.for_use(device=run.device, dtype=dtype, engine=table.engine)

    def _tell(self, run: Run, system: System, field: ForceField) -> None:
        """Logs how the force field is summed, and warns of a charge that no ion balances."""
        options = field.options
        cutoff = "" if options.coulomb == "all" else f", cutoff {options.cutoff:g} angstrom"
        run.log(f"{system.n_atoms} atoms; lennard_jones {options.lennard_jones}, coulomb {options.coulomb}{cutoff}")
        charge = net_charge(system, field.topology)
        if charge and options.splits:
            run.log(
                f"warning: the net charge is {charge:+.3g} e, which a uniform background balances: pressures and "
                "energies are shifted. Add ions to the system, or check its charges"
            )
