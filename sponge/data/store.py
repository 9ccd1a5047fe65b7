"""Arrays that grow: kept in memory, or written to a folder once and mapped from there, so that no data is too large."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mindsci.errors import StorageError
from mindsci.files import storage_errors

CONTENTS = "contents.json"


class ArrayWriter:
    """Appends to named arrays; `finish` returns them whole. With a folder they grow on disk, else in memory.

    The folder has its name only once it is whole: files are written in one beside it, which is then renamed. Leaving
    the block without `finish` removes what was written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._parts: dict[str, list[Tensor]] = {}
        self._files: dict[str, Any] = {}
        self._kinds: dict[str, tuple[torch.dtype, list[int]]] = {}
        self._rows: dict[str, int] = {}
        self._temporary = None if folder is None else folder.with_name(f".writing-{secrets.token_hex(4)}-{folder.name}")

    def __enter__(self) -> Self:
        if self._temporary is not None:
            with storage_errors(self._temporary):
                self._temporary.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def append(self, **arrays: Tensor) -> None:
        """Adds rows to arrays, whose dtype and shape of a row are those of the first call."""
        for name, array in arrays.items():
            dtype, shape = self._kinds.setdefault(name, (array.dtype, list(array.shape[1:])))
            array = array.to(dtype).reshape(-1, *shape).contiguous()
            self._rows[name] = self._rows.get(name, 0) + len(array)
            if self._temporary is None:
                self._parts.setdefault(name, []).append(array)
                continue
            with storage_errors(self._temporary):
                if name not in self._files:
                    self._files[name] = open(self._temporary / f"{name}.bin", "wb")  # noqa: SIM115
                self._files[name].write(array.numpy().tobytes())

    def finish(self, about: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns the arrays; on disk, they are kept under the folder's name with what is said about them."""
        if self._temporary is None or self.folder is None:
            return {name: torch.cat(parts) for name, parts in self._parts.items()}
        with storage_errors(self.folder):
            for file in self._files.values():
                file.close()
            arrays = {
                name: {"dtype": str(dtype).removeprefix("torch."), "shape": [self._rows[name], *shape]}
                for name, (dtype, shape) in self._kinds.items()
            }
            (self._temporary / CONTENTS).write_text(json.dumps({"arrays": arrays, "about": dict(about)}))
            if not (self.folder / CONTENTS).exists():  # else another process was faster, with the same
                self._temporary.rename(self.folder)
        return mapped(self.folder)[0]


def mapped(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the arrays of a folder, mapped and not read, and what was said about them."""
    try:
        contents = json.loads((folder / CONTENTS).read_text())
    except (OSError, ValueError) as error:
        raise StorageError(f"'{folder}' holds no arrays ({error}); remove it, and it is made again") from None
    arrays = {}
    for name, kind in contents["arrays"].items():
        dtype, path = getattr(torch, kind["dtype"]), folder / f"{name}.bin"
        size = torch.Size(kind["shape"]).numel()
        if path.stat().st_size != size * dtype.itemsize:
            raise StorageError(f"'{path}' has another size than '{folder / CONTENTS}' says; remove the folder")
        flat = torch.from_file(str(path), shared=False, size=size, dtype=dtype) if size else torch.empty(0, dtype=dtype)
        arrays[name] = flat.reshape(kind["shape"])
    return arrays, contents["about"]
