"""Tabulated optical constants: files of refractiveindex.info (YAML), and tables in CSV.

Of YAML only what these files use is read: the list DATA of entries with a type, wavelengths in micrometres, and either
a table or the coefficients of one of nine dispersion formulas. No general YAML is parsed, and nothing is executed.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mindsci.errors import InputError, StorageError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

MICROMETRE = 1e-6
FORMULA_POINTS = 200
"""Samples of a dispersion formula over its range, even in frequency."""


class OpticalConstants(Tree):
    """Refractive index n - jk, k >= 0, with exp(+j omega t), at increasing frequencies."""

    name: str
    frequencies: Float[Tensor, "f"]
    """[Hz]"""
    index: Complex[Tensor, "f"]
    has_loss: bool
    """false where the source gives n alone; k is then zero"""

    @property
    def permittivity(self) -> Complex[Tensor, "f"]:
        return self.index**2

    def between(self, low: float, high: float) -> OpticalConstants:
        """Returns the samples between two frequencies [Hz]; InputError where fewer than four lie there."""
        inside = (self.frequencies >= low) & (self.frequencies <= high)
        if int(inside.sum()) < 4:
            first, last = (SPEED_OF_LIGHT / float(self.frequencies[i]) / MICROMETRE for i in (-1, 0))
            raise InputError(
                f"'{self.name}' has {int(inside.sum())} samples from {low:.4g} to {high:.4g} Hz; it covers "
                f"{first:.4g} to {last:.4g} um, {self.frequencies[0]:.4g} to {self.frequencies[-1]:.4g} Hz"
            )
        return OpticalConstants(
            name=self.name, frequencies=self.frequencies[inside], index=self.index[inside], has_loss=self.has_loss
        )


def read_optical_constants(path: Path | str) -> OpticalConstants:
    """Returns the constants in a .yml file of refractiveindex.info, or in a .csv of wavelength [um], n and, maybe, k.

    Raises StorageError for a file that cannot be read, InputError, naming the line, for one that makes no sense.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot read the optical constants '{path}': {error}") from None
    if path.suffix.lower() in (".yml", ".yaml"):
        return _from_entries(path, _entries(path, text))
    if path.suffix.lower() == ".csv":
        return _from_csv(path, text)
    raise InputError(f"'{path.name}' is neither .yml nor .csv; give a file of refractiveindex.info, or wavelength,n,k")


def _entries(path: Path, text: str) -> list[dict[str, str]]:
    """The entries of DATA: key -> text, a table's rows joined by newlines."""
    found: list[dict[str, str]] = []
    inside, key = False, ""
    for line in text.splitlines():
        if re.match(r"\S", line) and not line.startswith("#") and not line.startswith("-"):
            inside = line.strip() == "DATA:"
            continue
        if not inside or not line.strip() or line.lstrip().startswith("#"):
            continue
        item = re.match(r"\s*(- )?\s*([a-z_ ]+):\s*(.*)$", line)
        if item:
            if item[1] or not found:
                found.append({})
            key = item[2].strip()
            found[-1][key] = "" if item[3].strip() in ("|", ">") else item[3].strip()
        elif found and key:
            found[-1][key] += line.strip() + "\n"
    if not found:
        raise InputError(f"'{path.name}' has no list DATA; is it a file of refractiveindex.info?")
    return found


def _from_entries(path: Path, entries: list[dict[str, str]]) -> OpticalConstants:
    tables: dict[str, tuple[Tensor, Tensor]] = {}
    for entry in entries:
        kind = entry.get("type", "")
        if kind.startswith("tabulated"):
            rows = _numbers(path, entry.get("data", ""), columns=3 if kind.endswith("nk") else 2)
            for column, letter in enumerate(kind.split()[-1], start=1):
                tables[letter] = (rows[:, 0], rows[:, column])
        elif re.fullmatch(r"formula [1-9]", kind):
            wavelength = _formula_range(path, entry)
            coefficients = _numbers(path, entry.get("coefficients", ""), columns=0)[0]
            tables["n"] = (wavelength, _formula(int(kind[-1]), coefficients.tolist(), wavelength))
        else:
            raise InputError(
                f"'{path.name}' has data of type '{kind}'; known are tabulated n, k, nk and formula 1 to 9"
            )
    if "n" not in tables:
        raise InputError(f"'{path.name}' gives k alone; a refractive index needs n")
    wavelength, n = tables["n"]
    k = torch.zeros_like(n)
    if "k" in tables:
        k = _interpolated(wavelength, *tables["k"])
    return _constants(path, wavelength, n, k, has_loss="k" in tables)


