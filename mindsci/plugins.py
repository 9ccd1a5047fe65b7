"""Plugins: packages that add tasks, models, readers, benchmarks and validations under their own name.

A package declares an entry point in the group `mindsci.plugins` that points at a `Plugin`: a frozen record of
names and "module:attribute" strings. Nothing of the package is imported until one of its items is asked for.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from mindsci.errors import InputError, UnknownNameError

GROUP = "mindsci.plugins"
KINDS = ("tasks", "models", "readers", "benchmarks", "validations", "trainings", "scalings")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What a package adds. Every value is a "module:attribute" string, imported when it is used.

    tasks: what a case file's `task` names, a subclass of mindsci.config.Case.
    models: builders of a torch module from keyword arguments.
    readers: of a dataset card, `(paths, card, **options) -> data`.
    benchmarks, validations: functions that return a mindsci.report.Report.
    trainings: functions that return the tables of a training of a minute or so, for benchmarks of the trainer.
    scalings: functions that return a mindsci.distributed.scaling.Part, for `mindsci bench scaling`.
    """

    name: str
    summary: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    readers: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    validations: Mapping[str, str] = field(default_factory=dict)
    trainings: Mapping[str, str] = field(default_factory=dict)
    scalings: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def discover() -> dict[str, Plugin]:
    """Returns the installed plugins by name. Raises InputError where two have the same name."""
    found: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        plugin = entry.load()
        if not isinstance(plugin, Plugin):
            raise InputError(f"entry point '{entry.name} = {entry.value}' is not a mindsci.plugins.Plugin; mend it")
        if plugin.name in found and found[plugin.name] != plugin:
            raise InputError(f"two plugins are named '{plugin.name}'; uninstall one, or rename it ({entry.value})")
        found[plugin.name] = plugin
    return found


def names(kind: str) -> list[str]:
    """Returns the full names, `plugin/item`, of one kind of item."""
    return [f"{plugin.name}/{item}" for plugin in discover().values() for item in getattr(plugin, kind)]


def full_name(kind: str, name: str) -> str:
    """Returns `plugin/item` for a full name, for an item's own name where only one plugin has it, or for a target.

    A card names what builds or reads it as "module:attribute". A card may come from anyone, so only targets
    that an installed plugin declares are accepted: nothing else is imported or called.
    """
    known = names(kind)
    if name in known:
        return name
    if ":" in name:
        matches = [full for full in known if _target(kind, full) == name]
        if not matches:
            raise UnknownNameError.of(f"target of {kind}", name, [_target(kind, full) for full in known])
        return matches[0]
    matches = [full for full in known if full.split("/", 1)[1] == name]
    if len(matches) > 1:
        raise InputError(f"'{name}' is ambiguous: {', '.join(matches)}; write the full name")
    if not matches:
        raise UnknownNameError.of(kind.removesuffix("s"), name, known)
    return matches[0]


def get(kind: str, name: str) -> Any:
    """Returns the object behind a name. Raises UnknownNameError with the nearest name."""
    return load(_target(kind, full_name(kind, name)))


def _target(kind: str, full: str) -> str:
    plugin, item = full.split("/", 1)
    return str(getattr(discover()[plugin], kind)[item])


def load(target: str) -> Any:
    """Returns the object that a "module:attribute" string names."""
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise InputError(f"'{target}' is not of the form module:attribute")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise InputError(f"'{target}': the module {module} has no attribute '{attribute}'") from None
