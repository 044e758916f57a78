"""What every run of pytest needs, whichever of repgeo/, tests/ and notebooks/ it collects."""

import os
import shutil
from pathlib import Path

import jax
import pytest

from repgeo.book.launch import compiler_flags

ROOT = Path(__file__).resolve().parent
LEDGER = ROOT / "build" / "claims" / "test"
collect_ignore_glob = ["build/*", "data/*", "tests/benchmarks/*"]

# (n,) against (p,) broadcast by accident is the classic slip of this subject.
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    """Compiling with all optimisations is four fifths of what tests take: without most, they take less than half."""
    parser.addoption("--optimized", action="store_true", help="compile every test as a user's own process does")


def pytest_sessionstart(session):
    """Send the claims of notebooks run as tests beside the committed ledger, not into it, and set what XLA is to do."""
    if not hasattr(session.config, "workerinput"):  # workers of `pytest -n` find the folder made
        shutil.rmtree(LEDGER, ignore_errors=True)
        LEDGER.mkdir(parents=True)
    os.environ["REPGEO_LEDGER"] = str(LEDGER)  # kernels inherit it
    if not session.config.pluginmanager.hasplugin("dsession"):  # which only starts workers, and they inherit too
        if session.config.getoption("optimized"):
            jax.devices()  # XLA reads its flags, before those of notebooks are set
        os.environ["XLA_FLAGS"] = compiler_flags(os.environ.get("XLA_FLAGS", ""))


@pytest.fixture(scope="module", autouse=True)
def compilation(request):
    """Compile files marked `optimized`, where most golden numbers are, as notebooks are, others with hardly any effort.

    What a file compiled is dropped after it: thousands of programs in one process run out of memory maps, and crash.
    """
    whole = request.config.getoption("optimized") or request.node.get_closest_marker("optimized")
    jax.config.update("jax_disable_most_optimizations", not whole)
    yield
    jax.clear_caches()


def pytest_collection_modifyitems(items):
    """Put notebooks first, for they take longest, and ledgers last, for they read what those wrote."""
    items.sort(key=lambda item: (item.path.name == "test_ledger.py") - (item.path.suffix == ".ipynb"))
