"""Build glosses.npz: definitions of WordNet's nouns and verbs, as seven text encoders see them.

Needs the Debian package `wordnet-base` (or WordNet 3.0's data.noun and data.verb in `--source`) and the
folder that fetch.py filled. The file holds no text: a row is named by its synset, and WordNet has the text.
"""

import argparse
from pathlib import Path

import cards
import numpy as np
import storage
from encoders import ENCODERS, known_to_glove

FIRST_TOPIC = 3  # WordNet's lexicographer files: 0-2 hold adjectives and adverbs, 3-28 nouns, 29-43 verbs
TOPICS = (
    "noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition noun.communication "
    "noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person "
    "noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape "
    "noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication "
    "verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion "
    "verb.perception verb.possession verb.social verb.stative verb.weather"
).split()


def synsets(source):
    """{id: (topic, definition)}: "n00001740" is the noun at byte 1740 of data.noun; examples are cut off."""
    found = {}
    for part in ("noun", "verb"):
        for line in (source / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence at the head of the file
                continue
            fields, gloss = line.split("|", 1)
            offset, topic = fields.split()[:2]
            found[part[0] + offset] = int(topic) - FIRST_TOPIC, gloss.strip().split('; "')[0]
    return found


def choose(found, rows, cache):
    """`rows` ids at random.

    Of the synsets that share a definition ("a genus of bacteria") one is kept, so that no two rows coincide;
    definitions without any word known to GloVe ("lionfishes") are left out, so that no row is zero.
    """
    drawn, seen = [], set()
    for name in cards.shuffled(found):
        text = found[name][1].lower()
        if text not in seen:
            seen.add(text)
            drawn.append(name)
    known = known_to_glove([found[name][1] for name in drawn], cache)
    return [name for name, is_known in zip(drawn, known, strict=True) if is_known][:rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()

    found = synsets(args.source)
    ids = choose(found, args.rows, args.cache)
    texts = [found[name][1] for name in ids]
    arrays = {
        "ids": np.array(ids),
        "labels": np.array([found[name][0] for name in ids], np.uint8),
        "classes": np.array(TOPICS),
    }
    embedded = {name: encode(texts, args.cache) for name, encode in ENCODERS.items()}
    stored, cost = storage.pack(embedded)
    cards.record(
        arrays | stored,
        name="glosses",
        what=f"{len(ids)} definitions of WordNet nouns and verbs, drawn at random: synset, topic "
        "(lexicographer file) and seven sentence embeddings (rows of length one)",
        source="WordNet 3.0 from Debian wordnet-base; encoders from the packages in data/build/packages.txt",
        version="1:3.0-37; versions and hashes in data/build/packages.txt",
        licence="WordNet 3.0 licence; encoders Apache-2.0 (minilm_l6, para_l3, use_m3), "
        "MIT (e5_q4, potion8m, wordllama), PDDL-1.0 (glove50)",
        notices=["wordnet.txt", "text-encoders.txt", "apache-2.0.txt", "pddl-1.0.txt"],
        builder="data/build/glosses.py",
        storage=cost,
        folder=args.out,
    )


if __name__ == "__main__":
    main()
