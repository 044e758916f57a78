"""The rows of the dimension room: what is timed, against whom, at which size, with which bar."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import peers
from harness import Floor, compare

from repgeo.dimension import mean_lid, twonn
from repgeo.neighbors import neighborhoods


def cloud(n, p, d, seed=0):
    """d dimensions bent into p, with noise of one per cent, float32."""
    random = np.random.default_rng(seed)
    flat = random.standard_normal((n, d))
    bent = np.tanh(flat @ random.standard_normal((d, p)) / d**0.5)
    return (bent + 0.01 * random.standard_normal((n, p))).astype(np.float32)


def search_rows(mode):
    """Distances to the nearest neighbours, n=10 000, p=128, float32."""
    x = cloud(10_000, 128, 16)
    jx = jnp.asarray(x)
    rows = []
    for k, bar in ((2, 0.4), (20, 0.9)):
        np.testing.assert_allclose(neighborhoods(jx, k=k).distances, peers.sklearn_neighbors(x, k)[0], rtol=1e-3)
        rows += compare(
            f"distances to the {k} nearest, n=10 000, p=128, float32",
            lambda k=k: jax.block_until_ready(neighborhoods(jx, k=k)),
            {"scikit-learn, brute force": (lambda k=k: peers.sklearn_neighbors(x, k), bar)},
            mode=mode,
            rounds=7,
            floor=Floor("half of x x^T (n^2 p)", 10_000**2 * 128, x.nbytes),
        )
    return rows


def estimate_rows(mode):
    """TwoNN and the likelihood's LID with k=20 of one sample, n=5 000, p=64, float32."""
    x = cloud(5000, 64, 8)
    jx = jnp.asarray(x)

    def ours():
        near = neighborhoods(jx, k=20)
        return float(twonn(near)), float(mean_lid(near))

    np.testing.assert_allclose(ours(), peers.skdim_twonn_and_mle(x), rtol=1e-3)
    return compare(
        "TwoNN and LID (k=20), n=5 000, p=64, float32",
        ours,
        {"scikit-dimension's algorithm": (lambda: peers.skdim_twonn_and_mle(x), 0.2)},
        mode=mode,
        rounds=5,
        floor=Floor("half of x x^T (n^2 p)", 5000**2 * 64, x.nbytes),
    )


def memory_rows():
    """Peak memory of a process that estimates one dimension at n=50 000, p=64, interpreter and input included."""
    code = (
        "import numpy as np; from repgeo.dimension import twonn\n"
        "float(twonn(np.random.default_rng(0).standard_normal((50_000, 64), dtype=np.float32)))\n"
        "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return [{"name": "peak memory of TwoNN, n=50 000, p=64, MB, all of it", "value": int(out) * 1.024e-3, "bar": 1000}]


ROWS = (search_rows, estimate_rows)


def main(mode):
    """All rows in one mode."""
    if mode == "cpu1":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return [row.as_dict() for rows in ROWS for row in rows(mode)]
