"""A card's files as local paths: beside the card, in the cache, from the mirror, from the web, in that order.

A file has its final name in the cache only once its checksum is right, so that its name is a promise.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from mindsci.errors import StorageError
from mindsci.files import flush, storage_errors
from mindsci.hub.cards import Card, File
from mindsci.hub.settings import Settings
from mindsci.hub.transfer import DownloadError, NotThereError, Transfer
from mindsci.progress import Progress

logger = logging.getLogger(__name__)


def local_files(card: Card, settings: Settings | None = None) -> dict[str, Path]:
    """Returns the path of each file of a card, its content checked, after fetching what is not here yet.

    Raises DownloadError, or StorageError where the cache folder refuses.
    """
    settings = settings or Settings.from_environment()
    return {file.name: local_file(card, file, settings) for file in card.all_files}


def local_file(card: Card, file: File, settings: Settings) -> Path:
    """Returns the path of one file of a card, fetched if need be."""
    path = place(card, file, settings)
    if fault(path, file) is None:
        return path
    if path.parent == card.folder:
        raise StorageError(f"{path}: {fault(path, file)}; it came with its card: install mindsci again")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            if fault(path, file) is not None:  # another process may have fetched it while this one waited
                _fetch(card, file, path, settings)
    return path


def place(card: Card, file: File, settings: Settings) -> Path:
    """Returns where a file lies or would lie: beside its card where it was shipped, else in the cache."""
    shipped = card.folder / file.name
    return shipped if shipped.exists() else settings.home / card.kind / card.name / file.name


def fault(path: Path, file: File) -> str | None:
    """Returns what is wrong with the file at a path, or None where it is the one that the card describes."""
    if not path.exists():
        return "not here"
    if (size := path.stat().st_size) != file.bytes:
        return f"has {size} bytes, expected {file.bytes}"
    if (found := checksum(path)) != file.sha256:
        return f"has sha256 {found}, expected {file.sha256}"
    return None


def checksum(path: Path) -> str:
    """Returns the file's sha256 in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _lock(path: Path) -> FileLock:
    """One process at a time fetches a file; the system lets go of the lock when its holder dies."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is fetching %s; waiting for it", path.name)
        lock.acquire()
    return lock


def _fetch(card: Card, file: File, path: Path, settings: Settings) -> None:
    part = path.with_name(f"{path.name}.part")
    if path.exists():
        logger.warning("%s %s; fetching it again", path, fault(path, file))
    mirrored = file.mirror or f"{card.kind}/{card.name}/{file.name}"
    folder = settings.mirror_folder
    if folder is not None and (folder / mirrored).is_file():
        shutil.copyfile(folder / mirrored, part)
        _accept(part, path, file, str(folder / mirrored))
        return
    urls = [f"{settings.mirror_url}/{quote(mirrored)}"] if settings.mirror_url else []
    urls += [file.url] if file.url else []
    if not urls:
        where = f"{folder / mirrored} is not there" if folder else "MINDSCI_MIRROR is not set"
        raise DownloadError(
            f"{card.name}: {file.name} has no url and {where}; set MINDSCI_MIRROR to a mirror that has it"
        )
    if settings.offline:
        raise DownloadError(
            f"{card.name}: {file.name} is not in {settings.home} and MINDSCI_OFFLINE forbids fetching {urls[-1]}; "
            "unset MINDSCI_OFFLINE, or set MINDSCI_MIRROR to a folder that has it"
        )
    for url in urls:
        try:
            _download(url, part, file, settings)
        except NotThereError:
            if url == urls[-1]:
                raise
            continue
        _accept(part, path, file, url)
        return


def _download(url: str, part: Path, file: File, settings: Settings) -> None:
    resumed = part.exists()
    quiet = not sys.stderr.isatty()
    with Progress(file.bytes // 1000, f"fetching {file.name}", unit="kB", quiet=quiet) as bar:
        transfer = Transfer(
            url=url,
            part=part,
            size=file.bytes,
            settings=settings,
            shown=lambda received: bar.advance(received // 1000 - bar.done),
        )
        transfer.run()
        if resumed and checksum(part) != file.sha256:
            # What an earlier command left was of another file: only a transfer from the start can tell.
            part.unlink()
            transfer.run()


def _accept(part: Path, path: Path, file: File, source: str) -> None:
    """Gives the part its final name if it is the file that the card describes, else removes it."""
    if (wrong := fault(part, file)) is not None:
        part.unlink()
        raise DownloadError(
            f"{source} {wrong}: the file changed or was damaged on its way, and nothing was kept; try again, and if it "
            "stays so update mindsci or mend the card"
        )
    flush(part)
    os.replace(part, path)
    flush(path.parent)
