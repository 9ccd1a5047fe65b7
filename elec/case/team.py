"""The processes that run a case together, each with a slab of its grid; one alone is a team too."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elec.fields import Fields
from elec.observables.decay import Measure, field_energy
from mindsci import tree
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.fdtd.media import Media
    from elec.fdtd.slabs import SlabStep
    from elec.fdtd.sources import Source
    from elec.fdtd.step import YeeStep
    from elec.fdtd.walls import Walls
    from elec.grid import Grid
    from mindsci.runs import Run

    AnyStep = YeeStep | SlabStep


class Team(Tree):
    """The processes of a run. Where there are several, all must call a method that takes fields, and alike."""

    world: int = 1
    writes: bool = True
    """whether this process writes the files, and knows the whole fields"""

    def step(self, whole: YeeStep) -> AnyStep:
        """Returns the part of a step that this process takes."""
        if self.world == 1:
            return whole
        from elec.fdtd.slabs import slab_step

        return slab_step(whole)

    def driven_by(self, step: AnyStep, sources: Sequence[Source], whole: Any) -> AnyStep:
        """Returns the part of another step in the same media; `whole()` makes it anew where that is needed."""
        if self.world > 1 and not any(source.kind == "field" for source in sources):
            return step.driven_by(sources)
        return self.step(whole())

    def taken_up(self, step: AnyStep, fields: Fields, named: dict[str, Tensor]) -> Fields:
        """Returns the fields of a restart; `fields` are those at rest."""
        return step.taken_up(named) if self.world > 1 else tree.with_named_leaves(fields, named)

    def whole(self, step: AnyStep, fields: Fields) -> Fields | None:
        """Returns the fields of the whole grid where this process writes, else None."""
        return step.gathered(fields) if self.world > 1 else fields

    def sums(self, step: AnyStep, spectra: Tensor) -> Tensor:
        """Returns the Fourier sums of the whole grid where this process writes, else its own."""
        if self.world == 1:
            return spectra
        whole = step.gathered_sums(spectra)
        return spectra if whole is None else whole

    def own_sums(self, step: AnyStep, spectra: Tensor) -> Tensor:
        """Returns this process's part of the Fourier sums of the whole grid."""
        return step.owned_sums(spectra) if self.world > 1 else spectra

    def any(self, *wishes: bool) -> list[bool]:
        """Returns of each wish whether any process has it: all leave a loop together."""
        if self.world == 1:
            return list(wishes)
        return [count > 0 for count in self._summed(*(float(wish) for wish in wishes))]

    def total(self, value: float) -> float:
        """Returns the sum over the processes."""
        return value if self.world == 1 else self._summed(value)[0]

    def _summed(self, *values: float) -> list[float]:
        from mindsci.distributed.halo import summed

        found: list[float] = summed(torch.tensor(values, dtype=torch.float64)).tolist()
        return found

    def norm(self, values: Tensor) -> float:
        """Returns the norm of all processes' values."""
        own = float(values.norm())
        return own if self.world == 1 else math.sqrt(self.total(own**2))

    def energy(self, step: AnyStep | None, grid: Grid, media: Media, walls: Walls) -> Measure:
        """Returns the measure of the energy in the fields without that of poles; media: of the whole grid."""
        if self.world == 1:
            return field_energy(grid, tree.replace(media, poles=None, magnetic_poles=None), walls=walls)
        own = tree.replace(step.local.ampere.media, poles=None, magnetic_poles=None)
        measure = field_energy(grid, own, walls=walls, slab=step.slab)
        return functools.partial(self._measured, measure)

    def _measured(self, measure: Measure, fields: Fields, first: int, last: int) -> float:
        return self.total(measure(fields, first, last))

    def notes(self, step: AnyStep) -> list[str]:
        """Returns what is to be said about the slabs before a run."""
        if self.world == 1:
            return []
        planes = [slab.high - slab.low for slab in step.everyone]
        return [
            f"{self.world} processes: slabs of {min(planes)} to {max(planes)} planes along x, {step.slab.width} planes "
            f"exchanged every {step.every} steps"
        ]


@contextmanager
def team_of(run: Run) -> Iterator[Team]:
    """Opens the processes that torchrun started for a run; one alone needs nothing."""
    from mindsci.train.parallel import process_group

    with process_group(run.device) as group:
        yield Team(world=group.world, writes=group.writes)
