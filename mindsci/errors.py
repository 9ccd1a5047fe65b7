"""Errors that are the user's to mend: each says what was given, the limit, and what to do.

The command line prints these as one message and exits with status 2; anything else is a defect of
ours and keeps its traceback. Each class is also the built-in that a Python caller expects.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Base of every error whose message names a fix that the user can make."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.__class__.__name__


class InputError(UserError, ValueError):
    """A value, file or option that cannot be used as given."""


class UnknownNameError(UserError, LookupError):
    """A name that is not known; the message suggests the nearest one."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        known = sorted(known)
        return cls(f"unknown {kind} '{name}'{nearest(name, known)}; known: {', '.join(known) or 'none'}")


class MissingExtraError(UserError, ImportError):
    """An optional package that is needed here and not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        return cls(f"{purpose} needs the package '{package}', which is not installed; pip install 'mindsci[{extra}]'")


class StorageError(UserError, OSError):
    """A file or folder that cannot be read or written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the closest known name, or nothing."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""
