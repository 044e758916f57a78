"""Build glosses_more.npz: more of the definitions that glosses.npz begins with, as four text encoders see them.

The rows go on where those of glosses.npz end, in the same random order, so that the two files together are one sample
of WordNet's nouns and verbs. Only the encoders that notebooks align are here, in wider steps than 8 bits allow. Needs
what glosses.py needs.
"""

import argparse
from pathlib import Path

import cards
import numpy as np
import storage
from encoders import ENCODERS
from glosses import TOPICS, choose, synsets

NAMES = ("minilm_l6", "use_m3", "potion8m", "wordllama")
STEPS = 8  # a standard deviation: as many neighbours stay as eight bits must keep, and it compresses to five bits


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--after", type=int, default=8_000, help="rows of glosses.npz")
    parser.add_argument("--source", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()

    found = synsets(args.source)
    ids = choose(found, args.after + args.rows, args.cache)[args.after :]
    texts = [found[name][1] for name in ids]
    arrays = {
        "ids": np.array(ids),
        "labels": np.array([found[name][0] for name in ids], np.uint8),
        "classes": np.array(TOPICS),
    }
    stored, cost = storage.pack_tightly({name: ENCODERS[name](texts, args.cache) for name in NAMES}, STEPS)
    cards.record(
        arrays | stored,
        name="glosses_more",
        what=f"{len(ids)} more definitions of WordNet nouns and verbs, the next ones in the random order of `glosses`: "
        "synset, topic (lexicographer file) and four of its sentence embeddings (rows of length one)",
        source="WordNet 3.0 from Debian wordnet-base; encoders from the packages in data/build/packages.txt",
        version="1:3.0-37; versions and hashes in data/build/packages.txt",
        licence="WordNet 3.0 licence; encoders Apache-2.0 (minilm_l6, use_m3), MIT (potion8m, wordllama)",
        notices=["wordnet.txt", "text-encoders.txt", "apache-2.0.txt"],
        builder="data/build/glosses_more.py",
        storage=cost,
        folder=args.out,
    )


if __name__ == "__main__":
    main()
