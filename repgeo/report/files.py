"""Embedding files in, paired rows out: which format a file has, which row is which, and a sample of too many."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repgeo.report import formats, tables
from repgeo.report.rows import BadFile, Opened

ROWS = 20_000  # unless asked otherwise
HELD_BYTES = 2**28  # of float32 rows a side: wider matrices are sampled further
FEWEST = 20

READERS = {
    ".npy": (formats.npy, "numpy"),
    ".npz": (formats.npz, "numpy"),
    ".csv": (tables.csv, "pyarrow"),
    ".tsv": (tables.csv, "pyarrow"),
    ".parquet": (tables.parquet, "pyarrow"),
    ".arrow": (tables.arrow, "pyarrow"),
    ".feather": (tables.arrow, "pyarrow"),
    ".safetensors": (formats.safetensors, "safetensors"),
    ".h5ad": (formats.h5ad, "h5py"),
    ".h5": (formats.h5ad, "h5py"),
    ".hdf5": (formats.h5ad, "h5py"),
}


@dataclass(frozen=True)
class Rows:
    """The rows to look at: x (n, p), y (n, q) or None, labels (n,) or None as codes, classes, and what was done."""

    x: np.ndarray
    y: np.ndarray | None
    labels: np.ndarray | None
    classes: tuple[str, ...]
    files: tuple[dict, ...]
    notes: tuple[str, ...]


def open_matrix(path, *, without: tuple[str, ...] = ()) -> Opened:
    """The matrix in a file, unread: its shape, dtype and how to take rows of it; `file::key` chooses one of several.

    Reads `.npy`, `.npz`, `.safetensors`, `.csv`, `.tsv`, `.parquet`, `.arrow`, `.feather`, `.h5ad` and HDF5, and the
    folders that the datasets library saves. Columns in `without` are no features. Nothing is unpickled; what lies in
    another file, or is compressed and unfolds to more than 1 GiB at once, is refused before it is unfolded. Raises
    `BadFile`, a ValueError of one line, which names the file and the cause.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", np.arange(6.0).reshape(3, 2))
    ...     found = open_matrix(f"{folder}/x.npy")
    ...     found.n, found.p, found.take(np.array([0, 2])).tolist()
    (3, 2, [[0.0, 1.0], [4.0, 5.0]])
    """
    path, key = _split(path)
    return _guarded(path, lambda reader: reader(path, key, without))


def gather(a, b=None, *, ids=None, labels=None, rows: int | None = None, seed: int = 0) -> Rows:
    """Rows of the file a, and of b beside them: matched by `ids` where given, in order otherwise; a sample if many.

    `ids`: a column that both files have, or a pair of columns or files, one a side. `labels`: a column of a, or a file
    with one class for each row of a. At most `rows` rows are drawn, without replacement, from `seed`. Raises `BadFile`.
    """
    ids = (ids, ids) if isinstance(ids, str | Path) else tuple(ids or ())
    if len(ids) == 1:
        ids = ids * 2
    if len(ids) > 2:
        raise BadFile(ids[2], "expected one or two ids, a side each")
    beside = tuple(str(name) for name in (*ids, labels) if name is not None and not _is_file(name))
    opened = [open_matrix(path, without=beside) for path in ((a,) if b is None else (a, b))]
    notes, orders = [], [np.arange(one.n) for one in opened]
    if ids and b is not None:
        named = [_ids(one, name) for one, name in zip(opened, ids, strict=False)]
        _, *orders = np.intersect1d(*named, assume_unique=True, return_indices=True)
        if len(orders[0]) < FEWEST:
            raise BadFile(
                opened[1].shown, f"shares {len(orders[0])} ids with {opened[0].shown}; at least {FEWEST} needed"
            )
        by_first = np.argsort(orders[0])
        orders = [order[by_first] for order in orders]
        left = ", ".join(
            f"{one.n - len(order):,} rows of {one.path.name}" for one, order in zip(opened, orders, strict=True)
        )
        notes.append(f"Rows were matched by id: {len(orders[0]):,} ids stand in both; without a partner are {left}.")
    elif b is not None and opened[0].n != opened[1].n:
        raise BadFile(
            opened[1].shown,
            f"has {opened[1].n:,} rows, but {opened[0].shown} has {opened[0].n:,}; row i of "
            f"both must be the same sample, or give ids",
        )
    elif b is not None:
        notes.append("Row i of one file was taken for the same sample as row i of the other.")
    n = len(orders[0])
    if n < FEWEST:
        raise BadFile(opened[0].shown, f"has {n} rows; at least {FEWEST} are needed")
    codes, classes = (None, ()) if labels is None else _classes(opened[0], labels)
    widest = max(one.p for one in opened)
    fit = HELD_BYTES // (4 * widest)
    if fit < FEWEST:
        raise BadFile(opened[0].shown, f"has rows of {widest:,} features, too wide to hold {FEWEST} of them")
    limit = min(rows or ROWS, fit)
    if n > limit:
        kept = np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))
        orders = [order[kept] for order in orders]
        notes.append(f"Of {n:,} rows a random sample of {limit:,} was taken (seed {seed}).")
    held = [_taken(one, order) for one, order in zip(opened, orders, strict=True)]
    files = tuple(
        {
            "file": one.path.name,
            "key": one.shown[len(str(one.path)) + 2 :] or None,
            "rows": one.n,
            "features": one.p,
            "dtype": one.dtype,
            "memory_mapped": one.mapped,
        }
        for one in opened
    )
    codes = None if codes is None else codes[orders[0]]
    return Rows(held[0], held[1] if b is not None else None, codes, classes, files, tuple(notes))


def column(path, name: str = "values") -> np.ndarray:
    """One value a row (n,) from a file: `.txt` lines, a `.npy` vector, or `file::key` of a table or an archive."""
    path, key = _split(path)
    if path.suffix == ".txt":
        return np.array(_guarded(path, lambda _: path.read_text("utf-8").splitlines(), reader=False))
    if path.suffix == ".npy":
        found = _guarded(path, lambda _: np.asarray(formats.mapped_npy(path)))
    elif path.suffix == ".npz" and key is None:
        found = _guarded(path, lambda _: formats.npz_vector(path))
    else:
        found = _guarded(
            path,
            lambda _: (
                tables.one_column(path, key)
                if path.suffix in tables.TEXT_AND_COLUMNS
                else open_matrix(path).column(key or name)
            ),
        )
    if found.ndim != 1:
        raise BadFile(path, f"expected one of the {name} a row; got shape {found.shape}")
    return found


def _split(path) -> tuple[Path, str | None]:
    path, _, key = str(path).partition("::")
    return Path(path), key or None


def _is_file(name) -> bool:
    path, _ = _split(name)
    return path.suffix in (*READERS, ".txt") or path.exists()


def _guarded(path: Path, read, reader: bool = True):
    """What `read` returns of a file that is there; whatever goes wrong becomes one line with the file's name."""
    if not path.exists():
        raise BadFile(path, "no such file")
    kind = READERS.get(path.suffix.lower(), (None, ""))
    if path.is_dir():
        kind = (tables.folder, "pyarrow")
    elif not path.is_file():
        raise BadFile(path, "is no regular file")
    elif reader and kind[0] is None:
        raise BadFile(path, f"unknown kind of file; known are {', '.join(READERS)} and folders of datasets")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(kind[0])
    except BadFile:
        raise
    except ImportError as error:
        package = (error.name or kind[1]).split(".")[0]
        raise BadFile(path, f"needs the package {package}: pip install 'repgeo[report]'") from None
    except MemoryError:
        raise BadFile(path, "does not fit into memory") from None
    except PermissionError:
        raise BadFile(path, "may not be read (permission denied)") from None
    except Exception as error:  # readers of six formats raise what they like
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said = said.replace(f"{path}: ", "").strip("'\"")
        raise BadFile(path, f"cannot be read as {path.suffix or 'a dataset'}: {said[:160]}") from None


