"""GROMACS's topology files before they mean anything: includes, macros, conditions, comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mindsci.errors import InputError, StorageError

DEEPEST = 32
"""includes within includes: beyond, a file includes itself"""


@dataclass(frozen=True)
class Line:
    """The words of a line, macros replaced, and where it stands."""

    words: list[str]
    where: str
    """'file:line', as messages name it"""


def read_lines(path: Path, *, include: Sequence[Path], defines: Mapping[str, str]) -> Iterator[Line]:
    """Yields the lines of a topology that hold something.

    A file that is included is looked for beside the one that asks for it, then in the `include` folders. Raises
    StorageError for one that is nowhere, InputError for conditions without an end.
    """
    if not path.is_file():
        raise StorageError(f"the topology file '{path}' does not exist; give the path of a .top file")
    yield from _Preprocessor(tuple(include), dict(defines)).lines(path, 0)


class _Preprocessor:
    def __init__(self, include: tuple[Path, ...], macros: dict[str, str]) -> None:
        self.include, self.macros = include, macros

    def lines(self, path: Path, depth: int) -> Iterator[Line]:
        if depth > DEEPEST:
            raise InputError(f"'{path}' includes itself; take the #include out")
        # One entry a condition that is open: whether its lines count.
        taken: list[bool] = []
        text = path.read_text(encoding="latin-1")
        # A backslash joins a line with the next; the numbers of lines stay.
        joined = re.sub(r"\\[ \t]*\n", "\x00", text)
        number = 1
        for raw in joined.split("\n"):
            here = number
            number += 1 + raw.count("\x00")
            line = raw.replace("\x00", " ").split(";", 1)[0].strip()
            if line.startswith("#"):
                yield from self._directive(line, path, here, taken, depth)
            elif line and all(taken):
                words = [word for written in line.split() for word in self.macros.get(written, written).split()]
                yield Line(words=words, where=f"{path}:{here}")
        if taken:
            raise InputError(f"'{path}' ends within an #ifdef or #ifndef; write the #endif")

    def _directive(self, line: str, path: Path, number: int, taken: list[bool], depth: int) -> Iterator[Line]:
        found = re.match(r"#\s*(\w+)\s*(.*)", line)
        name, rest = (found[1], found[2].strip()) if found else ("", "")
        where = f"'{path}:{number}'"
        if name in ("ifdef", "ifndef"):
            taken.append((rest.split()[0] in self.macros) == (name == "ifdef") if rest else False)
        elif name in ("else", "endif"):
            if not taken:
                raise InputError(f"{where}: #{name} without an #ifdef")
            last = taken.pop()
            if name == "else":
                taken.append(not last)
        elif name not in ("include", "define", "undef"):
            raise InputError(f"{where}: '{line}' is not known; write the topology out with `gmx grompp -pp`")
        elif all(taken):
            if name == "include":
                yield from self.lines(self._find(rest.strip('"<>'), path, where), depth + 1)
            elif name == "define":
                macro, _, value = rest.partition(" ")
                self.macros[macro] = value.strip()
            else:
                self.macros.pop(rest, None)

    def _find(self, name: str, asking: Path, where: str) -> Path:
        for folder in (asking.parent, *self.include):
            if (folder / name).is_file():
                return folder / name
        looked = ", ".join(f"'{folder}'" for folder in (asking.parent, *self.include))
        raise StorageError(
            f"{where} includes '{name}', which is not in {looked}; give `include`, the folder that holds it (GROMACS "
            "keeps its force fields in share/gromacs/top)"
        )
