"""Alternating timings: two ways of one computation, run in turn in one process, so that a busy machine hits both.

Beside them stand what the task takes at least, by its stated operations and bytes at the speeds measured here, the
time of a first call with nothing compiled, and the memory that a call adds.
"""

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import ThreadpoolController

_SETTLE = 0.1  # seconds: threads of the call before spin for a while and would take a core from the next one


@dataclass(frozen=True)
class Floor:
    """The least that a task takes: floating-point operations, bytes read and written once, and how they are counted."""

    said: str
    flops: float
    bytes: float = 0.0
    dtype: str = "float32"


@dataclass(frozen=True)
class Row:
    """One comparison: medians in milliseconds, their ratio ours / theirs, and the bar that it should meet.

    `share` is the floor's time over ours; `first_ms` the first call, `extra_mb` the rise of memory in a later one.
    """

    name: str
    peer: str
    ours_ms: float
    theirs_ms: float
    ratio: float
    bar: float
    mode: str
    first_ms: float | None = None
    extra_mb: float | None = None
    floor: str | None = None
    gflop: float | None = None
    gbyte: float | None = None
    floor_ms: float | None = None
    share: float | None = None

    def as_dict(self) -> dict:
        """The row as JSON takes it, rounded to what a timing is worth; what was not measured is left out."""
        known = {k: v for k, v in asdict(self).items() if v is not None}
        return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in known.items()}


def compare(
    name: str, ours: Callable, peers: dict[str, tuple[Callable, float]], *, mode: str, rounds: int,
    floor: Floor | None = None,
) -> list[Row]:
    """Rows of `ours` against each peer (function, bar): medians over rounds whose order reverses each time.

    `mode` "cpu1" counts this process's CPU time, which a busy machine leaves alone; "wall2" counts wall time.
    Peers have all cores. So has ours, but BLAS gets one thread in it, as `repgeo/book/launch.py` sets for every
    notebook and command: XLA spreads its own work, and where it calls LAPACK two pools of threads would fight.
    """  # fmt: skip
    timer = clock(mode)
    calls = {"ours": ours, **{peer: call for peer, (call, _) in peers.items()}}
    times = {label: [] for label in calls}
    first = _first(ours, timer)
    for call in calls.values():
        call()
    pools = ThreadpoolController()  # of the libraries that are loaded by now
    for i in range(rounds):
        for label in list(calls)[:: 1 if i % 2 else -1]:
            with pools.limit(limits=1, user_api="blas") if label == "ours" else nullcontext():
                time.sleep(_SETTLE)
                start = timer()
                calls[label]()
                times[label].append(timer() - start)
    median = {label: 1e3 * statistics.median(values) for label, values in times.items()}
    known = {"first_ms": 1e3 * first, "extra_mb": _extra(ours)}
    if floor:
        least = 1e3 * least_seconds(floor, mode)
        known |= {"floor": floor.said, "gflop": floor.flops / 1e9, "gbyte": floor.bytes / 1e9, "floor_ms": least}
        known |= {"share": least / median["ours"]}
    return [
        Row(name, peer, median["ours"], median[peer], median["ours"] / median[peer], bar, mode, **known)
        for peer, (_, bar) in peers.items()
    ]


def clock(mode: str) -> Callable[[], float]:
    """What a mode counts, in seconds."""
    return time.process_time if mode == "cpu1" else time.perf_counter


@cache
def ceilings(mode: str) -> dict[str, float]:
    """The fastest that this machine was seen to do: operations a second of a product, in both precisions, and a copy.

    The best of NumPy, PyTorch and JAX on square matrices of 2 048; bytes read and written by a copy of 256 MB.
    """
    import torch

    timer, found = clock(mode), {}

    def best(call, rounds=7):
        call()
        spent = []
        for _ in range(rounds):
            start = timer()
            call()
            spent.append(timer() - start)
        return min(spent)

    n = 2048
    for dtype in ("float32", "float64"):
        x = np.random.default_rng(0).standard_normal((n, n)).astype(dtype)
        out = np.empty_like(x)
        tensor = torch.from_numpy(x)
        with jax.enable_x64(dtype == "float64"):
            a = jnp.asarray(x)
            product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
            ways = (
                lambda x=x, out=out: np.matmul(x, x, out=out),
                lambda tensor=tensor: tensor @ tensor,
                lambda a=a, product=product: jax.block_until_ready(product(a)),
            )
            found[dtype] = 2 * n**3 / min(map(best, ways))
    source = np.ones(2**26, np.float32)
    target = np.empty_like(source)
    half = len(source) // 2
    if mode == "cpu1":
        found["bytes"] = 2 * source.nbytes / best(lambda: np.copyto(target, source))
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(2) as pool:
            parts = [(target[:half], source[:half]), (target[half:], source[half:])]
            found["bytes"] = 2 * source.nbytes / best(lambda: list(pool.map(lambda part: np.copyto(*part), parts)))
    return found


def least_seconds(floor: Floor, mode: str) -> float:
    """Seconds that the floor takes at this machine's ceilings: the longer of computing and moving."""
    top = ceilings(mode)
    return max(floor.flops / top[floor.dtype], floor.bytes / top["bytes"])


def _first(call: Callable, timer: Callable[[], float]) -> float:
    """Seconds of a call when nothing is compiled and no cache on disk helps."""
    jax.clear_caches()
    kept = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        start = timer()
        call()
        return timer() - start
    finally:
        jax.config.update("jax_enable_compilation_cache", kept)


def _extra(call: Callable) -> float | None:
    """Megabytes by which this process grew at most during the call, results included; None where Linux cannot say.

    What was freed before and is used again is not seen; arrays of some megabytes are always seen.
    """
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as marks:
            marks.write("5")
    except OSError:
        return None
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) * 1.024e-3


def _status(field: str) -> int:
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith(field)).split()[1])
