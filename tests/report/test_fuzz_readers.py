"""Readers on files that were cut, flipped, made up or meant harm: a valid read or one line that names the file.

Nothing is unpickled or evaluated, nothing outside of the file is read, and what would unfold to more than the stated
limit is refused before it takes memory.
"""

import ast
import json
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors.numpy import save_file

from repgeo import claims, datasets
from repgeo.report import BadFile, formats, gather, open_matrix

ROOT = Path(__file__).resolve().parents[2]
X = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32)
CLAIM = claims.Claim("00.1", "steck2024", "cosine is arbitrary", "text", "sec. 2", None)
bounded = settings(deadline=None, max_examples=60, derandomize=True, database=None)
harm = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4)


def npy(path):
    np.save(path, X)


def npz(path):
    np.savez(path, x=X, other=np.arange(3))


def npz_compressed(path):
    np.savez_compressed(path, x=X)


def csv(path):
    np.savetxt(path, X, delimiter=",", fmt="%.9g", header="a,b", comments="")


def of_parquet(path):
    parquet.write_table(pa.table({"id": np.arange(24), "a": X[:, 0], "b": X[:, 1]}), path)


def of_lists(path):
    parquet.write_table(pa.table({"embedding": list(X)}), path)


def safetensors(path):
    save_file({"x": X}, path)


def hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=X, chunks=(8, 2), compression="gzip")


FORMATS = {npy: "npy", npz: "npz", npz_compressed: "npz", csv: "csv", of_parquet: "parquet", of_lists: "parquet",
           safetensors: "safetensors", hdf5: "h5"}  # fmt: skip
each_format = pytest.mark.parametrize(("make", "suffix"), FORMATS.items(), ids=[f.__name__ for f in FORMATS])


def read_or_named(path):
    """Whether the file was read; anything but finite rows or one line with its name fails."""
    try:
        rows = gather(path)
    except BadFile as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return False
    assert np.isfinite(rows.x).all() and rows.x.ndim == 2
    return True


@each_format
def test_a_file_that_was_cut_or_flipped_is_read_or_named(make, suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    make(path)
    whole = path.read_bytes()
    assert read_or_named(path)

    @bounded
    @given(harm, st.integers(0, 4 * len(whole)))
    def holds(flips, cut):
        spoiled = bytearray(whole)
        for place, byte in flips:
            spoiled[place % len(whole)] = byte
        path.write_bytes(spoiled[: cut if cut < len(whole) else None])
        read_or_named(path)

    holds()


@each_format
def test_made_up_bytes_are_named_whatever_they_are_called(make, suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    make(path)
    start = path.read_bytes()[:12]

    @settings(bounded, max_examples=20)
    @given(st.booleans(), st.binary(max_size=200))
    def holds(known_start, rest):
        path.write_bytes(start * known_start + rest)
        read_or_named(path)

    holds()


@pytest.mark.parametrize("name", ["state.json", "dataset_dict.json"])
def test_made_up_states_of_a_saved_folder_are_named(name, tmp_path):
    @settings(bounded, max_examples=30)
    @given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2) |
                        st.dictionaries(st.sampled_from(["_data_files", "filename", "splits"]), inner, max_size=2)))
    @example({"_data_files": [{"filename": "../../secret.arrow"}]})
    @example({"_data_files": [{"filename": "/etc/passwd"}]})
    def holds(content):
        (tmp_path / name).write_text(json.dumps(content))
        assert not read_or_named(tmp_path)

    holds()


def test_a_ledger_that_was_cut_or_flipped_is_read_or_named(tmp_path):
    path = tmp_path / "00.json"
    claims.settle(0, [CLAIM], folder=tmp_path)
    whole = path.read_bytes()

    @settings(bounded, max_examples=200)
    @given(harm, st.integers(0, 4 * len(whole)))
    def holds(flips, cut):
        spoiled = bytearray(whole)
        for place, byte in flips:
            spoiled[place % len(whole)] = byte
        path.write_bytes(spoiled[: cut if cut < len(whole) else None])
        try:
            claims.read(path)
        except ValueError as error:
            assert str(error).startswith(str(path))

    holds()


def carded(folder, content=None, **changes):
    """A folder with one data file and its card."""
    import hashlib

    file = folder / "x.npz"
    if content is None:
        np.savez_compressed(file, x=X)
    else:
        file.write_bytes(content)
    held = file.read_bytes()
    card = {"file": "x.npz", "what": "w", "source": "s", "version": "v", "licence": "l", "builder": "b.py",
            "sha256": hashlib.sha256(held).hexdigest(), "bytes": len(held), "arrays": {}} | changes  # fmt: skip
    (folder / "cards.json").write_text(json.dumps({"x": card}))
    return held


def test_data_and_cards_that_were_cut_or_flipped_are_read_or_named(tmp_path):
    whole = carded(tmp_path)
    cards = (tmp_path / "cards.json").read_bytes()

    @settings(bounded, max_examples=200)
    @given(harm, st.integers(0, 4 * len(whole)), st.booleans())
    def holds(flips, cut, of_cards):
        spoiled = bytearray(cards if of_cards else whole)
        for place, byte in flips:
            spoiled[place % len(spoiled)] = byte
        spoiled = spoiled[: cut if cut < len(whole) else None]
        if of_cards:
            carded(tmp_path)
            (tmp_path / "cards.json").write_bytes(spoiled)
        else:
            carded(tmp_path, bytes(spoiled))  # with the hash of what is spoiled: the archive itself is read
        try:
            datasets.load("x", folder=tmp_path)
        except (ValueError, FileNotFoundError) as error:
            assert str(tmp_path) in str(error) or str(error).startswith("name: ")

    holds()


