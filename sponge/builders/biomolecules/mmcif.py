"""The categories of an mmCIF file that describe a structure: _atom_site, _cell, _struct_conn."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from mindsci.errors import InputError
from sponge.builders.biomolecules.pdb import AtomRow, Content

TOKEN = re.compile(r"'(?:[^']|'(?=\S))*'(?=\s|$)|\"(?:[^\"]|\"(?=\S))*\"(?=\s|$)|#[^\n]*|[^\s]+")
NONE = (".", "?")
COVALENT = ("covale", "disulf")


def parse_mmcif(text: str, model: int | None) -> Content:
    """Returns the atoms of one model, the first unless given, with the names that authors gave, and covalent links."""
    tables = _tables(text)
    if not tables.get("_atom_site"):
        raise InputError("the file has no _atom_site; give an mmCIF file of a structure")
    number = "pdbx_PDB_model_num"
    wanted = tables["_atom_site"][0].get(number) if model is None else str(model)
    rows = [_row(values) for values in tables["_atom_site"] if values.get(number) in (wanted, None)]
    box = None
    for values in tables.get("_cell", []):
        names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        if all(values.get(name, "?") not in NONE for name in names):
            box = tuple(_number(values[name]) for name in names)
    return Content(rows=rows, box=box, links=_links(rows, tables.get("_struct_conn", [])))


def _number(text: str) -> float:
    """A value whose standard uncertainty, in parentheses, is left out."""
    return float(text.split("(")[0])


def _row(values: dict[str, str]) -> AtomRow:
    from ase.data import atomic_numbers

    def first(*names: str, default: str = "") -> str:
        return next((values[name] for name in names if values.get(name, "?") not in NONE), default)

    element = first("type_symbol").capitalize()
    element = "H" if element == "D" else element
    return AtomRow(
        serial=first("id"),
        name=first("auth_atom_id", "label_atom_id"),
        alternate=first("label_alt_id"),
        residue=first("auth_comp_id", "label_comp_id"),
        chain=first("auth_asym_id", "label_asym_id"),
        number=first("auth_seq_id", "label_seq_id") + first("pdbx_PDB_ins_code"),
        place=(_number(values["Cartn_x"]), _number(values["Cartn_y"]), _number(values["Cartn_z"])),
        occupancy=_number(first("occupancy", default="1")),
        element=element if element in atomic_numbers and element != "X" else "",
        segment=first("label_asym_id"),
    )


def _links(rows: list[AtomRow], stated: list[dict[str, str]]) -> list[tuple[str, str]]:
    serials: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:  # more than one of alternate locations
        serials.setdefault((row.chain, row.number, row.name), []).append(row.serial)
    found: list[tuple[str, str]] = []
    for values in stated:
        if not values.get("conn_type_id", "").startswith(COVALENT) or values.get("ptnr2_symmetry", "?") not in (
            *NONE,
            values.get("ptnr1_symmetry", "?"),
        ):
            continue
        ends = []
        for end in ("ptnr1", "ptnr2"):
            code = values.get(f"pdbx_{end}_PDB_ins_code", "?")
            number = values.get(f"{end}_auth_seq_id", "") + ("" if code in NONE else code)
            place = (values.get(f"{end}_auth_asym_id", ""), number, values[f"{end}_label_atom_id"])
            ends.append(serials.get(place, []))
        found += itertools.product(ends[0], ends[1])
    return found


def _tokens(text: str) -> Iterator[str]:
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(";"):
            held = [line[1:]]
            for inner in lines:
                if inner.startswith(";"):
                    break
                held.append(inner)
            yield "'" + "\n".join(held)
            continue
        for token in TOKEN.findall(line):
            if token.startswith("#"):
                break
            yield token


def _value(token: str) -> str:
    if len(token) > 1 and token[0] in "'\"" and token[-1] == token[0]:
        return token[1:-1]
    return token[1:] if token.startswith("'") else token


def _tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Rows of each category of the first block; a category of single values is one row."""
    found: dict[str, list[dict[str, str]]] = {}
    tokens = list(_tokens(text))
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.lower() == "loop_":
            at = _loop(tokens, at + 1, found)
        elif token.startswith("_") and at + 1 < len(tokens):
            category, _, name = token.partition(".")
            found.setdefault(category, [{}])[0][name] = _value(tokens[at + 1])
            at += 2
        elif token.lower().startswith("data_") and found:
            break
        else:
            at += 1
    return found


def _loop(tokens: list[str], at: int, found: dict[str, list[dict[str, str]]]) -> int:
    names = []
    while at < len(tokens) and tokens[at].startswith("_"):
        names.append(tokens[at])
        at += 1
    start = at
    while at < len(tokens) and not tokens[at].startswith("_") and tokens[at].lower()[:5] not in ("loop_", "data_"):
        at += 1
    values = [_value(token) for token in tokens[start:at]]
    if not names or len(values) % len(names):
        raise InputError(f"the table of {names[0] if names else 'nothing'} has {len(values)} values; it is cut short")
    fields = [name.partition(".")[2] for name in names]
    rows = found.setdefault(names[0].partition(".")[0], [])
    rows += [dict(zip(fields, values[k : k + len(names)], strict=True)) for k in range(0, len(values), len(names))]
    return at
