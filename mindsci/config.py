"""Case files: TOML in, a validated frozen configuration out, and back to TOML for the run's folder.

A key that is not known, a quantity without its unit, a file that is not there: each is an error that names
the key and the fix. Files are found relative to the case file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo

from mindsci import units
from mindsci.errors import InputError, StorageError, nearest
from mindsci.overrides import apply_override

if TYPE_CHECKING:
    from mindsci.runs import Run


class Table(BaseModel):
    """A table of a case file: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)


class Case(Table):
    """A whole case file. A task of a plugin is a subclass that says what `run` does."""

    several_processes: ClassVar[bool] = False
    changeable: ClassVar[tuple[str, ...]] = ()
    """keys in which a run that is resumed may differ from the one that was begun: how it is computed, not what"""
    """whether several processes may work on it together"""
    task: str
    seed: int = Field(default=0, ge=0, lt=2**47)

    def run(self, run: Run) -> None:
        """Does the work of the case in the run's folder."""
        raise NotImplementedError(f"{type(self).__name__} has no run method")

    def resolved(self) -> Self:
        """Returns the case with the values that others of its keys decide; itself where there are none."""
        return self

    def preflight(self, folder: Path | None = None, device: str = "cpu") -> list[str]:
        """Returns what `--dry-run` tells beyond the case itself: sizes, cost, faults ("error: ...", each with its fix).

        folder: where pictures may be left, where one was named. device: that of the run.
        """
        return []


def Quantity(unit: str) -> Any:
    """Returns the type of a float that a case file writes with its unit; inside it is in `unit`."""

    def read(value: Any) -> float:
        return units.parse(value, unit)

    def write(value: float) -> str:
        return f"{value!r} {unit}"

    return Annotated[float, BeforeValidator(read), PlainSerializer(write)]


def Quantities(unit: str) -> Any:
    """Returns the type of one float with its unit, as `Quantity` has it, or of a list of them (then a tuple)."""

    def read(value: Any) -> float | tuple[float, ...]:
        return tuple(units.parse(one, unit) for one in value) if isinstance(value, list) else units.parse(value, unit)

    def write(value: float | tuple[float, ...]) -> str | list[str]:
        return [f"{one!r} {unit}" for one in value] if isinstance(value, tuple) else f"{value!r} {unit}"

    return Annotated[float | tuple[float, ...], BeforeValidator(read), PlainSerializer(write)]


def _resolve(value: Any, info: ValidationInfo) -> Path:
    path = Path(value).expanduser()
    folder = (info.context or {}).get("folder", Path.cwd())
    return (path if path.is_absolute() else Path(folder) / path).resolve()


InputFile = Annotated[Path, BeforeValidator(_resolve), PlainSerializer(str)]
"""A file named in a case: relative to the folder of the case file. Its reader says if it is missing."""


def read_case_text(path: Path) -> dict[str, Any]:
    """Returns the tables of a TOML file. Raises StorageError or InputError naming the file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot read the case file '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is not a text file; a case is written in TOML") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"'{path}' is not valid TOML: {error}") from None


def load_case(path: Path | str, overrides: list[str] | None = None, *, resolve: bool = True) -> Case:
    """Returns the validated case of a TOML file, after `a.b=c` overrides; `Case.resolved`, unless told otherwise.

    Raises InputError with one line for each thing to mend.
    """
    path = Path(path)
    tables = read_case_text(path)
    for override in overrides or []:
        apply_override(tables, override)
    return case_of(tables, folder=path.parent, source=str(path), resolve=resolve)


def case_of(tables: dict[str, Any], *, folder: Path, source: str, resolve: bool = True) -> Case:
    """Returns the validated case of its tables; its files lie in the folder. Errors name the source."""
    from mindsci import plugins

    task = tables.get("task")
    if not isinstance(task, str):
        known = ", ".join(plugins.names("tasks"))
        raise InputError(f"'{source}' has no task; add a first line such as task = \"elec/antenna\" (known: {known})")
    case: Case = validate(plugins.get("tasks", task), tables, folder=folder, source=source)
    return case.resolved() if resolve else case


def validate(model: type[Any], tables: dict[str, Any], *, folder: Path, source: str) -> Any:
    """Returns model(tables), or raises InputError that lists every fault with its key and fix."""
    try:
        return model.model_validate(tables, context={"folder": folder})
    except pydantic.ValidationError as error:
        lines = [_explain(fault, model) for fault in error.errors()]
        raise InputError(f"{source}:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _explain(fault: Any, model: type[Any]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = list(_keys_at(model, fault["loc"][:-1]))
        hint = nearest(str(fault["loc"][-1]), known) or (f"; known here: {', '.join(known)}" if known else "")
        return f"{key}: unknown key{hint}"
    if fault["type"] == "missing":
        return f"{key}: missing; add it"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def _keys_at(model: Any, location: tuple[Any, ...]) -> Iterator[str]:
    """Yields the keys that a table of the case may have, following the annotations to the table."""
    candidates = [model]
    for part in location:
        following: list[Any] = []
        for candidate in candidates:
            field = candidate.model_fields.get(part)
            # An index, a key of a dict or the branch of a union is no field: the table stays the same.
            following += _tables_in(field.annotation) if field else [candidate]
        candidates = following
    for candidate in candidates:
        yield from candidate.model_fields


def _tables_in(annotation: Any) -> list[Any]:
    """Returns the table types named anywhere in an annotation such as list[Part] or dict[str, Material] | None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _tables_in(part)]


def to_toml(case: Case) -> str:
    """Returns the case with every default written out, as TOML that loads to the same case."""
    tables = case.model_dump(mode="json", exclude_none=True)
    return "\n".join(_toml_lines(tables, ())) + "\n"


def _toml_lines(table: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Plain values first, then sub-tables: TOML's own order."""
    nested = {k: v for k, v in table.items() if isinstance(v, dict)}
    arrays = {k: v for k, v in table.items() if isinstance(v, list) and v and all(isinstance(e, dict) for e in v)}
    for key, value in table.items():
        if key not in nested and key not in arrays:
            yield f"{_toml_key(key)} = {_toml_value(value)}"
    for key, value in nested.items():
        yield f"\n[{'.'.join(map(_toml_key, (*path, key)))}]"
        yield from _toml_lines(value, (*path, key))
    for key, entries in arrays.items():
        for entry in entries:
            yield f"\n[[{'.'.join(map(_toml_key, (*path, key)))}]]"
            yield from _toml_lines(entry, (*path, key))


def _toml_key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isascii() and plain.isalnum() else json.dumps(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(entry) for entry in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    return repr(value)
