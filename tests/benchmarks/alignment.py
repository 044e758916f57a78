"""The rows of retrieval, relative coordinates and alignment: what is timed, against whom, at which size."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from harness import compare

from repgeo.relative import relative
from repgeo.retrieval import top_k


def retrieval_rows(mode):
    """The ten nearest of 50 000 rows of 384 numbers, for 16 384 queries: an exact search of either takes as long."""
    import faiss

    faiss.omp_set_num_threads(1 if mode == "cpu1" else os.cpu_count())
    random = np.random.default_rng(0)
    x, y = (random.standard_normal((rows, 384), dtype=np.float32) for rows in (16_384, 50_000))
    jx, jy = jnp.asarray(x), jnp.asarray(y)

    def theirs():
        index = faiss.IndexFlatIP(384)
        index.add(y)
        return index.search(x, 10)[1]

    def ours():
        return jax.block_until_ready(top_k(jx, jy, k=10, metric="inner"))[1]

    assert (np.asarray(ours()) == theirs()).mean() > 0.999
    name = "10 nearest of 50 000 rows, p=384, 16 384 queries, float32"
    return compare(name, ours, {"faiss-cpu, IndexFlatIP": (theirs, 1.2)}, mode=mode, rounds=3)


def relative_rows(mode):
    """Cosines of 20 000 rows of 384 numbers to 300 anchors, beside the product that is the least they take."""
    random = np.random.default_rng(0)
    x, anchors = (jnp.asarray(random.standard_normal((rows, 384), dtype=np.float32)) for rows in (20_000, 300))
    product = jax.jit(lambda x, a: jnp.matmul(x, a.T, precision="highest"))
    return compare(
        "relative coordinates, n=20 000, p=384, m=300, float32",
        lambda: jax.block_until_ready(relative(x, anchors)),
        {"one matrix product": (lambda: jax.block_until_ready(product(x, anchors)), 1.1)},
        mode=mode,
        rounds=15,
    )


def memory_rows():
    """Peak memory of a process that searches 50 000 rows among 50 000, p=384, interpreter and input included."""
    code = (
        "import numpy as np; from repgeo.retrieval import top_k\n"
        "x = np.random.default_rng(0).standard_normal((50_000, 384), dtype=np.float32)\n"
        "top_k(x, x, k=10)[1].block_until_ready()\n"
        "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    name = "peak memory of top_k, n=m=50 000, p=384, MB, all of it"
    return [{"name": name, "value": int(out) * 1.024e-3, "bar": 1000}]


ROWS = (retrieval_rows, relative_rows)


def main(mode):
    """All rows in one mode."""
    if mode == "cpu1":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return [row.as_dict() for rows in ROWS for row in rows(mode)]
