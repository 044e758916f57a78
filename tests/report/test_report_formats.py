"""Every format gives the rows that NumPy was given, memory-mapped where it can be, matched by id and sampled."""

import json
import tracemalloc

import h5py
import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

from repgeo.report import BadFile, gather, open_matrix

N, P = 50, 4
X = np.random.default_rng(0).normal(size=(N, P)).astype(np.float32)
NAMES = [f"row {i}" for i in range(N)]
KINDS = np.array(["cat", "dog"])[np.arange(N) % 2]


def npy(folder):
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


def npy_by_columns(folder):
    np.save(folder / "x.npy", np.asfortranarray(X))
    return folder / "x.npy"


def npz(folder):
    np.savez(folder / "x.npz", x=X, other=np.arange(3))
    return folder / "x.npz"


def npz_compressed(folder):
    np.savez_compressed(folder / "x.npz", a=X[:5], b=X)
    return f"{folder / 'x.npz'}::b"


def csv(folder):
    rows = [",".join([name, *map(repr, map(float, row))]) for name, row in zip(NAMES, X, strict=True)]
    (folder / "x.csv").write_text("\n".join(["id,a,b,c,d", *rows]) + "\n")
    return folder / "x.csv"


def csv_without_names(folder):
    np.savetxt(folder / "x.csv", X, delimiter=",", fmt="%.9g")
    return folder / "x.csv"


def tsv(folder):
    np.savetxt(folder / "x.tsv", X, delimiter="\t", fmt="%.9g", header="a\tb\tc\td", comments="")
    return folder / "x.tsv"


def table():
    return pa.table({"id": NAMES, "embedding": list(X), "kind": list(KINDS)})


def parquet_of_lists(folder):
    parquet.write_table(table(), folder / "x.parquet", row_group_size=17)
    return folder / "x.parquet"


def parquet_of_columns(folder):
    parquet.write_table(pa.table({"id": np.arange(N), **{f"f{i}": X[:, i] for i in range(P)}}), folder / "x.parquet")
    return folder / "x.parquet"


def arrow_file(folder):
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), P)
    whole = pa.table({"embedding": fixed})
    with pa.ipc.new_file(folder / "x.arrow", whole.schema) as out:
        out.write_table(whole, max_chunksize=13)
    return folder / "x.arrow"


def saved_dataset(folder):
    """As the datasets library saves: streams, in the order that the state names."""
    place = folder / "vectors"
    place.mkdir()
    files = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, part in zip(files, (table()[:30], table()[30:]), strict=True):
        with pa.ipc.new_stream(str(place / name), part.schema) as out:
            out.write_table(part, max_chunksize=8)
    (place / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in files]}))
    (place / "dataset_info.json").write_text("{}")
    return place


def folder_of_parquet(folder):
    place = folder / "shards"
    place.mkdir()
    parquet.write_table(table()[:20], place / "0.parquet")
    parquet.write_table(table()[20:], place / "1.parquet")
    return place


def safetensors(folder):
    save_file({"x": X, "bias": X[0]}, folder / "x.safetensors")
    return folder / "x.safetensors"


def h5ad(folder):
    with h5py.File(folder / "x.h5ad", "w") as file:
        file["X"] = X
        file["obsm/X_pca"] = X[:, :2]
        obs = file.create_group("obs")
        obs.attrs["_index"] = "_index"
        obs["_index"] = NAMES
        kind = obs.create_group("kind")
        kind["categories"], kind["codes"] = ["cat", "dog"], np.arange(N) % 2
    return folder / "x.h5ad"


def h5ad_sparse(folder):
    with h5py.File(folder / "x.h5ad", "w") as file:
        group = file.create_group("X")
        group.attrs["encoding-type"], group.attrs["shape"] = "csr_matrix", X.shape
        group["data"], group["indices"] = X.ravel(), np.tile(np.arange(P), N)
        group["indptr"] = np.arange(0, N * P + 1, P)
    return folder / "x.h5ad"


FORMATS = [npy, npy_by_columns, npz, npz_compressed, csv, csv_without_names, tsv, parquet_of_lists, parquet_of_columns,
           arrow_file, saved_dataset, folder_of_parquet, safetensors, h5ad, h5ad_sparse]  # fmt: skip
each_format = pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)


@each_format
def test_a_format_gives_the_rows_asked_for(make, tmp_path):
    found = open_matrix(make(tmp_path))
    assert (found.n, found.p) == (N, P)
    for rows in (np.arange(N), np.array([0, 3, 29, 30, 49]), np.array([17])):
        np.testing.assert_allclose(found.take(rows), X[rows], rtol=1e-6)


@pytest.mark.parametrize("make", [npy, npz, arrow_file, saved_dataset], ids=lambda make: make.__name__)
def test_what_can_be_memory_mapped_is(make, tmp_path):
    assert open_matrix(make(tmp_path)).mapped


@pytest.mark.parametrize("dtype", ["f2", "f8", "i4", "u1", "?"])
def test_numbers_of_any_kind_become_single_precision(dtype, tmp_path):
    values = (X > 0 if dtype == "?" else 10 * np.abs(X)).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    found = gather(tmp_path / "x.npy").x
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_bfloat16_tensors_are_read(tmp_path):
    save_file({"x": X.astype(ml_dtypes.bfloat16)}, tmp_path / "x.safetensors")
    np.testing.assert_allclose(gather(tmp_path / "x.safetensors").x, X, rtol=1e-2)


