"""A file is under its final name whole or not at all, and a refusal of the disk names the fix."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mindsci.errors import StorageError
from mindsci.files import storage_errors, writing


def test_file_appears_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    with writing(tmp_path / "result.npz") as temporary:
        assert temporary.suffix == ".npz"
        temporary.write_bytes(b"whole")
        assert not (tmp_path / "result.npz").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["result.npz"]
    assert (tmp_path / "result.npz").read_bytes() == b"whole"


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_earlier_file_survives_an_interrupted_write(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "restart.json"
    path.write_text("earlier")
    with pytest.raises(interruption), writing(path) as temporary:
        temporary.write_text("half")
        raise interruption
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_named(tmp_path: Path) -> None:
    # /dev/full refuses each write as a full disk does.
    with (
        pytest.raises(StorageError, match=r"result\.bin: the disk is full; free some space"),
        writing(tmp_path / "result.bin"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EROFS, "Read-only file system"), "the disk is read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission is denied"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (RuntimeError("Can't write data (file write failed: errno = 28, error message = 'No space')"), "disk is full"),
    ],
)
def test_refusals_of_every_writer_are_named(tmp_path: Path, error: Exception, said: str) -> None:
    with pytest.raises(StorageError, match=said), storage_errors(tmp_path / "trajectory.h5"):
        raise error


def test_missing_permission_on_another_file_is_not_blamed_on_this_one(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="elsewhere"), writing(tmp_path / "result.bin"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/input.stl")


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "result.bin"):
        1 / 0  # noqa: B018
