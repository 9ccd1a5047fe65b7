"""The points of a sweep: all combinations of values, values that walk together, or samples of ranges."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from mindsci import config
from mindsci.config import Case
from mindsci.errors import InputError, UnknownNameError
from mindsci.overrides import apply_override, assign
from mindsci.sweep.parameters import Parameter, parameter, parse

SAMPLERS = ("latin_hypercube", "sobol", "random")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The points of a sweep, each with its validated case."""

    source: Path
    """the case file"""
    parameters: tuple[Parameter, ...]
    values: tuple[tuple[Any, ...], ...]
    """of each point, one for each parameter"""
    cases: tuple[Case, ...]
    how: str
    """"grid", "zip" or the sampler with its number and seed"""

    def __len__(self) -> int:
        return len(self.values)

    def told(self, number: int) -> str:
        """Returns "length = 28 mm, width = 3 mm" of a point."""
        return ", ".join(one.told(value) for one, value in zip(self.parameters, self.values[number], strict=True))

    def first(self) -> str:
        """Returns the case of the first point as it runs, whatever becomes of its file."""
        return config.to_toml(self.cases[0])

    def checksum(self) -> str:
        """Returns a checksum of all cases, defaults included."""
        found = hashlib.sha256()
        for case in self.cases:
            found.update(config.to_toml(case).encode())
        return found.hexdigest()


def plan(
    case: Path | str,
    over: Mapping[str, str | Sequence[Any]] | Iterable[str],
    *,
    zipped: bool = False,
    sample: str | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
) -> Plan:
    """Returns the points of a sweep over a case file; nothing is started.

    over: `{"ports.0.resistance": "40:60:5 ohm"}` (a sequence of values serves as well), or specifications as on the
    command line, "ports.0.resistance=40:60:5 ohm".
    zipped: the values walk together; otherwise every combination is a point, the last parameter varying fastest.
    sample: "latin_hypercube:64", "sobol:64" or "random:64", of ranges without a count; seed decides the draw.
    settings: values of all points, "a.b=c", as in `--set`.
    Raises InputError for a key, a unit or a value that the case does not take, whichever point it belongs to.
    """
    path = Path(case)
    specified = over.items() if isinstance(over, Mapping) else ()
    parameters = tuple(parameter(*one) for one in specified) or tuple(parse(one) for one in over)
    _check_names(parameters)
    values, how = (
        _drawn(parameters, sample, seed, zipped)
        if sample
        else (_walked(parameters, zipped), "zip" if zipped else "grid")
    )
    tables = config.read_case_text(path)
    for setting in settings:
        apply_override(tables, setting)
    cases = tuple(_case(path, tables, parameters, point, number) for number, point in enumerate(values))
    return Plan(source=path, parameters=parameters, values=tuple(values), cases=cases, how=how)


def _check_names(parameters: Sequence[Parameter]) -> None:
    if not parameters:
        raise InputError('nothing varies; give --over table.key="28:36:9 mm"')
    keys = [target.key for one in parameters for target in one.targets]
    for names in (keys, [one.name for one in parameters]):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"'{twice[0]}' is given twice; give it once, with all its values")


def _walked(parameters: Sequence[Parameter], zipped: bool) -> list[tuple[Any, ...]]:
    for one in parameters:
        if one.ends is not None:
            low, high = one.ends
            raise InputError(
                f"{one.name}: a range needs a count, such as {low:g}:{high:g}:9 {one.unit}".rstrip()
                + ", or --sample latin_hypercube:64 to draw from it"
            )
    if not zipped:
        return list(itertools.product(*(one.values for one in parameters)))
    counts = {one.name: len(one.values) for one in parameters}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise InputError(f"--zip: values that walk together are equally many, but {told}")
    return list(zip(*(one.values for one in parameters), strict=True))


def _drawn(parameters: Sequence[Parameter], sample: str, seed: int, zipped: bool) -> tuple[list[tuple[Any, ...]], str]:
    kind, _, count = sample.partition(":")
    if kind not in SAMPLERS:
        raise UnknownNameError.of("sampler", kind, SAMPLERS)
    if not count.isdigit() or int(count) < 1:
        raise InputError(f"--sample {sample}: say how many points, such as {kind}:64")
    if zipped:
        raise InputError("--zip and --sample exclude one another; leave one out")
    if seed < 0:
        raise InputError(f"--seed {seed}: use 0 or more")
    for one in parameters:
        if one.ends is None:
            raise InputError(
                f"{one.name}: --sample draws from a range without a count; write it as low:high and its unit"
            )
    ends = numpy.array([one.ends for one in parameters])
    points = ends[:, 0] + _unit_points(kind, int(count), len(parameters), seed) * (ends[:, 1] - ends[:, 0])
    return [tuple(float(value) for value in point) for point in points], f"{sample}, seed {seed}"


def _unit_points(kind: str, count: int, dimensions: int, seed: int) -> NDArray[numpy.float64]:
    """Points of the unit cube."""
    generator = numpy.random.default_rng(seed)
    if kind == "random":
        return generator.random((count, dimensions))
    from scipy.stats import qmc

    if kind == "latin_hypercube":
        found: NDArray[numpy.float64] = qmc.LatinHypercube(dimensions, seed=generator).random(count)
        return found
    if count & (count - 1):
        raise InputError(
            f"--sample sobol:{count}: Sobol points are evenly spread in powers of two; "
            f"use sobol:{1 << (count.bit_length() - 1)} or sobol:{1 << count.bit_length()}"
        )
    found = qmc.Sobol(dimensions, seed=generator).random_base2(count.bit_length() - 1)
    return found


def _case(
    path: Path, tables: dict[str, Any], parameters: Sequence[Parameter], values: tuple[Any, ...], number: int
) -> Case:
    """The case of a point; what is wrong with it is told with the values of the point."""
    own = copy.deepcopy(tables)
    for one, value in zip(parameters, values, strict=True):
        for key, given in one.settings(value):
            assign(own, key, given, told=f"--over {one.name}")
    told = ", ".join(one.told(value) for one, value in zip(parameters, values, strict=True))
    return config.case_of(own, folder=path.parent, source=f"{path}, point {number} ({told})")
