"""A step over slabs across x, one a process: the numbers of the whole step, and the memory of a part of it.

A slab keeps `width` planes beyond each neighbour, good for `every` steps: what a step makes wrong at the outermost
planes for want of the next ones moves inwards by one plane a step (by two where edges act on those beside them), and is
replaced by the neighbours' numbers before it reaches a plane of the slab's own. The halo is computed on both sides of
a border: (width - 1) planes for each neighbour, some 3 in 100 for slabs of 100 planes. In return messages are few, and
the compiled kernel carries its steps through the cache as ever. Reference: one step to an exchange, and as each number
is made by the same operations as in the whole step, the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from elec.fdtd.arrays import UNTURNED
from elec.fdtd.flows import check_capacity, step_index
from elec.fdtd.probes import Monitors, Probes
from elec.fdtd.slab_cut import cut_places, cut_sources, cut_step, field_layouts, sum_layout
from elec.fdtd.sources import Source
from elec.fdtd.step import YeeStep
from elec.fields import Fields
from mindsci import tree
from mindsci.distributed.halo import Border, Layout, Slab, gathered, slabs, summed
from mindsci.errors import InputError
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.fdtd.cpu import NumbaEngine
    from elec.fdtd.cpu_slabs import Neighbours


class SlabStep(Tree):
    """The part of a step that this process takes; its `Fields` are those that the slab keeps, and all records.

    Has `start` and `advance` of a `YeeStep`; every process of the group must call each method alike.
    """

    local: YeeStep
    slab: Slab
    everyone: tuple[Slab, ...]
    every: int
    """steps from one exchange to the next"""
    probes: Probes
    """of the whole"""
    owned: Tensor
    """places of the probes that this process reads"""
    layouts: dict[str, Layout]
    """of the whole fields"""
    monitors: Monitors
    """of the whole"""

    @property
    def engine(self) -> str:
        return self.local.engine

    @property
    def reason(self) -> str:
        return self.local.reason

    @functools.cached_property
    def border(self) -> Border:
        """Exchanges the fields as the reference keeps them."""
        return Border(self.slab, [layout.of(self.slab) for layout in self.layouts.values()])

    @functools.cached_property
    def _prepared(self) -> dict[tuple[float, torch.dtype], tuple[NumbaEngine, Neighbours]]:
        return {}

    @property
    def waited(self) -> float:
        """Seconds that this process has waited for its neighbours' planes."""
        return self.border.waited + sum(one.border.waited for _, one in self._prepared.values())

    def driven_by(self, sources: Sequence[Source]) -> SlabStep:
        """Returns the step with other currents, in the same media."""
        if any(source.kind == "field" for source in sources):
            raise InputError("held fields are a part of the media; cut the step with them anew")
        magnetic = cut_sources(tuple(one for one in sources if one.kind == "magnetic current"), self.slab)
        electric = cut_sources(tuple(one for one in sources if one.kind != "magnetic current"), self.slab)
        local = tree.replace(
            self.local,
            faraday=tree.replace(self.local.faraday, sources=magnetic),
            ampere=tree.replace(self.local.ampere, sources=electric),
        )
        return tree.replace(self, local=local)

    def start(self, n_samples: int = 0) -> Fields:
        """Returns fields at rest with room for n_samples steps of the probes."""
        fields = self.local.start()
        return tree.replace(fields, records=fields.records.new_zeros(self.probes.weights.shape[0], n_samples))

    def advance(self, fields: Fields, t: float, dt: float, n_steps: int) -> Fields:
        """Returns the fields n_steps later, without a gradient; the argument is left as it was."""
        first = step_index(t, dt)
        if self.probes.weights.shape[0]:
            check_capacity(fields, first + n_steps)
        with torch.no_grad():
            if self.engine == "reference":
                new, read = self._by_flows(fields, first, dt, n_steps)
            else:
                new, read = self._fused(fields, first, dt, n_steps)
            return tree.replace(new, records=self._recorded(fields.records, read, first))

    def _by_flows(self, fields: Fields, first: int, dt: float, n_steps: int) -> tuple[Fields, Tensor]:
        read = fields.electric.new_zeros(n_steps, len(self.owned))
        for index in range(n_steps):
            fields = self.local.splitting(fields, (first + index) * dt, dt)
            read[index] = self.local.probe.probes.at_places(fields.electric, fields.magnetic)
            if (index + 1) % self.every == 0 or index + 1 == n_steps:
                self.border.exchange(self.kept(fields))
        return fields, read

    def _fused(self, fields: Fields, first: int, dt: float, n_steps: int) -> tuple[Fields, Tensor]:
        from elec.fdtd.cpu import NumbaEngine
        from elec.fdtd.cpu_slabs import Neighbours

        key = (dt, fields.electric.dtype)
        if key not in self._prepared:
            engine = NumbaEngine(self.local, fields, dt, turn=UNTURNED)
            self._prepared[key] = (engine, Neighbours(self.slab, self.every, engine, self.layouts))
        engine, neighbours = self._prepared[key]
        return engine.advance(fields, first, n_steps, neighbours=neighbours), neighbours.samples

    def _recorded(self, records: Tensor, read: Tensor, first: int) -> Tensor:
        """The records with what all processes have read since step `first`."""
        if not self.probes.weights.shape[0]:
            return records
        values = read.new_zeros(len(read), len(self.probes.edges))
        values[:, self.owned] = read
        values = summed(values)
        if self.engine == "reference":  # as the flow adds them up, to the bit
            weights = self.probes.weights.to(values)
            signals = torch.stack([weights @ row.clone() for row in values], dim=1)
        else:
            double = torch.complex128 if values.is_complex() else torch.float64
            signals = self.probes.weights.to(double) @ values.to(double).T
        records = records.clone()
        records[:, first : first + len(read)] += signals.to(records)
        return records

    def kept(self, fields: Fields) -> list[Tensor]:
        """Returns what is exchanged of the fields, in the order of the border's layouts."""
        named = dict(tree.named_leaves(fields))
        return [named[name] for name in self.layouts]

    def gathered(self, fields: Fields) -> Fields | None:
        """Returns the whole fields on the first process, None on the others: those of one process alone."""
        named = dict(tree.named_leaves(fields))
        whole = {
            name: gathered(layout.owned(named[name], self.slab), layout, self.everyone, self.slab.rank)
            for name, layout in self.layouts.items()
        }
        spectra = self.gathered_sums(fields.spectra)
        if spectra is None:
            return None
        found = whole | {"records": fields.records, "spectra": spectra}
        return tree.with_leaves(fields, [found[name] for name, _ in tree.named_leaves(fields)])

    def gathered_sums(self, spectra: Tensor) -> Tensor | None:
        """Returns the Fourier sums of all boxes on the first process, None on the others, from those of this one."""
        own = spectra if spectra.shape[1] else spectra.new_zeros(2, self.monitors.n_frequencies, 0)
        return gathered(own, sum_layout(self.monitors), self.everyone, self.slab.rank)

    def taken_up(self, whole: dict[str, Tensor]) -> Fields:
        """Returns what this process keeps of the named tensors of whole fields, a restart's."""
        rest = self.start()
        found = {name: layout.cut(whole[name], self.slab) for name, layout in self.layouts.items()}
        found["records"] = whole["records"]
        found["spectra"] = self.owned_sums(whole["spectra"])
        template = tree.replace(rest, records=whole["records"], spectra=found["spectra"])
        return tree.with_named_leaves(template, found)

    def owned_sums(self, spectra: Tensor) -> Tensor:
        """Returns the part of whole Fourier sums that this process adds to."""
        layout = sum_layout(self.monitors)
        return spectra.index_select(2, layout.within(self.slab.low, self.slab.high))


