"""Alternating timings: two ways of one computation, run in turn in one process, so that a busy machine hits both."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

_SETTLE = 0.1  # seconds: threads of the call before spin for a while and would take a core from the next one


@dataclass(frozen=True)
class Row:
    """One comparison: medians in milliseconds, their ratio ours / theirs, and the bar that it should meet."""

    name: str
    peer: str
    ours_ms: float
    theirs_ms: float
    ratio: float
    bar: float
    mode: str

    def as_dict(self) -> dict:
        """The row as JSON takes it, rounded to what a timing is worth."""
        return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


def compare(
    name: str, ours: Callable, peers: dict[str, tuple[Callable, float]], *, mode: str, rounds: int
) -> list[Row]:
    """Rows of `ours` against each peer (function, bar): medians over rounds whose order reverses each time.

    `mode` "cpu1" counts this process's CPU time, which a busy machine leaves alone; "wall2" counts wall time.
    """
    clock = time.process_time if mode == "cpu1" else time.perf_counter
    calls = {"ours": ours, **{peer: call for peer, (call, _) in peers.items()}}
    times = {label: [] for label in calls}
    for call in calls.values():
        call()
    for i in range(rounds):
        for label in list(calls)[:: 1 if i % 2 else -1]:
            time.sleep(_SETTLE)
            start = clock()
            calls[label]()
            times[label].append(clock() - start)
    median = {label: 1e3 * statistics.median(values) for label, values in times.items()}
    return [
        Row(name, peer, median["ours"], median[peer], median["ours"] / median[peer], bar, mode)
        for peer, (_, bar) in peers.items()
    ]
