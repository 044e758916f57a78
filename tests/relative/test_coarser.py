"""Rounded, sparse and evenly assigned coordinates, and heads that read another encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import linear_sum_assignment

from repgeo import probes
from repgeo.relative import balanced_assignment, quantize, relative, sparse_similarities, stitch_matrix


def table(n=24, m=8, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, m)).astype(np.float32)


def test_rounding_goes_to_multiples_and_its_gradient_straight_through():
    r = table()
    np.testing.assert_allclose(quantize(r, step=0.1), np.round(r / 0.1) * 0.1, atol=1e-6)
    assert len(np.unique(np.round(np.asarray(quantize(r, step=0.5)), 5))) == 5
    weights = table(seed=1)
    slope = jax.grad(lambda r: (quantize(r, step=0.5) * weights).sum())(jnp.asarray(r))
    np.testing.assert_allclose(slope, weights)
    np.testing.assert_allclose(jax.jit(lambda r, s: quantize(r, step=s))(r, 0.5), quantize(r, step=0.5))


@pytest.mark.parametrize("power", [1.0, 8.0])
def test_sparse_similarities_are_the_literal_loop(power):
    r = table()
    expected = np.zeros(r.shape)
    for i, row in enumerate(r):
        for j in np.argsort(-row)[:3]:
            expected[i, j] = max(float(row[j]), 0) ** power
        expected[i] /= np.linalg.norm(expected[i])
    np.testing.assert_allclose(sparse_similarities(r, keep=3, power=power), expected, atol=1e-5)


def test_rows_without_a_positive_similarity_become_zero_and_small_ones_do_not():
    r = np.array([[-0.5, -0.1, -0.9], [1e-6, 2e-6, -1.0]], np.float32)
    got = np.asarray(sparse_similarities(r, keep=2, power=8))
    assert not got[0].any() and got[1] == pytest.approx([1 / 256, 1, 0], rel=1e-3)
    slope = jax.grad(lambda r: sparse_similarities(r, keep=2, power=8).sum())(jnp.asarray(r))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("per_row", [1, 3])
def test_every_row_gives_as_much_and_every_anchor_takes_as_much(per_row):
    weights = np.asarray(balanced_assignment(table(), per_row=per_row, tolerance=1e-4))
    np.testing.assert_allclose(weights.sum(1), per_row, rtol=5e-3)
    np.testing.assert_allclose(weights.sum(0), 24 * per_row / 8, rtol=5e-3)
    assert (weights >= 0).all()


def test_a_small_epsilon_finds_the_best_even_assignment():
    similarities = table()
    rows, seats = linear_sum_assignment(-np.repeat(similarities, 3, 1))  # three seats an anchor
    best = similarities[rows, seats // 3].sum()
    weights = np.asarray(balanced_assignment(similarities, epsilon=0.005, steps=20_000))
    assert (weights * similarities).sum() == pytest.approx(best, rel=0.01)
    hub = similarities + 3 * (np.arange(8) == 2)  # everyone's nearest
    assert (hub.argmax(1) == 2).all()
    np.testing.assert_allclose(np.asarray(balanced_assignment(hub, epsilon=0.1)).sum(0), 3, rtol=0.01)


def test_a_large_epsilon_is_even_and_too_few_steps_are_said():
    np.testing.assert_allclose(balanced_assignment(table(), epsilon=1e3), 1 / 8, rtol=5e-3)
    with pytest.raises(ValueError, match="epsilon: 10 iterations left the marginals further than 1e-06 from even"):
        balanced_assignment(table(), epsilon=0.001, tolerance=1e-6, steps=10)


def test_assignments_run_under_jit_vmap_and_grad():
    r = jnp.asarray(table())
    expected = balanced_assignment(r)
    np.testing.assert_allclose(jax.jit(balanced_assignment)(r), expected, atol=1e-4)
    np.testing.assert_allclose(jax.vmap(balanced_assignment)(r[None])[0], expected, atol=1e-4)
    with jax.numpy_rank_promotion("allow"), jax.enable_x64(True):  # ott-jax's own derivative promotes ranks
        r = jnp.asarray(table(6, 3), float)
        exact = {"epsilon": 0.3, "tolerance": 1e-9}
        check_grads(lambda r: balanced_assignment(r, **exact), (r,), order=1, modes=["rev"], rtol=1e-2, atol=1e-4)


def test_a_head_reads_a_rotated_encoder_from_relative_and_not_from_absolute_coordinates():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 60)
    x = random.normal(size=(4, 10))[labels] * 2 + random.normal(size=(240, 10))
    order = random.permutation(240)
    train, test = order[:160], order[160:]
    spaces = [x @ np.linalg.qr(random.normal(size=(10, 10)))[0] for _ in range(3)]
    arguments = {"labels": labels[train], "test_labels": labels[test]}
    absolute = stitch_matrix([s[train] for s in spaces], [s[test] for s in spaces], **arguments)
    coordinates = [relative(s, s[train[:20]]) for s in spaces]
    seen = stitch_matrix([r[train] for r in coordinates], [r[test] for r in coordinates], **arguments)
    off = ~np.eye(3, dtype=bool)
    assert np.diag(absolute).min() > 0.9 and absolute[off].mean() < 0.6
    assert seen.min() > 0.9 and seen.shape == (3, 3)
    head = probes.ridge(spaces[0][train], labels[train])
    assert absolute[0, 2] == pytest.approx(float(probes.accuracy(head, spaces[2][test], labels[test])))


def test_any_head_and_score_will_do():
    x, labels = table(40), np.arange(40) % 2
    got = stitch_matrix(
        [x, 2 * x], [x, x], labels=labels, test_labels=labels, fit=lambda x, y: x.sum(), score=lambda h, x, y: h
    )
    np.testing.assert_allclose(got, np.outer([1, 2], [1, 1]) * x.sum(), rtol=1e-5)


def test_bad_input_is_named():
    r, y = table(), np.arange(24) % 2
    with pytest.raises(ValueError, match=r"step: expected a finite number in \(0, inf\]; got 0"):
        quantize(r, step=0)
    with pytest.raises(ValueError, match=r"keep: expected 1 <= keep <= 8 \(m anchors\); got 9"):
        sparse_similarities(r, keep=9)
    with pytest.raises(ValueError, match=r"power: expected a finite number in \(0"):
        sparse_similarities(r, keep=2, power=-1)
    with pytest.raises(ValueError, match=r"per_row: expected 1 <= per_row <= 8 \(m anchors\); got 9"):
        balanced_assignment(r, per_row=9)
    with pytest.raises(ValueError, match=r"epsilon: expected a finite number in \(0"):
        balanced_assignment(r, epsilon=0)
    with pytest.raises(ValueError, match="coordinates: expected finite values"):
        quantize(np.where(r > 0.9, np.nan, r), step=0.1)
    with pytest.raises(ValueError, match="train and test: expected one matrix an encoder in both; got 2 and 1"):
        stitch_matrix([r, r], [r], labels=y, test_labels=y)
    with pytest.raises(ValueError, match=r"train\[1\]: expected 24 rows, .* of train\[0\], 8; got .*\(24, 7\)"):
        stitch_matrix([r, r[:, :7]], [r, r], labels=y, test_labels=y)
    with pytest.raises(ValueError, match=r"test\[0\]: expected 23 rows"):
        stitch_matrix([r], [r], labels=y, test_labels=y[:23])
