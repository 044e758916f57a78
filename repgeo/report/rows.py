"""What an opened file is: rows that can be taken out by number, and columns of names beside them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BLOCK_BYTES = 2**24  # of a file that can only be read from front to back, at a time
HOLDS = 2**30  # bytes that a compressed array may unfold to, since it has to be unfolded whole
HEADER_BYTES = 2**16  # of one array in an archive


class BadFile(ValueError):
    """A file that cannot be used, in one line: its name and the cause."""

    def __init__(self, path, cause: str):
        self.path = str(path)
        super().__init__(" ".join(f"{path}: {cause}".split()))


@dataclass(frozen=True)
class Opened:
    """A matrix in a file: `take` gives the rows of ascending numbers, as stored; `column` the values of a named column.

    n rows of p features; `shown` is the path with the key that was chosen; `names` are the columns beside the matrix.
    `mapped` says that rows are taken from the file without reading the others.
    """

    path: Path
    shown: str
    n: int
    p: int
    dtype: str
    take: Callable[[np.ndarray], np.ndarray]
    column: Callable[[str], np.ndarray] | None = None
    names: tuple[str, ...] = field(default=())
    mapped: bool = False
    natural: str | None = None  # the column that names rows by the format's own rules


def real_matrix(path, shape, dtype, what: str = "") -> None:
    """BadFile unless the shape is that of a matrix and the dtype one of real numbers."""
    where = f"{what}: " if what else ""
    dtype = np.dtype(dtype)
    if dtype.hasobject:
        raise BadFile(path, f"{where}holds Python objects, which are never unpickled; save a plain array of numbers")
    if dtype.kind == "V" and dtype.itemsize == 2 and dtype.name != "bfloat16":
        raise BadFile(path, f"{where}dtype {dtype.str}, as NumPy stores bfloat16; save it as float32")
    if dtype.kind not in "fiub" and dtype.name != "bfloat16":
        raise BadFile(path, f"{where}expected real numbers; got dtype {dtype}")
    if len(shape) != 2:
        raise BadFile(path, f"{where}expected a matrix (rows are samples); got shape {tuple(shape)}")
    if min(shape) < 1:
        raise BadFile(path, f"{where}expected rows and features; got shape {tuple(shape)}")


def the_one(path, found: dict[str, tuple], key: str | None) -> str:
    """The key asked for, or the only one that holds a matrix of real numbers; `found` has shape and dtype by key."""
    if key is not None:
        if key not in found:
            raise BadFile(path, f"has no {key!r}; it has {_listed(found) or 'nothing'}")
        return key
    fit = [k for k, (shape, dtype) in found.items() if len(shape) == 2 and dtype is not None and _real(dtype)]
    if len(fit) == 1:
        return fit[0]
    if not fit:
        if len(found) == 1:
            ((only, (shape, dtype)),) = found.items()
            real_matrix(path, shape, "V8" if dtype is None else dtype, only)
        raise BadFile(path, f"holds no matrix of real numbers; it has {_listed(found) or 'nothing'}")
    raise BadFile(path, f"holds {len(fit)} matrices ({', '.join(fit[:8])}); choose with {Path(path).name}::{fit[0]}")


def _real(dtype) -> bool:
    dtype = np.dtype(dtype)
    return dtype.kind in "fiub" or (dtype.kind == "V" and dtype.itemsize == 2)


def _listed(found) -> str:
    return ", ".join(f"{k} {'x'.join(map(str, shape))}" for k, (shape, _) in list(found.items())[:8])


def in_order(rows: np.ndarray, blocks) -> np.ndarray:
    """The rows of ascending numbers out of consecutive blocks of a longer matrix, without keeping the rest."""
    parts, start = [], 0
    for block in blocks:
        low, high = np.searchsorted(rows, [start, start + len(block)])
        if high > low:
            parts.append(np.asarray(block)[rows[low:high] - start])
        start += len(block)
        if high == len(rows):
            break
    return np.concatenate(parts)
