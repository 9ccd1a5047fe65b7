"""Radial distribution functions, in cells of any shape, per pair of elements; differentiable where they are smooth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory
from sponge.neighbors import NeighborSearch, displacements
from sponge.system import System
from sponge.thermodynamics import volume

Pair = tuple[int, int]
EDGES = 2_000_000
"""pairs of atoms, about, that are counted in one go"""
REACH = 4.5
"""widths of a smooth count beyond which nothing is left: 1 - erf(4.5 / sqrt 2) is 7e-6"""
BLOCKS = 5
"""parts of a trajectory whose deviation gives the error of the mean"""


class RadialCounts(Tree):
    """Counts pairs of atoms by distance, in each system of a batch.

    A count falls in one bin; with a width it is spread as a normal distribution, whole, so that it has a derivative by
    the positions.
    """

    cutoff: float
    """[angstrom]"""
    bins: int
    pairs: tuple[Pair, ...]
    """atomic numbers"""
    width: float = 0.0
    """[angstrom]"""
    volume: float | None = None
    """of systems that are not periodic along all axes [angstrom^3]"""

    @classmethod
    def of(
        cls,
        system: System | Trajectory,
        *,
        cutoff: float,
        bins: int = 200,
        pairs: Sequence[tuple[int | str, int | str]] | None = None,
        width: float = 0.0,
        volume: float | None = None,
    ) -> RadialCounts:
        """Returns the counts for some pairs of elements; all pairs that are there, unless named.

        Raises InputError for an element that is not there, and for a system without a volume.
        """
        from ase.data import atomic_numbers

        if not (cutoff > 0 and bins >= 1 and width >= 0):
            raise InputError(
                f"cutoff = {cutoff}, bins = {bins}, width = {width}; use a positive cutoff and 1 bin or more"
            )
        there = sorted(set(system.atomic_numbers.tolist()))
        if pairs is None:
            named = tuple(itertools.combinations_with_replacement(there, 2))
        else:
            known = {name: number for name, number in atomic_numbers.items() if number in there}
            strange = [str(one) for pair in pairs for one in pair if one not in known and one not in there]
            if strange:
                raise InputError(f"there is no {strange[0]} in the system; it has {', '.join(known)}")
            named = tuple((known.get(a, a), known.get(b, b)) for a, b in pairs)  # type: ignore[arg-type, misc]
        flags = system.periodic if isinstance(system.periodic, tuple) else system.periodic.all(0).tolist()
        if not all(flags) and volume is None:
            raise InputError(
                "a system that is not periodic along all three axes has no density; give the volume [angstrom^3] that "
                "its atoms share"
            )
        return cls(cutoff=cutoff, bins=bins, pairs=named, width=width, volume=volume)

    @property
    def edges(self) -> Float[Tensor, " edges"]:
        """Borders of the bins [angstrom]."""
        return torch.linspace(0.0, self.cutoff, self.bins + 1, dtype=torch.float64)

    @property
    def middles(self) -> Float[Tensor, " bins"]:
        """[angstrom]"""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def count(self, batch: System) -> Float[Tensor, "systems pairs bins"]:
        """Returns how many ordered pairs (a of the first kind, b of the second) lie in each bin.

        A system whose list of neighbours reaches far enough keeps it.
        """
        reach = self.cutoff + REACH * self.width
        batch = NeighborSearch(cutoff=reach, half=True).refresh(batch)
        neighbors = batch.neighbors
        lengths = torch.linalg.vector_norm(displacements(batch, neighbors), dim=-1)
        owner = batch.system.index_select(0, neighbors.centre)
        ends = [batch.atomic_numbers.index_select(0, which) for which in (neighbors.centre, neighbors.neighbor)]
        counts = []
        for a, b in self.pairs:
            there, back = (ends[0] == a) & (ends[1] == b), (ends[0] == b) & (ends[1] == a)
            picked = (there | back).nonzero().flatten()
            # The list is half: a pair of one kind counts in both directions.
            found = self._binned(lengths.index_select(0, picked), owner.index_select(0, picked), batch.n_systems)
            counts.append(found * (2.0 if a == b else 1.0))
        return torch.stack(counts, 1)

    def _binned(self, lengths: Tensor, owner: Tensor, n_systems: int) -> Tensor:
        spacing = self.cutoff / self.bins
        flat = lengths.new_zeros(n_systems * self.bins, dtype=torch.float64)
        place = torch.floor(lengths.detach().double() / spacing).to(torch.int64)
        if self.width == 0:
            kept = (place < self.bins).nonzero().flatten()
            index = owner[kept] * self.bins + place[kept]
            return flat.index_add(0, index, torch.ones_like(index, dtype=torch.float64)).view(n_systems, self.bins)
        span = math.ceil(REACH * self.width / spacing)
        near = place[:, None] + torch.arange(-span, span + 2, device=place.device)
        below = torch.erf((near * spacing - lengths.double()[:, None]) / (self.width * math.sqrt(2.0)))
        share = 0.5 * below.diff(dim=1)
        # Distances have no sign: what is spread below zero belongs to what is as far above.
        near = near[:, :-1]
        near = torch.where(near < 0, -1 - near, near)
        inside = near < self.bins
        index = (owner[:, None] * self.bins + near.clamp(max=self.bins - 1)).flatten()
        return flat.index_add(0, index, torch.where(inside, share, 0.0).flatten()).view(n_systems, self.bins)

    def ideal(self, batch: System) -> Float[Tensor, "systems pairs bins"]:
        """Returns the mean counts of as many atoms that know nothing of each other, in the same volume."""
        space = volume(batch) if self.volume is None else torch.full_like(batch.energy, self.volume)
        shells = (4.0 / 3.0 * math.pi * (self.edges[1:] ** 3 - self.edges[:-1] ** 3)).to(space)
        numbers = []
        for a, b in self.pairs:
            first, second = (batch.sum_over_atoms((batch.atomic_numbers == kind).double()) for kind in (a, b))
            # A lone atom has its own images for neighbours.
            others = (second - 1.0).clamp(min=1.0) if a == b else second
            numbers.append(first * others / space)
        return torch.stack(numbers, 1)[:, :, None] * shells

    def distribution(self, batch: System) -> Float[Tensor, "systems pairs bins"]:
        """Returns g(r) of each system; differentiable by the positions where it has a width."""
        ideal = self.ideal(batch)
        return torch.where(ideal > 0, self.count(batch) / ideal.clamp(min=1e-300), 0.0)


class Radial(Tree):
    """The radial distribution function of a trajectory."""

    counts: RadialCounts
    r: Float[Tensor, " bins"]
    """middles of the bins [angstrom]"""
    g: Float[Tensor, "pairs bins"]
    """mean density of the second kind about an atom of the first, over that of atoms that ignore each other"""
    error: Float[Tensor, "pairs bins"]
    """standard error of g, from the deviation of parts of the trajectory; not a number where there is one part"""
    coordination: Float[Tensor, "pairs bins"]
    """mean number of atoms of the second kind about one of the first, up to the outer border of each bin"""
    n_frames: int

    def names(self) -> list[str]:
        """Returns the pairs by their elements' symbols."""
        from ase.data import chemical_symbols

        return [f"{chemical_symbols[a]}-{chemical_symbols[b]}" for a, b in self.counts.pairs]


