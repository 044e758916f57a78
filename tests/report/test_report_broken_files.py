"""Whatever is wrong with a file: one line that names it and the cause, exit code 2, and nothing written."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from repgeo.__main__ import main

N, P = 40, 3
RANDOM = np.random.default_rng(0)
GOOD = RANDOM.normal(size=(N, P)).astype(np.float32)
BROKEN = {}


def broken(name, cause):
    """Register a maker of a bad file: a function of a folder that returns its path, and what must be said of it."""

    def keep(make):
        BROKEN[make.__name__] = (make, name, cause)
        return make

    return keep


def saved(folder, name, array, **options):
    np.save(folder / name, array, **options)
    return folder / name


def written(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def bytes_of(array):
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


@broken("none.npy", "no such file")
def a_file_that_is_missing(folder):
    return folder / "none.npy"


@broken("x.npy", "is empty (0 bytes)")
def an_empty_npy(folder):
    return written(folder, "x.npy", b"")


@broken("x.npz", "is empty (0 bytes)")
def an_empty_npz(folder):
    return written(folder, "x.npz", b"")


@broken("x.csv", "is empty (0 bytes)")
def an_empty_csv(folder):
    return written(folder, "x.csv", b"")


@broken("x.parquet", "is empty (0 bytes)")
def an_empty_parquet(folder):
    return written(folder, "x.parquet", b"")


@broken("x.npy", "is cut short")
def a_truncated_npy(folder):
    return written(folder, "x.npy", bytes_of(GOOD)[:-100])


@broken("x.npy", "cannot be read as .npy")
def an_npy_cut_in_its_header(folder):
    return written(folder, "x.npy", bytes_of(GOOD)[:20])


@broken("x.npz", "cannot be read as .npz")
def a_truncated_npz(folder):
    np.savez(folder / "whole.npz", x=GOOD)
    return written(folder, "x.npz", (folder / "whole.npz").read_bytes()[:200])


@broken("x.npy", "holds Python objects, which are never unpickled")
def an_array_of_objects(folder):
    return saved(folder, "x.npy", np.array([[1, "a"], [None, 2]], object))


@broken("x.npz", "holds Python objects")
def an_archive_of_objects(folder):
    np.savez(folder / "x.npz", x=np.array([[1, "a"], [None, 2]], object))
    return f"{folder / 'x.npz'}::x"


@broken("x.npy", "it looks like a pickle, and nothing is ever unpickled")
def a_pickle_called_npy(folder):
    return written(folder, "x.npy", pickle.dumps(GOOD))


@broken("x.npy", "it looks like a zip archive")
def an_archive_called_npy(folder):
    np.savez(folder / "x.npz", x=GOOD)
    return (folder / "x.npz").rename(folder / "x.npy")


@broken("x.npy", "expected real numbers; got dtype complex64")
def complex_numbers(folder):
    return saved(folder, "x.npy", GOOD + 1j)


@broken("x.npy", "expected real numbers; got dtype <U1")
def text_in_an_array(folder):
    return saved(folder, "x.npy", np.full((N, P), "a"))


@broken("x.npy", "expected a matrix (rows are samples); got shape (40,)")
def a_vector(folder):
    return saved(folder, "x.npy", GOOD[:, 0])


@broken("x.npy", "expected a matrix (rows are samples); got shape (2, 20, 3)")
def three_axes(folder):
    return saved(folder, "x.npy", GOOD.reshape(2, 20, 3))


@broken("x.npy", "expected rows and features; got shape (0, 3)")
def no_rows(folder):
    return saved(folder, "x.npy", GOOD[:0])


@broken("x.npy", "has 5 rows; at least 20 are needed")
def too_few_rows(folder):
    return saved(folder, "x.npy", GOOD[:5])


@broken("x.npy", "NaN in 2 of 40 rows, the first is row 7")
def rows_with_nan(folder):
    x = GOOD.copy()
    x[[7, 30], 1] = np.nan
    return saved(folder, "x.npy", x)


@broken("x.npy", "a number that is infinite as float32 in 1 of 40 rows, the first is row 3")
def a_number_too_large(folder):
    x = GOOD.astype(np.float64)
    x[3, 0] = 1e200
    return saved(folder, "x.npy", x)


@broken("x.npy", "all 40 rows are the same")
def rows_that_are_all_the_same(folder):
    return saved(folder, "x.npy", np.ones((N, P)))


@broken("x.npy", "holds one array, so there is no 'layer' in it")
def a_key_of_a_file_without_keys(folder):
    return f"{saved(folder, 'x.npy', GOOD)}::layer"


@broken("x.npz", "has no 'layer_9'; it has a 40x3, b 40x3")
def a_key_that_is_not_there(folder):
    np.savez(folder / "x.npz", a=GOOD, b=GOOD)
    return f"{folder / 'x.npz'}::layer_9"


@broken("x.npz", "holds 2 matrices (a, b); choose with x.npz::a")
def two_matrices_and_no_key(folder):
    np.savez(folder / "x.npz", a=GOOD, b=GOOD)
    return folder / "x.npz"


@broken("x.npz", "unfolds to 10.0 GiB, more than the 1 GiB")
def a_zip_bomb(folder):
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": "<f4", "fortran_order": False, "shape": (2621440, 1024)})
    with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", held.getvalue() + bytes(2**20))
    return folder / "x.npz"


@broken("x.npz", "is cut short")
def an_archive_that_promises_more_than_it_holds(folder):
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 3)})
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("x.npy", held.getvalue() + b"0" * 64)
    return folder / "x.npz"


@broken("x.npz", "x.npy is encrypted")
def an_encrypted_archive(folder):
    np.savez(folder / "x.npz", x=GOOD)
    raw = bytearray((folder / "x.npz").read_bytes())
    raw[raw.index(b"PK\x03\x04") + 6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return written(folder, "x.npz", bytes(raw))


@broken("x.npz", "is an archive without arrays")
def an_archive_of_other_things(folder):
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    return folder / "x.npz"


@broken("x.csv", "Expected 3 columns, got 2")
def a_ragged_csv(folder):
    return written(folder, "x.csv", "a,b,c\n" + "1,2,3\n" * 30 + "1,2\n" + "1,2,3\n" * 30)


@broken("x.csv", "is no UTF-8 text")
def a_csv_in_another_encoding(folder):
    return written(folder, "x.csv", "größe,b\n1,2\n".encode("latin-1") * 30)


@broken("x.csv", "has no column of numbers")
def a_csv_of_words(folder):
    return written(folder, "x.csv", "word\n" + "cat\n" * 30)


@broken("x.csv", "b: no number in row 12")
def a_csv_with_a_gap(folder):
    rows = [f"{i},{'' if i == 12 else i * i}" for i in range(40)]
    return written(folder, "x.csv", "a,b\n" + "\n".join(rows) + "\n")


@broken("x.csv", "two columns called 'a'")
def a_csv_with_one_name_twice(folder):
    return written(folder, "x.csv", "a,a\n" + "1,2\n" * 30)


@broken("x.parquet", "cannot be read as .parquet")
def noise_called_parquet(folder):
    return written(folder, "x.parquet", os.urandom(500))


@broken("x.parquet", "expected lists of one length; got")
def lists_of_several_lengths(folder):
    import pyarrow as pa
    from pyarrow import parquet

    rows = [[1.0] * (3 if i != 20 else 2) for i in range(N)]
    parquet.write_table(pa.table({"embedding": rows}), folder / "x.parquet")
    return folder / "x.parquet"


@broken("x.safetensors", "cannot be read as .safetensors")
def noise_called_safetensors(folder):
    return written(folder, "x.safetensors", os.urandom(500))


@broken("x.safetensors", "cannot be read as .safetensors")
def a_truncated_safetensors(folder):
    from safetensors.numpy import save

    return written(folder, "x.safetensors", save({"x": GOOD})[:-50])


@broken("x.h5ad", "cannot be read as .h5ad")
def noise_called_h5ad(folder):
    return written(folder, "x.h5ad", os.urandom(500))


@broken("x.arrow", "cannot be read as .arrow")
def noise_called_arrow(folder):
    return written(folder, "x.arrow", os.urandom(500))


@broken("vectors", "is a folder without state.json, Arrow or Parquet files")
def a_folder(folder):
    (folder / "vectors").mkdir()
    return folder / "vectors"


@broken("splits", "holds several splits; name one:")
def a_folder_of_splits(folder):
    (folder / "splits").mkdir()
    written(folder / "splits", "dataset_dict.json", json.dumps({"splits": ["train", "test"]}))
    return folder / "splits"


@broken("x.bin", "unknown kind of file")
def an_unknown_suffix(folder):
    return written(folder, "x.bin", bytes_of(GOOD))


@broken("pipe.npy", "is no regular file")
def a_pipe(folder):
    os.mkfifo(folder / "pipe.npy")
    return folder / "pipe.npy"


def one_line(capsys, arguments, out):
    """The only line on standard error, after exit code 2 and without a file left."""
    assert main([*map(str, arguments), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and not out.exists()
    (line,) = said.err.splitlines()
    assert line.startswith("repgeo: ") and "Traceback" not in line
    return line


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_gives_one_line_and_leaves_nothing(kind, tmp_path, capsys):
    make, name, cause = BROKEN[kind]
    line = one_line(capsys, ["inspect", make(tmp_path)], tmp_path / "report")
    assert name in line and cause in line, line


def test_there_are_more_than_twenty_of_them():
    assert len(BROKEN) > 20


@pytest.mark.parametrize("kind", ["rows_with_nan", "a_truncated_npy", "a_ragged_csv"])
def test_the_second_file_is_named_where_it_is_the_broken_one(kind, tmp_path, capsys):
    make, name, cause = BROKEN[kind]
    good = saved(tmp_path, "good.npy", GOOD)
    line = one_line(capsys, ["compare", good, make(tmp_path)], tmp_path / "report")
    assert name in line and cause in line


def test_unequal_rows_name_both_files(tmp_path, capsys):
    a, b = saved(tmp_path, "a.npy", GOOD), saved(tmp_path, "b.npy", GOOD[:30])
    line = one_line(capsys, ["compare", a, b], tmp_path / "report")
    assert "b.npy: has 30 rows, but" in line and "a.npy has 40" in line and "or give ids" in line


@pytest.mark.parametrize(
    "ids, cause",
    [
        (["a"] * 2 + [str(i) for i in range(38)], "ids must differ; 1 occur more than once, the first is 'a'"),
        ([str(i) for i in range(39)], "has 39 ids for the 40 rows"),
        ([str(i + 100) for i in range(40)], "shares 0 ids"),
    ],
)
def test_ids_that_cannot_match_are_named(ids, cause, tmp_path, capsys):
    a, b = saved(tmp_path, "a.npy", GOOD), saved(tmp_path, "b.npy", GOOD)
    left = written(tmp_path, "a.txt", "\n".join(str(i) for i in range(40)) + "\n")
    right = written(tmp_path, "b.txt", "\n".join(ids) + "\n")
    assert cause in one_line(capsys, ["compare", a, b, "--ids", left, right], tmp_path / "report")


@pytest.mark.parametrize(
    "labels, cause",
    [
        (np.zeros(N, int), "labels must differ; all are the same"),
        (np.arange(30) % 2, "has 30 labels for the 40 rows"),
        (RANDOM.normal(size=N), "labels must be classes; got numbers with decimals"),
        (np.full(N, np.nan), "40 labels are NaN"),
        (np.zeros((N, 2), int), "expected one of the labels a row; got shape (40, 2)"),
    ],
)
def test_labels_that_are_none_are_named(labels, cause, tmp_path, capsys):
    a, l = saved(tmp_path, "a.npy", GOOD), saved(tmp_path, "l.npy", labels)
    assert cause in one_line(capsys, ["inspect", a, "--labels", l], tmp_path / "report")


def test_a_column_that_is_not_there_is_named(tmp_path, capsys):
    a = written(tmp_path, "a.csv", "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(40)))
    assert "has no column 'kind'" in one_line(capsys, ["inspect", a, "--labels", "kind"], tmp_path / "report")
    b = saved(tmp_path, "b.npy", GOOD)
    assert "it holds one array" in one_line(capsys, ["inspect", b, "--labels", "kind"], tmp_path / "report")


def test_a_place_that_cannot_be_written_is_named_before_anything_is_computed(tmp_path, capsys):
    a, out = saved(tmp_path, "a.npy", GOOD), written(tmp_path, "report", b"mine")
    assert main(["inspect", str(a), "--out", str(out)]) == 2
    assert "is no folder to write the report into" in capsys.readouterr().err and out.read_bytes() == b"mine"
    assert main(["inspect", str(a), "--rows", "3", "--out", str(tmp_path / "new")]) == 2
    assert "rows: expected at least 20; got 3" in capsys.readouterr().err


def test_a_new_process_gives_one_line_and_exit_code_2(tmp_path):
    make, name, cause = BROKEN["a_pickle_called_npy"]
    command = [sys.executable, "-m", "repgeo", "inspect", str(make(tmp_path)), "--out", str(tmp_path / "report")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert name in line and cause in line and not (tmp_path / "report").exists()
