"""From the folders of the points to sweep.csv, sweep.h5 and sweep.png."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

import mindsci
from mindsci import tables
from mindsci.sweep import data, plot
from mindsci.sweep.data import Column, SweepData
from mindsci.sweep.folder import SweepFolder
from mindsci.sweep.points import Plan
from mindsci.tables import name_and_unit

Tables = dict[str, dict[str, NDArray[numpy.float64]]]


def write_results(home: SweepFolder, finished: Sequence[int], show: Sequence[str]) -> SweepData:
    """Writes the results of the finished points into the sweep's folder, and returns them."""
    found, left_out = gather(home.plan, {number: home.point(number) for number in finished})
    for name, why in left_out.items():
        home.log(f"{name} is left in the points' folders: {why}")
    with home.writing("sweep.csv") as temporary:
        _write_csv(temporary, found)
    with home.writing("sweep.h5") as temporary:
        data.write(temporary, found)
    if finished:
        with home.writing("sweep.png") as temporary:
            plot.draw(temporary, found, show)
    return found


def gather(plan: Plan, folders: Mapping[int, Path]) -> tuple[SweepData, dict[str, str]]:
    """Returns the results in the folders of finished points, and which tables could not be stacked, with the reason."""
    count = len(plan)
    finished = numpy.zeros(count, dtype=bool)
    finished[list(folders)] = True
    figures = {number: _figures(folder) for number, folder in folders.items()}
    stacked, left_out = _stack({number: _tables(folder) for number, folder in folders.items()}, count)
    names = dict.fromkeys(name for own in figures.values() for name in own)
    results = {}
    for full in names:
        column = _column({number: own[full] for number, own in figures.items() if full in own}, count)
        if column is None:
            left_out[f"'{full}'"] = "it has another length or kind from point to point"
            continue
        name, unit = name_and_unit(full)
        # Two results may differ in nothing but their unit.
        results[full if name in results else name] = Column(values=column, unit=unit)
    parameters = {
        one.name: Column(values=_parameter([value[k] for value in plan.values]), unit=one.unit)
        for k, one in enumerate(plan.parameters)
    }
    about = {"mindsci": mindsci.__version__, "case": plan.first(), "how": plan.how}
    made = SweepData(finished=finished, parameters=parameters, results=results, tables=stacked, about=about)
    return made, left_out


def _figures(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _tables(folder: Path) -> Tables:
    """The tables of numbers in a run's folder, and in those of its replicas."""
    found = {}
    for path in sorted(folder.rglob("*.csv")):
        columns = tables.read(path)
        if columns is not None:
            found[path.relative_to(folder).with_suffix("").as_posix()] = columns
    return found


def _column(values: Mapping[int, Any], count: int) -> NDArray[Any] | None:
    """One result of all points; None where it has no common shape."""
    if any(isinstance(value, str) for value in values.values()):
        words = numpy.full(count, "", dtype=object)
        for number, value in values.items():
            words[number] = "" if value is None else str(value)
        return words
    try:
        rows = {number: numpy.asarray(value, dtype=float) for number, value in values.items()}
    except (TypeError, ValueError):
        return None
    shapes = {row.shape for row in rows.values()}
    if len(shapes) != 1:
        return None
    numbers = numpy.full((count, *shapes.pop()), numpy.nan)
    for number, row in rows.items():
        numbers[number] = row
    return numbers


def _parameter(values: Sequence[Any]) -> NDArray[Any]:
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return numpy.array(values, dtype=float)
    return numpy.array([value if isinstance(value, str) else json.dumps(value) for value in values], dtype=object)


def _stack(found: Mapping[int, Tables], count: int) -> tuple[dict[str, dict[str, Column]], dict[str, str]]:
    """Tables that all points have with the same heads and length, as arrays over the points."""
    stacked, left_out = {}, {}
    for name in dict.fromkeys(name for own in found.values() for name in own):
        own = {number: tables[name] for number, tables in found.items() if name in tables}
        first = next(iter(own.values()))
        length = len(next(iter(first.values())))
        if len(own) < len(found):
            left_out[f"{name}.csv"] = "not every point has it"
        elif any(list(one) != list(first) for one in own.values()):
            left_out[f"{name}.csv"] = "its columns differ from point to point"
        elif any(len(column) != length for one in own.values() for column in one.values()):
            left_out[f"{name}.csv"] = "its number of rows differs from point to point"
        else:
            stacked[name] = _stacked(own, count)
    return stacked, left_out


def _stacked(own: Mapping[int, dict[str, NDArray[numpy.float64]]], count: int) -> dict[str, Column]:
    first = next(iter(own.values()))
    made = {}
    for position, head in enumerate(first):
        name, unit = name_and_unit(head)
        if position == 0 and all(numpy.array_equal(one[head], first[head]) for one in own.values()):
            made[name] = Column(values=first[head], unit=unit)
            continue
        values = numpy.full((count, len(first[head])), numpy.nan)
        for number, one in own.items():
            values[number] = one[head]
        made[head if name in made else name] = Column(values=values, unit=unit)
    return made


def _write_csv(path: Path, found: SweepData) -> None:
    """One line for each point: its number, parameters, and results that are one number or word."""
    heads = dict(found.heads())
    columns = [*found.parameters.values(), *heads.values()]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["point", *(tables.head_of(name, one.unit) for name, one in found.parameters.items()), *heads])
        for number in range(len(found)):
            table.writerow([number, *(_cell(column.values[number]) for column in columns)])


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if numpy.isnan(value) else f"{value:.10g}"
