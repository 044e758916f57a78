"""The rows of the similarity room: what is timed, against whom, at which size, with which bar."""

import os
import resource
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import peers
import torch
from harness import Floor, Row, compare

from repgeo import chance
from repgeo import similarity as sim

PAIR = "x^T y, halves of x^T x and y^T y (4 n p^2)"


def layers(count, n, p, seed=0):
    """Layers that drift from one shared array to noise, float32."""
    random = np.random.default_rng(seed)
    base = random.standard_normal((n, p))
    shares = np.linspace(0, 1, count, endpoint=False)
    return [((1 - t) * base + t * random.standard_normal((n, p))).astype(np.float32) for t in shares]


def decaying(n, p, seed=0, power=0.5):
    """Two sides that share half their variance, with singular values falling as a power of their rank, float32."""
    random = np.random.default_rng(seed)
    shared, x, y = random.standard_normal((3, n, p)) * np.arange(1, p + 1) ** -power
    rotation = np.linalg.qr(random.standard_normal((p, p)))[0]
    return (shared + x).astype(np.float32), ((shared + y) @ rotation).astype(np.float32)


def ready(call, *args, **options):
    """A call that waits for its result, as a user who prints it does."""
    return lambda: jax.block_until_ready(call(*args, **options))


def grid_rows(mode):
    """12 x 12 layers, n=2 000, p=512, float32."""
    xs, ys = layers(12, 2000, 512), layers(12, 2000, 512, seed=1)
    jx, jy = [jnp.asarray(x) for x in xs], [jnp.asarray(y) for y in ys]
    tx, ty = [torch.from_numpy(x) for x in xs], [torch.from_numpy(y) for y in ys]
    np.testing.assert_allclose(sim.grid(sim.cka, jx, jy), peers.numpy_gram_stack(xs, ys), atol=2e-5)
    return compare(
        "linear CKA, 12 x 12 layers, n=2 000, p=512, float32",
        ready(sim.grid, sim.cka, jx, jy),
        {
            "NumPy, double loop": (lambda: peers.double_loop(peers.numpy_cka)(xs, ys), 0.25),
            "PyTorch, double loop": (lambda: peers.double_loop(peers.torch_cka)(tx, ty), 0.25),
            "NumPy, Gram stack": (lambda: peers.numpy_gram_stack(xs, ys), 0.75),
        },
        mode=mode,
        rounds=5,
        floor=Floor(
            "24 Gram matrices, half of each (n^2 p), and 300 inner products of halves (n^2)",
            24 * 2000**2 * 512 + 300 * 2000**2, 24 * 2000 * 512 * 4,
        ),
    )


def null_rows(mode):
    """50 shuffles of a 12 x 12 grid, n=1 000, p=256, float32, beside the grid itself."""
    xs, ys = ([jnp.asarray(z) for z in layers(12, 1000, 256, seed=seed)] for seed in (0, 1))
    key = jax.random.key(0)
    found = chance.calibrated(sim.cka_debiased, xs, ys, key=key, rounds=2)
    np.testing.assert_allclose(found.score, sim.grid(sim.cka_debiased, xs, ys), atol=1e-5)
    return compare(
        "50 permutations of debiased CKA, 12 x 12 layers, n=1 000, p=256, float32",
        ready(chance.calibrated, sim.cka_debiased, xs, ys, key=key, rounds=50),
        {"our grid, once": (ready(sim.grid, sim.cka_debiased, xs, ys), 15)},
        mode=mode,
        rounds=5,
        floor=Floor(
            "24 Gram matrices, half of each (n^2 p), and 51 x 144 inner products of halves (n^2)",
            24 * 1000**2 * 256 + 51 * 144 * 1000**2, 24 * 1000 * 256 * 4,
        ),
    )


