"""Where downloads are kept and how the network is used: read from the environment when a file is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mindsci.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """home: the cache folder. mirror: a folder or URL tried before a card's own URL, or "". offline: no network.

    timeout [s] is how long a server may be silent; attempts, how often in a row a broken transfer is taken up
    again without getting any further; pause [s], the wait before the second attempt, doubled for each further one.
    """

    home: Path
    mirror: str = ""
    offline: bool = False
    timeout: float = 30.0
    attempts: int = 4
    pause: float = 1.0

    @classmethod
    def from_environment(cls) -> Self:
        """Returns the settings that MINDSCI_HOME, MINDSCI_MIRROR and MINDSCI_OFFLINE make."""
        home = os.environ.get("MINDSCI_HOME") or Path.home() / ".cache" / "mindsci"
        return cls(
            home=Path(home).expanduser(),
            mirror=os.environ.get("MINDSCI_MIRROR", ""),
            offline=os.environ.get("MINDSCI_OFFLINE", "").lower() not in ("", "0", "false", "no"),
        )

    @property
    def mirror_url(self) -> str | None:
        """The mirror, where it is on the web. Raises InputError for an address of another kind."""
        scheme, separator, _ = self.mirror.partition("://")
        if separator and scheme not in ("http", "https"):
            raise InputError(f"MINDSCI_MIRROR={self.mirror} is neither a folder nor an http(s) address; set it to one")
        return self.mirror.rstrip("/") if separator else None

    @property
    def mirror_folder(self) -> Path | None:
        """The mirror, where it is a folder. Raises InputError where that folder is not there."""
        if not self.mirror or self.mirror_url:
            return None
        folder = Path(self.mirror).expanduser()
        if not folder.is_dir():
            raise InputError(f"MINDSCI_MIRROR={self.mirror} is not a folder; correct or unset it")
        return folder