def _from_csv(path: Path, text: str) -> OpticalConstants:
    lines = [line.replace(",", " ").replace(";", " ") for line in text.splitlines()]
    lines = [line for line in lines if re.match(r"\s*[-+.\d]", line)]
    columns = len(lines[0].split()) if lines else 0
    if columns not in (2, 3):
        raise InputError(f"'{path.name}' has {columns} columns; give wavelength [um], n and, maybe, k")
    rows = _numbers(path, "\n".join(lines), columns=columns)
    k = rows[:, 2] if columns == 3 else torch.zeros_like(rows[:, 1])
    return _constants(path, rows[:, 0], rows[:, 1], k, has_loss=columns == 3)


def _numbers(path: Path, text: str, *, columns: int) -> Tensor:
    """The rows of a table; with columns = 0, one row of any length."""
    rows = []
    for line in text.strip().splitlines():
        try:
            rows.append([float(word) for word in line.split()])
        except ValueError:
            raise InputError(f"'{path.name}': '{line.strip()[:60]}' is not a row of numbers") from None
        if columns and len(rows[-1]) != columns:
            raise InputError(f"'{path.name}': '{line.strip()[:60]}' has {len(rows[-1])} numbers, not {columns}")
    if not rows:
        raise InputError(f"'{path.name}' has an entry without numbers")
    return torch.tensor(rows, dtype=torch.float64)


def _constants(path: Path, wavelength: Tensor, n: Tensor, k: Tensor, *, has_loss: bool) -> OpticalConstants:
    if not bool((wavelength > 0).all() & n.isfinite().all() & (k >= 0).all()):
        raise InputError(f"'{path.name}' has wavelengths that are not positive, or a negative k (gain)")
    frequencies = SPEED_OF_LIGHT / (wavelength * MICROMETRE)
    order = frequencies.argsort()
    order = order[torch.cat([torch.ones(1, dtype=torch.bool), frequencies[order].diff() > 0])]
    return OpticalConstants(
        name=path.stem, frequencies=frequencies[order], index=torch.complex(n, -k)[order], has_loss=has_loss
    )


def _interpolated(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Linear interpolation; beyond the ends, the value there."""
    order = x.argsort()
    x, y = x[order], y[order]
    upper = torch.searchsorted(x.contiguous(), at.contiguous()).clamp(1, len(x) - 1)
    share = ((at - x[upper - 1]) / (x[upper] - x[upper - 1])).clamp(0.0, 1.0)
    return y[upper - 1] + share * (y[upper] - y[upper - 1])


def _formula_range(path: Path, entry: dict[str, str]) -> Tensor:
    """Wavelengths [um] even in frequency over the range of a formula."""
    text = entry.get("wavelength_range") or entry.get("range") or ""
    ends = _numbers(path, text, columns=2)[0].tolist()
    return 1.0 / torch.linspace(1.0 / ends[1], 1.0 / ends[0], FORMULA_POINTS, dtype=torch.float64)


def _formula(number: int, coefficients: list[float], wavelength: Tensor) -> Tensor:
    """Returns n at wavelengths [um] from a dispersion formula [Polyanskiy2024]."""
    c = coefficients + [0.0] * (17 - len(coefficients))
    pairs = [(coefficients[i], coefficients[i + 1]) for i in range(1, len(coefficients) - 1, 2)]
    w, square = wavelength, wavelength**2
    if number == 1:
        return (1.0 + c[0] + sum(a * square / (square - b**2) for a, b in pairs)).sqrt()
    if number == 2:
        return (1.0 + c[0] + sum(a * square / (square - b) for a, b in pairs)).sqrt()
    if number == 3:
        return (c[0] + sum(a * w**b for a, b in pairs)).sqrt()
    if number == 4:
        first = sum(c[i] * w ** c[i + 1] / (square - c[i + 2] ** c[i + 3]) for i in (1, 5) if c[i])
        rest = sum(coefficients[i] * w ** coefficients[i + 1] for i in range(9, len(coefficients) - 1, 2))
        return (c[0] + first + rest).sqrt()
    if number == 5:
        return c[0] + sum(a * w**b for a, b in pairs)
    if number == 6:
        return 1.0 + c[0] + sum(a / (b - 1.0 / square) for a, b in pairs)
    if number == 7:
        pole = 1.0 / (square - 0.028)
        return c[0] + c[1] * pole + c[2] * pole**2 + c[3] * square + c[4] * square**2 + c[5] * square**3
    if number == 8:
        ratio = c[0] + c[1] * square / (square - c[2]) + c[3] * square
        return ((1.0 + 2.0 * ratio) / (1.0 - ratio)).sqrt()
    shifted = w - c[4]
    return (c[0] + c[1] / (square - c[2]) + c[3] * shifted / (shifted**2 + c[5])).sqrt()


def frequency_band(wavelengths: tuple[float, float]) -> tuple[float, float]:
    """Returns the frequencies [Hz], low and high, of two wavelengths [m]."""
    low, high = sorted(wavelengths)
    if not (math.isfinite(high) and low > 0):
        raise InputError(f"wavelengths {list(wavelengths)} m must be positive")
    return SPEED_OF_LIGHT / high, SPEED_OF_LIGHT / low