def minibatch_rows(mode):
    """A stream of mini-batches of 12 x 12 layers, n=256, p=512, float32, each added to the sums so far."""
    xs, ys = layers(12, 256, 512), layers(12, 256, 512, seed=1)
    jx, jy = [jnp.asarray(x) for x in xs], [jnp.asarray(y) for y in ys]
    tx, ty = [torch.from_numpy(x) for x in xs], [torch.from_numpy(y) for y in ys]
    total = sim.minibatch_grid(jx, jy)
    self_x, cross, self_y = peers.model_compare_update(tx, ty)
    np.testing.assert_allclose(sim.cka_minibatch_from(total), cross / (self_x * self_y).sqrt(), atol=2e-5)

    def stream(update):  # batches come one after another: threads stay awake between them
        return lambda: [update() for _ in range(8)]

    return compare(
        "8 mini-batch CKA updates, 12 x 12 layers, n=256, p=512, float32",
        ready(stream(lambda: total + sim.minibatch_grid(jx, jy))),
        {"PyTorch-Model-Compare's loop": (stream(lambda: peers.model_compare_update(tx, ty)), 0.12)},
        mode=mode,
        rounds=7,
        floor=Floor(
            "8 times 24 Gram matrices, half of each (n^2 p), and 300 inner products of halves (n^2)",
            8 * (24 * 256**2 * 512 + 300 * 256**2), 8 * 24 * 256 * 512 * 4,
        ),
    )


def pair_rows(mode):
    """One pair, n=10 000, p=512, in both precisions, and against the n x n forms of two peers."""
    rows = []
    for dtype, bar in ((np.float32, 1.25), (np.float64, 1.4)):
        x, y = (z.astype(dtype) for z in decaying(10_000, 512))
        with jax.enable_x64(dtype == np.float64):
            jx, jy = jnp.asarray(x), jnp.asarray(y)
            np.testing.assert_allclose(sim.cka(jx, jy), peers.numpy_cka(x, y), rtol=2e-5)
            peer = {"NumPy, feature form": (lambda x=x, y=y: peers.numpy_cka(x, y), bar)}
            name = f"linear CKA, one pair, n=10 000, p=512, {np.dtype(dtype).name}"
            floor = Floor(PAIR, 4 * 10_000 * 512**2, 2 * x.nbytes, np.dtype(dtype).name)
            rows += compare(name, ready(sim.cka, jx, jy), peer, mode=mode, rounds=9, floor=floor)
    x, y = decaying(10_000, 512)
    jx, jy = jnp.asarray(x), jnp.asarray(y)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    # A float32 inner product over n^2 terms errs in the third digit; the feature form above settles who is right.
    np.testing.assert_allclose(sim.cka(jx, jy), peers.netrep_cka(x, y), rtol=5e-3)
    rows += compare(
        "linear CKA, one pair, n=10 000, p=512, float32",
        ready(sim.cka, jx, jy),
        {"netrep's form": (lambda: peers.netrep_cka(x, y), 0.35)},
        mode=mode,
        rounds=3,
        floor=Floor(PAIR, 4 * 10_000 * 512**2, 2 * x.nbytes),
    )
    rows += compare(
        "debiased linear CKA, one pair, n=10 000, p=512, float32",
        ready(sim.cka_debiased, jx, jy),
        {"platonic-rep's form": (lambda: peers.platonic_unbiased_cka(tx, ty), 0.08)},
        mode=mode,
        rounds=3,
        floor=Floor(PAIR, 4 * 10_000 * 512**2, 2 * x.nbytes),
    )
    return rows


def svcca_rows(mode):
    """SVCCA at 99 % of the variance."""
    x, y = decaying(2000, 512)
    jx, jy = jnp.asarray(x), jnp.asarray(y)
    np.testing.assert_allclose(sim.svcca(jx, jy), peers.google_svcca(x, y), atol=2e-5)
    return compare(
        "SVCCA (99 %), n=2 000, p=512, float32",
        ready(sim.svcca, jx, jy),
        {"google/svcca recipe": (lambda: peers.google_svcca(x, y), 0.13)},
        mode=mode,
        rounds=7,
        floor=Floor(
            "x^T y, halves of x^T x and y^T y (4 n p^2), two symmetric eigenproblems with vectors (9 p^3 each)",
            4 * 2000 * 512**2 + 18 * 512**3, 2 * x.nbytes,
        ),
    )


