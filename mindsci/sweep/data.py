"""What a sweep found, as arrays over its points; kept in sweep.h5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError, StorageError
from mindsci.tables import head_of


@dataclass(frozen=True, kw_only=True)
class Column:
    """Values with their unit. The first axis is that of the points; an axis that all points share has none."""

    values: NDArray[Any]
    unit: str = ""

    @property
    def numeric(self) -> bool:
        return self.values.dtype.kind == "f"


@dataclass(frozen=True, kw_only=True)
class SweepData:
    """Parameters and results of all points; what an unfinished point lacks is NaN, or "" in a column of words."""

    finished: NDArray[numpy.bool_]
    parameters: dict[str, Column]
    results: dict[str, Column]
    """scalars of results.json, and its lists where all points have equally many"""
    tables: dict[str, dict[str, Column]]
    """of each CSV file, by its name: the axis (rows, or points x rows where points differ), then points x rows"""
    about: dict[str, str] = field(default_factory=dict)
    """mindsci's version, the text of the case file, how the points were made"""

    def __len__(self) -> int:
        return len(self.finished)

    def axis(self, table: str) -> tuple[str, Column]:
        """Returns name and values of a table's first column."""
        return next(iter(self.tables[table].items()))

    def heads(self) -> Iterator[tuple[str, Column]]:
        """Yields ("name [unit]", column) of the results that are one number or word for each point."""
        for name, column in self.results.items():
            if column.values.ndim == 1:
                yield head_of(name, column.unit), column


def write(path: Path, data: SweepData) -> None:
    """Writes an HDF5 file: /finished, /parameters, /results and /tables/<file>, each array with `name` and `unit`.

    A name with a slash, which HDF5 takes for a group, is stored under another and has its own in the attribute.
    """
    import h5py

    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update(data.about)
        file.create_dataset("finished", data=data.finished)
        for kind in ("parameters", "results"):
            _write_group(file.create_group(kind, track_order=True), getattr(data, kind))
        tables = file.create_group("tables", track_order=True)
        for name, columns in data.tables.items():
            group = tables.create_group(_plain(name), track_order=True)
            group.attrs["name"] = name
            _write_group(group, columns)


def _write_group(group: Any, columns: dict[str, Column]) -> None:
    import h5py

    for name, column in columns.items():
        kind = None if column.values.dtype.kind in "fib" else h5py.string_dtype()
        stored = group.create_dataset(_plain(name), data=column.values, dtype=kind)
        stored.attrs.update({"name": name, "unit": column.unit})


def _plain(name: str) -> str:
    return name.replace("/", " per ")


def read(path: Path | str) -> SweepData:
    """Returns what sweep.h5 holds. Raises StorageError where it cannot be read, InputError where it is another file."""
    import h5py

    path = Path(path)
    if not path.is_file():
        raise StorageError(f"'{path}' is not there; `mindsci sweep` writes sweep.h5 into its folder")
    try:
        with h5py.File(path, "r") as file:
            tables = {str(group.attrs["name"]): _read_group(group) for group in file["tables"].values()}
            return SweepData(
                finished=file["finished"][:].astype(bool),
                parameters=_read_group(file["parameters"]),
                results=_read_group(file["results"]),
                tables=tables,
                about={key: str(value) for key, value in file.attrs.items()},
            )
    except (OSError, KeyError) as error:
        raise InputError(f"'{path}' is no file of a sweep ({error}); name the sweep.h5 of its folder") from None


def _read_group(group: Any) -> dict[str, Column]:
    found = {}
    for stored in group.values():
        words = stored.dtype.kind == "O"
        values = numpy.array(stored.asstr()[:], dtype=object) if words else stored[:]
        found[str(stored.attrs["name"])] = Column(values=values, unit=str(stored.attrs["unit"]))
    return found
