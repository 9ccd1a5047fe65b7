"""The picture of a sweep: curves over one parameter, maps over two, a panel for each parameter where there are more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from mindsci.errors import UnknownNameError
from mindsci.sweep.data import Column, SweepData
from mindsci.tables import head_of

PANELS = 6
"""results that are drawn unless some are named"""
TABLES = 2
"""tables whose last column is drawn over their axis unless results are named"""
SPEED = ("Mcells/s", "ns/day", "steps/s")
"""results that tell of the machine, not of the case"""


def draw(path: Path, found: SweepData, show: Sequence[str] = ()) -> None:
    """Draws results over the parameters. show: their names, "table/column" for a table; what varies unless given."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scalars, curves = _chosen(found, show)
    over = list(found.parameters.items())
    each = 1 if len(over) <= 2 else len(over)
    panels = [(name, k) for name in scalars for k in range(each)]
    count = max(1, len(panels) + len(curves))
    columns = each if each > 1 else min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.4 * columns, 3.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, k) in zip(places, panels, strict=False):
        column = found.results[name]
        if len(over) == 2:
            _map(axes, over, name, column)
        else:
            _curve(axes, *over[k], name, column, line=len(over) == 1)
    for axes, (table, name) in zip(places[len(panels) :], curves, strict=False):
        _family(axes, found, table, name)
    for axes in places[len(panels) + len(curves) :]:
        axes.set_axis_off()
    figure.savefig(path, format="png", dpi=110)


def _chosen(found: SweepData, show: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of results, and (table, column) of the tables' columns, that are drawn."""
    tables = {f"{table}/{name}": (table, name) for table, columns in found.tables.items() for name in list(columns)[1:]}
    lines = {name for name, column in found.results.items() if column.values.ndim == 1 and column.numeric}
    if not show:
        varying = [name for name in found.results if name in lines and _is_of_interest(found.results[name])]
        last = [(table, list(columns)[-1]) for table, columns in found.tables.items()]
        return [name for name in varying if name not in SPEED][:PANELS], last[:TABLES]
    for name in show:
        if name not in lines and name not in tables:
            raise UnknownNameError.of("result", name, [*lines, *tables])
    return [name for name in show if name in lines], [tables[name] for name in show if name in tables]


def _is_of_interest(column: Column) -> bool:
    known = column.values[~numpy.isnan(column.values)]
    # Whole numbers count cells and steps.
    return len(known) > 0 and bool((known != known[0]).any() and (known % 1 != 0).any())


def _places(axis: Any, name: str, column: Column) -> Any:
    """Where the points lie along an axis, which is labelled: words are set one beside another."""
    axis.set_label_text(head_of(name, column.unit))
    if column.numeric:
        return column.values
    words = list(dict.fromkeys(column.values))
    axis.set_ticks(range(len(words)), words)
    return numpy.array([words.index(word) for word in column.values], dtype=float)


def _curve(axes: Any, parameter: str, over: Column, name: str, column: Column, *, line: bool) -> None:
    places = _places(axes.xaxis, parameter, over)
    order = numpy.argsort(places, kind="stable")
    axes.plot(places[order], column.values[order], "o-" if line else ".", markersize=4, linewidth=1.2)
    axes.set_ylabel(head_of(name, column.unit))


def _map(axes: Any, over: Sequence[tuple[str, Column]], name: str, column: Column) -> None:
    """A cell for each point of a grid; coloured points where they are scattered."""
    x, y = (_places(axis, *one) for axis, one in zip((axes.xaxis, axes.yaxis), over, strict=True))
    across, up = numpy.unique(x), numpy.unique(y)
    if len(across) * len(up) == len(x) and min(len(across), len(up)) > 1:
        values = numpy.full((len(up), len(across)), numpy.nan)
        values[numpy.searchsorted(up, y), numpy.searchsorted(across, x)] = column.values
        drawn = axes.pcolormesh(across, up, values, shading="nearest")
    else:
        drawn = axes.scatter(x, y, c=column.values, s=22)
    axes.figure.colorbar(drawn, ax=axes)
    axes.set_title(head_of(name, column.unit), fontsize=9)


def _family(axes: Any, found: SweepData, table: str, name: str) -> None:
    """A curve of each point over the table's axis, coloured by the first parameter."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    label, along = found.axis(table)
    column = found.tables[table][name]
    parameter, over = next(iter(found.parameters.items()))
    levels = over.values if over.numeric else numpy.arange(len(found), dtype=float)
    scale = ScalarMappable(Normalize(levels.min(), levels.max()), "viridis")
    for number in numpy.flatnonzero(found.finished):
        places = along.values if along.values.ndim == 1 else along.values[number]
        axes.plot(places, column.values[number], color=scale.to_rgba(levels[number]), linewidth=0.9)
    axes.set(xlabel=head_of(label, along.unit), ylabel=head_of(name, column.unit), title=table)
    axes.figure.colorbar(scale, ax=axes, label=head_of(parameter, over.unit) if over.numeric else "point")
