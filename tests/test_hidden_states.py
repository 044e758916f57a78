"""What a text encoder holds inside: the forward pass that the builder runs, how it draws words, and what is stored."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import scipy.special

from repgeo import datasets

BUILD = Path(__file__).resolve().parents[1] / "data" / "build"
STREAMS = {"residual": 7, "attention": 6, "mlp": 6, "alone": 6}
WIDTH, HEADS, INNER, DEPTH, VOCABULARY = 12, 3, 20, 2, 50


@pytest.fixture(autouse=True)
def as_a_script():
    """The builders run with JAX as it comes."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def builder():
    """Imports scripts of data/build as their own folder sees them; they are gone again afterwards."""
    sys.path.insert(0, str(BUILD))
    before = set(sys.modules)
    yield importlib.import_module
    sys.path.remove(str(BUILD))
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BUILD:
            del sys.modules[name]


@pytest.fixture(scope="module")
def hidden_states(builder):
    return builder("hidden_states")


@pytest.fixture(scope="module")
def data():
    return datasets.load("hidden_states")


@pytest.fixture(scope="module")
def weights():
    """The parameters of a small BERT, at random."""
    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": (40, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(DEPTH):
        at = f"encoder.layer.{layer}."
        dense = {f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        dense |= {"attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (INNER, WIDTH)}
        for name, shape in (dense | {"output.dense": (WIDTH, INNER)}).items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
        norms += [at + "attention.output.LayerNorm", at + "output.LayerNorm"]
    shapes |= {f"{name}.{part}": (WIDTH,) for name in norms for part in ("weight", "bias")}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def normed(x, weights, name):
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    return x * weights[name + ".weight"] + weights[name + ".bias"]


def affine(x, weights, name):
    return x @ weights[name + ".weight"].T.astype(float) + weights[name + ".bias"]


def mixed(x, weights, at):
    """The attention block of one sentence x (t, d), head by head, in float64."""
    q, k, v = (affine(x, weights, f"{at}attention.self.{part}") for part in ("query", "key", "value"))
    size, out = WIDTH // HEADS, np.zeros_like(x)
    for h in range(HEADS):
        own = slice(h * size, (h + 1) * size)
        out[:, own] = scipy.special.softmax(q[:, own] @ k[:, own].T / np.sqrt(size), axis=1) @ v[:, own]
    return affine(out, weights, at + "attention.output.dense")


# --- the forward pass


def test_every_stream_is_that_of_the_formulas(builder, weights):
    ids = np.random.default_rng(1).integers(VOCABULARY, size=(3, 7))
    streams = builder("bert").bert_streams(weights, ids, np.ones((3, 7), np.float32), heads=HEADS)
    assert {name: len(stream) for name, stream in streams.items()} == {
        "residual": DEPTH + 1, "attention": DEPTH, "mlp": DEPTH, "alone": DEPTH,
    }  # fmt: skip
    for i, sentence in enumerate(ids):
        parts = {name: weights[f"embeddings.{name}_embeddings.weight"].astype(float) for name in ("word", "position")}
        x = parts["word"][sentence] + parts["position"][:7] + weights["embeddings.token_type_embeddings.weight"][0]
        x = normed(x, weights, "embeddings.LayerNorm")
        np.testing.assert_allclose(streams["residual"][0][i], x, atol=1e-4)
        for layer in range(DEPTH):
            at = f"encoder.layer.{layer}."
            attention = mixed(x, weights, at)
            value = affine(x, weights, f"{at}attention.self.value")
            alone = affine(value, weights, at + "attention.output.dense")
            x = normed(x + attention, weights, at + "attention.output.LayerNorm")
            inner = affine(x, weights, at + "intermediate.dense")
            mlp = affine(inner * scipy.special.ndtr(inner), weights, at + "output.dense")
            x = normed(x + mlp, weights, at + "output.LayerNorm")
            expected = {"attention": attention, "alone": alone, "mlp": mlp}
            for name, value in expected.items():
                np.testing.assert_allclose(streams[name][layer][i], value, atol=2e-3, err_msg=name)
            np.testing.assert_allclose(streams["residual"][layer + 1][i], x, atol=2e-3)


def test_padding_changes_nothing_and_a_token_alone_attends_to_itself(builder, weights):
    bert = builder("bert")
    ids = np.random.default_rng(2).integers(VOCABULARY, size=(2, 5))
    plain = bert.bert_streams(weights, ids, np.ones((2, 5), np.float32), heads=HEADS)
    wide, mask = np.pad(ids, ((0, 0), (0, 3))), np.pad(np.ones((2, 5), np.float32), ((0, 0), (0, 3)))
    padded = bert.bert_streams(weights, wide, mask, heads=HEADS)
    for name, stream in plain.items():
        np.testing.assert_allclose(np.stack(padded[name])[:, :, :5], np.stack(stream), atol=1e-4)
    single = bert.bert_streams(weights, ids[:, :1], np.ones((2, 1), np.float32), heads=HEADS)
    np.testing.assert_allclose(single["alone"][0], single["attention"][0], atol=1e-5)
    assert np.abs(plain["alone"][0] - plain["attention"][0]).max() > 0.1
    np.testing.assert_array_equal(bert.bert(weights, np.zeros((1, 3), int), np.ones((1, 3)))[0], bert.bert_streams(
        weights, np.zeros((1, 3), int), np.ones((1, 3)))["residual"][-1][0])  # fmt: skip


def test_batches_hold_every_text_once_with_its_tokens(builder):
    ids = [list(range(1, n + 1)) for n in np.random.default_rng(0).integers(1, 30, size=150)]
    seen = []
    for rows, padded, mask in builder("bert").batches(ids):
        assert padded.shape == mask.shape and padded.shape[1] % 8 == 0
        for row, line, on in zip(rows, padded, mask, strict=True):
            assert line[on > 0].tolist() == ids[row] and on.sum() == len(ids[row])
            seen.append(row)
    assert sorted(seen) == list(range(150))


def test_a_run_picks_averages_and_spreads_the_tokens_that_it_says(builder, hidden_states, weights):
    rng = np.random.default_rng(3)
    ids = [rng.integers(VOCABULARY, size=n).tolist() for n in rng.integers(5, 17, size=8)]
    at = [1 + i % (len(own) - 2) for i, own in enumerate(ids)]
    chosen, pooled, spectra, tokens = hidden_states.run(ids, at, weights, heads=HEADS)
    inner = {name: [] for name in chosen}
    for i, own in enumerate(ids):
        streams = builder("bert").bert_streams(weights, np.array([own]), np.ones((1, len(own))), heads=HEADS)
        for name, stream in streams.items():
            x = np.stack(stream)[:, 0]
            np.testing.assert_allclose(chosen[name][:, i], x[:, at[i]], atol=1e-3)
            np.testing.assert_allclose(pooled[name][:, i], x.mean(1), atol=1e-3)
            inner[name].append(x[:, 1:-1])  # neither [CLS] nor [SEP]
    assert tokens == sum(len(own) - 2 for own in ids)
    for name, values in inner.items():
        for layer, x in enumerate(np.concatenate(values, 1).astype(float)):
            expected = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
            np.testing.assert_allclose(spectra[name][layer], expected, rtol=1e-3, atol=1e-3 * expected[0])


# --- which words, in which order


class Letters:
    """A tokenizer whose words of at most four letters are one token and longer ones two."""

    def encode(self, word, add_special_tokens):
        assert not add_special_tokens
        parts = [word] if len(word) <= 4 else [word[:4], "##" + word[4:]]
        return SimpleNamespace(ids=[int.from_bytes(part.encode(), "big") for part in parts])


@pytest.mark.parametrize("n", [2, 3, 8, 40])
def test_no_word_keeps_its_place(hidden_states, n):
    for seed in range(20):
        order = hidden_states.derangement(n, np.random.default_rng(seed))
        assert sorted(order) == list(range(n)) and (order != np.arange(n)).all()


def test_one_word_has_no_other_order_and_says_so(hidden_states):
    with pytest.raises(ValueError, match="n: expected at least 2.*got 1"):
        hidden_states.derangement(1, np.random.default_rng(0))


def test_words_keep_their_tokens_and_an_order_depends_on_the_name_alone(hidden_states):
    words = hidden_states.tokens_of("one two three four  fives six", Letters())
    assert [len(own) for own in words] == [1, 1, 2, 1, 2, 1]
    orders = [hidden_states.derangement(6, hidden_states.generator(name)).tolist() for name in ("n1", "n1", "n2")]
    assert orders[0] == orders[1] != orders[2]


def test_the_token_of_a_word_is_found_in_any_order(hidden_states):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        words = [[10 * i + j for j in range(rng.integers(1, 4))] for i in range(9)]
        order = rng.permutation(9)
        flat = ["[CLS]", *(token for i in order for token in words[i])]
        for word in range(9):
            assert flat[hidden_states.place(words, word, order)] == words[word][0]


def test_a_drawn_word_is_one_token_of_letters_that_no_other_sentence_has(hidden_states):
    rng = np.random.default_rng(0)
    pool = [f"w{chr(97 + i)}{chr(97 + j)}" for i in range(5) for j in range(5)] + ["longer", "x-1", "(a)", "7"]
    texts = [" ".join(rng.choice(pool, size=n)) for n in rng.integers(5, 12, size=60)]
    texts[3] = "alone"  # a text of one word is passed over
    names = [f"n{i}" for i in range(60)]
    drawn = hidden_states.draw(names, texts, Letters(), 20)
    assert len(drawn) == 20 and len({token for *_, token in drawn}) == 20
    assert [row for row, *_ in drawn] == sorted({row for row, *_ in drawn})
    for row, word, token in drawn:
        words = texts[row].split()
        assert len(words) >= hidden_states.FEWEST and words[word].isalpha() and len(words[word]) <= 4
        assert Letters().encode(words[word], False).ids == [token]
    assert drawn[:10] == hidden_states.draw(names, texts, Letters(), 10)
    assert hidden_states.draw(["n"], ["word " * 127], Letters(), 1) == []  # with [CLS] and [SEP] it would be cut


def test_a_stack_of_layers_comes_back_from_eight_bits_layer_by_layer(hidden_states):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(3, 200, 8)) * np.array([1.0, 10.0, 1e-3])[:, None, None]).astype(np.float32)
    spiked = x.copy()
    spiked[1, 0] *= 1_000  # one far row stretches every column of one layer
    arrays, cost = hidden_states.stacked({"x": x, "spiked": spiked})
    read = datasets._decoded("x", arrays)
    assert arrays["x"].dtype == np.uint8 and arrays["x__scale"].shape == (3, 1, 8)
    assert (np.abs(read - x).max((1, 2)) <= 0.51 * (x.max(1) - x.min(1)).max(1) / 255).all()
    assert arrays["spiked"].dtype == np.float16 and cost["spiked"]["stored"] == "float16"
    assert 0 < cost["x"]["twonn_change"] < 0.05 and 0.9 < cost["x"]["neighbours_kept"] <= 1


