"""One function a format: what a file holds, memory-mapped where the format allows; nothing is ever unpickled."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from repgeo.report.rows import BLOCK_BYTES, HEADER_BYTES, HOLDS, BadFile, Opened, in_order, real_matrix, the_one


def npy(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """A `.npy` file, memory-mapped."""
    _no_key(path, key)
    a = mapped_npy(path)
    real_matrix(path, a.shape, a.dtype)
    return Opened(path, str(path), *a.shape, str(a.dtype), lambda rows: np.asarray(a[rows]), mapped=True)


def mapped_npy(path: Path) -> np.ndarray:
    """The array of a `.npy` file as a memory map; BadFile for objects and whatever is no such file."""
    with path.open("rb") as file:
        start = file.read(8)
        if not start:
            raise BadFile(path, "is empty (0 bytes)")
        if start[:6] != b"\x93NUMPY":
            raise BadFile(path, f"is no .npy file: {_looks_like(start)}")
        file.seek(0)
        shape, order, dtype = _npy_header(file)
        offset = file.tell()
    return _map(path, offset, shape, order, dtype)


def npz(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """A `.npz` archive: arrays that are stored plainly are memory-mapped, compressed ones are unfolded."""
    heads = _npz_heads(path)
    key = the_one(path, {k: (shape, dtype) for k, (shape, _, dtype, _) in heads.items()}, key)
    real_matrix(path, heads[key][0], heads[key][2], key)
    a, is_map = _npz_array(path, key, *heads[key])

    def column(name):
        if name not in heads:
            raise BadFile(path, f"has no {name!r}; it has {', '.join(heads)}")
        return np.asarray(_npz_array(path, name, *heads[name])[0])

    others = tuple(k for k, (shape, *_) in heads.items() if len(shape) == 1)
    return Opened(
        path, f"{path}::{key}", *a.shape, str(a.dtype), lambda rows: np.asarray(a[rows]), column, others, is_map
    )


def _npz_heads(path):
    """(shape, column-major?, dtype, member) by key, from the first bytes of each member."""
    if path.stat().st_size == 0:
        raise BadFile(path, "is empty (0 bytes)")
    heads = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            if member.flag_bits & 1:
                raise BadFile(path, f"{member.filename} is encrypted")
            with archive.open(member) as file:
                heads[member.filename[:-4]] = (*_npy_header(file), member)
    if not heads:
        raise BadFile(path, "is an archive without arrays")
    return heads


def _npz_array(path, key, shape, order, dtype, member):
    if dtype.hasobject:
        raise BadFile(path, f"{key}: holds Python objects, which are never unpickled; save a plain array")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if member.compress_type != zipfile.ZIP_STORED and size > HOLDS:
        raise BadFile(
            path,
            f"{key}: unfolds to {size / 2**30:.1f} GiB, more than the {HOLDS / 2**30:.0f} GiB that a "
            f"compressed array may take; save it with numpy.savez, which can be memory-mapped",
        )
    if member.file_size < size:
        raise BadFile(path, f"{key}: is cut short: {member.file_size} bytes for an array of {size}")
    if member.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            file.seek(member.header_offset)
            local = file.read(30)
            file.seek(member.header_offset + 30 + sum(struct.unpack("<HH", local[26:30])))
            _npy_header(file)
            return _map(path, file.tell(), shape, order, dtype), True
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        _npy_header(file)
        held = np.frombuffer(file.read(size), dtype)
    return (held.reshape(shape[::-1]).T if order else held.reshape(shape)), False


def _npy_header(file):
    """Shape, column-major?, dtype; a header that claims to be longer than any is not unfolded."""
    start = file.read(8)
    field = file.read(2 if start[6:8] == b"\x01\x00" else 4)
    length = int.from_bytes(field, "little")
    if length > HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes, more than {HEADER_BYTES}")
    head = io.BytesIO(start + field + file.read(length))
    version = np.lib.format.read_magic(head)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(head)


def _map(path, offset, shape, order, dtype):
    if dtype.hasobject:
        raise BadFile(path, "holds Python objects, which are never unpickled; save a plain array of numbers")
    size, there = int(np.prod(shape, dtype=object)) * dtype.itemsize, path.stat().st_size - offset
    if there < size:
        raise BadFile(path, f"is cut short: {there} bytes of {size} for shape {tuple(shape)} of {dtype}")
    if size == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, tuple(shape), "F" if order else "C")


def safetensors(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """A `.safetensors` file, memory-mapped."""
    from safetensors import safe_open

    if path.stat().st_size == 0:
        raise BadFile(path, "is empty (0 bytes)")
    with safe_open(path, framework="np") as file:
        parts = {k: file.get_slice(k) for k in file.keys()}  # noqa: SIM118  (it is no mapping)
        found = {k: (tuple(part.get_shape()), _of_tensor(part.get_dtype())) for k, part in parts.items()}
    key = the_one(path, found, key)
    shape, dtype = found[key]
    if dtype is None:
        raise BadFile(path, f"{key}: expected real numbers; got a dtype that NumPy lacks; save it as float32")
    real_matrix(path, shape, dtype, key)

    def take(rows):
        import ml_dtypes  # noqa: F401  (comes with JAX: with it NumPy knows bfloat16)

        step = max(1, BLOCK_BYTES // (shape[1] * 4))
        with safe_open(path, framework="np") as file:
            part = file.get_slice(key)
            return in_order(rows, (np.asarray(part[i : min(i + step, shape[0])]) for i in range(0, shape[0], step)))

    def column(name):
        if name not in found:
            raise BadFile(path, f"has no {name!r}; it has {', '.join(found)}")
        with safe_open(path, framework="np") as file:
            return file.get_tensor(name)

    names = tuple(k for k, (shape, _) in found.items() if len(shape) == 1)
    return Opened(path, f"{path}::{key}", *shape, str(np.dtype(dtype)), take, column, names, True)


def _of_tensor(name: str):
    """The NumPy dtype of a tensor's, or None."""
    if name == "BF16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    kinds = {
        "F64": "f8",
        "F32": "f4",
        "F16": "f2",
        "I64": "i8",
        "I32": "i4",
        "I16": "i2",
        "I8": "i1",
        "U8": "u1",
        "U16": "u2",
        "U32": "u4",
        "U64": "u8",
        "BOOL": "?",
    }
    return np.dtype(kinds[name]) if name in kinds else None


