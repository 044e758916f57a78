"""Build emoji.npz: each emoji as three image networks see its picture and seven text encoders read its name.

Pictures are Google's Noto emoji (64 pixels), names and keywords those of Unicode's CLDR, from emojibase. The
file holds features and code points, neither pictures nor names. Needs pillow and the folder that fetch.py
filled.
"""

import argparse
import json
from pathlib import Path

import cards
import efficientnet
import numpy as np
import storage
from encoders import ENCODERS, known_to_glove
from PIL import Image

SIZE = 128  # pixels a side at the input; the networks were trained at 224 to 260, at four times the cost
NETS = {"efficientnet_lite0": "lite0", "efficientnet_lite1": "lite1", "efficientnet_lite2": "lite2"}
LEFT_OUT = ("Flags", "Component")  # flags are named by country, components are skin tones and hair


def entries(cache):
    """One dict an emoji, in random order, with its `text`: name and keywords.

    Two whose text has no word known to GloVe (the keycaps of # and *) are left out: a mean of none is zero.
    """
    names = json.loads((cache / "emojibase-data/package/en/data.json").read_text(encoding="utf-8"))
    names = {entry["hexcode"]: entry for entry in names}
    emoji = json.loads((cache / "emoji-datasource-google/package/emoji.json").read_text(encoding="utf-8"))
    emoji = {e["unified"]: e for e in emoji}
    found = []
    for e in map(emoji.get, cards.shuffled(emoji)):
        name = names.get(e["unified"]) or names.get(e["unified"].replace("-FE0F", ""))
        if e["has_img_google"] and name and e["category"] not in LEFT_OUT:
            found.append(e | {"text": f"{name['label']}: {', '.join(name.get('tags', []))}"})
    known = known_to_glove([e["text"] for e in found], cache)
    return [e for e, is_known in zip(found, known, strict=True) if is_known]


def picture(path):
    """uint8 (s, s, 3): the emoji on white, enlarged."""
    image = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return np.asarray(white.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def labelled(values):
    """Each value's place in the sorted list of the distinct ones, and that list."""
    classes = sorted(set(values))
    return np.array([classes.index(value) for value in values], np.uint8), np.array(classes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--rows", type=int, default=None, help="only the first emoji, to try things out")
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()

    found = entries(args.cache)[: args.rows]
    texts = [e["text"] for e in found]
    folder = args.cache / "emoji-datasource-google/package/img/google/64"
    pictures = np.stack([picture(folder / e["image"]) for e in found])
    labels, classes = labelled([e["category"] for e in found])
    sublabels, subclasses = labelled([e["subcategory"] for e in found])
    embedded = {key: efficientnet.features(net, pictures, args.cache) for key, net in NETS.items()}
    embedded |= {name: encode(texts, args.cache) for name, encode in ENCODERS.items()}
    stored, cost = storage.pack(embedded)
    arrays = {
        "ids": np.array([e["unified"] for e in found]),
        "labels": labels,
        "classes": classes,
        "sublabels": sublabels,
        "subclasses": subclasses,
    }
    cards.record(
        arrays | stored,
        name="emoji",
        what=f"{len(found)} emoji: code points, category, subcategory, features of three ImageNet networks "
        f"(pictures at {SIZE} pixels), seven embeddings of English name and keywords (rows of length one)",
        source="npm emoji-datasource-google (Noto pictures), npm emojibase-data (CLDR names); networks and "
        "encoders from the packages in data/build/packages.txt",
        version="16.0.0; 17.0.0; versions and hashes in data/build/packages.txt",
        licence="pictures Apache-2.0, names MIT; networks Apache-2.0; encoders as for `glosses`",
        notices=["emoji.txt", "text-encoders.txt", "image-networks.txt", "apache-2.0.txt", "pddl-1.0.txt"],
        builder="data/build/emoji.py",
        storage=cost,
        folder=args.out,
    )


if __name__ == "__main__":
    main()
