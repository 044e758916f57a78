"""Execute notebooks, each in its own kernel, without timings or other noise in what is written."""

import hashlib
import json
import os
import re
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from repgeo.book.launch import compiler_flags

SECONDS_A_CELL = 600


def run(sources: list[Path], *, out: Path, ledger: Path, logs: Path, roots: list[Path] | None = None) -> list[str]:
    """One line for each notebook that failed; executed copies lie in `out`, their claims in `ledger`.

    A notebook whose source, library and data (the files under `roots`) are as they were at its last good
    run is left alone. The others are run in turn, also after a failure. Progress goes to standard output.
    With `out` equal to the notebooks' own folder they are rewritten in place and always run.
    """
    for folder in (out, ledger, logs):
        folder.mkdir(parents=True, exist_ok=True)
    failures = []
    world = _digest(sorted(file for root in roots or [] for file in root.rglob("*")))
    for count, source in enumerate(sources, start=1):
        name, inplace = source.stem, source.parent.resolve() == out.resolve()
        notebook = nbformat.read(source, as_version=4)
        record = out / f"{name}.run.json"
        key = _key(notebook, world)
        if not inplace and _fresh(record, key, out / source.name, ledger / f"{name.split('_')[0]}.json"):
            continue
        print(f"notebook {count} of {len(sources)}: {name} ", end="", flush=True)
        began = time.perf_counter()
        log = logs / f"{name}.log"
        try:
            execute(notebook, folder=source.parent, ledger=ledger, log=log)
        except Exception as error:  # whatever a cell raises: name it, keep the rest for the log, go on
            with log.open("a", encoding="utf-8") as file:
                file.write(_plain(traceback.format_exc()))
            if not inplace:
                for stale in (record, out / source.name):
                    stale.unlink(missing_ok=True)
            failures.append(f"{name} failed: {_reason(error)}; see {_near(log)}")
            print(f"FAILED\n{failures[-1]}", file=sys.stdout, flush=True)
            continue
        seconds = time.perf_counter() - began
        write_whole(out / source.name, nbformat.writes(notebook) + "\n")
        if not inplace:
            write_whole(record, json.dumps({"key": key, "seconds": round(seconds, 1)}) + "\n")
        print(f"{seconds:.0f} s", flush=True)
    return failures


def execute(notebook: nbformat.NotebookNode, *, folder: Path, ledger: Path, log: Path | None = None) -> None:
    """Fill the outputs of `notebook`, run in `folder`; raises what nbclient raises when a cell fails.

    The kernel's own messages go to the file `log`.
    """
    sink = log.open("wb") if log else None
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=SECONDS_A_CELL,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    flags = compiler_flags(os.environ.get("XLA_FLAGS", ""))
    environment = os.environ | {"REPGEO_LEDGER": str(ledger.resolve()), "XLA_FLAGS": flags}
    try:
        client.execute(env=environment, stdout=sink, stderr=sink)
    finally:
        if sink:
            sink.close()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata.get("language_info", {}).pop("version", None)  # differs from reader to reader


def _key(notebook: nbformat.NotebookNode, world: str) -> str:
    """What the outputs depend on: the code cells in order, and the rest of the `world`."""
    code = [cell.source for cell in notebook.cells]
    stated = json.dumps([code, world, sys.version, version("jaxlib"), version("matplotlib")])
    return hashlib.sha256(stated.encode()).hexdigest()


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts and "book" not in file.parts:
            digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _fresh(record: Path, key: str, executed: Path, claims: Path) -> bool:
    try:
        known = json.loads(record.read_text())["key"]
    except (OSError, ValueError, KeyError):
        return False
    settles = executed.exists() and "settle(" in executed.read_text(encoding="utf-8")
    return known == key and executed.exists() and (claims.exists() or not settles)


def _reason(error: Exception) -> str:
    name = getattr(error, "ename", None) or type(error).__name__
    said = _plain(str(getattr(error, "evalue", None) or error)).strip().splitlines()
    return f"{name}: {said[0]}" if said else name


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def _near(path: Path) -> str:
    return os.path.relpath(path)


def write_whole(path: Path, text: str) -> None:
    """Text into a file that is there whole or not at all, whatever happens on the way."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
