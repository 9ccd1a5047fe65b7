"""The tables `[[stages]]` of a case: ensembles, and how each step is taken."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mindsci import tree
from mindsci.config import Quantities, Quantity, Table
from mindsci.solvers import Flow, Splitting
from sponge.barostat_tables import Barostat
from sponge.dynamics import (
    Forces,
    NoseHooverChain,
    OrnsteinUhlenbeck,
    StochasticRescaling,
    langevin,
    leap_frog,
    multiple_steps,
    nose_hoover,
    slow_started,
    stochastic_rescaling,
    velocity_verlet,
)
from sponge.dynamics.leap_frog import abreast, behind
from sponge.dynamics.nose_hoover import POSITIONS, RATES
from sponge.dynamics.rescaling import HEAT
from sponge.model import Model
from sponge.system import System

OF_THERMOSTATS = (POSITIONS, RATES, HEAT)
"""variables that go on from stage to stage; those of a barostat begin anew"""
BAROSTAT_STREAM = 1 << 15
"""from the seed of a stage to that of its barostat: it draws at the same steps as the thermostat"""


class _Stage(Table):
    n_steps: int = Field(ge=1)
    dt: Quantity("fs")
    momenta: Literal["keep", "draw"] | None = None
    """draw: from the Maxwell-Boltzmann distribution; by default only for the first stage of a system at rest"""

    temperature: Quantities("K") | None = None
    """one for all, or a list with one for each replica"""
    fast_steps: int | None = Field(default=None, ge=1)
    """of covalent forces within one of dt, which the nonbonded ones kick with: multiple time steps"""

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

    def entered(self, model: Model, system: System) -> System:
        """Returns the system as its first step needs it: slow forces of its own, and nothing of a past barostat."""
        auxiliary = {name: value for name, value in system.auxiliary.items() if name in OF_THERMOSTATS}
        system = tree.replace(system, auxiliary=auxiliary, slow_forces=None)
        return system if self.fast_steps is None else slow_started(system, *model.parts)

    def begin(self, model: Model, system: System, seed: int) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system with the variables of what keeps it in its ensemble."""
        thermostat, system = self.coupled(model, system, seed)
        forces = model.forces if self.fast_steps is None else model.parts[0]
        flow = self.steps(forces, thermostat, model)
        if self.fast_steps is not None:
            flow = multiple_steps(flow, model.parts[1], count=self.fast_steps)
        return self.pressed(flow, thermostat, model, system, seed)

    def coupled(self, model: Model, system: System, seed: int) -> tuple[Any, System]:
        """Returns the thermostat, and the system with its variables."""
        return None, system

    def steps(self, forces: Forces, thermostat: Any, model: Model) -> Splitting:
        """Returns the flow of one step at constant volume."""
        raise NotImplementedError

    def pressed(self, flow: Splitting, thermostat: Any, model: Model, system: System, seed: int) -> tuple[Flow, System]:
        """Returns the flow at constant pressure, where that is asked for."""
        return flow, system

    def behind(self, system: System, model: Model) -> System:
        """Returns the system with momenta of the time that the integrator takes them at."""
        return system

    def abreast(self, system: System, model: Model) -> System:
        """Returns the system with momenta of the time of its positions."""
        return system


class _Thermal(_Stage):
    temperature: Quantities("K")
    barostat: Barostat | None = None
    conserves: ClassVar[bool] = True
    """whether a total momentum of zero stays zero"""

    @model_validator(mode="after")
    def _one_cell_at_a_time(self) -> Self:
        if self.barostat is not None and self.fast_steps is not None:
            raise ValueError("fast_steps and a barostat do not go together; leave one of them out")
        if self.barostat is not None and self.barostat.kind == "pistons" and not self.conserves:
            raise ValueError(
                'the barostat "pistons" keeps the total momentum, which Langevin\'s noise does not; use the stage '
                'kind = "nose_hoover" or "csvr", or another barostat'
            )
        return self

    def pressed(self, flow: Splitting, thermostat: Any, model: Model, system: System, seed: int) -> tuple[Flow, System]:
        if self.barostat is None:
            return flow, system
        bath = {"temperature": self.kelvin(), "removed": 3 if self.conserves else 0, "seed": seed + BAROSTAT_STREAM}
        return self.barostat.begin(flow, thermostat, model, system, **bath)


