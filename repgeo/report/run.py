"""Two files compared, or one looked at: every section in turn, then the page and its numbers, written at once."""

import json
import os
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from repgeo.report import labelled, one, page, two
from repgeo.report.files import gather
from repgeo.report.parts import Data, Part, Section, Table, said
from repgeo.report.rows import BadFile

OF_ONE = (
    Section("picture", "A picture", one.picture, 2),
    Section("spectrum", "Spectrum and ranks", one.spectra, 4),
    Section("isotropy", "Isotropy", one.isotropy, 3),
    Section("dimension", "Intrinsic dimension", one.intrinsic, 5),
    Section("entropy", "Diffusion spectral entropy", one.entropy, 4),
)
OF_TWO = (
    Section("similarity", "Similarity, with its null and interval", two.alike, 20),
    Section("neighbours", "Overlap of neighbours", two.neighbours, 4),
    Section("maps", "Best map each way, with pairs", two.maps, 6),
    Section("unpaired", "Best map without pairs", two.unpaired, 8),
    Section("relative", "Relative coordinates", two.relatives, 4),
)
PROBED = Section("probes", "What probes read of the labels", labelled.readings, 8)
STITCHED = Section("stitching", "Heads moved between the spaces", labelled.stitched, 2)
ERASED = Section("erasure", "What erasing the labels leaves", labelled.erased, 14)


def compare(
    a, b, *, labels=None, ids=None, out="repgeo-report", rows: int | None = None, seed: int = 0, progress: bool = False
) -> dict:
    """Two embedding files compared on one page: `out`/report.html and `out`/report.json, whose contents come back.

    Row i of both files is the same sample, unless `ids` says which is which (as in `gather`, like `labels` and `rows`).
    Similarity beside its null, spectrum, isotropy, dimension, entropy, neighbours, maps with and without pairs, and
    relative coordinates; with `labels` what probes read and what erasure leaves. A section that cannot run says why on
    the page. `progress` draws a bar on standard error. Both files are written when all is done, or neither. About a
    minute for 20 000 rows of 384 features. Raises BadFile, a ValueError, for what cannot be read or written.
    """
    sections = [OF_TWO[0], *OF_ONE, *OF_TWO[1:]]
    if labels is not None:
        sections += [PROBED, STITCHED, ERASED]
    return _report([a, b], sections, labels, ids, out, rows, seed, progress)


def inspect(
    a, *, labels=None, ids=None, out="repgeo-report", rows: int | None = None, seed: int = 0, progress: bool = False
) -> dict:
    """One embedding file on one page, as `compare`: its spectrum, isotropy, dimension and entropy; labels if given."""
    sections = list(OF_ONE) + ([PROBED, ERASED] if labels is not None else [])
    return _report([a], sections, labels, ids, out, rows, seed, progress)


def _report(paths, sections, labels, ids, out, rows, seed, progress) -> dict:
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise BadFile(out, "is no folder to write the report into")
    if rows is not None and rows < 20:
        raise ValueError(f"rows: expected at least 20; got {rows}")
    read = gather(*paths, ids=ids, labels=labels, rows=rows, seed=seed)
    names = ["A", "B"][: len(paths)]
    matrices = dict(zip(names, (z for z in (read.x, read.y) if z is not None), strict=True))
    data = Data(matrices, read.labels, read.classes, seed)
    done = _done(sections, data, progress)
    numbers = {s.name: {**(part.numbers if part else {}), **({"said": why} if why else {})} for s, part, why in done}
    made = _version()
    record = {
        "repgeo": made,
        "files": dict(zip(names, read.files, strict=True)),
        "rows": len(read.x),
        "seed": seed,
        "labels": list(read.classes)[:100] if read.labels is not None else None,
        "notes": list(read.notes),
        "sections": numbers,
    }
    text = json.dumps(_plain(record), indent=1, allow_nan=False) + "\n"
    shown = [f["file"] + (f"::{f['key']}" if f["key"] else "") for f in read.files]
    heading = f"How do {shown[0]} and {shown[1]} compare?" if len(shown) == 2 else f"What is in {shown[0]}?"
    files = Table(
        f"What was read; {len(read.x):,} rows of each are looked at.",
        ("matrix", "file", "rows", "features", "stored as"),
        tuple(
            (n, s, said(f["rows"]), said(f["features"]), f["dtype"])
            for n, s, f in zip(names, shown, read.files, strict=True)
        ),
    )
    notes = list(read.notes)
    if read.labels is not None:
        notes.append(
            f"Labels: {len(read.classes)} classes ({', '.join(read.classes[:8])}"
            f"{', ...' if len(read.classes) > 8 else ''})."
        )
    whole = page.page(" and ".join(shown), heading, files, notes, done, version=made, seed=seed)
    _write(out, {"report.html": whole, "report.json": text})
    return json.loads(text)


def _done(sections, data: Data, progress: bool) -> list[tuple[Section, Part | None, list[str]]]:
    """Every section with what it found, or None, and what is to be said about it.

    In turn: two programs that decompose batches, in threads of one process, can wait for each other for good (see
    `linalg.side_by_side`).
    """
    heard: set[str] = set()

    def hear(message, category, *where, **more):
        if issubclass(category, UserWarning):
            heard.add(str(message))

    found = []
    with warnings.catch_warnings(), _bar(sum(s.weight for s in sections), progress) as bar:
        warnings.simplefilter("always")
        warnings.showwarning = hear
        for section in sections:
            bar.set_description(section.title[:34])
            heard.clear()
            try:
                part, why = section.run(data), []
            except (ValueError, TypeError, ArithmeticError, MemoryError, ImportError) as error:
                part, why = None, [f"This section could not run: {str(error) or type(error).__name__}"]
            found.append((section, part, why + sorted(heard)))
            bar.update(section.weight)
    return found


def _bar(total, progress):
    from tqdm import tqdm

    shape = "{desc:<34} {percentage:3.0f} % |{bar}| {elapsed}, about {remaining} left"
    return tqdm(total=total, disable=not progress, file=sys.stderr, leave=False, bar_format=shape, dynamic_ncols=True)


def _write(out: Path, texts: dict[str, str]) -> None:
    """All files or none: drafts first, then each takes its name."""
    drafts = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            drafts[name] = out / f".{name}.{os.getpid()}"
            drafts[name].write_text(text, encoding="utf-8")
        for name, draft in drafts.items():
            os.replace(draft, out / name)
    except OSError as error:
        raise BadFile(out, f"cannot be written into: {error.strerror or error}") from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _plain(value):
    """`value` in types that JSON has; what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | str | None | int):
        return value
    if isinstance(value, np.integer):
        return int(value)
    value = float(value)
    return value if np.isfinite(value) else None


def _version() -> str:
    try:
        return version("repgeo")
    except PackageNotFoundError:
        return "(not installed)"
