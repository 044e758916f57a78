"""Controls that fail loudly, and the matchings that alignment is compared with."""

import jax
import numpy as np
import pytest

from repgeo import align
from repgeo.retrieval import top_k_accuracy

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 8)).astype(np.float32)


def test_halves_share_nothing_and_are_of_one_size():
    ids = np.array([f"n{i:04d}" for i in range(101)])
    a, b, judge = align.split_disjoint(ids, key=jax.random.key(0), held_out=20)
    assert (len(a), len(b), len(judge)) == (40, 40, 20)
    assert len({*a.tolist(), *b.tolist(), *judge.tolist()}) == 100
    align.assert_disjoint(ids[a], ids[b], ids[judge])


def test_an_id_on_both_sides_is_named():
    with pytest.raises(ValueError, match="ids: expected every id once.*1 that repeat, .*'b'.* 2 times"):
        align.split_disjoint(["a", "b", "c", "b"], key=jax.random.key(0), held_out=1)
    with pytest.raises(ValueError, match="ids: expected disjoint halves; got 'b' in numbers 0 and 1"):
        align.assert_disjoint(["a", "b"], ["b"])
    with pytest.raises(ValueError, match="held_out: expected 1 <= held_out <= 2"):
        align.split_disjoint([1, 2, 3, 4], key=jax.random.key(0), held_out=3)
    with pytest.raises(ValueError, match="ids: expected one integer or text a row"):
        align.split_disjoint([0.5, 1.5, 2.5], key=jax.random.key(0), held_out=1)


def test_a_rotation_keeps_lengths_and_angles_and_is_uniform():
    turned, q = align.rotate(X, key=jax.random.key(0))
    assert np.allclose(q.T @ q, np.eye(8), atol=1e-5) and np.allclose(turned, X @ q, atol=1e-4)
    corners = [float(align.rotate(X[:2], key=jax.random.key(i))[1][0, 0]) for i in range(60)]
    assert abs(np.mean(corners)) < 3 * np.sqrt(1 / 8 / 60)  # without the signs of R it would have one sign


def test_shuffled_columns_keep_marginals_alone():
    broken = np.asarray(align.column_shuffled(X, key=jax.random.key(0)))
    assert np.array_equal(np.sort(broken, 0), np.sort(X, 0))
    assert (broken != X).mean() > 0.95


def test_a_wrong_model_fails_and_a_right_one_in_its_place_is_found_out():
    y, _ = align.rotate(X, key=jax.random.key(1))
    m = align.procrustes(X, y)
    other = RANDOM.normal(size=(200, 10)).astype(np.float32)
    assert float(align.wrong_model(m, other, y, key=jax.random.key(2))) < 0.05
    assert float(align.wrong_model(m, X, y, key=jax.random.key(2))) < 0.05  # its own rows, but turned
    assert float(align.wrong_model(m, X[:, :5], y, key=jax.random.key(2))) < 0.05
    with pytest.raises(ValueError, match="top-1 accuracy of at most 0.05; got 1.000: something leaks"):
        align.must_fail(m, X, y)


def local_cka_literal(x, y, base_x, base_y):
    def centered(a):
        h = np.eye(len(a)) - 1 / len(a)
        return h @ a @ a.T @ h

    k, l = centered(np.vstack([base_x, x])), centered(np.vstack([base_y, y]))
    return (k * l).sum() / np.linalg.norm(k) / np.linalg.norm(l)


def test_local_cka_is_the_cka_of_the_base_with_one_more_pair():
    x, y = RANDOM.normal(size=(7, 5)) + 3, RANDOM.normal(size=(6, 4)) - 1
    base_x, base_y = RANDOM.normal(size=(9, 5)), RANDOM.normal(size=(9, 4))
    got = np.asarray(align.local_cka(x, y, base_x, base_y))
    want = [[local_cka_literal(a, b, base_x, base_y) for b in y] for a in x]
    assert np.allclose(got, want, atol=1e-5)


def test_local_cka_matches_rows_from_a_few_pairs():
    y, _ = align.rotate(X, key=jax.random.key(3))
    order = RANDOM.permutation(50)
    match, alike = align.local_cka_match(X[:50], y[:50][order], X[50:90], y[50:90])
    assert (order[np.asarray(match)] == np.arange(50)).mean() > 0.9 and alike.shape == (50,)
    with pytest.raises(ValueError, match="x: expected at most as many rows as y; got 50 and 40"):
        align.local_cka_match(X[:50], y[:40], X[50:90], y[50:90])
    with pytest.raises(ValueError, match="y and base_y: expected one width; got 8 and 7"):
        align.local_cka(X[:50], y[:40], X[50:90], y[50:90, :7])


def test_gromov_wasserstein_keeps_its_marginals_and_finds_a_few_clear_points():
    random = np.random.default_rng(3)
    x = (random.normal(size=(12, 4)) ** 3).astype(np.float32)
    order = random.permutation(12)
    match, coupling = align.gromov_wasserstein_match(x, x[order])
    assert np.allclose(coupling.sum(0), 1 / 12, atol=1e-3) and np.allclose(coupling.sum(1), 1 / 12, atol=1e-2)
    np.testing.assert_array_equal(order[np.asarray(match)], np.arange(12))
    with pytest.raises(ValueError, match="x: .*zero rows, the first at row 2"):
        align.gromov_wasserstein_match(x * (np.arange(12) != 2)[:, None], x)


def test_a_vocabulary_learns_itself_and_says_how_it_went():
    random = np.random.default_rng(1)
    x = (random.normal(size=(400, 10)) * np.linspace(2, 0.5, 10)) ** 3
    y, _ = align.rotate(x + 0.5 * random.normal(size=x.shape), key=jax.random.key(1))
    order = random.permutation(400)
    m = align.self_learning_map(x, y[order], key=jax.random.key(0), patience=8, most=120)
    steps = int(m.history["steps"])
    objective = np.asarray(m.history["objective"])
    assert np.isfinite(objective[:steps]).all() and np.isnan(objective[steps:]).all()
    assert float(m.score) == pytest.approx(objective[steps - 1]) and objective[steps - 1] > objective[0]
    assert float(m.history["keep"][steps - 1]) == 1.0
    assert float(top_k_accuracy(*m.centered(x, y))) > 0.9
    with pytest.raises(ValueError, match="keep: expected"):
        align.self_learning_map(x, y, key=jax.random.key(0), keep=0.0)
