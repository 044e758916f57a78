"""The scores of one matrix, at options that suit `points`, for the tests that ask the same of each."""

from functools import partial
from pathlib import Path

import numpy as np

from repgeo.spectrum import (
    alpha_req,
    average_cosine,
    coding_rate,
    coherence,
    condition,
    farms_exponent,
    isoscore,
    isoscore_star,
    nesum,
    noise_variance,
    participation_ratio_corrected,
    partition_score,
    renyi_rank,
    self_cluster,
    tail_exponent,
    uniformity,
    vendi_score,
)

GOLDEN = dict(np.load(Path(__file__).parent.parent / "golden" / "spectrum.npz", allow_pickle=False))
NAMES = ("gauss5_in50", "swissroll", "sphere10_in20", "cube6_in6", "aniso64")
INF = float("inf")
OF_MATRIX = {
    "nesum": nesum,
    "renyi_rank 1/2": partial(renyi_rank, order=0.5),
    "renyi_rank inf": partial(renyi_rank, order=INF),
    "vendi_score": vendi_score,
    "participation_ratio_corrected": participation_ratio_corrected,
    "alpha_req": partial(alpha_req, between=(1, 6)),
    "condition": condition,
    "coding_rate": coding_rate,
    "isoscore": isoscore,
    "isoscore_star": partial(isoscore_star, zeta=0.2),
    "partition_score": partition_score,
    "average_cosine": average_cosine,
    "uniformity": uniformity,
    "self_cluster": self_cluster,
    "coherence": coherence,
    "noise_variance": noise_variance,
    "tail_exponent": tail_exponent,
    "farms_exponent": partial(farms_exponent, side=4),
}
UNCENTRED = ("vendi_score", "condition", "coding_rate", "partition_score", "average_cosine", "uniformity",
             "self_cluster", "coherence", "tail_exponent", "farms_exponent")  # fmt: skip
NEEDS_SCALE = ("coding_rate", "isoscore_star", "partition_score", "noise_variance")


def points(n=60, p=7, seed=0, dtype=np.float64):
    """Rows with a decaying spectrum and a mean that is not 0."""
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, p)) / np.arange(1, p + 1) + 0.5).astype(dtype)


def rotation(p, seed=0):
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]
