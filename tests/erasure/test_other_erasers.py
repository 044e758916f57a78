"""Quadratic erasure, the filter of prompts, and the code of attributes: do they do what their sources define?"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.erasure import concept_filter, matrix_subspace_projection, project_out, quadratic_leace

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "erasure.npz", allow_pickle=False))


def unbalanced(seed=0, n=400, p=5):
    """Two classes, one in ten, whose means and covariances differ."""
    random = np.random.default_rng(seed)
    y = (np.arange(n) < n // 10).astype(int)
    shapes = random.normal(size=(2, p, p))
    return np.einsum("ni,nij->nj", random.normal(size=(n, p)), shapes[y]) + 3 * y[:, None] + 7, y


@pytest.mark.parametrize("name", ["s0", "s1", "s2"])
def test_quadratic_leace_moves_classes_as_concept_erasure_does_but_for_the_mean(name):
    x, y = GOLDEN[f"{name}/X"], GOLDEN[f"{name}/y"].astype(int)
    with jax.enable_x64(True):
        e = quadratic_leace(x, y)
        np.testing.assert_allclose(e.means, GOLDEN[f"{name}/qleace/class_means"], atol=1e-10)
        right = GOLDEN[f"{name}/qleace/ot_maps"]
        np.testing.assert_allclose(e.maps, right, atol=1e-4 * np.abs(right).max())
        np.testing.assert_allclose(e.center, x.mean(0), atol=1e-10)  # theirs is the mean of class means
        shift = GOLDEN[f"{name}/qleace/global_mean"] - x.mean(0)
        got = e.transform(x[:64], y[:64]) + shift[None]
        np.testing.assert_allclose(got, GOLDEN[f"{name}/qleace/out"], atol=1e-3 * np.abs(x).max())


@pytest.mark.parametrize("dtype, bar", [(np.float64, 1e-6), (np.float32, 1e-3)])
def test_after_quadratic_leace_all_classes_have_one_mean_and_covariance_and_the_data_stay_in_place(dtype, bar):
    x, y = unbalanced()
    with jax.enable_x64(dtype == np.float64):
        erased = np.asarray(quadratic_leace(x.astype(dtype), y).transform(x.astype(dtype), y), np.float64)
        means = [erased[y == c].mean(0) for c in (0, 1)]
        shapes = [np.cov(erased[y == c].T) for c in (0, 1)]
        np.testing.assert_allclose(*means, atol=bar * 10)
        np.testing.assert_allclose(*shapes, atol=bar * np.abs(shapes[0]).max() * 10)
        np.testing.assert_allclose(erased.mean(0), x.mean(0), atol=bar * 10)


def test_quadratic_leace_under_jit_is_the_same():
    x, y = unbalanced()
    with jax.enable_x64(True):
        traced = jax.jit(lambda x, y: quadratic_leace(x, y, classes=2).transform(x, y))(x, y)
        np.testing.assert_allclose(traced, quadratic_leace(x, y).transform(x, y), atol=1e-8)


def prompt(seed=0):
    """Ten tokens about one thing and one that is mostly the concept; and the concept, three directions of 16."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.normal(size=(16, 16)))[0]
    topic, concept = axes[3:], axes[:3] * 2
    tokens = topic[0] * 3 + random.normal(size=(11, 13)) @ topic * 0.1
    tokens[4] = concept.sum(0) * 2 + 0.1 * topic[1]
    return tokens, concept


def literal_filter(tokens, concept, alpha):
    """The projection and the leave-one-out test token by token, as the paper writes them."""
    p = tokens.shape[1]
    def onto(rows):
        return rows.T @ np.linalg.pinv(rows @ rows.T) @ rows
    away = np.eye(p) - onto(concept)
    lengths = np.array([np.linalg.norm(away @ np.delete(tokens, i, 0).mean(0)) for i in range(len(tokens))])
    moved = np.array([lengths[i] > (1 + alpha) * np.delete(lengths, i).mean() for i in range(len(tokens))])
    cleaned = tokens @ onto(tokens) @ away
    return np.where(moved[:, None], cleaned, tokens), moved


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.5])
def test_the_filter_is_the_literal_one_and_moves_related_tokens_only(alpha):
    tokens, concept = prompt()
    right, moved = literal_filter(tokens, concept, alpha)
    found = concept_filter(tokens.astype(np.float32), concept.astype(np.float32), alpha=alpha)
    np.testing.assert_array_equal(found.moved, moved)
    np.testing.assert_allclose(found.tokens, right, atol=1e-4)
    if alpha == 0.01:
        assert np.flatnonzero(found.moved).tolist() == [4]
        assert np.abs(found.tokens[4] @ concept.T).max() < 1e-4
        np.testing.assert_array_equal(np.delete(found.tokens, 4, 0), np.delete(tokens, 4, 0).astype(np.float32))


def test_attributes_are_read_set_and_removed_where_they_were_planted():
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(12, 12)))[0]
    y = random.normal(size=(500, 2))
    x = (np.concatenate([2 * y, random.normal(size=(500, 10))], 1) @ axes + 4).astype(np.float32)
    code = matrix_subspace_projection(x, y)
    np.testing.assert_allclose(code.directions @ code.directions.T, np.eye(2), atol=1e-5)
    np.testing.assert_allclose(abs(np.linalg.det(np.asarray(code.directions) @ axes[:2].T)), 1, atol=0.02)
    assert np.corrcoef(code.read(x)[:, 0], y[:, 0])[0, 1] > 0.99
    written = code.write(x, -y)
    np.testing.assert_allclose(code.read(written), -y, atol=1e-4)
    gone = project_out(code.directions).transform(written)
    np.testing.assert_allclose(gone, project_out(code.directions).transform(x), atol=1e-3)  # the rest was not touched
    assert np.abs(np.corrcoef(np.asarray(gone).T, y.T)[:12, 12:]).max() < 0.2


def test_bad_input_gives_one_clear_error():
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    once = (np.arange(20) == 3).astype(int)
    for call, message in (
        (lambda: quadratic_leace(x, once), "y: expected at least 2 rows of each class; got 1 of class 1"),
        (lambda: quadratic_leace(x, y).transform(x, y + 1), r"y: expected integer classes 0 \.\.\. 1; got"),
        (lambda: quadratic_leace(x, y).transform(x[:, :2], y), "x and y: expected rows of 4 features"),
        (lambda: concept_filter(x, x), "concept: expected fewer than 4 rows"),
        (lambda: concept_filter(x, x[:1] * 0), "concept: expected at least one row that is not 0"),
        (lambda: concept_filter(x[:1], x[:1]), "tokens: expected at least 2"),
        (lambda: concept_filter(x, x[:1], alpha=-1), "alpha: expected"),
        (lambda: matrix_subspace_projection(x[:, :1], x), "y: expected at most 1 attributes"),
        (lambda: matrix_subspace_projection(x, np.stack([x[:, 0], x[:, 0]], 1)), "covariance of lower rank"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert jnp.all(concept_filter(x, np.eye(4)[:1]).distances > 0)
