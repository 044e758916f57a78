"""Start a command with the settings that must exist before its process does.

Run as a file, `python repgeo/book/launch.py COMMAND ...`, because importing repgeo would load JAX first.
"""

import hashlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def processor() -> str:
    """The features of this processor, as text: compiled code must not move to another kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.lower().startswith(("flags", "features")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}"


def cache_folder(cache: Path) -> Path | None:
    """Folder for compiled code of this jaxlib, Python and processor; None where it cannot be written."""
    try:
        jaxlib = version("jaxlib")
        key = hashlib.sha256(processor().encode()).hexdigest()[:8]
        python = f"py{sys.version_info.major}.{sys.version_info.minor}"
        folder = cache / f"jaxlib-{jaxlib}-{python}-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except (OSError, PackageNotFoundError):
        return None
    return folder


def compiler_flags(own: str = "") -> str:
    """XLA_FLAGS with which a run of some minutes spends half as long compiling, before the caller's `own`.

    Code that XLA makes of loops may be a twentieth slower; products and decompositions are others' code. Nothing is
    added but for the line of jaxlib on which this was measured, since XLA aborts at a flag that it does not know, nor
    beside a plug-in for a GPU, whose code would be made more cheaply too.
    """
    try:
        tried = version("jaxlib").startswith("0.10.")
    except PackageNotFoundError:
        tried = False
    if not tried or find_spec("jax_plugins"):
        return own
    return f"--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1 {own}".strip()


def settings(cache: Path) -> dict[str, str]:
    """Environment variables, as name to value, that save time here and cannot be set later."""
    chosen = {"OPENBLAS_NUM_THREADS": "1"}  # XLA already runs batches in parallel; two pools fight
    if sys.platform.startswith("linux"):
        chosen["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # fewer page faults on large fresh results
    folder = cache_folder(cache)
    if folder is not None:
        chosen["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        chosen["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        chosen["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return chosen


def main(command: list[str]) -> None:
    """Replace this process by the command; whatever the caller has set already is left as it is."""
    if not command:
        raise SystemExit("usage: python repgeo/book/launch.py COMMAND ...")
    environment = settings(ROOT / "build" / "cache") | os.environ
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main(sys.argv[1:])