class LangevinStage(_Thermal):
    """A stage at constant temperature, BAOAB."""

    conserves: ClassVar[bool] = False
    kind: Literal["langevin"]
    friction: Quantity("1/fs") = "0.01 / fs"

    @model_validator(mode="after")
    def _slows_down(self) -> Self:
        if self.friction < 0:
            raise ValueError(f"friction = {self.friction} / fs; it is not negative")
        return self

    def coupled(self, model: Model, system: System, seed: int) -> tuple[Any, System]:
        options = {"temperature": self.kelvin(), "friction": self.friction, "constraints": model.constraints}
        return OrnsteinUhlenbeck.of(system, seed=seed, **options), system

    def steps(self, forces: Forces, thermostat: Any, model: Model) -> Splitting:
        return langevin(forces, thermostat)


class NoseHooverStage(_Thermal):
    """A stage at constant temperature, a Nosé-Hoover chain: deterministic, and it keeps the total momentum."""

    kind: Literal["nose_hoover"]
    period: Quantity("fs") = "100 fs"
    links: int = Field(default=3, ge=1)

    def coupled(self, model: Model, system: System, seed: int) -> tuple[Any, System]:
        thermostat = NoseHooverChain.of(system, temperature=self.kelvin(), period=self.period, links=self.links)
        return thermostat, thermostat.start(system)

    def steps(self, forces: Forces, thermostat: Any, model: Model) -> Splitting:
        return nose_hoover(forces, thermostat, model.constraints)


class RescalingStage(_Thermal):
    """A stage at constant temperature, stochastic velocity rescaling; it keeps the total momentum."""

    kind: Literal["csvr"]
    time: Quantity("fs") = "100 fs"

    def coupled(self, model: Model, system: System, seed: int) -> tuple[Any, System]:
        thermostat = StochasticRescaling.of(system, temperature=self.kelvin(), time=self.time, seed=seed)
        return thermostat, thermostat.start(system)

    def steps(self, forces: Forces, thermostat: Any, model: Model) -> Splitting:
        return stochastic_rescaling(forces, thermostat, model.constraints)


class NVEStage(_Stage):
    """A stage at constant energy; its temperature serves to draw momenta, if they are drawn."""

    kind: Literal["nve"]
    integrator: Literal["velocity_verlet", "leap_frog"] = "velocity_verlet"
    barostat: Any = Field(default=None, exclude=True)
    """none: it needs a thermostat beside it"""

    @model_validator(mode="after")
    def _goes_with_its_integrator(self) -> Self:
        if self.barostat is not None:
            raise ValueError('a barostat needs a thermostat beside it; use kind = "csvr", "nose_hoover" or "langevin"')
        if self.integrator == "leap_frog" and self.fast_steps is not None:
            raise ValueError('fast_steps goes with integrator = "velocity_verlet"; take one of them out')
        return self

    def steps(self, forces: Forces, thermostat: Any, model: Model) -> Splitting:
        scheme = leap_frog if self.integrator == "leap_frog" else velocity_verlet
        return scheme(forces, model.constraints)

    def behind(self, system: System, model: Model) -> System:
        return behind(system, self.dt, model.constraints) if self.integrator == "leap_frog" else system

    def abreast(self, system: System, model: Model) -> System:
        return abreast(system, self.dt, model.constraints) if self.integrator == "leap_frog" else system


Stage = Annotated[LangevinStage | NoseHooverStage | RescalingStage | NVEStage, Field(discriminator="kind")]
