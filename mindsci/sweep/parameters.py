"""What varies in a sweep: "key=28:36:9 mm", "key=1 mm, 2 mm", and several keys that follow one parameter.

A specification is `[name:] key[*factor][, key[*factor]...] = values`. The keys are those of `--set`. The values are a
range with a count, `start:stop:count unit`, both ends among them; a range to draw samples from, `start:stop unit`; or
a list. A list of TOML, `[...]`, has values of any kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from mindsci import units
from mindsci.errors import InputError
from mindsci.overrides import read_value
from mindsci.tables import head_of

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# Behind a space a unit may begin with 1, as 1/fs does; straight behind the number it may not.
_UNIT = r"(?:\s+(?P<unit>(?:1\s*)?[^\d\s:,][^,]*)|(?P<joined>[^\d\s:,.][^,]*))?"
_RANGE = re.compile(rf"(?P<start>{_NUMBER})\s*:\s*(?P<stop>{_NUMBER})(?:\s*:\s*(?P<count>\d+))?{_UNIT}")
_ONE = re.compile(rf"(?P<number>{_NUMBER}){_UNIT}")
_TARGET = re.compile(rf"(?P<key>[^*\s]+)(?:\s*\*\s*(?P<factor>{_NUMBER}))?")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A key of the case that follows a parameter, and by what its value is multiplied."""

    key: str
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What varies. Either `values` are given, or `ends` of a range from which values are drawn.

    name: what it is called in results; the first key unless another was given.
    unit: of the numbers; "" for bare numbers and for values that are none.
    """

    name: str
    targets: tuple[Target, ...]
    unit: str = ""
    values: tuple[Any, ...] = ()
    ends: tuple[float, float] | None = None

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return all(_is_number(value) for value in self.values)

    @property
    def head(self) -> str:
        """Returns "name [unit]"."""
        return head_of(self.name, self.unit)

    def settings(self, value: Any) -> Iterator[tuple[str, Any]]:
        """Yields each key with what a case file says there."""
        for target in self.targets:
            given = value if target.factor == 1.0 else value * target.factor
            yield target.key, f"{given!r} {self.unit}" if self.unit else given

    def told(self, value: Any) -> str:
        """Returns "length = 28 mm"."""
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{self.name} = {shown} {self.unit}".rstrip()


def parse(text: str) -> Parameter:
    """Returns the parameter of a specification. Raises InputError that says how to write it."""
    left, equals, right = text.partition("=")
    if not equals or not left.strip() or not right.strip():
        raise InputError(f'--over {text}: write it as --over table.key="28:36:9 mm"')
    return parameter(left.strip(), right.strip(), told=f"--over {text}")


def parameter(keys: str, values: str | Sequence[Any], *, told: str = "") -> Parameter:
    """Returns the parameter of keys, `[name:] key[*factor], ...`, with values as text or as a sequence.

    Raises InputError, which begins with `told`.
    """
    told = told or keys
    name, colon, rest = keys.partition(":")
    targets = tuple(_target(part.strip(), told) for part in (rest if colon else keys).split(","))
    common = {"name": name.strip() if colon else targets[0].key, "targets": targets}
    made = _of_text(common, values, told) if isinstance(values, str) else _of_values(common, values, told)
    if any(target.factor != 1.0 for target in targets) and not made.numeric:
        raise InputError(f"{told}: only numbers are multiplied by a factor; leave it out")
    return made


def _target(text: str, told: str) -> Target:
    found = _TARGET.fullmatch(text)
    if found is None:
        raise InputError(f"{told}: '{text}' is no key; write table.key, or table.key*0.5 for half the value")
    return Target(key=found["key"], factor=float(found["factor"] or 1.0))


def _of_text(common: dict[str, Any], text: str, told: str) -> Parameter:
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return _of_values(common, _listed(text), told)
    unit, whole = _unit_of(found), _is_whole(found["start"]) and _is_whole(found["stop"])
    _check_unit(unit, told)
    ends = float(found["start"]), float(found["stop"])
    if found["count"] is None:
        if not ends[0] < ends[1]:
            raise InputError(f"{told}: samples are drawn between a low end and a higher one; write low:high")
        return Parameter(**common, unit=unit, ends=ends)
    count = int(found["count"])
    if count < 2 or ends[0] == ends[1]:
        raise InputError(f"{told}: a range has two ends and at least both of them; write start:stop:count, count >= 2")
    values = [float(value) for value in numpy.linspace(*ends, count)]
    if not unit and whole and all(value.is_integer() for value in values):
        return Parameter(**common, values=tuple(int(value) for value in values))
    return Parameter(**common, unit=unit, values=tuple(values))


def _listed(text: str) -> list[Any]:
    """The values of "1, 2, 3 mm", of "copper, silver", or of a list in TOML."""
    read = read_value(text)
    if isinstance(read, list):
        return read
    parts = [part.strip() for part in text.split(",")]
    found = [_ONE.fullmatch(part) for part in parts]
    last = found[-1]
    if all(found) and last is not None and _unit_of(last):
        return [
            part if one is not None and _unit_of(one) else f"{part} {_unit_of(last)}"
            for part, one in zip(parts, found, strict=True)
        ]
    return [read_value(part) for part in parts]


def _of_values(common: dict[str, Any], values: Sequence[Any], told: str) -> Parameter:
    if not len(values):
        raise InputError(f"{told}: no value is given")
    plain = [value.item() if isinstance(value, numpy.generic) else value for value in values]
    found = [_ONE.fullmatch(value.strip()) if isinstance(value, str) else None for value in plain]
    if not all(one is not None and _unit_of(one) for one in found):
        return Parameter(**common, values=tuple(plain))
    unit = _unit_of(found[-1])  # type: ignore[arg-type]
    _check_unit(unit, told)
    try:
        return Parameter(**common, unit=unit, values=tuple(_converted(one, unit) for one in found))
    except InputError as error:
        raise InputError(f"{told}: {error}") from None


def _converted(found: Any, unit: str) -> float:
    own = _unit_of(found)
    return float(found["number"]) if own == unit else units.parse(f"{found['number']} {own}", unit)


def _unit_of(found: re.Match[str]) -> str:
    """The unit of a number or a range; "/ fs" is 1/fs."""
    unit = (found["unit"] or found["joined"] or "").strip()
    return f"1{unit}" if unit.startswith("/") else unit


def _check_unit(unit: str, told: str) -> None:
    if unit:
        try:
            units.parse(f"1 {unit}", unit)
        except InputError:
            raise InputError(f"{told}: '{unit}' is no unit; write one such as mm, GHz or K") from None


def _is_whole(text: str) -> bool:
    return text.lstrip("+-").isdigit()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
