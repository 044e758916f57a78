"""Times kernels beside their peers and writes measured.json beside this file: `make benchmarks`.

`make benchmarks ARGS="erasure diffusion"` times these rooms alone and keeps what the file holds of the others.
Each mode runs in a process of its own, since thread counts are read at start: "wall2" is wall time on all cores,
"cpu1" the CPU time of one thread. Speed is reported here and never asserted in the test run.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from harness import ceilings

HERE = Path(__file__).resolve().parent
ROOMS = ("similarity", "dimension", "spectrum", "erasure", "alignment", "diffusion", "large")


def child(mode: str, rooms: list[str]) -> dict:
    """Rows and ceilings of one mode, from a process started with that mode's thread settings."""
    threads = "1" if mode == "cpu1" else str(os.cpu_count())
    settings = {name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(HERE / "run.py"), mode, *rooms]
    if mode == "cpu1" and shutil.which("taskset"):
        command = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command]  # XLA heeds no thread count
    done = subprocess.run(command, env=os.environ | settings, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> str:
    """The machine in words: processor, cores, versions."""
    import jax
    import numpy

    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    versions = f"Python {platform.python_version()}, JAX {jax.__version__}, NumPy {numpy.__version__}"
    return f"{os.cpu_count()} cores of {model}; {versions}"


def verdict(value: float, bar: float) -> str:
    """The value beside its bar."""
    return f"{value:.3f} {'meets' if value <= bar else 'MISSES'} {bar}"


def timed(mode: str, rooms: list[str]) -> dict:
    """Rows of one mode in this process, and the machine's ceilings in it."""
    rows = [{"room": room} | row for room in rooms for row in import_module(room).main(mode)]
    return {"rows": rows, "ceilings": {name: float(f"{value:.4g}") for name, value in ceilings(mode).items()}}


def main(rooms: list[str]) -> None:
    """Run both modes, print the table, write the file."""
    found = {mode: child(mode, rooms) for mode in ("wall2", "cpu1")}
    rows = [row for of in found.values() for row in of["rows"]]
    memory = [{"room": room} | row for room in rooms for row in import_module(room).memory_rows()]
    for row in rows:
        share = f"  {row['share']:.2f} of the ceiling" if "share" in row else ""
        print(f"{row['mode']}  {verdict(row['ratio'], row['bar'])}{share}  {row['name']}  |  {row['peer']}")
    for row in memory:
        print(f"memory {verdict(row['value'], row['bar'])}  {row['name']}")
    target = HERE / "measured.json"
    made = {"machine": machine(), "ceilings": {mode: of["ceilings"] for mode, of in found.items()}}
    made |= {"rows": rows, "memory": memory}
    if target.exists() and (held := json.loads(target.read_text()))["machine"] == made["machine"]:
        for kind in ("rows", "memory"):
            made[kind] += [row for row in held[kind] if row["room"] not in rooms]
            made[kind].sort(key=lambda row: (row.get("mode") == "cpu1", ROOMS.index(row["room"])))
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(made, indent=1) + "\n")
    os.replace(partial, target)


if __name__ == "__main__":
    if sys.argv[1:2] in (["wall2"], ["cpu1"]):
        print(json.dumps(timed(sys.argv[1], sys.argv[2:])))
    else:
        main([room for room in ROOMS if room in sys.argv[1:] or len(sys.argv) == 1])
