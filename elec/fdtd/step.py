"""One step of the Yee scheme: the reference flows, and the engine that runs many steps with the same meaning."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from elec.fdtd import adjoint, recorded
from elec.fdtd.absorber import Absorber
from elec.fdtd.arrays import Turn
from elec.fdtd.flows import Ampere, Faraday, Probe, check_capacity, step_index
from elec.fdtd.history import History
from elec.fdtd.media import BOX, Media, outer_walls
from elec.fdtd.probes import Monitors, Probes, join_probes
from elec.fdtd.room import check_room
from elec.fdtd.sources import Source
from elec.fdtd.walls import Walls
from elec.fields import Fields, zero_fields
from elec.grid import AXES, Grid
from mindsci import tree
from mindsci.errors import InputError
from mindsci.kernels import choose_engine
from mindsci.solvers.splitting import Splitting
from mindsci.tree import Tree

logger = logging.getLogger(__name__)

SMALLER = "fewer cells, a symmetry plane, single precision, smaller boxes of monitors or fewer frequencies"
"""What makes a run smaller."""


class Engine(Protocol):
    """A fused step, prepared for one set of coefficients and one time step."""

    turn: Turn

    def advance(self, fields: Fields, first: int, n_steps: int, history: History | None = None) -> Fields:
        """Returns the fields after steps first .. first + n_steps - 1; the argument is left as it was.

        A history in the engine's order of axes is filled on the way.
        """


class YeeStep(Tree):
    """A flow (fields, t, dt) -> fields, and `advance` that runs many steps in the chosen engine.

    `rollout` calls `advance` where no gradient is asked for, and `differentiable_advance`, the fused adjoint, where it
    serves; other gradients go through the reference flows.
    """

    faraday: Faraday
    ampere: Ampere
    probe: Probe
    engine: str
    reason: str

    @property
    def reversible(self) -> bool:
        return self.splitting.reversible

    @property
    def irreversible(self) -> list[str]:
        """Names of the flows that -dt does not undo."""
        return self.splitting.irreversible

    @functools.cached_property
    def splitting(self) -> Splitting:
        """The reference."""
        return Splitting(flows={"H": self.faraday, "E": self.ampere, "P": self.probe}, order="HEP")

    @functools.cached_property
    def _prepared(self) -> dict[tuple[float, torch.dtype], Engine]:
        return {}

    def __call__(self, fields: Fields, t: float, dt: float) -> Fields:
        return self.splitting(fields, t, dt)

    @functools.cached_property
    def recorded_places(self) -> tuple[Tensor, Tensor]:
        """The edges and faces whose fields `undo` is told."""
        return recorded.masks(tree.detach(self))

    def recorded(self, fields: Fields) -> tuple[Tensor, ...]:
        """Returns what `undo` needs of the fields before a step."""
        return recorded.recorded(self, fields)

    def undo(self, fields: Fields, record: tuple[Tensor, ...], t: float, dt: float) -> Fields:
        """Returns the fields before the step from t to t + dt, by the reference flows."""
        return recorded.undone(self, fields, record, t, dt)

    def advance(self, fields: Fields, t: float, dt: float, n_steps: int) -> Fields:
        """Returns the fields n_steps later, without a gradient; the argument is left as it was."""
        first = step_index(t, dt)
        if self.probe.probes.weights.shape[0]:
            check_capacity(fields, first + n_steps)
        with torch.no_grad():
            if self.engine == "reference":
                for index in range(first, first + n_steps):
                    fields = self.splitting(fields, index * dt, dt)
                return fields
            key = (dt, fields.electric.dtype)
            if key not in self._prepared:
                self._prepared[key] = self.prepared(fields, dt)
            return self._prepared[key].advance(fields, first, n_steps)

    def prepared(self, fields: Fields, dt: float, like: Engine | None = None, turn: Turn | None = None) -> Engine:
        """Returns a new engine for fields like these; `like` is one for the same media, whose tables it may use."""
        if self.engine == "triton":
            from elec.fdtd.triton import TritonEngine

            return TritonEngine(self, fields, dt, like)  # type: ignore[arg-type]
        from elec.fdtd.cpu import NumbaEngine

        return NumbaEngine(self, fields, dt, like, turn)  # type: ignore[arg-type]

    def fused_cannot(self, fields: Fields) -> str | None:
        """Returns why the fused adjoint does not serve a run from these fields, None where it does."""
        return adjoint.cannot(self, fields)

    def differentiable_advance(
        self,
        fields: Fields,
        t: float,
        dt: float,
        n_steps: int,
        *,
        region: Any = None,
        every: int = 1,
        undo: bool = False,
    ) -> Fields:
        """Returns the fields n_steps later with their derivative, by the fused adjoint."""
        first = step_index(t, dt)
        if self.probe.probes.weights.shape[0]:
            check_capacity(fields, first + n_steps)
        return adjoint.differentiable_advance(self, fields, first, n_steps, dt, region=region, every=every, undo=undo)

    def start(self, n_samples: int = 0) -> Fields:
        """Returns fields at rest with room for n_samples steps of the probes.

        Raises InputError where they, and the copy that a step works on, would not fit into the memory of their device.
        """
        absorber, monitors, poles = self.ampere.absorber, self.probe.monitors, self.ampere.media.poles
        permittivity, magnetic = self.ampere.media.permittivity, self.faraday.poles
        made = functools.partial(
            zero_fields,
            permittivity.shape[1:],
            layers=absorber.layers if absorber is not None else ((0, 0), (0, 0), (0, 0)),
            n_terms=poles.rate.numel() if poles is not None else 0,
            n_magnetic_terms=magnetic.rate.numel() if magnetic is not None else 0,
            n_probes=self.probe.probes.weights.shape[0],
            n_samples=n_samples,
            n_frequencies=monitors.n_frequencies,
            n_points=monitors.n_points,
            dtype=permittivity.dtype.to_complex() if self.ampere.walls.complex else permittivity.dtype,
        )
        needed = 2 * sum(leaf.nbytes for leaf in tree.leaves(made(device="meta")))
        check_room(needed, permittivity.device, what=self._holding(n_samples), fix=SMALLER)
        return made(device=permittivity.device)

    def _holding(self, n_samples: int) -> str:
        """The fields of a run in words, as the start of a sentence."""
        nodes = " x ".join(map(str, self.ampere.media.permittivity.shape[1:]))
        monitors, probes = self.probe.monitors, self.probe.probes.weights.shape[0]
        sums = f", {monitors.n_frequencies} Fourier sums at {monitors.n_points} places" if monitors.n_points else ""
        records = f", {probes} records of {n_samples} steps" if probes and n_samples else ""
        return f"the fields of {nodes} nodes{sums}{records} need"


def yee_step(
    grid: Grid,
    media: Media,
    *,
    absorber: Absorber | None = None,
    walls: Walls = BOX,
    sources: Sequence[Source] = (),
    probes: Sequence[Probes] = (),
    monitors: Monitors | None = None,
    engine: str = "auto",
) -> YeeStep:
    """Returns the step on a grid; precision and device are those of the media.

    engine: "auto", "reference", "numba" (CPU) or "triton" (CUDA, or the CPU under TRITON_INTERPRET=1).

    Raises InputError for a source on metal, a probe or monitor outside the grid, an engine that cannot serve.
    """
    media = _hold_fields(_walled(media, walls), sources)
    device = media.permittivity.device
    available = {
        "reference": lambda: None,
        "numba": lambda: _numba_cannot(media, walls, monitors),
        "triton": lambda: _triton_cannot(media, walls, monitors),
    }
    monitors = monitors if monitors is not None else Monitors()
    chosen, reason = choose_engine(engine, device=device, available=available)
    logger.info("FDTD engine %s: %s", chosen, reason)
    joined = join_probes(probes)
    _check_places(media, joined, monitors)
    absorber = tree.to(absorber, device=device)
    spacing = [grid.spacing(axis).to(device) for axis in range(3)]
    dual = [walls.dual_spacing(grid, axis).to(device) for axis in range(3)]
    magnetic = tuple(source for source in sources if source.kind == "magnetic current")
    electric = tuple(source for source in sources if source.kind != "magnetic current")
    return YeeStep(
        faraday=Faraday(
            permeability=media.permeability,
            spacing=(spacing[0], spacing[1], spacing[2]),
            absorber=absorber,
            sources=magnetic,
            walls=walls,
            conductivity=media.magnetic_conductivity,
            poles=media.magnetic_poles,
        ),
        ampere=Ampere(
            media=media, spacing=(dual[0], dual[1], dual[2]), absorber=absorber, sources=electric, walls=walls
        ),
        probe=Probe(probes=tree.to(joined, device=device), monitors=monitors),
        engine=chosen,
        reason=reason,
    )


def _walled(media: Media, walls: Walls) -> Media:
    """Holds the edges on conducting walls at zero, and refuses media that were made for other walls."""
    outside = outer_walls(media.metal.shape[1:], walls=walls, device=media.metal.device)
    for axis, name in enumerate(AXES):
        across = [component for component in range(3) if component != axis]
        for side, word, node in zip(walls.sides(axis), ("low", "high"), (0, -1), strict=True):
            copied = side == "periodic" and word == "high"
            if side != "pec" and not copied and bool(media.metal.select(axis + 1, node)[across].all()):
                raise InputError(
                    f"the wall at the {word} side of {name} is '{side}', but the media have metal there; "
                    "give the same walls to uniform_media or scene_media"
                )
    return tree.replace(media, metal=media.metal | outside)


def _hold_fields(media: Media, sources: Sequence[Source]) -> Media:
    """Marks the edges of held fields as metal, and refuses currents on metal, where they would do nothing."""
    metal = media.metal
    for source in sources:
        index = tuple(part.to(metal.device) for part in source.places.unbind(1))
        if source.kind == "current" and bool(metal[index].any()):
            found = source.places[metal[index].cpu()]
            raise InputError(
                f"a current source lies on metal or on the outer wall ({len(found)} edges, the first at component "
                f"and node {found[0].tolist()}); move it off the metal"
            )
    for source in sources:
        if source.kind == "field":
            index = tuple(part.to(metal.device) for part in source.places.unbind(1))
            metal = metal.index_put(index, torch.ones((), dtype=torch.bool, device=metal.device))
    coupling = media.coupling.without(metal) if media.coupling is not None else None
    return tree.replace(media, metal=metal, coupling=coupling)


def _check_places(media: Media, probes: Probes, monitors: Monitors) -> None:
    nodes = torch.tensor(media.metal.shape[1:])
    if probes.edges.numel() and not bool(((probes.edges[:, 1:] >= 0) & (probes.edges[:, 1:] < nodes)).all()):
        raise InputError(f"a probe lies outside the {nodes.tolist()} nodes of the grid: {probes.edges.tolist()}")
    for box in monitors.boxes:
        if any(high > size for high, size in zip(box.high, nodes.tolist(), strict=True)):
            raise InputError(f"the monitor's box up to node {box.high} leaves the grid of {nodes.tolist()} nodes")


def _numba_cannot(media: Media, walls: Walls, monitors: Monitors) -> str | None:
    if media.permittivity.device.type != "cpu":
        return f"it runs on the CPU and the fields are on {media.permittivity.device}"
    return _not_for_kernels(media, walls, monitors)


def _triton_cannot(media: Media, walls: Walls, monitors: Monitors) -> str | None:
    import importlib.util
    import os

    device = media.permittivity.device
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed (pip install 'mindsci[interpret]', or a CUDA build of torch)"
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"it needs a CUDA device and the fields are on {device}"
    return _not_for_kernels(media, walls, monitors)


def _not_for_kernels(media: Media, walls: Walls, monitors: Monitors) -> str | None:
    dtype = media.permittivity.dtype
    if dtype not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, not in {str(dtype).removeprefix('torch.')}"
    if walls.magnetic_above:
        return "it leaves the last nodes out, where a magnetic wall on a high side lies"
    if walls.complex and media.coupling is not None:
        return "edges that act on one another may do so across Bloch-periodic walls, with their phase"
    for axis, name in enumerate(AXES):
        last = media.metal.shape[axis + 1] - 1
        if walls.complex and walls.periodic(axis) and any(box.high[axis] > last for box in monitors.boxes):
            return f"a monitor reaches the last node along {name}, the Bloch-periodic image of the first"
    return None


def engine_note(step: YeeStep) -> str:
    """Returns one line for a log: the engine and why."""
    return f"engine: {step.engine} ({step.reason})"
