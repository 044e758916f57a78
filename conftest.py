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


def pytest_sessionstart(session):
    """Send the claims of notebooks run as tests beside the committed ledger, not into it."""
    if not hasattr(session.config, "workerinput"):  # workers of `pytest -n` find the folder made
        shutil.rmtree(LEDGER, ignore_errors=True)
        LEDGER.mkdir(parents=True)
    os.environ["REPGEO_LEDGER"] = str(LEDGER)  # kernels inherit it
    if not session.config.pluginmanager.hasplugin("dsession"):  # which only starts workers, and they inherit too
        jax.devices()  # XLA reads its flags: tests run as a user's own code does, notebooks as the book runs them
        os.environ["XLA_FLAGS"] = compiler_flags(os.environ.get("XLA_FLAGS", ""))


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_code():
    """Drop what a test file compiled: thousands of programs in one process run out of memory maps, and then crash."""
    yield
    jax.clear_caches()


def pytest_collection_modifyitems(items):
    """Put notebooks first, for they take longest, and ledgers last, for they read what those wrote."""
    items.sort(key=lambda item: (item.path.name == "test_ledger.py") - (item.path.suffix == ".ipynb"))
