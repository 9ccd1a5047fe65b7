"""Fetching one URL into a file, taking up a broken transfer where it ended. Nothing here knows about cards."""

from __future__ import annotations

import http.client
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from mindsci.errors import StorageError
from mindsci.files import storage_errors
from mindsci.hub.settings import Settings

CHUNK = 1 << 18
PASSING = (408, 429, 500, 502, 503, 504)
"""Answers of a server that is busy or restarting: the same request may succeed a moment later."""


class DownloadError(StorageError):
    """A file that could not be fetched; the message names its address, what was expected and what came."""


class NotThereError(DownloadError):
    """The server says that it has no such file."""


class _BrokenTransfer(Exception):
    """Worth another attempt."""


_WORTH_ANOTHER = (_BrokenTransfer, http.client.HTTPException, urllib.error.URLError, ConnectionError, TimeoutError)


class _SameTrust(urllib.request.HTTPRedirectHandler):
    """Follows redirects to another web address only, and never from https to plain http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old, new) == ("https", "http"):
            fp.close()
            raise DownloadError(
                f"{req.full_url} redirects to {newurl}, which is refused: a download stays on the web and on https; "
                "mend the card's url or use MINDSCI_MIRROR"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Fetches `url` into the file `part`, which ends up with exactly `size` bytes; what it holds already is kept."""

    url: str
    part: Path
    size: int
    settings: Settings
    shown: Callable[[int], None]

    def run(self) -> None:
        """Raises NotThereError, or DownloadError once `settings.attempts` in a row got no further."""
        furthest, failures = self._held(), 0
        while self._held() != self.size:
            try:
                self._attempt()
            except _WORTH_ANOTHER as error:
                failures = 0 if self._held() > furthest else failures + 1
                furthest = max(furthest, self._held())
                if failures >= self.settings.attempts:
                    raise DownloadError(self._gave_up(error)) from error
                # The random part keeps many workers from coming back at the same moment.
                time.sleep(self.settings.pause * 2.0 ** (failures - 1) * random.uniform(0.75, 1.25))

    def _held(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self) -> None:
        if (held := self._held()) > self.size:
            self.part.unlink()
            held = 0
        headers = {"User-Agent": "mindsci", "Accept-Encoding": "identity"}
        if held:
            headers["Range"] = f"bytes={held}-"
        request = urllib.request.Request(self.url, headers=headers)
        try:
            with urllib.request.build_opener(_SameTrust).open(request, timeout=self.settings.timeout) as response:
                self._store(response, held)
        except urllib.error.HTTPError as error:
            error.close()
            self._refused(error.code, error.reason)

    def _refused(self, code: int, reason: str) -> None:
        if code == 416:  # the range starts past the end: what is held belongs to another version of the file
            self.part.unlink(missing_ok=True)
            raise _BrokenTransfer("the part held did not fit the server's file")
        if code in PASSING:
            raise _BrokenTransfer(f"the server answered {code} {reason}")
        advice = "check the card's url, or put the file under MINDSCI_MIRROR"
        kind = NotThereError if code in (404, 410) else DownloadError
        raise kind(f"{self.url}: the server answered {code} {reason}, expected the file ({self.size} bytes); {advice}")

    def _store(self, response: Any, held: int) -> None:
        """Appends the body to the part, or starts over where the server sent the file from its beginning."""
        resumed = response.status == 206 and (response.headers["Content-Range"] or "").startswith(f"bytes {held}-")
        start = held if resumed else 0
        if response.length is not None and response.length + start != self.size:
            raise DownloadError(
                f"{self.url} has {response.length + start} bytes, expected {self.size}: the file changed upstream or "
                "is not the one that the card describes; update mindsci or mend the card"
            )
        with storage_errors(self.part), open(self.part, "ab" if resumed else "wb") as part:
            received = self._copy(response, part, start)
        if received < self.size:
            raise _BrokenTransfer(f"the connection ended after {received} of {self.size} bytes")

    def _copy(self, response: Any, part: IO[bytes], received: int) -> int:
        while chunk := response.read1(CHUNK):
            received += len(chunk)
            if received > self.size:
                raise DownloadError(f"{self.url} sends more than the {self.size} bytes expected; mend the card's url")
            part.write(chunk)
            self.shown(received)
        return received

    def _gave_up(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        return (
            f"{self.url}: {reason}; gave up after {self.settings.attempts} attempts without progress, with "
            f"{self._held()} of {self.size} bytes. Run the same command again to continue, or set MINDSCI_MIRROR to a "
            "folder that has the file"
        )
