"""Keep data/cards.json and the table in data/README.md: `python data/build/cards.py` rewrites the table.

Builders call `record`, which writes one `.npz` and its card. Cards of other files are kept as they are. With
`--repack` every file that `write_arrays` makes at least one per cent smaller is written again, the arrays unchanged.
"""

import argparse
import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- cards: begin (written by data/build/cards.py) -->", "<!-- cards: end -->"


def shuffled(names):
    """The names in an order that looks random and depends on the names alone.

    So the first m rows of a file are a random sample, and a file with more rows begins with the same ones.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"0 {name}".encode()).digest())


def replace_file(path, write):
    """Let `write(handle)` fill a new file beside `path`, then swap it in: a reader never sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            write(out)
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_arrays(out, arrays):
    """Write `arrays` to the open file `out` as `np.load` reads them, each in the smallest of four ways.

    They are row by row or column by column, by deflate or by LZMA: codes of many values gain little by LZMA, few
    values, flat areas and repeats much, and columns that each have a histogram of their own lie better together.
    Nothing that needs a pickle is written.
    """
    with zipfile.ZipFile(out, "w") as archive:
        for key, array in arrays.items():
            ways = []
            for order in "CF" if np.ndim(array) > 1 else "C":
                content = io.BytesIO()
                np.lib.format.write_array(content, np.asarray(array, order=order), allow_pickle=False)
                for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
                    member = zipfile.ZipInfo(f"{key}.npy")  # dated 1980: the same bytes every time
                    with zipfile.ZipFile(io.BytesIO(), "w") as alone:
                        alone.writestr(member, content.getvalue(), method)
                    ways.append((member.compress_size, len(ways), content.getvalue(), method))
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), *min(ways)[2:])


def read_cards(folder=DATA):
    """The cards in `folder` as {name: fields}; empty when there is no cards.json yet."""
    path = Path(folder) / "cards.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def record(
    arrays, *, name, what, source, version, licence, notices, builder, file=None, folder=DATA, **details
):
    """Write `arrays` to `folder`/`file` (default `name`.npz) and its card; return the card's fields.

    `notices` lists the files in data/LICENCES that must travel with the data; `details` go into the card as they
    are: seeds, versions, or as `storage` what a lossy format cost. The bytes depend on the arrays and on the versions
    of zlib and liblzma alone.
    """
    folder, file = Path(folder), file or f"{name}.npz"
    replace_file(folder / file, lambda out: write_arrays(out, arrays))
    content = (folder / file).read_bytes()
    card = {
        "file": file,
        "what": what,
        "source": source,
        "version": version,
        "licence": licence,
        "notices": list(notices),
        "builder": builder,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "arrays": {key: {"shape": list(a.shape), "dtype": str(a.dtype)} for key, a in arrays.items()},
    }
    write_cards(read_cards(folder) | {name: card | details}, folder)
    print(f"{name}: {folder.name}/{file}, {len(content) / 1e6:.2f} MB")
    return card


def write_cards(cards, folder=DATA):
    """Write `cards` to `folder`/cards.json and, where there is a README, its table."""
    text = json.dumps(dict(sorted(cards.items())), indent=1, ensure_ascii=False) + "\n"
    replace_file(Path(folder) / "cards.json", lambda out: out.write(text.encode()))
    if (Path(folder) / "README.md").exists():
        write_readme(folder)


def repack(name, folder=DATA):
    """Write the file of `name` again where that saves a hundredth of it; its arrays stay, and its card follows."""
    path = Path(folder) / read_cards(folder)[name]["file"]
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    smaller = io.BytesIO()
    write_arrays(smaller, arrays)
    content, before = smaller.getvalue(), path.stat().st_size
    if len(content) > 0.99 * before:
        return
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        assert archive.files == list(arrays)
        for key, array in arrays.items():
            assert archive[key].dtype == array.dtype and archive[key].shape == array.shape
            assert archive[key].tobytes() == array.tobytes(), key
    replace_file(path, lambda out: out.write(content))
    cards = read_cards(folder)
    cards[name] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    write_cards(cards, folder)
    print(f"{name}: {before / 1e6:.2f} MB before, {len(content) / 1e6:.2f} MB now")


def markdown(header, rows):
    """A Markdown table."""
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def table(cards):
    """Markdown: one row a file, and one row for each array that is stored with a loss."""
    files, lossy = [], []
    for name, card in sorted(cards.items()):
        arrays = [
            f"`{key}` {'x'.join(map(str, a['shape']))} {a['dtype']}"
            for key, a in card["arrays"].items()
            if not key.endswith(("__scale", "__zero"))  # they decode the array named before them
        ]
        source, size = f"{card['source']}; {card['version']}", f"{card['bytes'] / 1e6:.2f}"
        builder, digest = f"`{card['builder']}`", f"`{card['sha256']}`"
        row = [f"`{name}`", card["what"], source, card["licence"], "; ".join(arrays), size, builder, digest]
        files.append(row)
        lossy += [
            [f"`{name}`", f"`{key}`", cost["stored"]]
            + [f"{cost[k]:.1e}" for k in ("rms_error", "largest_error", "cka_change")]
            + [f"{cost['neighbours_kept']:.4f}"]
            for key, cost in card.get("storage", {}).items()
        ]
    total = sum(card["bytes"] for card in cards.values())
    header = ["name", "what", "source; version", "licence", "arrays", "MB", "builder", "sha256"]
    lines = [*markdown(header, files), "", f"{len(files)} files, {total / 1e6:.1f} MB."]
    if lossy:
        header = ["name", "array", "stored as", "rms error", "largest error", "CKA moved", "neighbours kept"]
        lines += ["", *markdown(header, lossy)]
    return "\n".join(lines)


def write_readme(folder=DATA):
    """Put the table of the cards between the two markers in `folder`/README.md."""
    path = Path(folder) / "README.md"
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    new = f"{before}{BEGIN}\n\n{table(read_cards(folder))}\n\n{END}{after}"
    replace_file(path, lambda out: out.write(new.encode()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rewrite the table in README.md from cards.json.")
    parser.add_argument("--folder", type=Path, default=DATA)
    parser.add_argument("--repack", action="store_true", help="first write every file again that gets smaller")
    args = parser.parse_args()
    for name in read_cards(args.folder) if args.repack else ():
        repack(name, args.folder)
    write_readme(args.folder)
