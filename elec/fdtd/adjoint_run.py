"""The adjoint run: the step driven by gradients, which meets the forward fields from the last step to the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elec.fdtd import subgrid
from elec.fdtd.adjoint_poles import PoleSums
from elec.fdtd.history import History, Products, Samples
from elec.fdtd.retrace import Retrace, Wanted, pole_places
from elec.fdtd.stretching import along_axes, filters, in_layers, stretched_series
from elec.fdtd.transpose import Drive, Reader, Widths, adjoint_sources, images
from elec.fields import Fields
from mindsci import tree
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep


class AdjointRun:
    """The adjoint run of one forward run, and the gradients that come of it."""

    def __init__(
        self,
        step: YeeStep,
        engine: Any,
        way: Retrace,
        wanted: Wanted,
        readers: Sequence[Reader],
        found: Sequence[Drive],
        size: Widths,
        scale: float,
    ) -> None:
        """engine: that of the forward run, whose tables serve; found: what drives the run, times `scale`."""
        self.forward, self.like, self.way, self.wanted = step, engine, way, wanted
        self.readers, self.found, self.size, self.scale = readers, found, size, scale
        electric, magnetic = adjoint_sources(step, found, size, scale, wanted.dt)
        self.pole_places = images(step, pole_places(step, wanted))
        places = torch.cat([*(one.places for one in readers), self.pole_places]).reshape(-1, 4)
        self.step = tree.replace(
            step,
            faraday=tree.replace(step.faraday, sources=tuple(magnetic)),
            ampere=tree.replace(step.ampere, sources=tuple(electric)),
            probe=tree.replace(step.probe, probes=subgrid.no_probes(places), monitors=subgrid.Monitors()),
        )

    def gradients(self, start: Fields, signals: Sequence[Tensor]) -> list[Tensor | None]:
        """Returns the gradients of the media, of the poles, and of amplitude and signals of each source read."""
        way, wanted, n = self.way, self.wanted, self.wanted.n_steps
        fields = self.step.start()
        engine = self.step.prepared(fields, wanted.dt, like=self.like)
        sums, at_poles = self._pole_sums(), []
        products, read = None, []
        for stretch in reversed(range(len(way.bounds) - 1)):
            begin, end = way.bounds[stretch : stretch + 2]
            samples = way.met(stretch, engine.turn)
            if products is None:
                products = self._products(samples, engine, start)
            history = History(samples, products)
            fields = engine.advance(fields, n - end, end - begin + (stretch == 0), history)
            n_read = len(history.signals[0]) - len(self.pole_places)
            read.append(history.signals[:, :n_read])
            if sums is not None:
                at_poles.append(history.signals[: end - begin, n_read:])
                met = way.at_poles(stretch)
                if met is not None:
                    sums.add(torch.cat(at_poles), *met)
                    at_poles = []
        assert products is not None
        poles = [None] * (3 if self.forward.ampere.media.poles is not None else 0)
        return [
            *self._media(products, start.nodes),
            *(sums.gradients() if sums is not None else poles),
            *self._sources(torch.cat(read), signals),
        ]

    def _products(self, samples: Samples, engine: Any, start: Fields) -> Products:
        wanted, absorber, nodes = self.wanted, self.forward.ampere.absorber, start.nodes
        layered = absorber is not None and any(
            wanted.low[axis] < absorber.layers[axis][0]
            or wanted.high[axis] > nodes[axis] - 1 - absorber.layers[axis][1]
            for axis in range(3)
        )
        both = None
        if layered and wanted.fields:
            electric = start.electric
            both = filters(self.forward, wanted.dt, nodes, engine.turn, electric.dtype, electric.device)
        return Products(samples, wanted.first + wanted.n_steps, both, mean=wanted.loss)

    def _pole_sums(self) -> PoleSums | None:
        poles, terms, dt = self.forward.ampere.media.poles, self.wanted.poles, self.wanted.dt
        if not len(terms) or poles is None:
            return None
        weight = -self.size.volume(self.pole_places) / self.scale
        return PoleSums(poles, terms, dt, weight, along_axes(self.forward, dt), self.pole_places)

    def _media(self, products: Products, nodes: Sequence[int]) -> list[Tensor | None]:
        """The gradients of permittivity, conductivity and permeability."""
        wanted, turn = self.wanted, self.like.turn
        found: list[Tensor | None] = []
        for sums, factor, magnetic in (
            (products.change_electric, -VACUUM_PERMITTIVITY / wanted.dt, False),
            (products.mean_electric, -1.0, False),
            (products.change_magnetic, VACUUM_PERMEABILITY / wanted.dt, True),
        ):
            if not sums.numel():
                found.append(None)
                continue
            box = self.size.weigh(turn.back(sums), wanted.low, magnetic=magnetic)
            box = box * (factor * wanted.every / self.scale)
            whole = box.new_zeros(3, *nodes)
            whole[(slice(None), *(slice(a, b) for a, b in zip(wanted.low, wanted.high, strict=True)))] = box
            for axis in range(3):
                if self.forward.ampere.walls.periodic(axis):  # images of the first nodes: their own media do nothing
                    whole.select(axis + 1, -1).zero_()
            found.append(whole)
        return found

    def _sources(self, read: Tensor, signals: Sequence[Tensor]) -> list[Tensor | None]:
        """The gradients of amplitude and signals of each source that has any."""
        first, found = 0, []
        for one, own in zip(self.readers, signals, strict=True):
            series = read[:, first : first + len(one.places)].to(torch.float64).cpu()
            first += len(one.places)
            value = self._values(one, series)  # (steps, places): dL / d(amplitude times signal)
            column = one.source.column().cpu()
            signal = own.to(torch.float64).cpu()
            amplitude = (value * signal[:, column]).sum(0)
            by_signal = torch.zeros(signal.shape, dtype=torch.float64)
            by_signal.index_add_(1, column, value * one.source.amplitude.detach().cpu().to(torch.float64))
            found += [amplitude.to(one.source.amplitude), by_signal.to(own)]
        return found

    def _values(self, one: Reader, series: Tensor) -> Tensor:
        n, along = self.wanted.n_steps, along_axes(self.forward, self.wanted.dt)
        layered = in_layers(along, one.places)
        # The curl at a held edge outside layers is that of the unstretched field, on its faces inside them too.
        if along is not None and bool(layered.any()) and one.source.kind != "field":
            series = series.clone()
            series[:, layered] = stretched_series(series[:, layered], along, one.places[layered])
        if one.source.kind == "magnetic current":
            return series[1:].flip(0) * self.size.volume(one.places) / self.scale
        series = series[:n].flip(0)
        if one.source.kind == "current":
            return -series * self.size.volume(one.places) / self.scale
        edges = images(self.forward, one.source.places.cpu())
        held = (series * one.weights).reshape(n, len(edges), -1).sum(-1) * self.size.volume(edges) / self.scale
        return held + self._direct(edges)

    def _direct(self, edges: Tensor) -> Tensor:
        """What probes and monitors read at held edges themselves, (steps, edges)."""
        total = torch.zeros(self.wanted.n_steps, len(edges), dtype=torch.float64)
        for drive in self.found:
            same = (drive.places[:, None] == edges[None]).all(-1)
            for place, edge in same.nonzero().tolist():
                total[:, edge] += drive.amplitude[place] * drive.signals[:, drive.columns[place]]
        return total
