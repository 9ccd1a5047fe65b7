"""Writing files so that a reader never meets half of one, and saying plainly why a disk refused."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from mindsci.errors import StorageError, UserError

_FIXES = {
    errno.ENOSPC: "the disk is full; free some space or choose a folder on another disk",
    errno.EDQUOT: "your disk quota is used up; free some space or choose a folder on another disk",
    errno.EROFS: "the disk is read-only; choose a folder on a writable one",
    errno.EACCES: "permission is denied; choose a folder that you may write to, or change its permissions",
    errno.EPERM: "permission is denied; choose a folder that you may write to, or change its permissions",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
}

# safetensors (Rust) and HDF5 report the operating system's code only inside their message.
_CODE_IN_MESSAGE = re.compile(r"(?:os error |errno = |\[Errno )(\d+)")


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`; once the block ends well, it is on disk under `path`, whole.

    The temporary name ends on the final one, since many writers choose a format by the extension. When the
    block raises, the temporary file is removed and an earlier file at `path` is left as it was.

    Raises StorageError where the disk is full, read-only or forbidden.
    """
    path = Path(path)
    temporary = path.with_name(f".writing-{secrets.token_hex(4)}-{path.name}")
    with storage_errors(path):
        try:
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)  # the new name itself is on disk only after its folder is
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turns a refusal of the disk inside the block into a StorageError that names `path` and the fix."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = _system_code(error)
        if code not in _FIXES or _is_about_another_file(error, Path(path)):
            raise
        raise StorageError(f"cannot write {path}: {_FIXES[code]}") from error


def flush(path: Path) -> None:
    """Waits until the file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _system_code(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _CODE_IN_MESSAGE.search(str(error))
    return int(found.group(1)) if found else None


def _is_about_another_file(error: Exception, path: Path) -> bool:
    """A block that writes one file may fail to read another; that is not this path's fault."""
    name = getattr(error, "filename", None)
    if not isinstance(name, (str, os.PathLike)):
        return False
    given, wanted = Path(name).absolute(), path.absolute()
    return wanted.parent != given.parent and given not in (wanted, *wanted.parents) and wanted not in given.parents
