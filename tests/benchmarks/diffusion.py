"""The rows of the diffusion room: what is timed, against whom, at which size, with which bar."""

import os

import jax
import jax.numpy as jnp
import numpy as np
from harness import Floor, compare

from repgeo import diffusion as room

SIGMA = 6.0


def cloud(n, p=64, seed=0):
    """Normal rows, float32."""
    return np.random.default_rng(seed).standard_normal((n, p)).astype(np.float32)


def bits(values):
    """Entropy of magnitudes over their sum."""
    p = np.abs(values) / np.abs(values).sum() + 2.2e-16
    return -(p * np.log2(p)).sum()


def with_diagonal_matrices(x):
    """The published order of operations in float64 NumPy: distances with their roots, which are squared again, two
    products with a diagonal matrix, a look whether the result is symmetric, and its eigenvalues.
    """
    from sklearn.metrics import pairwise_distances

    distances = pairwise_distances(x)
    kernel = np.exp(-(distances**2) / (2 * SIGMA**2)) / (SIGMA * (2 * np.pi) ** 0.5)
    root = np.diag(1 / kernel.sum(1) ** 0.5)
    walk = root @ kernel @ root
    assert np.allclose(walk, walk.T)
    return bits(np.linalg.eigvalsh(walk))


def torch_lean(x):
    """The same without wasted work, in PyTorch: a kernel, two scalings and eigenvalues alone."""
    import torch

    x = x - x.mean(0)
    squares = (x * x).sum(1)
    kernel = torch.exp((squares[:, None] + squares - 2 * x @ x.T).clamp(min=0) / (-2 * SIGMA**2))
    root = kernel.sum(1).rsqrt()
    values = torch.linalg.eigvalsh(kernel * root[:, None] * root).abs()
    p = values / values.sum() + 2.2e-16
    return -(p * p.log2()).sum()


def entropy_rows(mode):
    """One exact entropy, float32, at two sizes; and one estimate with a stated error."""
    import torch

    rows = []
    for n, bar, rounds in ((2000, 1 / 4, 5), (5000, 1 / 10, 1)):
        x = cloud(n)
        jx, tx, x64 = jnp.asarray(x), torch.from_numpy(x), x.astype(np.float64)

        def ours(jx=jx):
            return jax.block_until_ready(room.dse(jx, sigma=SIGMA).bits)

        peers = {"diagonal matrices, NumPy float64": (lambda x64=x64: with_diagonal_matrices(x64), bar)}
        if n == 2000:
            assert abs(float(ours()) - with_diagonal_matrices(x64)) < 1e-3
            peers["PyTorch, lean"] = (lambda tx=tx: torch_lean(tx), 1.3)
        name = f"diffusion spectral entropy, n={n}, p=64, float32"
        said = "half of x x^T (n^2 p) and the eigenvalues of n x n (4/3 n^3)"
        floor = Floor(said, n**2 * 64 + 4 / 3 * n**3, x.nbytes)
        rows += compare(name, ours, peers, mode=mode, rounds=rounds, floor=floor)
    for n, rounds in ((2000, 5), (5000, 1)):
        x = cloud(n)
        jx, x64, key = jnp.asarray(x), x.astype(np.float64), jax.random.key(0)

        def estimated(jx=jx, key=key):
            return jax.block_until_ready(room.dse_lanczos(jx, sigma=SIGMA, key=key))

        found = estimated()
        off = float(found.bits) - float(room.dse(jx, sigma=SIGMA).bits)
        print(f"Lanczos, n={n}: {off:+.5f} bits off, {float(found.error):.5f} stated", flush=True)
        assert abs(off) < 0.1 and float(found.error) < 0.1
        rows += compare(
            f"diffusion spectral entropy by Lanczos, n={n}, p=64, float32",
            estimated,
            {"diagonal matrices, NumPy float64": (lambda x64=x64: with_diagonal_matrices(x64), 0.1)},
            mode=mode,
            rounds=rounds,
            floor=Floor(
                "half of x x^T (n^2 p), 12 products of the walk with 24 vectors (2 n^2 each), read 12 times",
                n**2 * (64 + 2 * 12 * 24), 12 * 4 * n**2,
            ),
        )
    return rows


def curve_rows(mode):
    """A curve of 10 widths and 8 times beside one entropy, n=1000, float32."""
    x = jnp.asarray(cloud(1000))
    sigmas, ts = jnp.linspace(2.0, 12.0, 10), jnp.arange(1.0, 9.0)
    return compare(
        "curve of 10 widths x 8 times, n=1000, p=64, float32",
        lambda: jax.block_until_ready(room.dse_curve(x, sigmas=sigmas, ts=ts).bits),
        {"one entropy of ours": (lambda: jax.block_until_ready(room.dse(x, sigma=SIGMA).bits), 12.0)},
        mode=mode,
        rounds=5,
        floor=Floor("half of x x^T (n^2 p), eigenvalues of ten n x n (4/3 n^3 each)", 1000**2 * 64 + 40 / 3 * 1000**3),
    )


ROWS = (entropy_rows, curve_rows)


def memory_rows():
    """Bytes that each compiled step of an exact entropy holds beside x, over those of one n x n array, at n=2000."""
    from repgeo import linalg
    from repgeo.diffusion.operator import symmetric_walk

    x, one = jnp.asarray(cloud(2000)), 4 * 2000**2
    steps = {
        "the walk": (symmetric_walk.lower(x, jnp.float32(SIGMA), 0.0), x.nbytes),
        "its eigenvalues": (jax.jit(linalg.eigenvalues).lower(jnp.zeros((2000, 2000), jnp.float32)), 0),
    }
    rows = []
    for name, (lowered, own) in steps.items():
        held = lowered.compile().memory_analysis()
        total = held.temp_size_in_bytes + held.argument_size_in_bytes + held.output_size_in_bytes - own
        label = f"diffusion spectral entropy, {name}: what is held beside x, in n x n arrays"
        rows.append({"name": label, "value": total / one, "bar": 2 + 8 / 2000})  # and a few arrays of length n
    return rows


def main(mode):
    """All rows in one mode."""
    if mode == "cpu1":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return [row.as_dict() for rows in ROWS for row in rows(mode)]
