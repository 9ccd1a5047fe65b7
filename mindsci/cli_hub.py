"""`mindsci datasets ...` and `mindsci pretrained ...`: list, info, download, verify; and pack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mindsci.hub import Card

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[str, typer.Argument(help="Name of a card, or the path of a card.toml.")]
Names = Annotated[list[str], typer.Argument(help="Names of cards, or paths of card.toml files.")]
OptionalName = Annotated[str | None, typer.Argument(help="Name of a card, or the path of a card.toml; all if none.")]


def hub_app(kind: str) -> typer.Typer:
    """Returns the commands for one kind of card: "datasets" or "pretrained"."""
    app = typer.Typer(no_args_is_help=True)

    @app.command("list")
    def list_(as_json: AsJson = False) -> None:
        """List the cards: name, licence, size, whether the files are here."""
        _print_rows(kind, [_summary(card) for card in _cards(kind)], as_json)

    @app.command()
    def info(name: Name, as_json: AsJson = False) -> None:
        """Print what one card says."""
        (card,) = _cards(kind, name)
        content = card.model_dump(mode="json", exclude_none=True) | _summary(card) | {"folder": str(card.folder)}
        if as_json:
            print(json.dumps(content))
        else:
            _print_card(content)

    @app.command()
    def download(names: Names) -> None:
        """Fetch the files of cards into the cache folder (MINDSCI_HOME), checked; a broken transfer is continued."""
        from mindsci.hub import local_files

        for card in _cards(kind, *names):
            for path in local_files(card).values():
                print(path)

    @app.command()
    def verify(name: OptionalName = None, as_json: AsJson = False) -> None:
        """Compare files with their cards: exit status 1 where one is wrong or, of a named card, not here."""
        rows = [row for card in (_cards(kind, name) if name else _cards(kind)) for row in _checks(card)]
        _print_rows(kind, rows, as_json)
        if any(row["state"] != "ok" and (name or row["state"] != "not here") for row in rows):
            raise typer.Exit(1)

    if kind == "pretrained":
        app.command("pack")(pack)
    return app


def pack(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training.")],
    name: Annotated[str, typer.Option(help="Name of the card, and of its folder.")],
    into: Annotated[Path, typer.Option(help="Where the folder is made.")] = Path("pretrained"),
    title: Annotated[str, typer.Option(help="Title of the card; the task's own unless given.")] = "",
    domain: Annotated[str, typer.Option(help="Where the model may be trusted; the task's own unless given.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "Apache-2.0",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a folder of that name.")] = False,
) -> None:
    """Make a card of a finished training: weights, case, metrics with the command that prints them again."""
    from mindsci import hub

    print(hub.pack(run, name=name, into=into, title=title, domain=domain, licence=licence, replace=replace))


datasets_app = hub_app("datasets")
pretrained_app = hub_app("pretrained")


def _cards(kind: str, *names: str) -> list[Card]:
    """Returns the cards of the names, or every card of the kind."""
    from mindsci import hub

    card_type: type[Card] = hub.DatasetCard if kind == "datasets" else hub.PretrainedCard
    if names:
        return [hub.find_card(card_type, name) for name in names]
    return list(hub.find_cards(card_type).values())


def _summary(card: Card) -> dict[str, Any]:
    states = {row["state"] for row in _checks(card)}
    return {
        "name": card.name,
        "title": card.title,
        "licence": card.licence,
        "bytes": sum(file.bytes for file in card.all_files),
        "state": states.pop() if len(states) == 1 else "in part",
    }


def _checks(card: Card) -> list[dict[str, Any]]:
    """Returns one row a file: what its place holds, against what the card says."""
    from mindsci.hub.cache import fault, place
    from mindsci.hub.settings import Settings

    rows = []
    for file in card.all_files:
        path = place(card, file, Settings.from_environment())
        found = fault(path, file)
        rows.append({"card": card.name, "file": file.name, "state": found or "ok", "path": str(path)})
    return rows


def _print_rows(kind: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({kind: rows}))
        return
    if not rows:
        print(f"no cards in {kind}")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in rows[0]:
        # A name that is folded cannot be copied.
        table.add_column(column, overflow="fold", no_wrap=column == next(iter(rows[0])))
    for row in rows:
        table.add_row(*(escape(f"{value:,}" if isinstance(value, int) else value) for value in row.values()))
    Console().print(table)


def _print_card(content: dict[str, Any], indent: str = "") -> None:
    """Prints a card as indented lines; a list of tables becomes one line an entry."""
    for key, value in content.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _print_card(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{indent}{key}:")
            for entry in value:
                print(f"{indent}  - " + ", ".join(f"{k} {v}" for k, v in entry.items()))
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{indent}{key}: {shown}")
