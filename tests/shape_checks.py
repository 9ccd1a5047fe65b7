"""Checks array shapes and kinds, as jaxtyping annotations state them, in every call that a test makes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jaxtyping
from beartype import beartype

PACKAGES = ("mindsci", "elec", "sponge")

# Numba and Triton read a function's source, which the checking decorator would hide from them.
COMPILES = re.compile(r"^\s*@(numba|nb|njit|triton)\b|\bnjit\(|\btriton\.jit\(", re.MULTILINE)


def install(root: Path) -> None:
    """Checks the modules that use jaxtyping as they are imported from now on.

    A package's own __init__ only re-exports, and its name would stand for every module below it.
    """
    files = {path: path.read_text(encoding="utf-8") for package in PACKAGES for path in (root / package).rglob("*.py")}
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path, text in files.items()
        if "jaxtyping" in text and path.stem != "__init__" and not COMPILES.search(text)
    ]
    jaxtyping.install_import_hook(modules, "shape_checks.check_shapes")


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function with beartype watching those arguments and results that are arrays with a shape."""
    hints = getattr(function, "__annotations__", {})
    function.__annotations__ = {name: hint for name, hint in hints.items() if _has_shape(hint)}
    return beartype(function) if function.__annotations__ else function


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_has_shape(part) for part in get_args(hint))
