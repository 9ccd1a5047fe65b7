"""Which cards there are: those that `mindsci` ships and those of installed plugins."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

import mindsci
from mindsci.errors import InputError, UnknownNameError
from mindsci.hub.cards import Card
from mindsci.plugins import GROUP

C = TypeVar("C", bound=Card)


def find_cards(kind: type[C]) -> dict[str, C]:
    """Returns every card of one kind by name. Raises InputError where two cards have the same name."""
    found: dict[str, C] = {}
    for root in _roots(kind.kind):
        for path in sorted(root.glob("*/card.toml")):
            card = kind.read(path)
            if card.name != path.parent.name:
                raise InputError(f"the card {path} is named '{card.name}'; rename its folder or mend its name")
            if card.name in found:
                raise InputError(
                    f"two cards in {kind.kind} are named '{card.name}': {found[card.name].folder} and {card.folder}; "
                    "uninstall one of the packages, or rename its card"
                )
            found[card.name] = card
    return found


def find_card(kind: type[C], name: str | C) -> C:
    """Returns the card of a name, or of a path that ends on card.toml. Raises UnknownNameError with the nearest."""
    if isinstance(name, kind):
        return name
    if str(name).endswith("card.toml"):
        return kind.read(str(name))
    cards = find_cards(kind)
    if name not in cards:
        raise UnknownNameError.of(kind.label, str(name), cards)
    return cards[str(name)]


def _roots(kind: str) -> Iterator[Path]:
    """A package keeps its cards in _data/datasets and _data/pretrained; a checkout of mindsci, at its top."""
    core = Path(mindsci.__file__).resolve().parent
    checkout = core.parent / "setup.cfg"
    yield core.parent / kind if checkout.exists() else core / "_data" / kind
    packages = {entry.module.partition(".")[0] for entry in entry_points(group=GROUP)} - {core.name}
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            yield Path(location) / "_data" / kind
