"""The table `[stages.barostat]`: what keeps the pressure of a stage at constant temperature."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mindsci.config import Quantity, Table
from mindsci.solvers import Flow, Splitting
from sponge.dynamics import (
    BerendsenBarostat,
    CellRescaling,
    MonteCarloBarostat,
    Pistons,
    at_pressure,
    martyna_tobias_klein,
)
from sponge.dynamics.barostats.cell_rescaling import WATER
from sponge.model import Model
from sponge.system import System


class Bath(Table):
    """What all barostats have."""

    pressure: Quantity("eV/angstrom^3")
    coupling: Literal["isotropic", "semi_isotropic", "anisotropic"] = "isotropic"
    """semi_isotropic: x and y together, z by itself"""

    def shared(self, model: Model) -> dict[str, Any]:
        """Returns the arguments that all barostats take."""
        return {"pressure": self.pressure, "coupling": self.coupling, "topology": model.molecules}


class MonteCarlo(Bath):
    """Moves of the volume that are taken or refused: needs no virial, and is exact."""

    kind: Literal["monte_carlo"]
    every: int = Field(default=25, ge=1)
    width: float = Field(default=0.02, gt=0, le=0.3)
    """largest change of the logarithm of the volume at the start; it settles where a half is taken"""

    def begin(
        self, integrator: Splitting, thermostat: Flow, model: Model, system: System, **bath: Any
    ) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system with the barostat's variables."""
        barostat = MonteCarloBarostat.of(
            model.forces,
            system,
            temperature=bath["temperature"],
            every=self.every,
            width=self.width,
            seed=bath["seed"],
            **self.shared(model),
        )
        return at_pressure(integrator, barostat), barostat.start(system)


class _Relaxing(Bath):
    time: Quantity("fs") = "1 ps"
    """in which the pressure relaxes"""
    compressibility: Quantity("angstrom^3/eV") = f"{WATER!r} angstrom^3/eV"
    """water's unless given; with `time` it sets the pace alone"""
    every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _is_positive(self) -> Self:
        if not (self.time > 0 and self.compressibility > 0):
            raise ValueError(f"time = {self.time} fs, compressibility = {self.compressibility} angstrom^3/eV; use > 0")
        return self

    def pace(self) -> dict[str, Any]:
        """Returns how fast the cell follows."""
        return {"time": self.time, "compressibility": self.compressibility, "every": self.every}


class Rescaling(_Relaxing):
    """Stochastic cell rescaling: first order, and the volumes are canonical."""

    kind: Literal["cell_rescaling"]

    def begin(
        self, integrator: Splitting, thermostat: Flow, model: Model, system: System, **bath: Any
    ) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system with the barostat's variables."""
        barostat = CellRescaling.of(model.forces, system, **bath, **self.pace(), **self.shared(model))
        return at_pressure(integrator, barostat), barostat.start(system)


class Berendsen(_Relaxing):
    """Berendsen's barostat: reaches a pressure smoothly, but samples no ensemble."""

    kind: Literal["berendsen"]

    def begin(
        self, integrator: Splitting, thermostat: Flow, model: Model, system: System, **bath: Any
    ) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system as it needs it."""
        barostat = BerendsenBarostat.of(model.forces, system, **self.pace(), **self.shared(model))
        return at_pressure(integrator, barostat), barostat.start(system)


class MartynaTobiasKlein(Bath):
    """Pistons with a mass: deterministic, second order, with the thermostat of the stage."""

    kind: Literal["pistons"]
    period: Quantity("fs") = "1 ps"

    @model_validator(mode="after")
    def _is_positive(self) -> Self:
        if not self.period > 0:
            raise ValueError(f"period = {self.period} fs; use a positive one")
        return self

    def begin(
        self, integrator: Splitting, thermostat: Flow, model: Model, system: System, **bath: Any
    ) -> tuple[Flow, System]:
        """Returns the flow of one step, and the system with the pistons' variables."""
        options = {"temperature": bath["temperature"], "removed": bath["removed"], "period": self.period}
        pistons = Pistons.of(model.forces, system, **options, **self.shared(model))
        flow = martyna_tobias_klein(model.forces, pistons, thermostat, model.constraints)
        return flow, pistons.start(system)


Barostat = Annotated[MonteCarlo | Rescaling | Berendsen | MartynaTobiasKlein, Field(discriminator="kind")]