def knn_rows(mode):
    """Mutual nearest neighbours, k=10."""
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in decaying(4000, 768))
    jx, jy = jnp.asarray(x), jnp.asarray(y)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    np.testing.assert_allclose(sim.mutual_knn(jx, jy), peers.platonic_mutual_knn(tx, ty), atol=1e-4)
    return compare(
        "mutual kNN, k=10, n=4 000, p=768, float32",
        ready(sim.mutual_knn, jx, jy),
        {"platonic-rep's form": (lambda: peers.platonic_mutual_knn(tx, ty), 0.2)},
        mode=mode,
        rounds=5,
        floor=Floor("half of x x^T and of y y^T (n^2 p each)", 2 * 4000**2 * 768, 2 * x.nbytes),
    )


def procrustes_rows(mode):
    """Procrustes size-and-shape distance."""
    x, y = decaying(2000, 512)
    jx, jy = jnp.asarray(x), jnp.asarray(y)
    np.testing.assert_allclose(sim.procrustes(jx, jy), peers.numpy_procrustes(x, y), rtol=2e-5)
    return compare(
        "Procrustes distance, n=2 000, p=512, float32",
        ready(sim.procrustes, jx, jy),
        {"NumPy": (lambda: peers.numpy_procrustes(x, y), 0.5)},
        mode=mode,
        rounds=9,
        floor=Floor("x^T y (2 n p^2) and its singular values (8/3 p^3)", 4000 * 512**2 + 8 / 3 * 512**3, 2 * x.nbytes),
    )


def import_rows(mode):
    """`import repgeo`, alone and with a measure named, against `import jax`: time of fresh processes, alternating."""

    def spent(code):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return 1e3 * (cpu if mode == "cpu1" else time.perf_counter() - start)

    codes = "import repgeo", "import repgeo; repgeo.cka", "import jax"  # a room is loaded when it is asked for
    times = {code: [] for code in codes}
    for i in range(14):
        for code in list(times)[:: 1 if i % 2 else -1]:
            times[code].append(spent(code))
    alone, named, theirs = (float(np.median(times[code][2:])) for code in codes)
    rows = ("import repgeo", alone), ("import repgeo, name a measure", named)
    return [Row(name, "import jax", ours, theirs, ours / theirs, 1.1, mode) for name, ours in rows]


def memory_rows():
    """Peak memory of one linear CKA at n=100 000, p=512, over its inputs; temporaries of the 12 x 12 grid."""
    from repgeo.similarity.kernels import _gram_products

    code = (
        "import numpy as np; from repgeo import cka\n"
        "random = np.random.default_rng(0)\n"
        "small = random.standard_normal((1000, 512), dtype=np.float32); cka(small, small[::-1])\n"
        "x, y = (random.standard_normal((100_000, 512), dtype=np.float32) for _ in 'xy')\n"
        "def now(field): return int(next(l for l in open('/proc/self/status') if l.startswith(field)).split()[1])\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        "before = now('VmRSS'); float(cka(x, y)); print((now('VmHWM') - before) * 1024, x.nbytes + y.nbytes)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    extra, inputs = map(int, out.split())
    xs = [jax.ShapeDtypeStruct((2000, 512), jnp.float32)] * 24
    temporaries = _gram_products.lower(xs).compile().memory_analysis().temp_size_in_bytes
    return [
        {
            "name": "peak memory of linear CKA, n=100 000, p=512, over its inputs",
            "value": 1 + extra / inputs,
            "bar": 1.3,
        },
        {"name": "temporaries of the 12 x 12 grid, n=2 000, p=512, MiB", "value": temporaries / 2**20, "bar": 32},
    ]


ROWS = (grid_rows, minibatch_rows, null_rows, pair_rows, svcca_rows, knn_rows, procrustes_rows, import_rows)


def main(mode):
    """All rows in one mode."""
    if mode == "cpu1":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        torch.set_num_threads(1)
    return [row.as_dict() for rows in ROWS for row in rows(mode)]
