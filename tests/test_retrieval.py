"""Retrieval: the nearest rows of a gallery and the scores made of them, against literal float64 loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from repgeo import retrieval
from repgeo.retrieval import (
    METRICS,
    csls,
    foscttm,
    jaccard,
    mean_cosine,
    mean_rank,
    mean_reciprocal_rank,
    ranks,
    relreps_scores,
    retrieval_scores,
    top_k,
    top_k_accuracy,
)


def spaces(n=60, m=None, p=5, seed=0, noise=1.0):
    """Queries and a gallery whose row i is a noisy copy of query i."""
    random = np.random.default_rng(seed)
    y = random.normal(size=(m or n, p))
    x = np.resize(y, (n, p)) + noise * random.normal(size=(n, p))
    return x.astype(np.float32), y.astype(np.float32)


def cosines(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return x / np.linalg.norm(x, axis=1)[:, None] @ (y / np.linalg.norm(y, axis=1)[:, None]).T


def literal_scores(x, y, metric, neighbors=10):
    """All n x m scores in float64, larger for nearer."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if metric == "euclidean":
        return -np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    if metric == "inner":
        return x @ y.T
    c = cosines(x, y)
    if metric == "cosine":
        return c
    of_x = [np.mean(sorted(row)[-neighbors:]) for row in c]
    of_y = [np.mean(sorted(column)[-neighbors:]) for column in c.T]
    return 2 * c - np.array(of_x)[:, None] - np.array(of_y)[None]


def literal_rank(scores, right):
    """1 + how many score more + half of how many others score the same."""
    others = np.delete(scores, right)
    return 1 + np.sum(others > scores[right]) + np.sum(others == scores[right]) / 2


