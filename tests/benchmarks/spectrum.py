"""The rows of the spectrum room: what is timed, against whom, at which size, with which bar."""

import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import peers
from harness import Floor, compare

from repgeo import chance
from repgeo import spectrum as room

VALUES = "half of x^T x (n p^2) and its eigenvalues (4/3 p^3), in float64 to keep the small ones"


def decaying(n, p, seed=0):
    """Singular values that fall as the root of their rank, in random directions, beside a mean, float32."""
    random = np.random.default_rng(seed)
    rotation = np.linalg.qr(random.standard_normal((p, p)))[0]
    return (random.standard_normal((n, p)) * np.arange(1, p + 1) ** -0.5 @ rotation + 0.5).astype(np.float32)


def rankme_rows(mode):
    """RankMe of ten directions in 512, n=10 000, float32, where rounding passes for directions."""
    random = np.random.default_rng(0)
    x = (random.standard_normal((10_000, 10)) @ random.standard_normal((10, 512))).astype(np.float32)
    jx = jnp.asarray(x)
    assert abs(float(room.rankme(jx)) - peers.numpy_rankme(x.astype(np.float64))) < 1e-4
    traced = jax.jit(room.rankme)
    rows = []
    for name, call in (("RankMe", room.rankme), ("RankMe under jit", traced)):
        rows += compare(
            f"{name}, rank 10, n=10 000, p=512, float32",
            lambda call=call: jax.block_until_ready(call(jx)),
            {"NumPy, singular values": (lambda: peers.numpy_rankme(x), 0.6)},
            mode=mode,
            rounds=7,
            floor=Floor(VALUES, 10_000 * 512**2 + 4 / 3 * 512**3, x.nbytes, "float64"),
        )
    return rows


def scores(s):
    """Every score of the covariance, off one spectrum."""
    of_covariance = (
        room.effective_rank,
        partial(room.effective_rank, on="variance"),
        room.participation_ratio,
        room.stable_rank,
        room.nesum,
        partial(room.renyi_rank, order=0.5),
        room.alpha_req,
        room.condition,
        room.isoscore,
        room.coding_rate,
        room.noise_variance,
        room.spikes,
        partial(room.dims_for_variance, share=0.9),
    )
    return [score(s) for score in of_covariance]


def score_rows(mode):
    """All scores of one spectrum, and of both its forms, n=10 000, p=512, float32."""
    x = decaying(10_000, 512)
    jx = jnp.asarray(x)
    values = np.linalg.eigvalsh(np.cov(x.T))

    def of_covariance():
        return scores(room.spectrum(jx, center=True))

    def of_both():
        centred, plain = room.spectra(jx)
        return scores(centred), room.rankme(plain)

    np.testing.assert_allclose(of_covariance()[2], values.sum() ** 2 / (values**2).sum(), rtol=1e-4)
    peer = {"NumPy, one eigendecomposition of the covariance": (lambda: np.linalg.eigh(np.cov(x.T)), 1.2)}
    rows = []
    for name, call in (
        ("13 scores of the covariance", of_covariance),
        ("13 scores of the covariance, and RankMe", of_both),
    ):
        call = partial(lambda call: jax.block_until_ready(call()), call)
        floor = Floor(VALUES, 10_000 * 512**2 + 4 / 3 * 512**3, x.nbytes, "float64")
        rows += compare(f"{name}, n=10 000, p=512, float32", call, peer, mode=mode, rounds=7, floor=floor)
    return rows


def interval_rows(mode):
    """200 half-samples of a score, n=1 000, p=32, float32."""
    x = decaying(1000, 32)
    jx, key = jnp.asarray(x), jax.random.key(0)
    rows = []
    for name, score, loop in (
        ("participation ratio", room.participation_ratio, peers.numpy_participation_ratio),
        ("RankMe", room.rankme, peers.numpy_rankme),
    ):
        low, high = chance.subsample_interval(score, jx, key=key)
        assert low < loop(x) < high
        rows += compare(
            f"interval of the {name} from 200 half-samples, n=1 000, p=32, float32",
            lambda score=score: jax.block_until_ready(chance.subsample_interval(score, jx, key=key)),
            {
                "NumPy, Python loop": (lambda loop=loop: peers.half_samples(loop, x), 0.1),
                "our score in a Python loop": (lambda score=score: peers.half_samples_in_jax(score, jx, key), 0.1),
            },
            mode=mode,
            rounds=7,
            floor=Floor(
                "200 times half of x^T x of 500 rows (n p^2 / 2) and its eigenvalues (4/3 p^3)",
                200 * (500 * 32**2 + 4 / 3 * 32**3), 200 * 500 * 32 * 4,
            ),
        )
    return rows


ROWS = (rankme_rows, score_rows, interval_rows)


def memory_rows():
    """None here."""
    return []


def main(mode):
    """All rows in one mode."""
    if mode == "cpu1":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return [row.as_dict() for rows in ROWS for row in rows(mode)]
