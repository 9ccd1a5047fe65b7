"""Reader of ASE's databases (`ase.db`): labels are looked for among results, key-value pairs and data of a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mindsci.errors import InputError, StorageError
from sponge.data.convention import Structure

RESULTS = ("energy", "forces", "stress")


def structures(path: Path) -> Iterator[Structure]:
    """Yields the rows of a database in the order of their ids. Raises InputError where it is none."""
    from ase.db import connect

    if not path.is_file():
        raise StorageError(f"cannot read '{path}': it is not there")
    try:
        for row in connect(str(path)).select(sort="id"):
            labels: dict[str, Any] = {key: row[key] for key in RESULTS if key in row}
            labels |= dict(row.key_value_pairs) | dict(row.data)
            yield Structure(
                numbers=row.numbers,
                positions=row.positions,
                cell=row.cell,
                periodic=tuple(bool(flag) for flag in row.pbc),
                labels=labels,
            )
    except (InputError, StorageError):
        raise
    except Exception as error:  # the database's own library raises whatever a damaged file leads to
        raise InputError(f"'{path}' is no database of ASE, or is damaged: {error}") from None
