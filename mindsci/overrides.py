"""Values set in the tables of a case by dotted keys: `table.key`, `list.0.key`, `list.name.key`, `place.2`."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from mindsci.errors import InputError, nearest

_LAST_WITH_UNIT = re.compile(r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>\S.*)?")


def apply_override(tables: dict[str, Any], override: str) -> None:
    """Sets `a.b.0=value` in the tables; the value is read as TOML, or else taken as a string."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {override}: write it as --set table.key=value")
    assign(tables, key.strip(), read_value(text), told=f"--set {override}")


def read_value(text: str) -> Any:
    """Returns a value of TOML, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def assign(tables: dict[str, Any], key: str, value: Any, *, told: str) -> None:
    """Sets the value of a dotted key; tables on the way are made where they are not there.

    An entry of a list is known by its number, or by its name where it has one; a part of "1, 2, 3 mm" by its number.
    Raises InputError, which begins with `told`, where the key leads nowhere.
    """
    node: Any = tables
    *parents, last = key.split(".")
    for part in parents:
        node = _child(node, part, told)
    if isinstance(node, list):
        node[_index(node, last, told)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise InputError(f"{told}: '{parents[-1]}' is a value, not a table")


def _child(node: Any, part: str, told: str) -> Any:
    if isinstance(node, list):
        place: Any = _index(node, part, told)
    elif isinstance(node, dict):
        place = part
        node.setdefault(part, {})
    else:
        raise InputError(f"{told}: '{part}' is inside a value, not a table")
    node[place] = _opened(node[place])
    return node[place]


def _opened(value: Any) -> Any:
    """Returns "1, 2, 3 mm" as the list of its parts, each with the unit; anything else as it is."""
    if not isinstance(value, str) or "," not in value:
        return value
    *numbers, last = (part.strip() for part in value.split(","))
    found = _LAST_WITH_UNIT.fullmatch(last)
    if found is None or found["unit"] is None:
        return value
    return [f"{number} {found['unit']}" for number in (*numbers, found["number"])]


def _index(node: list[Any], part: str, told: str) -> int:
    if part.isdigit() and int(part) < len(node):
        return int(part)
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in node]
    if part in names:
        return names.index(part)
    known = [name for name in names if isinstance(name, str)]
    named = f", or by name: {', '.join(known)}" if known else ""
    raise InputError(
        f"{told}: '{part}' is not one of the {len(node)} entries (0 to {len(node) - 1}{named}){nearest(part, known)}"
    )
