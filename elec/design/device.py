"""A device between ports whose media change from run to run: one column of its scattering matrix for each run.

The ports are placed once, in guides that the design leaves alone. What absorbing layers send back into the other ports
is not taken out, as `elec.ports.scattering_matrix` does with a run for each port: use that for the final figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.design.region import Region
from elec.fdtd import Absorber, Media, Walls, YeeStep
from elec.fdtd.media import BOX
from elec.grid import Grid
from elec.ports.scattering import PlacedPort, Port, driven_step, waves_of
from mindsci.errors import InputError
from mindsci.solvers import Fused, rollout
from mindsci.tree import Tree


class Device(Tree):
    """Placed ports and how long to run; make it with `Device.place`."""

    grid: Grid
    ports: tuple[Any, ...]
    frequencies: Float[Tensor, "f"]
    """[Hz]"""
    n_steps: int
    dt: float
    """[s]"""
    absorber: Absorber | None
    walls: Walls
    region: Region | None

    @classmethod
    def place(
        cls,
        grid: Grid,
        media: Media,
        ports: Sequence[Port],
        frequencies: Float[Tensor, "f"],
        *,
        n_steps: int,
        dt: float,
        absorber: Absorber | None = None,
        walls: Walls = BOX,
        region: Region | None = None,
    ) -> Device:
        """Returns the device with its ports placed in media [Hz, s] whose guides are those of every design.

        region: where the media will change, the only part of them that then gets gradients: less is kept of a run.
        Raises InputError for ports that change the media, as lumped ones do.
        """
        if not ports:
            raise InputError("a device needs at least one port")
        placed: list[PlacedPort] = [port.place(grid, media, dt, walls=walls) for port in ports]
        if any(port.media is not media for port in placed):
            raise InputError("a lumped port changes the media of every run; use elec.ports.scattering_matrix for it")
        return cls(
            grid=grid,
            ports=tuple(placed),
            frequencies=frequencies.to(torch.float64),
            n_steps=n_steps,
            dt=dt,
            absorber=absorber,
            walls=walls,
            region=region,
        )

    def column(
        self, media: Media, driven: int = 0, *, adjoint: Any = None, engine: str = "auto"
    ) -> Complex[Tensor, "f ports"]:
        """Returns S from the driven port to each port; differentiable in the media."""
        step = driven_step(
            self.grid, media, self.ports, driven, absorber=self.absorber, walls=self.walls, engine=engine
        )
        forth, back = waves_of(self.ports, self._records(step, adjoint), self.dt, self.frequencies, driven)
        return back / forth[:, driven, None]

    def _records(self, step: YeeStep, adjoint: Any) -> Float[Tensor, "rows samples"]:
        start = step.start(self.n_steps)
        wanted = step.ampere.media.permittivity.requires_grad or step.ampere.media.conductivity.requires_grad
        if adjoint is None and wanted and self.region is not None and step.fused_cannot(start) is None:
            adjoint = Fused(region=(self.region.low, tuple(last + 1 for last in self.region.high)))
        return rollout(step, start, n_steps=self.n_steps, dt=self.dt, adjoint=adjoint)[0].records
