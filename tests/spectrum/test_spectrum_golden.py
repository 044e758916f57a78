"""Scores of the spectrum room beside references and the packages of other authors, which are not always right."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.spectrum import (
    alpha_req,
    average_cosine,
    effective_rank,
    isoscore,
    isoscore_star,
    lidar,
    nesum,
    participation_ratio,
    partition_score,
    rankme,
    renyi_rank,
    self_cluster,
    spectrum,
    stable_rank,
    uniformity,
    vendi_score,
)
from tests.spectrum.scores import GOLDEN, INF, NAMES

pytestmark = pytest.mark.optimized
RANKS = {
    "rankme": rankme,
    "rankme_eps1e5": partial(rankme, eps=1e-5),
    "rankme_eps1e12": partial(rankme, eps=1e-12),
    "erank_cov": lambda x: effective_rank(spectrum(x, center=True), on="variance"),
    "participation_ratio": participation_ratio,
    "stable_rank": stable_rank,
    "stable_rank_centered": lambda x: stable_rank(spectrum(x, center=True)),
}
REFERENCE = {
    "rankme_centered": lambda x, s: spectrum_entropy(s),
    "renyi2": lambda x, s: renyi_rank(s, order=2),
    "renyi_inf": lambda x, s: renyi_rank(s, order=INF),
    "nesum": lambda x, s: nesum(s),
    "isoscore": lambda x, s: isoscore(s),
    "isostar_zeta0.1": lambda x, s: isoscore_star(x, zeta=0.1),
    "isostar_zeta0.5": lambda x, s: isoscore_star(x, zeta=0.5),
    "self_cluster": lambda x, s: self_cluster(x),
    "avg_cosine": lambda x, s: average_cosine(x),
    "uniformity": lambda x, s: uniformity(x),
    "vendi_q1": lambda x, s: vendi_score(x),
    "vendi_q2": lambda x, s: vendi_score(x, order=2),
}


def spectrum_entropy(s, eps=1e-7):
    """RankMe's formula on any spectrum, which `rankme` itself refuses when it is centred."""
    share = s.values / s.values.sum() + eps
    return jnp.exp(-jnp.sum(share * jnp.log(share)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", RANKS)
def test_float64_equals_the_reference(key, name):
    with jax.enable_x64(True):
        value = float(RANKS[key](jnp.asarray(GOLDEN[f"data/{name}/full"])))
    assert value == pytest.approx(float(GOLDEN[f"ours/{name}/{key}"]), rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", RANKS)
def test_float32_equals_the_reference_to_2e_5(key, name):
    value = float(RANKS[key](jnp.asarray(GOLDEN[f"data/{name}/full"], jnp.float32)))
    assert value == pytest.approx(float(GOLDEN[f"ours/{name}/{key}"]), rel=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_scikit_dimension_finds_the_same_participation_ratio(name):
    with jax.enable_x64(True):
        value = float(participation_ratio(jnp.asarray(GOLDEN[f"data/{name}/full"])))
    assert value == pytest.approx(float(GOLDEN[f"skdim/{name}/lPCA:participation_ratio"]), rel=1e-10)


def test_two_packages_call_two_other_numbers_rankme():
    with jax.enable_x64(True):
        x = jnp.asarray(GOLDEN["data/aniso64/full"])
        paper = float(rankme(x))
        another_eps = float(GOLDEN["stable_pretraining/aniso64/rankme"])
        centred_and_squared = float(GOLDEN["reptrix/aniso64/rankme"])
        assert float(rankme(x, eps=1e-5)) == pytest.approx(another_eps, rel=1e-10)
        variances = spectrum(x, center=True).values ** 2
        share = variances / variances.sum() + 1e-7
        assert float(jnp.exp(-jnp.sum(share * jnp.log(share)))) == pytest.approx(centred_and_squared, rel=1e-10)
        assert paper - centred_and_squared > 16 and another_eps - paper > 0.09


@pytest.mark.parametrize("name", NAMES)
def test_float64_equals_the_reference_to_1e_9(name):
    with jax.enable_x64(True):
        x = jnp.asarray(GOLDEN[f"data/{name}/full"])
        s = spectrum(x, center=True)
        for key, score in REFERENCE.items():
            assert float(score(x, s)) == pytest.approx(float(GOLDEN[f"ours/{name}/{key}"]), rel=1e-9, abs=1e-14), key


def test_float32_equals_the_reference_to_1e_4():
    x = jnp.asarray(GOLDEN["data/aniso64/full"], jnp.float32)
    s = spectrum(x, center=True)
    for key, score in REFERENCE.items():
        assert float(score(x, s)) == pytest.approx(float(GOLDEN[f"ours/aniso64/{key}"]), rel=1e-4), key


@pytest.mark.parametrize("name", NAMES)
def test_the_packages_of_the_authors_agree(name):
    with jax.enable_x64(True):
        x = jnp.asarray(GOLDEN[f"data/{name}/full"])
        for order in ("1", "2", "0.5", "inf"):
            theirs = float(GOLDEN[f"vendi/{name}/q{order}"])
            # At order 1/2 the package counts the rounding of its n x n eigenvalues, where the rank is below p.
            rel = 1e-9 if order != "0.5" else 1e-4
            assert float(vendi_score(x, order=float(order))) == pytest.approx(theirs, rel=rel), order
        assert float(isoscore(x)) == pytest.approx(float(GOLDEN[f"isoscore_repo/{name}"]), rel=1e-9)
        assert float(isoscore(x)) == pytest.approx(float(GOLDEN[f"isoscore_pypi/{name}"]), rel=1e-6)  # a float32 root
        for zeta in (0.1, 0.5):
            theirs = float(GOLDEN[f"isostar_pypi/{name}/C0=I,zeta{zeta}"])
            assert float(isoscore_star(x, zeta=zeta)) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("name", NAMES[1:])  # rank 5 of 50 leaves directions to choose at will
def test_the_partition_score_with_both_signs_equals_the_reference(name):
    one_sign, both = GOLDEN[f"ours/{name}/partition_score"]
    with jax.enable_x64(True):
        assert float(partition_score(jnp.asarray(GOLDEN[f"data/{name}/full"]))) == pytest.approx(float(both), rel=1e-9)
    assert both <= one_sign * (1 + 1e-12)


@pytest.mark.parametrize(("name", "spread"), [("swissroll", 10), ("cube6_in6", 1.005)])
def test_the_partition_score_with_one_sign_depends_on_the_solver(name, spread):
    x = GOLDEN[f"data/{name}/full"]
    v = np.linalg.eigh(x.T @ x)[1]
    logs = np.log(np.exp(np.stack([x @ v, -x @ v])).sum(1))
    choices = [logs[list(signs), range(x.shape[1])] for signs in itertools.product((0, 1), repeat=x.shape[1])]
    by_choice = np.asarray([np.exp(z.min() - z.max()) for z in choices])
    one_sign, both = GOLDEN[f"ours/{name}/partition_score"]
    assert abs(np.log(by_choice) - np.log(one_sign)).min() < 1e-9
    assert by_choice.max() > spread * by_choice.min() and both < by_choice.min() / 2


def test_the_power_law_is_that_of_reptrix_on_its_first_call_and_not_on_its_second():
    with jax.enable_x64(True):
        s = spectrum(jnp.asarray(GOLDEN["data/aniso64/full"]), center=True)
        assert float(alpha_req(s, between=(10, 64))) == pytest.approx(float(GOLDEN["ours/aniso64/alpha_req"]), rel=1e-9)
        ours = float(alpha_req(s, between=(10, 60)))
        assert ours == pytest.approx(float(GOLDEN["ours/aniso64/alpha_req_10_60"]), rel=1e-9)
        assert ours == pytest.approx(float(GOLDEN["reptrix/aniso64/alpha"]), rel=1e-7)
        second = float(GOLDEN["trap/reptrix alpha 2nd call same fit_range"])
        assert second - ours > 0.003


def test_lidar_is_the_paper_s_and_two_packages_differ():
    random = np.random.default_rng(4)
    mu = random.standard_normal((200, 1, 16)) * np.arange(1, 17) ** -0.5
    z = mu + 0.3 * random.standard_normal((200, 10, 16))
    assert z.sum() == pytest.approx(float(GOLDEN["data/lidar_E/sum"]), rel=1e-12)
    before, after = GOLDEN["ours/lidar_E (eps-before-norm, eps-after-norm)"]
    with jax.enable_x64(True):
        paper = float(lidar(jnp.asarray(z)))
    assert paper == pytest.approx(float(after), rel=1e-9)
    assert float(lidar(z.astype(np.float32))) == pytest.approx(float(after), rel=1e-5)
    # stable-pretraining adds eps before it divides; reptrix decomposes the discriminant matrix as if it were data.
    assert float(GOLDEN["stable_pretraining/lidar_E"]) == pytest.approx(float(before), rel=1e-9)
    assert 1e-6 < paper - float(GOLDEN["stable_pretraining/lidar_E"]) < 1e-5
    assert paper > 3 * float(GOLDEN["reptrix/lidar_E"])


def test_isoscore_of_the_transpose_is_another_number_as_its_package_shows():
    with jax.enable_x64(True):
        x = jnp.asarray(GOLDEN["data/cube6_in6/full"])
        theirs = float(GOLDEN["trap/isoscore_pypi on transposed (repo README layout)"])
        assert float(isoscore(x.T)) == pytest.approx(theirs, rel=1e-5)
        assert float(isoscore(x)) > 100 * theirs
