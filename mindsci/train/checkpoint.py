"""Checkpoints of a training: whole folders only, the last two kept, read without executing what they hold.

A checkpoint is a folder of safetensors files, one for each process that wrote, and checkpoint.json with plain facts and
the checksum of each file. Tensors lie there under their names and places in the whole, by torch.distributed.checkpoint:
any number of processes takes them up again. Writing goes on beside the training, in a thread and a process group of
its own; a folder gets its name once all is on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mindsci.distributed.host import local
from mindsci.errors import InputError
from mindsci.files import flush, storage_errors, writing
from mindsci.train.parallel import Group, side_group

FORMAT = 2
KEPT = 2
FACTS = "checkpoint.json"
UNFINISHED = ".writing-"
READ_AT_ONCE = 1 << 24
"""bytes of a file that are hashed at once"""


class Stored:
    """A checkpoint on disk, its checksums verified."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        from torch.distributed.checkpoint import HuggingFaceStorageReader

        self.path, self.facts = path, facts
        self._described = HuggingFaceStorageReader(str(path)).read_metadata().state_dict_metadata
        self.shapes = {name: tuple(entry.size) for name, entry in self._described.items()}  # type: ignore[union-attr]

    def dtype(self, name: str) -> torch.dtype:
        """Returns the dtype of a tensor."""
        return self._described[name].properties.dtype  # type: ignore[union-attr]

    def read(self, into: dict[str, Tensor], group: Group) -> None:
        """Fills tensors in place, each with what lies under its name; of a DTensor, what this process holds.

        Every process must call it.
        """
        from torch.distributed import checkpoint

        with warnings.catch_warnings():
            # One process alone needs no process group; torch points that out each time.
            warnings.filterwarnings("ignore", message="torch.distributed is", category=UserWarning)
            reader = checkpoint.HuggingFaceStorageReader(str(self.path))
            checkpoint.load(into, storage_reader=reader, no_dist=group.world == 1)


class Checkpoints:
    """The folder of a training's checkpoints, one folder each, named after its step."""

    def __init__(self, folder: Path, log: Callable[[str], None], group: Group | None = None) -> None:
        self.folder, self._log, self.group = folder, log, group or Group()
        self._channel: dist.ProcessGroup | None = None
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def paths(self) -> list[Path]:
        """Returns the checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step_*") if path.is_dir())

    def save(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Begins to write tensors and plain facts, as they are now; of older checkpoints the last one is kept.

        Every process must call it. Waits for the writing before, and raises what ended it.
        """
        self.finish()
        if self.group.world > 1 and self._channel is None:
            self._channel = side_group()
        alone = self.group.world == 1  # what is sharded over one process is whole
        staged = {name: _staged(local(tensor) if alone else tensor) for name, tensor in tensors.items()}
        self._writer = threading.Thread(target=self._write, args=(step, staged, facts), name="checkpoint", daemon=True)
        self._writer.start()

    def finish(self) -> None:
        """Waits until what was begun is on disk. Raises StorageError where the disk refused it."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def newest(self) -> Stored | None:
        """Returns the newest checkpoint that is whole, or None where there is none.

        Every process must call it; the first one reads and verifies for all. Raises InputError where every checkpoint
        is damaged, or was written by another version.
        """
        found: Any = None
        if self.group.writes:
            try:
                found = self._newest()
            except InputError as error:
                found = error
        found = self.group.from_first(found)
        if isinstance(found, InputError):
            raise found
        return None if found is None else Stored(*found)

    def clean(self) -> None:
        """Removes what processes left that were killed while they wrote."""
        for leftover in self.folder.glob(UNFINISHED + "*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _newest(self) -> tuple[Path, dict[str, Any]] | None:
        self.clean()
        paths = self.paths()
        for path in reversed(paths):
            try:
                return path, _verified(path)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                if isinstance(error, InputError):
                    raise
                self._log(f"the checkpoint {path} is damaged ({_first_line(error)}); trying the one before")
        if paths:
            raise InputError(f"every checkpoint in {self.folder} is damaged; start anew in another folder")
        if any(self.folder.glob("step_*.pt")):
            raise InputError(
                f"the checkpoints in {self.folder} are single files of an older version; resume with that version, or "
                "start anew in another folder"
            )
        return None

    def _write(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        path = self.folder / f"step_{step:09d}"
        unfinished = path.with_name(UNFINISHED + path.name)
        facts = {"format": FORMAT, "step": step} | facts
        try:
            with storage_errors(path):
                unfinished.mkdir(parents=True, exist_ok=True)
                if self.group.world == 1:
                    save_file(tensors, unfinished / "state.safetensors")
                    _seal(unfinished, path, facts)
                else:
                    self._write_together(tensors, unfinished, path, facts)
                if self.group.writes:
                    for old in self.paths()[:-KEPT]:
                        shutil.rmtree(old, ignore_errors=True)
        except BaseException as error:  # raised in the thread that trains
            self._failure = error
            if self.group.writes:
                shutil.rmtree(unfinished, ignore_errors=True)

    def _write_together(self, tensors: dict[str, Tensor], unfinished: Path, path: Path, facts: dict[str, Any]) -> None:
        from torch.distributed import checkpoint
        from torch.distributed.checkpoint.api import CheckpointException

        class Sealing(checkpoint.HuggingFaceStorageWriter):
            """Gives the folder its name, on the first process, once every process has written its file."""

            def finish(self, metadata: Any, results: Any) -> None:
                _seal(unfinished, path, facts)

        writer = Sealing(str(unfinished), save_distributed=True)
        try:
            checkpoint.save(tensors, storage_writer=writer, process_group=self._channel)
        except CheckpointException as error:
            _, (reason, _) = min(error.failures.items())  # what ended the first process that failed
            raise reason from error


def _staged(tensor: Tensor) -> Tensor:
    """A copy on the host, which the next steps leave alone."""
    return tensor.detach().clone(memory_format=torch.contiguous_format).cpu()


def _seal(unfinished: Path, path: Path, facts: dict[str, Any]) -> None:
    """Notes the checksums, waits for the disk, and gives the folder its name."""
    written = sorted(unfinished.glob("*.safetensors"))
    sums = {file.name: {"bytes": file.stat().st_size, "sha256": _checksum(file)} for file in written}
    with writing(unfinished / FACTS) as temporary:
        temporary.write_text(json.dumps(facts | {"files": sums}, indent=1) + "\n", encoding="utf-8")
    for file in (*written, unfinished):
        flush(file)
    if path.exists():  # damaged: otherwise the training would have gone on from it
        shutil.rmtree(path)
    os.replace(unfinished, path)
    flush(path.parent)


def _verified(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint whose files are those that were written."""
    facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of format {FORMAT}; resume with the version that wrote it")
    present = {file.name for file in path.glob("*.safetensors")}
    if present != set(facts["files"]):
        raise ValueError(f"its files are {sorted(present)}, not {sorted(facts['files'])}")
    for name, wanted in facts["files"].items():
        if (path / name).stat().st_size != wanted["bytes"] or _checksum(path / name) != wanted["sha256"]:
            raise ValueError(f"{name} is not what was written")
    return facts


def _checksum(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_AT_ONCE):
            found.update(block)
    return found.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