def test_the_builders_dimension_is_that_of_a_plane_and_of_a_line(hidden_states):
    rng = np.random.default_rng(0)
    for d in (1, 2, 4):
        x = rng.uniform(size=(1500, d)) @ np.linalg.qr(rng.normal(size=(6, 6)))[0][:d]
        assert hidden_states.twonn(x) == pytest.approx(d, rel=0.12)


# --- what is stored


def test_the_stored_states_have_the_shapes_that_the_builder_names(data):
    n = len(data["ids"])
    assert n >= 300 and data["rows"].shape == data["tokens"].shape == (n,)
    for name, depth in {"residual": 7, "residual_shuffled": 7, "attention": 6, "averaged": 7}.items():
        assert data[name].shape == (depth, n, 384) and data[name].dtype in (np.float32, np.float16)
        assert np.isfinite(data[name]).all() and (data[name].std(1) > 0).mean() > 0.98
        assert data.card.details["storage"][name]["neighbours_kept"] >= 0.97
        assert data.card.details["storage"][name]["twonn_change"] < 0.03
    assert len(set(data["tokens"].tolist())) == len(set(data["ids"].tolist())) == n
    for places in (data["places"], data["places_shuffled"]):
        assert places.min() >= 1 and places.max() < 127
    assert (data["places"] != data["places_shuffled"]).mean() > 0.9