def radial_distribution(
    trajectory: Trajectory | Iterable[Trajectory],
    *,
    cutoff: float,
    bins: int = 200,
    pairs: Sequence[tuple[int | str, int | str]] | None = None,
    volume: float | None = None,
    blocks: int = BLOCKS,
) -> Radial:
    """Returns g(r) up to a cutoff [angstrom], of a trajectory or of its pieces one after the other.

    Atoms of one kind are normalised by N (N - 1): g is 1 for atoms that ignore each other, however few. All images
    count, so that the cutoff may exceed half the cell. `volume` and `pairs` are as for `RadialCounts.of`; the error is
    that of `blocks` parts of as many frames each. Raises InputError where there are no frames.
    """
    pieces = [trajectory] if isinstance(trajectory, Trajectory) else trajectory
    counts, sums = None, []
    for piece in pieces:
        if counts is None and piece.n_frames:
            counts = RadialCounts.of(piece, cutoff=cutoff, bins=bins, pairs=pairs, volume=volume)
        size = _frames_in_one_go(piece, cutoff)
        for first in range(0, piece.n_frames, size):
            batch = piece.frames(slice(first, first + size)).batch()
            found, ideal = counts.count(batch), counts.ideal(batch)  # type: ignore[union-attr]
            kinds = torch.tensor([int((piece.atomic_numbers == a).sum()) for a, _ in counts.pairs])  # type: ignore[union-attr]
            about = found / kinds[None, :, None].clamp(min=1)
            sums.append(torch.stack([found / ideal.clamp(min=1e-300) * (ideal > 0), about], 1))
    if counts is None:
        raise InputError("there are no frames to analyse; look at after and before")
    frames = torch.cat(sums)
    g, about = frames.mean(0)
    parts = min(blocks, len(frames))
    whole = len(frames) // parts * parts
    means = frames[:whole, 0].unflatten(0, (parts, -1)).mean(1)
    error = means.std(0) / math.sqrt(parts) if parts > 1 else torch.full_like(g, float("nan"))
    return Radial(
        counts=counts, r=counts.middles, g=g, error=error, coordination=about.cumsum(-1), n_frames=len(frames)
    )


def _frames_in_one_go(piece: Trajectory, cutoff: float) -> int:
    """So many frames that their pairs fit in memory: by the mean density, or all pairs of an open system."""
    n_atoms = piece.n_atoms
    pairs = 0.5 * n_atoms**2
    if all(piece.periodic) and piece.n_frames:
        density = n_atoms / float(torch.linalg.det(piece.cell[0].double()).abs())
        pairs = 0.5 * n_atoms * density * 4.0 / 3.0 * math.pi * cutoff**3
    return max(1, int(EDGES / max(pairs, 1.0)))