@pytest.mark.parametrize("file", ["../x.npz", "/etc/passwd", "", 5, None])
def test_a_card_names_a_file_inside_its_folder(file, tmp_path):
    carded(tmp_path, file=file)
    with pytest.raises(ValueError, match="file: expected a path inside the folder"):
        datasets.load("x", folder=tmp_path)


# What means harm


def bomb(claimed, header=None):
    """An archive whose one member unfolds to `claimed` zero bytes after an `.npy` header, in a thousandth of that."""
    shape = (claimed // 4000, 1000)
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
    head = header or b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"
    squeeze, block = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(2**20)
    parts, crc, size = [squeeze.compress(head)], zlib.crc32(head), len(head)
    for _ in range(claimed // len(block)):
        parts.append(squeeze.compress(block))
        crc, size = zlib.crc32(block, crc), size + len(block)
    body = b"".join([*parts, squeeze.flush()])
    name = b"x.npy"
    local = struct.pack("<4sHHHHHLLLHH", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(body), size, len(name), 0) + name + body
    sizes = crc, len(body), size, len(name), 0, 0, 0, 0, 0, 0
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 33, *sizes)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry) + len(name), len(local), 0)
    return local + entry + name + end


def peak_of(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_archive_that_unfolds_beyond_the_limit_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    assert formats.HOLDS == 2**30  # as the docstring of `open_matrix` says
    monkeypatch.setattr(formats, "HOLDS", 2**25)  # a smaller one, to make it in less time
    content = bomb(2**26)
    assert len(content) < 2**17
    path = tmp_path / "x.npz"
    path.write_bytes(content)

    def refused():
        with pytest.raises(BadFile, match="x: unfolds to 0.1 GiB, more than the 0 GiB"):
            gather(path)

    assert peak_of(refused) < 2**22


def test_an_archive_that_claims_more_than_it_holds_is_refused(tmp_path):
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 10)}\n"
    path = tmp_path / "x.npz"
    path.write_bytes(bomb(2**20, header=b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text))

    def refused():
        with pytest.raises(BadFile, match="x: unfolds to 3725.3 GiB, more than the 1 GiB"):
            gather(path)

    assert peak_of(refused) < 2**22


def test_a_header_that_unfolds_without_end_is_refused_before_it_takes_memory(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(bomb(2**26, header=b"\x93NUMPY\x02\x00" + struct.pack("<L", 2**26)))

    def refused():
        with pytest.raises(BadFile, match="a header of 67108864 bytes"):
            gather(path)

    assert peak_of(refused) < 2**22


def test_a_data_file_that_unfolds_beyond_the_limit_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "HOLDS", 2**25)
    carded(tmp_path, bomb(2**26))

    def refused():
        with pytest.raises(ValueError, match=r"unfolds to 0.1 GiB; at most"):
            datasets.load("x", folder=tmp_path)

    assert peak_of(refused) < 2**22


def test_a_chunk_that_unfolds_beyond_the_limit_is_refused(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (40, 2**24), "f4", chunks=(40, 2**23), compression="gzip")
    with pytest.raises(BadFile, match="X: unfolds to 1.2 GiB at once; at most 1"):
        open_matrix(path)


def test_a_name_that_climbs_out_of_an_archive_is_a_name_and_no_place(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        np.save(tmp_path / "held.npy", X)
        archive.write(tmp_path / "held.npy", "../../escaped.npy")
    before = sorted(tmp_path.rglob("*"))
    assert gather(path).x.shape == X.shape
    assert sorted(tmp_path.rglob("*")) == before


def test_numbers_of_another_file_are_refused(tmp_path):
    secret, path = tmp_path / "secret.bin", tmp_path / "x.h5"
    secret.write_bytes(X.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["X"] = X
    for make in (
        lambda file: file.create_dataset("X", X.shape, "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]),
        lambda file: virtual(file, tmp_path / "other.h5"),
    ):
        with h5py.File(path, "w") as file:
            make(file)
        with pytest.raises(BadFile, match="X: lies in another file"):
            gather(path)
    with h5py.File(path, "w") as file:
        file["X"] = X
        file["kind"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "X")
    with pytest.raises(BadFile, match="lies in another file"):
        gather(path, labels="kind")
    place = tmp_path / "folder"
    place.mkdir()
    (place / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../x.arrow"}]}))
    with pytest.raises(BadFile, match="names a file outside of it"):
        gather(place)


def virtual(file, other):
    layout = h5py.VirtualLayout(X.shape, "f4")
    layout[:] = h5py.VirtualSource(other, "X", X.shape)
    file.create_virtual_dataset("X", layout)


UNPICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def forbidden(tree):
    """Calls that would run what a file holds, by line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if {name.split(".")[0] for name in named} & UNPICKLERS:
                yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            pickled = [k for k in node.keywords if k.arg == "allow_pickle" and not _is(k.value, False)]
            load = ast.unparse(node.func) in ("np.load", "numpy.load", "jnp.load")
            if name in ("eval", "exec", "compile", "__import__") or pickled or load and not node.keywords:
                yield node.lineno, ast.unparse(node)


def _is(node, value):
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_in_the_library_unpickles_or_evaluates():
    sources = sorted((ROOT / "repgeo").rglob("*.py"))
    assert len(sources) > 50
    found = [(path.name, *where) for path in sources for where in forbidden(ast.parse(path.read_text("utf-8")))]
    assert not found
    for line in ("import pickle", "from joblib import load", "eval(x)", "np.load(f)", "np.load(f, allow_pickle=True)"):
        assert list(forbidden(ast.parse(line))), line