def test_a_key_chooses_among_several_matrices(tmp_path):
    assert open_matrix(f"{h5ad(tmp_path)}::obsm/X_pca").p == 2
    np.savez(tmp_path / "two.npz", a=X, b=X[:, :3])
    assert open_matrix(f"{tmp_path / 'two.npz'}::b").p == 3


@pytest.mark.parametrize("make", [csv, parquet_of_lists, saved_dataset, h5ad], ids=lambda make: make.__name__)
def test_rows_are_matched_by_the_ids_that_both_files_hold(make, tmp_path):
    order = np.random.default_rng(1).permutation(N)[:40]
    other = pa.table({"id": [NAMES[i] for i in order], "embedding": list(-X[order])})
    parquet.write_table(other, tmp_path / "other.parquet")
    found = gather(make(tmp_path), tmp_path / "other.parquet", ids="id")
    np.testing.assert_allclose(found.y, -found.x, rtol=1e-6)
    assert len(found.x) == 40 and "40 ids stand in both" in found.notes[0]


def test_rows_are_matched_by_files_of_ids(tmp_path):
    order = np.random.default_rng(1).permutation(N)
    np.save(tmp_path / "b.npy", 2 * X[order])
    np.save(tmp_path / "b_ids.npy", order)
    (tmp_path / "a_ids.txt").write_text("\n".join(map(str, range(N))))
    found = gather(npy(tmp_path), tmp_path / "b.npy", ids=(tmp_path / "a_ids.txt", tmp_path / "b_ids.npy"))
    np.testing.assert_array_equal(found.y, 2 * found.x)
    np.testing.assert_array_equal(found.x, X)


@pytest.mark.parametrize("make, name", [(parquet_of_lists, "kind"), (saved_dataset, "kind"), (h5ad, "kind")])
def test_labels_are_a_column_of_the_file(make, name, tmp_path):
    found = gather(make(tmp_path), labels=name)
    assert found.classes == ("cat", "dog")
    np.testing.assert_array_equal(found.labels, np.arange(N) % 2)


def test_a_column_of_labels_is_no_feature(tmp_path):
    columns = {f"f{i}": X[:, i] for i in range(P)} | {"y": np.arange(N) % 3}
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    found = gather(tmp_path / "x.parquet", labels="y")
    assert found.x.shape == (N, P) and found.classes == ("0", "1", "2")


@pytest.mark.parametrize("suffix", [".txt", ".npy", ".csv", ".npz"])
def test_labels_are_a_file_of_one_class_a_row(suffix, tmp_path):
    place = tmp_path / f"labels{suffix}"
    if suffix == ".txt":
        place.write_text("\n".join(KINDS))
    elif suffix == ".csv":
        place.write_text("kind\n" + "\n".join(KINDS))
    else:
        (np.save if suffix == ".npy" else np.savez)(place, KINDS)
    found = gather(npy(tmp_path), labels=place)
    np.testing.assert_array_equal(np.array(found.classes)[found.labels], KINDS)


def test_a_sample_keeps_rows_labels_and_partners_together(tmp_path):
    np.save(tmp_path / "y.npy", 3 * X)
    np.save(tmp_path / "l.npy", np.arange(N))
    found = gather(npy(tmp_path), tmp_path / "y.npy", labels=tmp_path / "l.npy", rows=30, seed=4)
    assert len(found.x) == 30 and "a random sample of 30" in found.notes[-1]
    np.testing.assert_array_equal(found.y, 3 * found.x)
    np.testing.assert_array_equal(found.x, X[found.labels])
    assert not np.array_equal(found.x, gather(tmp_path / "x.npy", rows=30, seed=5).x)


def test_a_file_larger_than_memory_is_sampled_and_not_loaded(tmp_path):
    """Ten gigabytes that take no room on the disk: zeros but for a few rows, so that rows differ."""
    shape = (2_621_440, 1024)
    huge = np.lib.format.open_memmap(tmp_path / "huge.npy", "w+", np.float32, shape)
    huge[:: shape[0] // 999, 0] = 1
    del huge
    assert (tmp_path / "huge.npy").stat().st_size > 10 * 2**30
    tracemalloc.start()
    with pytest.raises(BadFile, match="all 100 rows are the same"):
        gather(tmp_path / "huge.npy", rows=100)
    found = open_matrix(tmp_path / "huge.npy").take(np.arange(3) * (shape[0] // 999))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[:, 0].tolist() == [1, 1, 1] and found.shape == (3, 1024)
    assert peak < 100 * 2**20, f"{peak / 2**20:.0f} MiB"


def test_rows_too_wide_for_the_allowance_are_sampled_further(tmp_path, monkeypatch):
    monkeypatch.setattr("repgeo.report.files.HELD_BYTES", 4 * P * 25)
    assert len(gather(npy(tmp_path)).x) == 25


def test_the_same_file_gives_the_same_rows_again(tmp_path):
    path = csv(tmp_path)
    np.testing.assert_array_equal(gather(path, rows=20, seed=3).x, gather(path, rows=20, seed=3).x)


def test_a_missing_package_is_named_with_what_installs_it(tmp_path, monkeypatch):
    path = h5ad(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(BadFile, match=r"needs the package h5py: pip install 'repgeo\[report\]'"):
        open_matrix(path)