def _taken(one: Opened, order: np.ndarray) -> np.ndarray:
    """The rows in that order as float32, finite and not all the same."""
    ascending = np.argsort(order)
    raw = _guarded(one.path, lambda _: one.take(order[ascending]))
    with np.errstate(over="ignore"):
        held = np.asarray(raw, np.float32)
    finite = np.isfinite(held).all(1)
    if not finite.all():
        bad = order[ascending][~finite]
        what = "NaN" if np.isnan(held).any() else "a number that is infinite as float32"
        raise BadFile(one.shown, f"{what} in {len(bad)} of {len(held)} rows, the first is row {bad.min()}")
    if (held == held[:1]).all():
        raise BadFile(one.shown, f"all {len(held)} rows are the same")
    if not np.array_equal(ascending, np.arange(len(order))):
        held = held[np.argsort(ascending)]
    return np.ascontiguousarray(held)


def _ids(one: Opened, name) -> np.ndarray:
    """The ids of all rows of a file, as text."""
    where = name if _is_file(name) else one.path
    found = column(name, "ids") if _is_file(name) else _own_column(one, name)
    if len(found) != one.n:
        raise BadFile(where, f"has {len(found):,} ids for the {one.n:,} rows of {one.shown}")
    found = np.asarray(found).astype(str)
    names, counts = np.unique(found, return_counts=True)
    if len(names) < len(found):
        twice = names[counts > 1]
        raise BadFile(where, f"ids must differ; {len(twice)} occur more than once, the first is {str(twice[0])!r}")
    return found


def _own_column(one: Opened, name) -> np.ndarray:
    if one.column is None:
        raise BadFile(one.path, f"has no column {name!r}: it holds one array; give a file instead")
    if name in ("id", "ids", "index") and name not in one.names and one.natural:
        name = one.natural
    return _guarded(one.path, lambda _: np.asarray(one.column(name)))


def _classes(one: Opened, labels) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes (n,) from 0 and the names of the classes."""
    where = labels if _is_file(labels) else one.shown
    found = column(labels, "labels") if _is_file(labels) else _own_column(one, labels)
    if len(found) != one.n:
        raise BadFile(where, f"has {len(found):,} labels for the {one.n:,} rows of {one.shown}")
    found = np.asarray(found)
    if found.dtype.kind == "f":
        if not np.isfinite(found).all():
            raise BadFile(where, f"{np.count_nonzero(~np.isfinite(found))} labels are NaN or infinite")
        if np.any(found != np.round(found)):
            raise BadFile(where, "labels must be classes; got numbers with decimals: bin them first")
        found = found.astype(np.int64)
    names, codes = np.unique(found if found.dtype.kind in "iub" else found.astype(str), return_inverse=True)
    if len(names) < 2:
        raise BadFile(where, "labels must differ; all are the same")
    return codes, tuple(str(name) for name in names)