def h5ad(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """An AnnData file (or plain HDF5): `X` unless a key such as `obsm/X_pca` is given; rows are named by `obs`."""
    import h5py

    if path.stat().st_size == 0:
        raise BadFile(path, "is empty (0 bytes)")
    with h5py.File(path, "r") as file:
        found = {}
        file.visititems(lambda name, item: found.update(_h5_matrix(name, item)))
        if key is None and "X" in found:
            key = "X"
        key = the_one(path, found, key)
        shape, dtype = found[key]
        sparse = isinstance(file[key], h5py.Group)
        for name, item in file[key].items() if sparse else [(key, file[key])]:
            _h5_own(path, item, whole=name == "indptr")
        if sparse and _text(file[key].attrs["encoding-type"]) != "csr_matrix":
            raise BadFile(path, f"{key}: is sparse by columns; save it by rows (csr_matrix)")
        obs = file.get("obs")
        index = _text(obs.attrs.get("_index", "_index")) if isinstance(obs, h5py.Group) else None
        names = tuple(obs) if isinstance(obs, h5py.Group) else ()
        plain = tuple(name for name, (s, _) in found.items() if len(s) == 1)
    real_matrix(path, shape, dtype, key)
    names = names or plain

    def take(rows):
        with h5py.File(path, "r") as file:
            if sparse:
                return _dense(file[key], rows, shape[1])
            step = max(1, BLOCK_BYTES // (shape[1] * 8))
            return in_order(rows, (file[key][i : i + step] for i in range(0, shape[0], step)))

    def column(name):
        with h5py.File(path, "r") as file:
            place = f"obs/{name}" if f"obs/{name}" in file else name
            if place not in file:
                raise BadFile(path, f"has no {name!r}; it has {', '.join(names[:8]) or 'no columns'}")
            item = file[place]
            for part in item.values() if isinstance(item, h5py.Group) else [item]:
                _h5_own(path, part, whole=True)
            if isinstance(item, h5py.Group):  # categories
                return np.asarray(_plain(item["categories"]))[item["codes"][()]]
            return _plain(item)

    return Opened(path, f"{path}::{key}", *shape, str(dtype), take, column, names, True, index)


def _h5_matrix(name, item):
    import h5py

    if isinstance(item, h5py.Dataset):
        return {name: (item.shape or (), item.dtype)}
    if _text(item.attrs.get("encoding-type", "")) in ("csr_matrix", "csc_matrix"):
        return {name: (tuple(int(s) for s in item.attrs["shape"]), item["data"].dtype)}
    return {}


def _h5_own(path, item, whole):
    """BadFile for numbers that lie in another file, or that unfold to more than may be held at once."""
    import h5py

    if not isinstance(item, h5py.Dataset):
        return
    name = item.name.strip("/")
    if Path(item.file.filename) != path or item.external or item.is_virtual:
        raise BadFile(path, f"{name}: lies in another file; name that one")
    at_once = np.prod(item.shape if whole else item.chunks or (), dtype=object) * item.dtype.itemsize
    if at_once > HOLDS:
        raise BadFile(path, f"{name}: unfolds to {at_once / 2**30:.1f} GiB at once; at most {HOLDS / 2**30:.0f} may be")


def _dense(group, rows, p):
    starts = group["indptr"][()]
    out = np.zeros((len(rows), p), group["data"].dtype)
    for at, row in enumerate(rows):
        piece = slice(int(starts[row]), int(starts[row + 1]))
        out[at, group["indices"][piece]] = group["data"][piece]
    return out


def _plain(dataset):
    import h5py

    return dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _no_key(path, key):
    if key is not None:
        raise BadFile(path, f"holds one array, so there is no {key!r} in it")


def _looks_like(start: bytes) -> str:
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "it looks like a pickle, and nothing is ever unpickled"
    if start[:2] == b"PK":
        return "it looks like a zip archive, such as .npz"
    return f"it starts with {start[:6]!r}"


def npz_vector(path: Path) -> np.ndarray:
    """The only vector of an archive."""
    heads = _npz_heads(path)
    vectors = [k for k, (shape, *_) in heads.items() if len(shape) == 1]
    if len(vectors) != 1:
        raise BadFile(path, f"holds {len(vectors)} vectors; choose with {path.name}::NAME")
    return np.asarray(_npz_array(path, vectors[0], *heads[vectors[0]])[0])