def slab_step(step: YeeStep, *, rank: int | None = None, processes: int | None = None) -> SlabStep:
    """Returns the part of a step that this process of the default group takes (`torch.distributed`).

    Raises InputError for what slabs cannot do: too many processes for the planes along x, periodic x, an engine on
    another device, gradients.
    """
    rank = dist.get_rank() if rank is None else rank
    processes = dist.get_world_size() if processes is None else processes
    _check(step)
    every, width = exchange_every(step)
    everyone = slabs(step.ampere.media.metal.shape[1], processes, width)
    slab = everyone[rank]
    return SlabStep(
        local=cut_step(step, slab),
        slab=slab,
        everyone=everyone,
        every=every,
        probes=step.probe.probes,
        owned=cut_places(step.probe.probes, slab)[1],
        layouts=field_layouts(step),
        monitors=step.probe.monitors,
    )


def exchange_every(step: YeeStep) -> tuple[int, int]:
    """Returns the steps from one exchange to the next, and the planes of the halo."""
    media, reach, every = step.ampere.media, 1, 1
    if media.coupling is not None:
        planes = media.coupling.edges[:, 1]
        far = planes[media.coupling.rows] - planes[media.coupling.columns]
        reach += int(far.abs().max()) if len(far) else 0
    elif step.engine == "numba" and not step.ampere.walls.complex:
        from elec.fdtd.cpu import sweep_depth

        _, _, y, z = media.metal.shape
        every = sweep_depth(y, z, media.permittivity.element_size())
    return every, every * reach


def _check(step: YeeStep) -> None:
    if step.ampere.walls.periodic(0):
        raise InputError(
            "slabs lie one after the other along x, and x is periodic: the last would need the first; turn the model "
            "so that y or z is, or run it in one process"
        )
    device = step.ampere.media.permittivity.device
    if step.engine not in ("reference", "numba") or device.type != "cpu":
        raise InputError(
            f"several processes run the engines reference and numba on CPUs, not {step.engine} on {device}; use "
            "--device cpu, or run in one process"
        )
    if tree.parameters(step):
        raise InputError("a run over several processes gives no gradients; detach the step, or run in one process")