def test_spectra_are_descending_and_count_a_share_of_the_same_tokens(data):
    assert data.card.details["tokens"] > 10 * 384
    for name, depth in STREAMS.items():
        for suffix in ("", "_shuffled"):
            values = data[f"spectrum_{name}{suffix}"]
            assert values.shape == (depth, 384) and (values >= 0).all() and (np.diff(values, axis=1) <= 0).all()
            assert (values[:, 0] > 0).all()


def test_rows_are_those_of_glosses_whose_embedding_the_last_average_is(data):
    glosses = datasets.load("glosses")
    assert (glosses["ids"][data["rows"]] == data["ids"]).all()
    last, whole = data["averaged"][-1].astype(float), glosses["minilm_l6"][data["rows"]].astype(float)
    cosine = (last * whole).sum(1) / np.linalg.norm(last, axis=1) / np.linalg.norm(whole, axis=1)
    assert cosine.min() > 0.999


def test_word_order_reaches_the_states_layer_by_layer(data):
    """After the embedding only the place differs; what attention brings in makes the same word differ more."""
    real, shuffled = data["residual"].astype(float), data["residual_shuffled"].astype(float)
    apart = ((real - shuffled) ** 2).sum((1, 2)) / ((real - real.mean(1, keepdims=True)) ** 2).sum((1, 2))
    assert 0 < apart[0] < apart[1:].max() and apart.max() < 1  # nearer than two sentences drawn at random (2)


