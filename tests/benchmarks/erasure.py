"""The rows of the erasure room: what is timed, against whom, at which size, with which bar."""

import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from harness import Floor, compare

from repgeo import erasure as room


def planted(n, p, seed=0):
    """Two classes that differ in their mean, in correlated features, float32."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    toward = random.standard_normal(p)
    x = random.standard_normal((n, p)) + np.outer(y - 0.5, 2 * toward / np.linalg.norm(toward))
    return (x @ random.standard_normal((p, p)) / p**0.5).astype(np.float32), y


def torch_leace(x, z):
    """concept-erasure 0.2.4 with its options off: update with one batch, eigendecomposition of the covariance, apply.

    Its order of operations in a few lines: the covariance by one product, a full eigendecomposition for both roots of
    it, a singular value decomposition of the whitened cross-covariance, and two thin products to apply.
    """
    import torch

    mean, mean_z = x.mean(0), z.mean(0)
    a, b = x - mean, z - mean_z
    covariance, cross = a.T @ a / (len(x) - 1), a.T @ b / (len(x) - 1)
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * torch.finfo(x.dtype).eps
    root = values.clamp(min=0).sqrt()
    whiten = vectors * torch.where(kept, 1 / root, 0) @ vectors.T
    unwhiten = vectors * torch.where(kept, root, 0) @ vectors.T
    u, s, _ = torch.linalg.svd(whiten @ cross, full_matrices=False)
    u = u * (s > 0.01)
    left, right = unwhiten @ u, u.T @ whiten
    return x - (x - mean) @ right.T @ left.T


def leace_rows(mode):
    """LEACE, fitted and applied, n=20 000, p=768, float32."""
    import torch

    x, y = planted(20_000, 768)
    z = np.eye(2, dtype=np.float32)[y]
    jx, jy = jnp.asarray(x), jnp.asarray(y)
    tx, tz = torch.from_numpy(x), torch.from_numpy(z)

    def ours():
        return jax.block_until_ready(room.leace(jx, jy, labels="categorical").transform(jx))

    gap = np.asarray(ours())
    assert np.abs(gap[y == 1].mean(0) - gap[y == 0].mean(0)).max() < 1e-3
    peer = {"concept-erasure's operations in PyTorch": (lambda: torch_leace(tx, tz), 1 / 1.3)}
    floor = Floor(
        "half of x^T x (n p^2), a Cholesky factor (p^3 / 3); x read twice and written once",
        20_000 * 768**2 + 768**3 / 3, 3 * x.nbytes,
    )
    return compare("LEACE, fit and apply, n=20 000, p=768, float32", ours, peer, mode=mode, rounds=7, floor=floor)


def torch_game(x, y, steps, rank=1, batch=128, rate=0.005):
    """The official loop: SGD on P, a full eigendecomposition, 25 bisections for the threshold, SGD on the adversary.

    Its shuffle of all rows in every step is left out, and so are its evaluations, which fit probes.
    """
    import torch

    n, p = x.shape
    projection = torch.nn.Parameter(0.1 * torch.randn(p, p))
    probe = torch.nn.Linear(p, 1)
    losses = torch.nn.BCEWithLogitsLoss()
    of_p = torch.optim.SGD([projection], lr=rate, weight_decay=1e-5)
    of_w = torch.optim.SGD(probe.parameters(), lr=rate, weight_decay=1e-5)
    for _ in range(steps):
        for optimiser, sign in ((of_p, -1), (of_w, 1)):
            rows = torch.randint(0, n, (batch,))
            projection.data = (projection.data + projection.data.T) / 2
            optimiser.zero_grad()
            kept = x[rows] - x[rows] @ projection
            loss = sign * losses(probe(kept)[:, 0], y[rows])
            loss.backward()
            optimiser.step()
            if sign == -1:
                values, vectors = torch.linalg.eigh((projection.data + projection.data.T) / 2)
                low, high = values.min() - 1, values.max()
                for _ in range(25):
                    middle = (low + high) / 2
                    enough = (values - middle).clamp(0, 1).sum() > rank
                    low, high = (middle, high) if enough else (low, middle)
                projection.data = vectors * (values - low).clamp(0, 1) @ vectors.T
    return projection.detach()


def played(steps, width, batch=128, p=300):
    """The floor of so many steps with this many directions, the new ones included."""
    said = f"a step: a batch through the probe and back, twice (8 b p), 4 p w^2 and an eigenproblem (9 w^3), w={width}"
    return Floor(said, steps * (8 * batch * p + 4 * p * width**2 + 9 * width**3))


def rlace_rows(mode):
    """R-LACE from a random start to a certificate of 1e-3, n=5 000, p=300, rank 1, beside as many steps of the loop."""
    import torch

    x, y = planted(5000, 300)
    jx, jy, key = jnp.asarray(x), jnp.asarray(y), jax.random.key(0)
    tx, ty = torch.from_numpy(x / x.std()), torch.from_numpy(y.astype(np.float32))

    def ours(start="random"):
        return jax.block_until_ready(room.rlace(jx, jy, rank=1, key=key, start=start))

    game = ours()
    assert float(game.certificate) <= 1e-3
    steps, share = int(game.steps), 20
    print(f"R-LACE: {steps} steps, certificate {float(game.certificate):.1e}", flush=True)
    few = steps // share  # the loop's time is proportional to its steps: a part is timed, and our part is scaled to it
    rows = compare(
        f"R-LACE, random start to 1e-3 nats in {steps} steps, n=5 000, p=300, rank 1, float32; all our steps beside "
        f"1/{share} of the loop's, so the bar is {share} x 0.1",
        ours,
        {"official loop in PyTorch, without its probes": (lambda: torch_game(tx, ty, few), share * 0.1)},
        mode=mode,
        rounds=3,
        floor=played(steps, 13),
    )
    closed = compare(
        f"R-LACE, closed start to 1e-3 nats; beside 1/{share} of the loop's steps, so the bar is {share} x 0.1",
        lambda: ours("closed"),
        {"official loop in PyTorch, without its probes": (lambda: torch_game(tx, ty, few), share * 0.1)},
        mode=mode,
        rounds=3,
    )
    return rows + closed


def runs_rows(mode):
    """R-LACE, eight ranks and five seeds for 1 000 steps, in one call beside one call after another."""
    x, y = planted(5000, 300)
    jx, jy, key = jnp.asarray(x), jnp.asarray(y), jax.random.key(0)
    ranks, seeds = (1, 2, 3, 4, 8, 12, 16, 20), 5
    settings = {"start": "random", "steps": 1000, "every": 1000, "tolerance": 0.0}

    def quietly(play):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a thousand steps do not reach a tolerance of 0
            return jax.block_until_ready(play())

    def together():
        return quietly(lambda: room.rlace_runs(jx, jy, ranks=ranks, seeds=seeds, key=key, width=30, **settings))

    def in_turn(width):
        keys = jax.random.split(key, seeds)
        return quietly(
            lambda: [room.rlace(jx, jy, rank=r, key=k, width=width(r), **settings) for r in ranks for k in keys]
        )

    peer = {
        "the same runs one after another": (lambda: in_turn(lambda r: 30), 1 / 3),
        "the same runs one after another, each at the width of its rank": (lambda: in_turn(lambda r: r + 10), 1 / 3),
    }
    name = "R-LACE, 8 ranks (1 to 20) x 5 seeds, 1 000 steps, n=5 000, p=300, float32, in one call"
    return compare(name, together, peer, mode=mode, rounds=3, floor=played(40 * 1000, 32))


ROWS = (leace_rows, rlace_rows, runs_rows)


def memory_rows():
    """Bytes that LEACE keeps of a stream, over those of p^2 + 2 p q + q^2 + 2 (p + q) numbers: 1 000 batches as one."""
    p, q, batches = 256, 4, 1000
    random = np.random.default_rng(0)
    x, z = random.standard_normal((64, p)).astype(np.float32), np.eye(q, dtype=np.float32)[np.arange(64) % q]
    from repgeo.moments import moments

    part = moments(x, z)
    total = part
    for _ in range(batches - 1):
        total = total + part
    held = sum(a.nbytes for a in jax.tree.leaves(total))
    promised = 4 * (p * p + 2 * p * q + q * q + 2 * (p + q))
    name = f"LEACE over {batches} batches, p={p}, 4 classes: bytes held over those of p^2 + 2 p q + q^2 + 2 (p + q)"
    return [{"name": name, "value": held / promised, "bar": 1.0}]


def main(mode):
    """All rows in one mode."""
    if mode == "cpu1":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return [row.as_dict() for rows in ROWS for row in rows(mode)]
