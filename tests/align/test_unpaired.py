"""Alignment without pairs: what it must find, what it must not find and say so, and what its parts compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.align import column_shuffled, csls_score, match_grams, must_fail, procrustes, refine, rotate, unpaired_align
from repgeo.align.centroids import swap_gains
from repgeo.retrieval import csls, top_k_accuracy

QUICK = dict(clusters=(8, 10, 14, 20), restarts=8, runs=30, neighbors=5, scout=12, coarse=6, fine=6)
N, P = 300, 10


def clustered(seed, n=2 * N + 100, p=P, c=14):
    """Rows about centres of unequal weight, and a rotation of them; two halves and rows to judge."""
    random = np.random.default_rng(seed)
    centers, weights = random.normal(size=(c, p)), random.dirichlet(np.full(c, 3.0))
    return (centers[random.choice(c, n, p=weights)] + 0.3 * random.normal(size=(n, p))).astype(np.float32)


def isotropic(seed):
    return np.random.default_rng(seed).normal(size=(2 * N + 100, P)).astype(np.float32)


def aligned(rows, seed, **options):
    """The map between two halves, the second turned at random, and its top-1 accuracy on the rows that judge."""
    turned, _ = rotate(rows, key=jax.random.key(100 + seed))
    m = unpaired_align(rows[:N], turned[N : 2 * N], key=jax.random.key(seed), **QUICK | options)
    return m, float(top_k_accuracy(*m.centered(rows[2 * N :], turned[2 * N :])))


def test_clusters_are_found_without_a_pair_and_isotropic_rows_are_not_and_the_margin_tells_them_apart():
    found = [aligned(clustered(seed), seed) for seed in range(10)]
    assert sum(top_1 > 0.9 for _, top_1 in found) >= 9
    lost = [aligned(isotropic(seed), seed) for seed in range(4)]
    assert max(top_1 for _, top_1 in lost) < 0.1
    told = [float(m.history["margin"]) for m, top_1 in found if top_1 > 0.9]
    assert min(told) > 0.04 > max(float(m.history["margin"]) for m, _ in lost)


def test_a_rotation_of_the_target_rotates_the_map():
    rows = clustered(0)
    x, y = rows[:N], jnp.asarray(rows[N : 2 * N])
    turned, q = rotate(y, key=jax.random.key(5))
    a, b = (unpaired_align(x, z, key=jax.random.key(0), **QUICK) for z in (y, turned))
    assert np.abs(a.weights @ q - b.weights).max() < 0.05  # ties of neighbours are broken by rounding
    assert abs(a.score - b.score) < 1e-2


def test_the_map_is_orthogonal_and_one_row_goes_where_its_batch_takes_it():
    rows = clustered(1)
    m, _ = aligned(rows, 1)
    assert np.allclose(m.weights.T @ m.weights, np.eye(P), atol=1e-5)
    assert np.allclose(m.transform(rows[7]), m.transform(rows)[7], atol=1e-5)
    assert np.allclose(m.inverse().transform(m.transform(rows)), rows, atol=1e-4)
    assert m.history["scores"].shape == (4,) and m.history["moved"].shape == (12,)
    assert float(m.history["margin"]) == pytest.approx(float(m.history["scores"].max() - m.history["floor"]))


def test_columns_shuffled_leave_nothing_to_find():
    rows = clustered(2)
    broken = column_shuffled(rows, key=jax.random.key(0))
    m = unpaired_align(rows[:N], broken[N : 2 * N], key=jax.random.key(1), **QUICK)
    assert float(must_fail(m, rows[2 * N :], rows[2 * N :], most=0.2)) < 0.2


def test_known_pairs_align_what_has_no_clusters_by_every_match():
    rows = isotropic(3) ** 3  # heavy tails, so that neighbours mean something
    rows[N : N + 40] = rows[:40]
    pairs = np.stack([np.arange(40)] * 2, 1)
    _, alone = aligned(rows, 3)
    assert alone < 0.3
    for match in ("sinkhorn", "csls", "cosine"):
        m, helped = aligned(rows, 3, pairs=pairs, match=match, clusters=())
        assert helped > 0.9 and m.history["clusters"].tolist() == [0]


def test_few_pairs_are_refined_by_rows_without_pairs():
    rows = clustered(4)
    turned, _ = rotate(rows, key=jax.random.key(4))
    few = procrustes(rows[: P - 2], turned[: P - 2])
    judge = rows[2 * N :], turned[2 * N :]
    better = refine(few, rows[:N], turned[N : 2 * N], key=jax.random.key(0), neighbors=5, steps=20)
    before, after = (float(top_k_accuracy(*m.centered(*judge))) for m in (few, better))
    assert after > max(0.9, before)
    assert csls_score(better, *judge) > csls_score(few, *judge)


def test_it_runs_under_vmap_over_keys():
    rows = clustered(5)
    keys = jax.random.split(jax.random.key(0), 2)
    small = QUICK | dict(clusters=10, runs=2, pairings=1)
    many = jax.vmap(lambda key: unpaired_align(rows[:100], rows[100:200], key=key, **small).weights)(keys)
    alone = unpaired_align(rows[:100], rows[100:200], key=keys[1], **small).weights
    assert many.shape == (2, P, P)
    assert np.abs(many[1] - alone).max() < 0.05


def test_what_a_swap_gains_is_what_the_objective_gains():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 7, 4))
    a, b = x @ x.T, y @ y.T
    order = random.permutation(7)
    turned = b[np.ix_(order, order)]
    gains = np.asarray(swap_gains(*map(jnp.asarray, (a, turned, a @ turned))))
    for i in range(7):
        for j in range(7):
            swapped = order.copy()
            swapped[[i, j]] = swapped[[j, i]]
            literal = np.sum(a * b[np.ix_(swapped, swapped)]) - np.sum(a * turned)
            assert gains[i, j] == pytest.approx(literal, abs=1e-3)


def test_matched_grams_are_the_best_of_all_orders():
    from itertools import permutations

    random = np.random.default_rng(1)
    x, y = random.normal(size=(2, 6, 3))
    a, b = x @ x.T, y @ y.T
    best = max(np.sum(a * b[np.ix_(p, p)]) for p in permutations(range(6)))
    order, value = match_grams(a, b, key=jax.random.key(0))
    assert float(value) == pytest.approx(best / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-4)
    order = np.asarray(order)
    assert np.sum(a * b[np.ix_(order, order)]) == pytest.approx(best, rel=1e-4)


def test_the_score_is_the_mean_cosine_of_csls_neighbours():
    random = np.random.default_rng(2)
    x, y = random.normal(size=(30, 4)), random.normal(size=(40, 4))
    m = procrustes(x, y[:30])
    a, b = m.centered(x, y)
    cosines = np.asarray(a / np.linalg.norm(a, axis=1)[:, None]) @ np.asarray(b / np.linalg.norm(b, axis=1)[:, None]).T
    nearest = np.asarray(csls(a, b)).argmax(1)
    assert float(csls_score(m, x, y)) == pytest.approx(cosines[np.arange(30), nearest].mean(), abs=1e-5)


GOOD = clustered(0)[:60]
BAD = {
    "NaN": (dict(x=np.where(GOOD > 2, np.nan, GOOD)), ValueError, "x: expected finite values"),
    "a row of 0": (dict(y=GOOD * (np.arange(60) != 5)[:, None]), ValueError, "y: .*zero rows, the first at row 5"),
    "fewer rows than clusters": (dict(clusters=61), ValueError, "clusters: expected 2 <= clusters <= 60"),
    "too many neighbours": (dict(neighbors=60), ValueError, "neighbors: expected 1 <= neighbors <= 59"),
    "more pairings than runs": (dict(pairings=31), ValueError, "pairings: expected 1 <= pairings <= 30"),
    "clusters that are no number": (dict(clusters=(4.5,)), TypeError, "clusters: expected an integer"),
    "no candidate": (dict(clusters=()), ValueError, "clusters: expected at least one"),
    "pairs out of range": (dict(pairs=[[0, 60]]), ValueError, "pairs: expected rows below 60 and 60"),
    "pairs of one column": (dict(pairs=[1, 2]), ValueError, r"pairs: expected shape \(k, 2\)"),
    "pairs that are no rows": (dict(pairs=[[0.5, 1]]), TypeError, "pairs: expected integers"),
    "an unknown match": (dict(match="hub"), ValueError, "match: expected one of sinkhorn, csls, cosine"),
    "one axis": (dict(x=GOOD[0]), ValueError, "x: expected a matrix"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_error_that_names_the_argument(what):
    options, error, says = BAD[what]
    arguments = dict(x=GOOD, y=GOOD, key=jax.random.key(0)) | QUICK | options
    with pytest.raises(error, match=says):
        unpaired_align(arguments.pop("x"), arguments.pop("y"), **arguments)


def test_refine_refuses_a_map_of_other_widths():
    with pytest.raises(ValueError, match="start: expected a map of widths 9 and 10"):
        refine(procrustes(GOOD, GOOD), GOOD[:, :9], GOOD, key=jax.random.key(0), neighbors=5)
    with pytest.raises(TypeError, match="start: expected a Map"):
        refine(GOOD, GOOD, GOOD, key=jax.random.key(0))
