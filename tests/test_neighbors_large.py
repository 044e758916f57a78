"""Do blocks find the neighbours of the whole, and does an index tell how many of them it found?"""

import sys

import jax
import numpy as np
import pytest

from repgeo.neighbors import METRICS, knn
from repgeo.neighbors_large import knn_by_blocks, knn_indexed

KEY = jax.random.key(0)


def cloud(n=203, p=6, seed=0):
    return (np.random.default_rng(seed).normal(size=(n, p)) + 0.5).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_of_a_file_find_the_neighbours_of_the_whole(metric, tmp_path):
    np.save(tmp_path / "x.npy", cloud())
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    seen = []
    found = knn_by_blocks(x, k=7, metric=metric, rows=50, progress=lambda done, n: seen.append((done, n)))
    np.testing.assert_array_equal(found, knn(cloud(), k=7, metric=metric))
    assert seen == [(50, 203), (100, 203), (150, 203), (200, 203), (203, 203)]


@pytest.mark.parametrize("rows", [3, 1_000])
def test_neither_large_blocks_nor_blocks_of_fewer_rows_than_neighbours_change_it(rows):
    x = cloud(40)
    np.testing.assert_array_equal(knn_by_blocks(x, k=7, rows=rows), knn(x, k=7))


@pytest.mark.parametrize("metric", ["euclidean", "inner"])
def test_ties_go_to_the_lower_row_across_blocks(metric):
    x = np.random.default_rng(0).integers(0, 3, (60, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        knn_by_blocks(x, k=9, metric=metric, rows=16), knn(x, k=9, metric=metric)
    )


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_no_scale_overflows(scale):
    x = cloud(60)
    right = knn(x, k=3, metric="euclidean")
    np.testing.assert_array_equal(knn_by_blocks(x * np.float32(scale), k=3, metric="euclidean", rows=25), right)


@pytest.mark.parametrize("metric", METRICS)
def test_the_recall_of_an_index_is_that_against_the_exact_search(metric):
    x = cloud(2_000, 8)
    right = np.asarray(knn(x, k=10, metric=metric))
    shares = []
    for probes in (1, 4, 10_000):
        near = knn_indexed(x, k=10, metric=metric, probes=probes, judged=2_000, key=KEY)
        share = (near.rows[:, :, None] == right[:, None]).any(1).mean()
        assert near.recall == pytest.approx(share, abs=1e-3) and near.judged == 2_000
        shares.append(near.recall)
    assert shares[0] < shares[1] < shares[2] and shares[0] < 0.9 and shares[2] > 0.999


def test_a_sample_of_rows_tells_the_recall_within_its_error():
    x = cloud(2_000, 8)
    whole, part = (knn_indexed(x, k=10, probes=2, judged=judged, key=KEY) for judged in (2_000, 300))
    assert 0 < part.error < 0.05 and abs(whole.recall - part.recall) < 4 * part.error
    np.testing.assert_array_equal(whole.rows, part.rows)


def test_without_faiss_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"knn_indexed: needs faiss, `pip install 'repgeo\[index\]'`"):
        knn_indexed(cloud(), key=KEY)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"k": 203}, ValueError, r"k: expected 1 <= k <= 202 \(n - 1 other rows\); got 203"),
        ({"metric": "l1"}, ValueError, "metric: expected one of cosine, euclidean, inner"),
        ({"x": [[1.0]]}, ValueError, r"x: expected shape \(n, p\), rows are samples; got list"),
        ({"x": np.where(cloud() > 2, np.nan, cloud())}, ValueError, "x: expected finite values"),
        ({"x": np.where(np.arange(203)[:, None] == 60, 0, cloud())}, ValueError, "x: expected rows with a direction"),
    ],
)
@pytest.mark.parametrize("search", [knn_by_blocks, lambda x, **how: knn_indexed(x, key=KEY, **how)])
def test_bad_input_gives_one_clear_error(search, change, error, message):
    given = {"x": cloud()} | change
    with pytest.raises(error, match=message):
        search(given.pop("x"), **given)
