"""Erasers in closed form beside the packages of their authors, on data where both can be compared to the last digit."""

from pathlib import Path

import jax
import numpy as np
import pytest

from repgeo.erasure import as_concept, leace, mean_projection, oracle_leace, sal, splince

pytestmark = pytest.mark.optimized
GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "erasure.npz", allow_pickle=False))
SETS = ("s0", "s2")
CATEGORICAL = {"labels": "categorical"}


def data(name):
    return GOLDEN[f"{name}/X"], GOLDEN[f"{name}/y"].astype(np.int64)


@pytest.mark.parametrize("name", ("s0", "s1", "s2"))
def test_leace_is_that_of_concept_erasure(name):
    with jax.enable_x64(True):
        x, y = data(name)
        e = leace(x, y, **CATEGORICAL)
        np.testing.assert_allclose(e.projector, GOLDEN[f"{name}/leace/P"], atol=1e-9)
        np.testing.assert_allclose(e.bias, GOLDEN[f"{name}/leace/bias"], atol=1e-10)
        np.testing.assert_allclose(e.transform(x[:64]), GOLDEN[f"{name}/leace/out"], atol=1e-8)
        assert int(e.rank) == y.max()


@pytest.mark.parametrize("name", SETS)
def test_single_precision_moves_the_rows_as_far_and_erases_as_much(name):
    x, y = data(name)
    right = GOLDEN[f"{name}/leace/P"]
    e = leace(x.astype(np.float32), y, **CATEGORICAL)
    assert e.left.dtype == np.float32
    moved = np.linalg.norm(GOLDEN[f"{name}/leace/out"] - x[:64])
    assert np.linalg.norm(e.transform(x[:64].astype(np.float32)) - GOLDEN[f"{name}/leace/out"]) < 5e-3 * moved
    centred, got = x - x.mean(0), np.asarray(e.projector, np.float64)
    edits = [np.sum((centred @ p.T - centred) ** 2) for p in (got, right)]
    assert edits[0] < edits[1] * (1 + 1e-5)  # the condition number is 3e4, and the least edit is flat
    means = [np.linalg.norm(p @ (x[y == 0].mean(0) - x[y == 1].mean(0))) for p in (got, np.eye(len(got)))]
    assert means[0] < 1e-5 * means[1] * np.abs(got).max()


@pytest.mark.parametrize("name", SETS)
def test_the_mean_projection_is_the_orthogonal_method_and_centred_sal_at_full_rank(name):
    with jax.enable_x64(True):
        x, y = data(name)
        for e in (mean_projection(x, y, **CATEGORICAL), sal(x, y, rank=int(y.max()), **CATEGORICAL)):
            np.testing.assert_allclose(e.projector, GOLDEN[f"{name}/orth/P"], atol=1e-10)
            np.testing.assert_allclose(e.projector, GOLDEN[f"{name}/sal_centred/P"], atol=1e-10)
            np.testing.assert_allclose(e.transform(x[:64]), GOLDEN[f"{name}/orth/out"], atol=1e-9)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("which, rank", [("sal_official", None), ("sal_official_r1", 1)])
def test_uncentred_sal_is_the_code_of_its_authors(name, which, rank):
    with jax.enable_x64(True):
        x, y = data(name)
        e = sal(x, y, rank=rank or int(y.max()) + 1, center=False, **CATEGORICAL)
        np.testing.assert_allclose(e.projector, GOLDEN[f"{name}/{which}/P"], atol=1e-10)
        assert not np.any(e.bias)


@pytest.mark.parametrize("name", SETS)
def test_oracle_leace_is_that_of_concept_erasure(name):
    with jax.enable_x64(True):
        x, y = data(name)
        z = as_concept(y, **CATEGORICAL)
        got = oracle_leace(x, y, **CATEGORICAL).transform(x, z)
        np.testing.assert_allclose(got[:64], GOLDEN[f"{name}/oracle/out"], atol=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_splince_is_the_reference(name):
    with jax.enable_x64(True):
        x, y = data(name)
        e = splince(x, y, GOLDEN[f"{name}/task"].astype(int), labels="categorical", task_labels="categorical")
        np.testing.assert_allclose(e.projector, GOLDEN[f"{name}/splince/P"], atol=1e-9)
