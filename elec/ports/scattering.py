"""Scattering matrices: one run for each driven port, the waves at all of them, S from both together.

With the waves towards the device A and back B, one column a run, S = B A^-1 at each frequency: what absorbing layers
send back to a port is part of A and does no harm. All of it is differentiable in the records.

Waves a, b stand for V = sqrt(z) (a + b), I = (a - b) / sqrt(z) with the reference impedance z, up to one factor for
all. Another reference z' thus gives a' = p a + q b, b' = q a + p b with p, q = (sqrt(z / z') +- sqrt(z' / z)) / 2, and
S' = (q + p S)(p + q S)^-1 [Marks1992].
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd import Absorber, Media, Probes, Source, VoltagePort, Walls, YeeStep, spectrum, yee_step
from elec.fdtd.media import BOX
from elec.grid import Grid
from elec.network import write_touchstone
from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import rollout
from mindsci.tree import Tree

if TYPE_CHECKING:
    import skrf

logger = logging.getLogger(__name__)

# A run that may stop early looks at its records this often.
CHUNKS = 20
# A column of A below this fraction of the largest drive cannot be told from rounding.
FAINTEST_DRIVE = 1e-9


class PlacedPort(Protocol):
    """A port on a grid."""

    media: Media
    sources: tuple[Source, ...]
    probes: Probes

    def waves(
        self, records: Tensor, dt: float, frequencies: Tensor, *, driven: bool
    ) -> tuple[Complex[Tensor, "f"], Complex[Tensor, "f"]]:
        """Returns the waves towards the device and back [sqrt(W) s]."""

    def impedance(self, frequencies: Tensor) -> Complex[Tensor, "f"]:
        """Returns the reference impedance of these waves [ohm]."""

    def beta(self, frequencies: Tensor) -> Complex[Tensor, "f"]:
        """Returns the propagation constant behind the port [rad/m]; zero for a lumped port."""


class Port(Protocol):
    """What becomes a placed port on a grid, in media that it may change."""

    def place(self, grid: Grid, media: Media, dt: float, *, walls: Walls = BOX) -> PlacedPort: ...


class LumpedPort(Tree):
    """A voltage port as a port of a scattering matrix, against its own resistance."""

    port: VoltagePort

    def place(self, grid: Grid, media: Media, dt: float, *, walls: Walls = BOX) -> PlacedLumpedPort:
        """Returns the port on a grid, its resistors in the media."""
        changed, source, probe = self.port.place(grid, media)
        return PlacedLumpedPort(port=self.port, media=changed, sources=(source,), probes=probe)


class PlacedLumpedPort(Tree):
    """A voltage port on a grid."""

    port: VoltagePort
    media: Media
    sources: tuple[Source, ...]
    probes: Probes

    def waves(
        self, records: Float[Tensor, "1 samples"], dt: float, frequencies: Float[Tensor, "f"], *, driven: bool
    ) -> tuple[Complex[Tensor, "f"], Complex[Tensor, "f"]]:
        """Returns V_s and 2 V - V_s over sqrt(8 R): |a|^2 is the available power [Pozar2012, sec. 4.3]."""
        record = records[0]
        scale = (8.0 * self.port.resistance) ** -0.5
        voltage = spectrum(self.port.voltage(record.to(torch.float64)), dt, frequencies)
        a = torch.zeros_like(voltage)
        if driven:
            a = self.port.source_spectrum(len(record), dt, frequencies)
        return scale * a, scale * (2.0 * voltage - a)

    def impedance(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the resistance [ohm]."""
        return torch.as_tensor(self.port.resistance, dtype=torch.complex128).expand(len(frequencies))

    def beta(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns zero: there is no line behind the port."""
        return torch.zeros(len(frequencies), dtype=torch.complex128)


class Scattering(Tree):
    """S-parameters over frequency, with the reference impedance and the propagation constant of each port."""

    frequencies: Float[Tensor, "f"]
    """[Hz]"""
    s: Complex[Tensor, "f ports ports"]
    impedance: Complex[Tensor, "f ports"]
    """[ohm]"""
    beta: Complex[Tensor, "f ports"]
    """[rad/m]"""

    def shifted(self, lengths: Sequence[float]) -> Scattering:
        """Returns S with each reference plane moved towards the device by a length [m], negative away from it."""
        n_ports = self.s.shape[-1]
        if len(lengths) != n_ports:
            raise InputError(f"{len(lengths)} lengths for {n_ports} ports; give one for each")
        turn = torch.exp(1j * self.beta * torch.tensor(lengths, dtype=torch.float64))
        return tree.replace(self, s=self.s * turn[:, :, None] * turn[:, None, :])

    def renormalised(self, impedance: float | complex | Tensor) -> Scattering:
        """Returns S against other impedances [ohm]: one for all, one a port, or (f, ports)."""
        new = torch.as_tensor(impedance).to(torch.complex128).expand(self.impedance.shape)
        ratio = (self.impedance / new).sqrt()
        p, q = 0.5 * (ratio + 1.0 / ratio), 0.5 * (ratio - 1.0 / ratio)
        p, q = torch.diag_embed(p), torch.diag_embed(q)
        s = torch.linalg.solve(p + q @ self.s, q + p @ self.s, left=False).resolve_conj()
        return tree.replace(self, s=s, impedance=new)

    def referred_to(self, impedance: Complex[Tensor, "f ports"]) -> Scattering:
        """Returns the same S with its waves read as those of lines of other impedances [ohm].

        A mode's waves hold for any definition of its impedance; a line's Z0 replaces the wave impedance that way.
        """
        return tree.replace(self, impedance=impedance.to(torch.complex128).expand(self.impedance.shape))

    def reciprocity(self) -> float:
        """Returns the largest |S_ij - S_ji|, zero for a reciprocal device."""
        return float((self.s - self.s.transpose(1, 2)).detach().abs().max())

    def passivity(self) -> float:
        """Returns the largest singular value of S less one: above zero where power comes from nowhere."""
        return float(torch.linalg.matrix_norm(self.s.detach(), ord=2).max()) - 1.0

    def lost_power(self) -> Float[Tensor, "f ports"]:
        """Returns 1 - sum_i |S_ij|^2 for each driven port j: zero for a lossless device."""
        return 1.0 - (self.s.abs() ** 2).sum(dim=1)

    def network(self, name: str = "device") -> skrf.Network:
        """Returns the scikit-rf network."""
        import skrf

        axis = skrf.Frequency.from_f(self.frequencies.cpu().numpy(), unit="Hz")
        values = self.s.detach().cpu().numpy()
        return skrf.Network(
            frequency=axis, s=values, z0=self.impedance.detach().cpu().numpy(), s_def="traveling", name=name
        )

    def write_touchstone(self, path: Path, *, impedance: float = 50.0) -> None:
        """Writes a Touchstone file against one impedance [ohm]: the format has one for all frequencies."""
        write_touchstone(path, self.renormalised(impedance).network(path.stem))


def scattering_of(
    runs: Sequence[tuple[Complex[Tensor, "f ports"], Complex[Tensor, "f ports"]]],
) -> Complex[Tensor, "f ports ports"]:
    """Returns S from the waves (a, b) at all ports in as many runs, each driven elsewhere.

    Raises InputError where the runs do not determine it.
    """
    a, b = (torch.stack(waves, dim=2) for waves in zip(*runs, strict=True))
    if a.shape[1] != a.shape[2]:
        raise InputError(f"{a.shape[2]} runs for {a.shape[1]} ports; drive each port once")
    drive = torch.linalg.svdvals(a.detach())[:, -1]
    if not bool((drive > FAINTEST_DRIVE * drive.max()).all()):
        raise InputError(
            "a port is not driven at some of the frequencies; widen the waveform's band or narrow the list"
        )
    return torch.linalg.solve(a, b, left=False).resolve_conj()


def scattering_matrix(
    grid: Grid,
    media: Media,
    ports: Sequence[Port],
    frequencies: Float[Tensor, "f"],
    *,
    n_steps: int,
    dt: float,
    absorber: Absorber | None = None,
    walls: Walls = BOX,
    engine: str = "auto",
    decay: float | None = None,
    adjoint: Any = None,
) -> Scattering:
    """Returns the S-parameters of a device at frequencies [Hz]: one run of n_steps for each port.

    decay [dB]: stop a run once the last twentieth of it stays that far below its highest record at every port, counted
    for each row of the records; None runs all steps. A run through which a gradient is taken runs all steps; adjoint
    says how (`mindsci.solvers.rollout`).

    Raises InputError for ports that do not fit (see their `place`) and frequencies that the waveforms do not reach.
    """
    if not ports:
        raise InputError("a scattering matrix needs at least one port")
    placed = []
    for port in ports:
        placed.append(port.place(grid, media, dt, walls=walls))
        media = placed[-1].media
    runs = []
    for driven in range(len(placed)):
        step = driven_step(grid, media, placed, driven, absorber=absorber, walls=walls, engine=engine)
        records = _records(step, n_steps, dt, decay, adjoint)
        runs.append(waves_of(placed, records, dt, frequencies, driven))
        logger.info("port %d of %d done, %d steps at most", driven + 1, len(placed), n_steps)
    return Scattering(
        frequencies=frequencies.to(torch.float64),
        s=scattering_of(runs),
        impedance=torch.stack([port.impedance(frequencies) for port in placed], dim=1),
        beta=torch.stack([port.beta(frequencies) for port in placed], dim=1),
    )


def driven_step(
    grid: Grid,
    media: Media,
    placed: Sequence[PlacedPort],
    driven: int,
    *,
    absorber: Absorber | None = None,
    walls: Walls = BOX,
    engine: str = "auto",
) -> YeeStep:
    """Returns the step of a device with one port driven, whose records are those of all ports in their order."""
    return yee_step(
        grid,
        media,
        absorber=absorber,
        walls=walls,
        sources=placed[driven].sources,
        probes=[port.probes for port in placed],
        engine=engine,
    )


def waves_of(
    placed: Sequence[PlacedPort],
    records: Float[Tensor, "rows samples"],
    dt: float,
    frequencies: Float[Tensor, "f"],
    driven: int,
) -> tuple[Complex[Tensor, "f ports"], Complex[Tensor, "f ports"]]:
    """Returns the waves (a, b) [sqrt(W) s] at all ports from the records of a `driven_step`."""
    rows = records.split([port.probes.weights.shape[0] for port in placed])
    found = [
        port.waves(part, dt, frequencies, driven=index == driven)
        for index, (port, part) in enumerate(zip(placed, rows, strict=True))
    ]
    a, b = zip(*found, strict=True)
    return torch.stack(a, dim=1), torch.stack(b, dim=1)


def _records(step: Any, n_steps: int, dt: float, decay: float | None, adjoint: Any) -> Float[Tensor, "rows samples"]:
    fields = step.start(n_steps)
    if decay is None or (torch.is_grad_enabled() and tree.parameters(step)):
        return rollout(step, fields, n_steps=n_steps, dt=dt, adjoint=adjoint)[0].records
    level = 10.0 ** (-decay / 20.0)
    chunk, done = math.ceil(n_steps / CHUNKS), 0
    while done < n_steps:
        count = min(chunk, n_steps - done)
        fields, _ = rollout(step, fields, n_steps=count, dt=dt, start=done)
        done += count
        last = fields.records[:, done - count : done].abs().amax(dim=1)
        highest = fields.records.abs().amax(dim=1)
        # While nothing has arrived at some port, its record is zero or rounding and says nothing about decay.
        if (
            bool((highest > 0).any())
            and bool((last <= level * highest.max()).all())
            and _has_risen(fields.records, done)
        ):
            logger.info("records fell by %g dB after %d steps", decay, done)
            break
    return fields.records


def _has_risen(records: Tensor, done: int) -> bool:
    """Whether the peak lies well in the past: before a pulse starts, its first samples are its highest."""
    peak = int(records.abs().amax(dim=0)[:done].argmax())
    return peak < done // 2
