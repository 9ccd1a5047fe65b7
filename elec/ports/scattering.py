"""Scattering matrices: one run for each driven port, the waves at all of them, S from both together.

With the waves towards the device A and back B, one column a run, S = B A^-1 at each frequency: what absorbing layers
send back to a port is part of A and does no harm. All of it is differentiable in the records.

Waves a, b stand for V = sqrt(z) (a + b), I = (a - b) / sqrt(z) with the reference impedance z, up to one factor for
all. Another reference z' thus gives a' = p a + q b, b' = q a + p b with p, q = (sqrt(z / z') +- sqrt(z' / z)) / 2, and
S' = (q + p S)(p + q S)^-1 [Marks1992].
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd import Absorber, Media, Probes, Source, VoltagePort, Walls, YeeStep, spectrum, yee_step
from elec.fdtd.media import BOX
from elec.grid import Grid
from elec.network import write_touchstone
from elec.ports.ringing import level, march, rows_of, rung_out
from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import rollout
from mindsci.tree import Tree

if TYPE_CHECKING:
    import skrf

logger = logging.getLogger(__name__)

# Records are continued to this level [dB] unless another is given, by oscillations up to this multiple of the highest
# frequency of interest.
RING_OUT, BAND_EDGE = 60.0, 1.5
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

    def copies(self, grid: Grid, mirrors: Mapping[str, str]) -> int:
        """Returns how often the port's power counts in the whole of which mirrors show a part."""

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
        changed, source, probe = self.port.place(grid, media, walls=walls)
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

    def copies(self, grid: Grid, mirrors: Mapping[str, str]) -> int:
        """Returns how often the port occurs in the whole of which mirrors (side to kind) show a part."""
        return self.port.box.copies(grid, mirrors)

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
    names: tuple[str, ...] = ()
    """of the ports; their numbers unless given"""

    @property
    def known(self) -> tuple[int, ...]:
        """The ports that were driven: the columns of the others are not numbers."""
        told = self.s.detach().isfinite().all(dim=1).all(dim=0)
        return tuple(int(port) for port in told.nonzero()[:, 0])

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the ports that were not driven."""
        return tuple(self.name(port) for port in range(self.s.shape[-1]) if port not in self.known)

    def name(self, port: int) -> str:
        """Returns the name of a port."""
        return self.names[port] if self.names else f"p{port + 1}"

    def _check_whole(self, what: str) -> None:
        if self.left_out:
            missing = ", ".join(f"'{name}'" for name in self.left_out)
            raise InputError(f"{what} needs the whole matrix, and {missing} was not driven; drive all ports")

    def shifted(self, lengths: Sequence[float]) -> Scattering:
        """Returns S with each reference plane moved towards the device by a length [m], negative away from it."""
        n_ports = self.s.shape[-1]
        if len(lengths) != n_ports:
            raise InputError(f"{len(lengths)} lengths for {n_ports} ports; give one for each")
        turn = torch.exp(1j * self.beta * torch.tensor(lengths, dtype=torch.float64))
        return tree.replace(self, s=self.s * turn[:, :, None] * turn[:, None, :])

    def renormalised(self, impedance: float | complex | Tensor) -> Scattering:
        """Returns S against other impedances [ohm]: one for all, one a port, or (f, ports)."""
        self._check_whole("renormalisation")
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
        """Returns the largest |S_ij - S_ji| between driven ports, zero for a reciprocal device."""
        both = self.s.detach()[:, self.known][:, :, self.known]
        return float((both - both.transpose(1, 2)).abs().max())

    def passivity(self) -> float:
        """Returns the largest singular value of S less one: above zero where power comes from nowhere.

        Of the columns that are known: those of a passive device are as passive.
        """
        return float(torch.linalg.matrix_norm(self.s.detach()[:, :, self.known], ord=2).max()) - 1.0

    def lost_power(self) -> Float[Tensor, "f ports"]:
        """Returns 1 - sum_i |S_ij|^2 for each driven port j: zero for a lossless device."""
        return 1.0 - (self.s.abs() ** 2).sum(dim=1)

    def network(self, name: str = "device") -> skrf.Network:
        """Returns the scikit-rf network. Raises InputError where a port was not driven."""
        import skrf

        self._check_whole("a network")

        axis = skrf.Frequency.from_f(self.frequencies.cpu().numpy(), unit="Hz")
        values = self.s.detach().cpu().numpy()
        return skrf.Network(
            frequency=axis, s=values, z0=self.impedance.detach().cpu().numpy(), s_def="traveling", name=name
        )

    def write_touchstone(self, path: Path, *, impedance: float = 50.0) -> None:
        """Writes a Touchstone file against one impedance [ohm]: the format has one for all frequencies.

        Raises InputError where a port was not driven: the format has no place for a column that is not known.
        """
        self._check_whole("a Touchstone file")
        write_touchstone(path, self.renormalised(impedance).network(path.stem))


def scattering_of(
    runs: Sequence[tuple[Complex[Tensor, "f ports"], Complex[Tensor, "f ports"]]],
    driven: Sequence[int] | None = None,
) -> Complex[Tensor, "f ports ports"]:
    """Returns S from the waves (a, b) at all ports in runs, each driven elsewhere.

    driven: the port of each run; all of them, in order, unless given. The columns of other ports are not numbers, and
    what is sent back into these ports counts as nothing: lumped ports send nothing back, others what their absorbing
    layers do. Raises InputError where the runs do not determine the columns.
    """
    a, b = (torch.stack(waves, dim=2) for waves in zip(*runs, strict=True))
    ports = list(range(a.shape[1]) if driven is None else driven)
    if len(ports) != a.shape[2] or len(set(ports)) != len(ports):
        raise InputError(f"{a.shape[2]} runs for {len(ports)} driven ports; drive each of them once")
    a = a[:, ports]
    drive = torch.linalg.svdvals(a.detach())[:, -1]
    if not bool((drive > FAINTEST_DRIVE * drive.max()).all()):
        raise InputError(
            "a port is not driven at some of the frequencies; widen the waveform's band or narrow the list"
        )
    columns = torch.linalg.solve(a, b, left=False).resolve_conj()
    if len(ports) == b.shape[1] and ports == sorted(ports):
        return columns
    whole = columns.new_full((columns.shape[0], columns.shape[1], columns.shape[1]), torch.nan)
    return whole.index_copy(2, torch.tensor(ports), columns)


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
    drive: Sequence[int] | None = None,
    ring_out: bool = False,
    adjoint: Any = None,
) -> Scattering:
    """Returns the S-parameters of a device at frequencies [Hz]: one run of n_steps for each driven port.

    decay [dB]: stop a run once what the ports record lies that far below its peak for as long as a pulse; None runs all
    steps. A run through which a gradient is taken runs all steps; adjoint says how (`mindsci.solvers.rollout`).
    drive: numbers of the ports that are driven, from 0; all unless given. The columns of the others are not numbers.
    ring_out: continue records that still ring at the end to `decay` (60 dB unless given) by their free oscillations
    (`elec.ports.rung_out`).

    Raises InputError for ports that do not fit (see their `place`) and frequencies that the waveforms do not reach.
    """
    if not ports:
        raise InputError("a scattering matrix needs at least one port")
    numbers = list(range(len(ports)) if drive is None else drive)
    if not numbers or not set(numbers) <= set(range(len(ports))):
        raise InputError(f"drive = {numbers}: name some of the ports 0 to {len(ports) - 1}")
    placed = []
    for port in ports:
        placed.append(port.place(grid, media, dt, walls=walls))
        media = placed[-1].media
    runs = []
    for driven in numbers:
        step = driven_step(grid, media, placed, driven, absorber=absorber, walls=walls, engine=engine)
        records = _records(step, placed, n_steps, dt, decay, adjoint)
        if ring_out and level(placed, records, records.shape[1], dt) > -(decay or RING_OUT):
            top = BAND_EDGE * float(frequencies.max())
            records, _ = rung_out(placed, records, dt, frequency_max=top, decay=decay or RING_OUT)
        runs.append(waves_of(placed, records, dt, frequencies, driven))
        logger.info("port %d of %d done, %d steps at most", driven + 1, len(placed), n_steps)
    return Scattering(
        frequencies=frequencies.to(torch.float64),
        s=scattering_of(runs, numbers),
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
    placed: Sequence[PlacedPort], records: Tensor, dt: float, frequencies: Tensor, driven: int
) -> tuple[Complex[Tensor, "f ports"], Complex[Tensor, "f ports"]]:
    """Returns the waves towards the device and back at all ports in the run in which one is driven [sqrt(W) s]."""
    found = [
        port.waves(part, dt, frequencies, driven=index == driven)
        for index, (port, part) in enumerate(zip(placed, rows_of(placed, records), strict=True))
    ]
    a, b = zip(*found, strict=True)
    return torch.stack(a, dim=1), torch.stack(b, dim=1)


def _records(
    step: Any, placed: Sequence[PlacedPort], n_steps: int, dt: float, decay: float | None, adjoint: Any
) -> Float[Tensor, "rows samples"]:
    fields, done = step.start(n_steps), n_steps
    if decay is None or (torch.is_grad_enabled() and tree.parameters(step)):
        return rollout(step, fields, n_steps=n_steps, dt=dt, adjoint=adjoint)[0].records
    for now, last in march(step, placed, fields, dt=dt, n_steps=n_steps, decay=decay):
        fields, done = now, last
    return fields.records[:, :done]