def first(scores, k):
    """The k largest of each row, the lower index first among equals."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


# --- the k nearest


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_the_nearest_rows_and_their_scores_are_those_of_the_literal_table(metric, seed):
    x, y = spaces(60, 90, seed=seed)
    expected = literal_scores(x, y, metric)
    scores, rows = top_k(x, y, k=7, metric=metric)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, np.asarray(rows), 1), atol=2e-5)
    np.testing.assert_allclose(scores, np.sort(expected, 1)[:, ::-1][:, :7], atol=2e-5)
    assert all(len(set(row)) == 7 for row in np.asarray(rows).tolist())


@pytest.mark.parametrize("metric", METRICS)
def test_in_double_precision_the_rows_are_exactly_those_of_the_literal_table(metric):
    x, y = (a.astype(np.float64) for a in spaces(60, 90))
    with jax.enable_x64(True):
        rows = top_k(x, y, k=7, metric=metric)[1]
    np.testing.assert_array_equal(rows, first(literal_scores(x, y, metric), 7))


@pytest.mark.parametrize(("n", "m", "k"), [(3, 1023, 10), (513, 1025, 10), (1100, 2500, 1), (5, 2049, 60)])
def test_edges_of_blocks_chunks_and_groups_lose_no_row(n, m, k):
    x, y = spaces(n, m, p=8)
    expected = literal_scores(x, y, "inner")
    scores, rows = top_k(x, y, k=k, metric="inner")
    assert (np.asarray(rows) == first(expected, k)).mean() > 0.999  # float32 may swap two rows of almost one score
    np.testing.assert_allclose(scores, np.sort(expected, 1)[:, ::-1][:, :k], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("metric", ["inner", "euclidean"])
@pytest.mark.parametrize("m", [64, 1500])
def test_ties_among_integers_go_to_the_lower_row(metric, m):
    random = np.random.default_rng(0)
    x, y = random.integers(-2, 3, (40, 3)), random.integers(-2, 3, (m, 3))  # 125 places
    exact = x @ y.T if metric == "inner" else -((x[:, None] - y[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(top_k(x, y, k=15, metric=metric)[1], first(exact, 15))


@pytest.mark.parametrize("metric", METRICS)
def test_k_may_be_the_whole_gallery(metric):
    x, y = spaces(12, 12)
    rows = np.asarray(top_k(x, y, k=12, metric=metric)[1])
    np.testing.assert_array_equal(np.sort(rows, 1), np.tile(np.arange(12), (12, 1)))


def test_a_query_in_its_gallery_finds_itself_first():
    y = spaces(50)[1]
    assert top_k(y[7:8], y, k=1)[1].item() == 7


def test_one_query_finds_what_it_finds_in_a_batch():
    x, y = spaces(60)
    scores, rows = top_k(x, y, k=5)
    one = top_k(x[33:34], y, k=5)
    np.testing.assert_array_equal(one[1][0], rows[33])
    np.testing.assert_allclose(one[0][0], scores[33], rtol=1e-5)


@pytest.mark.parametrize("size", [2.0**-60, 2.0**60])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "csls"])
def test_any_scale_finds_the_same_rows_and_ranks(metric, size):
    x, y = spaces(60)
    np.testing.assert_array_equal(
        top_k(size * x, size * y, k=5, metric=metric)[1], top_k(x, y, k=5, metric=metric)[1]
    )
    np.testing.assert_array_equal(ranks(size * x, size * y, metric=metric), ranks(x, y, metric=metric))


def test_a_large_offset_leaves_distances_alone():
    x, y = (np.round(64 * a) for a in spaces(60))
    near, far = (top_k(x + shift, y + shift, k=5, metric="euclidean") for shift in (0, 2.0**16))
    np.testing.assert_array_equal(near[1], far[1])
    np.testing.assert_allclose(near[0], far[0], rtol=1e-6)


def test_memory_stays_in_blocks():
    n, m = 4000, 20_000
    x, y = (jax.ShapeDtypeStruct((rows, 8), jnp.float32) for rows in (n, m))
    truth = jax.ShapeDtypeStruct((n,), jnp.int32)
    searching = retrieval._top_k.lower(x, y, 10, "cosine", 10).compile()
    ranking = retrieval._ranks.lower(x, y, truth, "cosine", 10).compile()
    for compiled in (searching, ranking):
        assert compiled.memory_analysis().temp_size_in_bytes < n * m * 4 / 2


# --- csls


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_csls_is_the_literal_table(seed):
    x, y = spaces(60, 90, seed=seed)
    np.testing.assert_allclose(csls(x, y, neighbors=10), literal_scores(x, y, "csls"), atol=1e-5)
    np.testing.assert_allclose(csls(y, x, neighbors=10), np.asarray(csls(x, y, neighbors=10)).T, atol=1e-5)


def test_csls_takes_the_crowd_from_a_hub():
    random = np.random.default_rng(0)
    y = random.normal(size=(300, 40))
    x = y + 1.6 + 0.5 * random.normal(size=y.shape)  # all moved one way
    y[0] = 1.6  # and one row of the gallery lies there
    hits = {m: int((top_k(x, y, k=1, metric=m)[1] == 0).sum()) for m in ("cosine", "csls")}
    assert hits["cosine"] == 300 and hits["csls"] < 150
    assert ranks(x, y, metric="csls").mean() < ranks(x, y).mean()


# --- ranks and what is made of them


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_ranks_are_those_of_the_literal_table(metric, seed):
    x, y = (a.astype(np.float64) for a in spaces(60, seed=seed))
    table = literal_scores(x, y, metric)
    with jax.enable_x64(True):
        found = np.asarray(ranks(x, y, metric=metric))
    np.testing.assert_array_equal(found, [literal_rank(row, i) for i, row in enumerate(table)])


def test_ranks_cross_the_edge_of_a_block(monkeypatch):
    x, y = spaces(500, p=8)
    expected = np.asarray(ranks(x, y))
    jax.clear_caches()
    monkeypatch.setattr(retrieval, "_SCORES", 500 * 70)
    np.testing.assert_array_equal(ranks(x, y), expected)
    jax.clear_caches()


def test_ties_count_half():
    random = np.random.default_rng(0)
    x, y = random.integers(-2, 3, (200, 3)), random.integers(-2, 3, (200, 3))
    table = x @ y.T
    np.testing.assert_array_equal(ranks(x, y, metric="inner"), [literal_rank(row, i) for i, row in enumerate(table)])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [31, 200])
def test_a_gallery_of_copies_scores_as_chance_does(metric, n):
    x = spaces(n)[0]
    y = np.tile(x[:1], (n, 1))
    np.testing.assert_array_equal(ranks(x, y, metric=metric), np.full(n, (n + 1) / 2))
    assert foscttm(x, y, metric=metric) == 0.5
    assert top_k_accuracy(x, y, metric=metric) == 0


def test_the_right_row_may_lie_anywhere_in_a_larger_gallery():
    x, y = spaces(30, 100)
    truth = np.random.default_rng(0).permutation(100)[:30]
    table = cosines(x, y)
    expected = [literal_rank(row, right) for row, right in zip(table, truth, strict=True)]
    np.testing.assert_array_equal(ranks(x, y, truth=truth), expected)
    np.testing.assert_array_equal(jax.jit(lambda x, y, t: ranks(x, y, truth=t))(x, y, truth), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_every_score_is_its_definition(metric):
    x, y = spaces(60)
    found = np.array([literal_rank(row, i) for i, row in enumerate(literal_scores(x, y, metric))])
    for got, expected in (
        (mean_rank(x, y, metric=metric), found.mean()),
        (mean_reciprocal_rank(x, y, metric=metric), (1 / found).mean()),
        (mean_reciprocal_rank(x, y, k=3, metric=metric), np.where(found <= 3, 1 / found, 0).mean()),
        (top_k_accuracy(x, y, k=4, metric=metric), (found <= 4).mean()),
        (foscttm(x, y, metric=metric), ((found - 1) / 59).mean()),
    ):
        assert float(got) == pytest.approx(expected, rel=1e-6)
    together = retrieval_scores(x, y, metric=metric)
    alone = (
        top_k_accuracy(x, y, metric=metric),
        top_k_accuracy(x, y, k=10, metric=metric),
        mean_rank(x, y, metric=metric),
        mean_reciprocal_rank(x, y, metric=metric),
        foscttm(x, y, metric=metric),
        mean_cosine(x, y),
    )
    found = (together.top_1, together.top_10, together.mean_rank, together.reciprocal_rank, together.foscttm,
             together.cosine)  # fmt: skip
    np.testing.assert_allclose(found, alone, rtol=1e-6)


def test_foscttm_is_the_share_of_rows_that_are_closer_than_the_match():
    x, y = (a.astype(np.float64) for a in spaces(60))
    d = np.linalg.norm(x[:, None] - y[None], axis=-1)
    closer = [np.sum(d[i] < d[i, i]) / 59 for i in range(60)]
    assert float(foscttm(x, y, metric="euclidean")) == pytest.approx(np.mean(closer), rel=1e-6)


def test_mean_cosine_is_the_mean_of_the_diagonal():
    x, y = spaces(60)
    assert float(mean_cosine(x, y)) == pytest.approx(np.diag(cosines(x, y)).mean(), rel=1e-6)


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_the_rules_of_relreps_are_its_loop(seed):
    """Index of unit rows of y; the query's own row stays; a rank beyond k counts 0."""
    x, y, k = *(a.astype(np.float64) for a in spaces(60, seed=seed)), 5
    overlap, reciprocal = [], []
    for i in range(60):
        of_x, of_y = first(cosines(x[i : i + 1], y), k)[0].tolist(), first(cosines(y[i : i + 1], y), k)[0].tolist()
        overlap.append(len({*of_x} & {*of_y}) / len({*of_x} | {*of_y}))
        reciprocal.append(1 / (of_x.index(i) + 1) if i in of_x else 0)
    with jax.enable_x64(True):
        got = relreps_scores(x, y, k=k)
        assert float(got.jaccard) == pytest.approx(np.mean(overlap), rel=1e-9)
        assert float(got.reciprocal_rank) == pytest.approx(np.mean(reciprocal), rel=1e-9)
        assert float(got.cosine) == pytest.approx(np.diag(cosines(x, y)).mean(), rel=1e-9)
        assert jaccard(x, y, k=k) == got.jaccard


