"""Arrays of npy and npz files, checked where they enter: shape, numbers that are finite, whole files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mindsci.errors import InputError, StorageError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a damaged npy or npz file raises inside the block into an error that names the file."""
    try:
        yield
    except (InputError, StorageError):
        raise
    except KeyError as error:
        raise InputError(f"'{path}' has no array {error}; is it the file of another data set?") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}' is damaged or cut short ({error}); fetch it again") from None
    except OSError as error:
        raise StorageError(f"cannot read '{path}': {error}") from None


def load_array(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[numpy.float64]:
    """Returns the array of an npy file, in the shape asked for where it has as many numbers."""
    with reading(path):
        return shaped(numpy.load(path, allow_pickle=False), path, path.stem, shape)


def shaped(array: NDArray, path: Path, key: str, shape: tuple[int, ...] | None) -> NDArray[numpy.float64]:
    """Returns the array as float64 in a shape. Raises InputError naming file and key where it has other numbers."""
    if shape is None:
        return array.astype(numpy.float64)
    if array.size != numpy.prod(shape):
        raise InputError(
            f"'{path}', {key}: {list(array.shape)} numbers, expected {list(shape)}; the file is cut short, or "
            "belongs to other frames"
        )
    return array.reshape(shape).astype(numpy.float64)


def finite(array: NDArray[numpy.float64], path: Path, key: str) -> Float[Tensor, "..."]:
    """Returns the array as a tensor, one row a frame. Raises InputError naming the first frame that is not finite."""
    good = numpy.isfinite(array.reshape(len(array), -1)).all(-1)
    if not good.all():
        raise InputError(
            f"'{path}', {key}: frame {int(numpy.argmin(good))} is not finite ({int((~good).sum())} frames are not); "
            "leave those frames out"
        )
    return torch.from_numpy(numpy.ascontiguousarray(array))