def test_tokens_are_those_of_the_stored_vocabulary(data):
    vectors = datasets.load("token_embeddings")
    _, here, there = np.intersect1d(data["tokens"], vectors["ids"], return_indices=True)
    assert len(here) > 20 and all(vectors["tokens"][i].isalpha() for i in there)
    first = data["residual"][0][here].astype(float)  # a token's own vector is most of what the first layer holds of it
    first, own = (x - x.mean(0) for x in (first, vectors["vectors"][there].astype(float)))
    cosine = first @ own.T / np.linalg.norm(first, axis=1)[:, None] / np.linalg.norm(own, axis=1)
    assert (cosine.argmax(1) == np.arange(len(here))).mean() > 0.8


def test_token_embeddings_are_a_sample_without_copies():
    data = datasets.load("token_embeddings")
    assert data["vectors"].shape == (4000, 384) and len(set(data["ids"].tolist())) == 4000
    assert len(set(data["tokens"].tolist())) == 4000
    assert len(np.unique(data["vectors"], axis=0)) == 4000
    assert data.card.details["storage"]["vectors"]["neighbours_kept"] >= 0.97


def test_another_prompt_moves_every_text_and_keeps_its_neighbours():
    data, glosses = datasets.load("prompts"), datasets.load("glosses")
    n = len(data["ids"])
    assert (glosses["ids"][:n] == data["ids"]).all() and data.card.details["engines_apart"] < 5e-3
    query = glosses["e5_q4"][:n]
    for name in ("e5_passage", "e5_bare"):
        x = data[name]
        assert np.linalg.norm(x, axis=1) == pytest.approx(1, abs=0.01)
        own = (x * query).sum(1)
        assert own.max() < 0.9999  # moved
        near = ((x - x.mean(0)) @ (query - query.mean(0)).T).argmax(1)
        assert (near == np.arange(n)).mean() > 0.9