def test_a_perfect_map_scores_one_and_a_random_one_chance():
    x, y = spaces(400, p=30)
    perfect, random = relreps_scores(y, y, k=10), retrieval_scores(x[::-1], y)
    assert (float(perfect.jaccard), float(perfect.reciprocal_rank)) == (1.0, 1.0)
    assert float(perfect.cosine) == pytest.approx(1, abs=1e-6)
    assert abs(float(random.foscttm) - 0.5) < 0.05 and random.top_10 < 0.1


# --- traces


def test_it_runs_under_jit_and_vmap_and_with_closed_over_arrays():
    x, y = map(jnp.asarray, spaces(60))
    for f in (
        lambda x, y: top_k(x, y, k=5)[1],
        lambda x, y: ranks(x, y, metric="csls"),
        lambda x, y: csls(x, y, neighbors=3),
        lambda x, y: retrieval_scores(x, y).mean_rank,
        lambda x, y: relreps_scores(x, y, k=5).jaccard,
    ):
        expected = f(x, y)
        np.testing.assert_allclose(jax.jit(f)(x, y), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(jax.jit(lambda f=f: f(x, y))(), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(jax.vmap(f)(x[None], y[None])[0], expected, rtol=1e-5, atol=1e-6)


def test_scores_have_the_gradients_of_their_formulas():
    x, y = map(jnp.asarray, spaces(20))
    check_grads(mean_cosine, (x, y), order=1, modes=["rev"], rtol=0.02, atol=1e-3)
    slope = jax.grad(lambda x: top_k(x, y, k=3, metric="inner")[0].sum())(x)
    rows = np.asarray(top_k(x, y, k=3, metric="inner")[1])
    np.testing.assert_allclose(slope, np.asarray(y)[rows].sum(1), rtol=1e-5)


def test_a_nan_under_a_trace_stays_one():
    x, y = map(jnp.asarray, spaces(20))
    for bad in ((x.at[3, 1].set(jnp.nan), y), (x, y.at[3, 1].set(jnp.nan))):
        assert np.isnan(jax.jit(ranks)(*bad)).all()
        assert np.isnan(jax.jit(lambda x, y: top_k(x, y, k=2)[0])(*bad)).all()
        assert np.isnan(jax.jit(mean_cosine)(*bad))


# --- bad input


@pytest.mark.parametrize("call", [top_k, csls, ranks, jaccard, mean_cosine, retrieval_scores, relreps_scores])
def test_bad_input_is_named(call):
    x, y = spaces(60)
    with pytest.raises(ValueError, match=r"x and y: expected rows of one width, in one space; got .*5\).*\(60, 4\)"):
        call(x, y[:, :4])
    with pytest.raises(ValueError, match="y: expected finite values; got 1 NaN or inf .*row 2, column 1"):
        call(x, np.where(np.indices(y.shape).sum(0) * (np.arange(60)[:, None] == 2) == 3, np.nan, y))
    with pytest.raises(ValueError, match="x: expected a matrix"):
        call(x[0], y)
    with pytest.raises(TypeError, match="x: expected real numbers; got dtype"):
        call(x.astype(complex), y)
    zero = x.copy()
    zero[[4, 9]] = 0
    with pytest.raises(ValueError, match="x: expected rows with a direction; got 2 zero rows, the first at row 4"):
        call(zero, y)


@pytest.mark.parametrize("call", [ranks, mean_rank, foscttm, jaccard, mean_cosine, retrieval_scores])
def test_pairs_need_one_row_on_either_side(call):
    x, y = spaces(60)
    with pytest.raises(ValueError, match=r"x and y: expected one row per sample in both; got .*\(60, 5\).*\(59, 5\)"):
        call(x, y[:59])


def test_other_arguments_are_named():
    x, y = spaces(60)
    with pytest.raises(ValueError, match=r"k: expected 1 <= k <= 60 \(m rows in the gallery\); got 61"):
        top_k(x, y, k=61)
    with pytest.raises(ValueError, match="k: expected 1 <= k <= 60"):
        top_k_accuracy(x, y, k=0)
    with pytest.raises(ValueError, match="k: expected 1 <= k <= 60"):
        mean_reciprocal_rank(x, y, k=61)
    with pytest.raises(TypeError, match="k: expected an integer"):
        jaccard(x, y, k=2.0)
    with pytest.raises(ValueError, match="metric: expected one of cosine, euclidean, inner, csls; got 'angle'"):
        ranks(x, y, metric="angle")
    with pytest.raises(ValueError, match=r"neighbors: expected 1 <= neighbors <= 60 \(rows on either side\); got 61"):
        csls(x, y, neighbors=61)
    with pytest.raises(TypeError, match="truth: expected rows of y as integers; got dtype float64"):
        ranks(x, y, truth=np.zeros(60))
    with pytest.raises(ValueError, match=r"truth: expected one row of y for each row of x, shape \(60,\); got \(59,\)"):
        ranks(x, y, truth=np.arange(59))
    with pytest.raises(ValueError, match=r"truth: expected rows 0 \.\.\. 59 of y; got 1 to 60"):
        ranks(x, y, truth=np.arange(60) + 1)


def test_a_zero_row_has_a_distance_and_a_product():
    x, y = spaces(60)
    x[3] = 0
    for metric in ("euclidean", "inner"):
        assert np.isfinite(ranks(x, y, metric=metric)).all()
