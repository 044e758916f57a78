"""Does the report tell a guarded concept from one that is gone, and an edit from the damage that any edit does?"""

from functools import partial

import jax
import numpy as np
import pytest

from repgeo import cka
from repgeo.erasure import guardedness_report, leace, mean_projection, project_out
from repgeo.erasure.report import edit_rank
from repgeo.probes import logistic, rbf

KEY = jax.random.key(0)


def world(n=320, p=12):
    """Classes that differ in their mean along one axis, and in their spread along another; a task along a third."""
    random = np.random.default_rng(0)
    y, task = np.arange(n) % 2, random.integers(0, 2, n)
    x = random.normal(size=(n, p))
    x[:, 0] += 3 * y
    x[:, 1] *= np.where(y, 4.0, 0.3)
    x[:, 2] += 4 * task
    return (x + 2).astype(np.float32), y, task


@pytest.fixture(scope="module")
def report():
    x, y, task = world()
    after = leace(x, y, labels="categorical").transform(x)
    probes = {"linear": logistic, "rbf": partial(rbf, features=200, l2=1e-2)}
    return guardedness_report(x, after, y, key=KEY, task=task, probes=probes, splits=3)


def test_a_linear_probe_is_guarded_and_another_is_not(report):
    before, after = report.rows["before"], report.rows["after"]
    assert abs(after.certificate) < 1e-4 < 0.5 < before.certificate
    assert after.probes["linear"].mean < 0.6 < 0.7 < after.probes["rbf"].mean
    assert before.bits < 0.7 < 0.95 < after.bits


def test_the_controls_have_the_rank_of_the_edit_and_hide_nothing(report):
    assert {name: row.rank for name, row in report.rows.items()} == {
        "before": 0, "after": 1, "random": 1, "shuffled": 1,
    }
    for name in ("random", "shuffled"):
        assert report.rows[name].certificate > 0.3 and report.rows[name].probes["linear"].mean > 0.8
        assert 0 < report.rows[name].edit < 1 and 0.3 < report.rows[name].overlap < 1


def test_what_stays_and_what_moved_is_measured(report):
    x, y, _ = world()
    after = np.asarray(leace(x, y, labels="categorical").transform(x))
    row = report.rows["after"]
    np.testing.assert_allclose(row.cka, cka(x, after), rtol=1e-4)
    np.testing.assert_allclose(row.edit, ((after - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum(), rtol=1e-4)
    assert row.task.mean > 0.9
    same = report.rows["before"]
    assert (same.edit, same.overlap) == (0, 1) and same.cka == pytest.approx(1, abs=1e-5)


def test_the_table_has_a_line_for_every_version(report):
    lines = report.table().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["before", "after", "random", "shuffled"]
    assert len({line.count("|") for line in lines[:6]}) == 1
    assert f"{report.entropy:.4f}" in lines[-1] and report.entropy == pytest.approx(np.log(2))


def test_the_rank_of_an_edit_is_read_off_the_rows():
    x, y, _ = world()
    assert edit_rank(x, x) == 0
    assert edit_rank(x, mean_projection(x, y, labels="categorical").transform(x)) == 1
    assert edit_rank(x, project_out(np.random.default_rng(1).normal(size=(5, 12))).transform(x)) == 5


def test_bad_input_gives_one_clear_error():
    x, y, _ = world(n=40)
    for args, message in (
        ((x, x[:, :5], y), "before and after: expected one shape"),
        ((x, x, y), "after: expected rows that an eraser moved"),
        ((x, x * np.nan, y), "after: expected finite values"),
        ((x, x, np.zeros(40, int)), "y: expected at least two classes"),
    ):
        with pytest.raises(ValueError, match=message):
            guardedness_report(*args, key=KEY)
