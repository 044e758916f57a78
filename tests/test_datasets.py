"""The files in data/ are what their cards say, and a loader that refuses says what mends it."""

import hashlib
import importlib.util
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from repgeo import datasets

DATA = Path(__file__).resolve().parents[1] / "data"
CARDS = json.loads((DATA / "cards.json").read_text(encoding="utf-8"))
PAIRS = 20_000  # drawn pairs of rows for the checks that compare classes


def builder(name):
    """A script of data/build, imported."""
    spec = importlib.util.spec_from_file_location(name, DATA / "build" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """A data folder with one small file: a matrix in 8 bits, labels, and the card of both."""
    arrays = {
        "x": np.array([[0, 255], [255, 0], [128, 7]], np.uint8),
        "x__scale": np.array([0.5, 2.0], np.float32),
        "x__zero": np.array([-1.0, 10.0], np.float32),
        "labels": np.array([0, 1, 1], np.uint8),
    }
    builder("cards").record(
        arrays,
        name="small",
        what="three rows",
        source="this test",
        version="1",
        licence="MIT",
        notices=[],
        builder="data/build/small.py",
        storage={"x": {"stored": "uint8"}},
        folder=tmp_path,
    )
    return tmp_path


def rewrite_card(folder, **fields):
    cards = json.loads((folder / "cards.json").read_text())
    cards["small"] |= fields
    (folder / "cards.json").write_text(json.dumps(cards))


# --- what is in data/


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_file_is_what_its_card_says(name):
    card = CARDS[name]
    content = (DATA / card["file"]).read_bytes()
    assert len(content) == card["bytes"]
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    with np.load(DATA / card["file"], allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive}
    stored = {key: {"shape": list(a.shape), "dtype": str(a.dtype)} for key, a in arrays.items()}
    assert stored == card["arrays"]


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_card_names_a_builder_and_licence_texts_that_are_there(name):
    card = datasets.load(name, folder=DATA).card
    assert (DATA.parent / card.builder).is_file()
    for notice in card.notices:
        assert (DATA / "LICENCES" / notice).stat().st_size > 200
    assert all([card.what, card.source, card.version, card.licence])


def test_every_data_file_has_a_card_and_the_total_stays_small():
    files = {str(path.relative_to(DATA)) for path in DATA.rglob("*.npz")}
    assert files == {card["file"] for card in CARDS.values()}
    assert sum((DATA / file).stat().st_size for file in files) <= 60e6


def test_every_licence_text_is_named_by_a_card():
    named = {notice for card in CARDS.values() for notice in card.get("notices", [])}
    assert named == {path.name for path in (DATA / "LICENCES").iterdir()}


def test_the_readme_holds_the_table_of_the_cards():
    cards = builder("cards")
    text = (DATA / "README.md").read_text(encoding="utf-8")
    table = text.split(cards.BEGIN)[1].split(cards.END)[0].strip()
    assert table == cards.table(CARDS), "run python data/build/cards.py"


def test_fashion_mnist_holds_ten_balanced_classes_of_pictures():
    data = datasets.load("fashion_mnist", folder=DATA)
    assert data["images"].shape == (10_000, 28, 28) and data["test_images"].shape == (2_000, 28, 28)
    for images, labels in (("images", "labels"), ("test_images", "test_labels")):
        assert data[images].min() == 0 and data[images].max() == 255
        share = np.bincount(data[labels], minlength=10) / len(data[labels])
        assert len(share) == 10 and abs(share - 0.1).max() < 0.02
    # the well-known mean of the whole training set
    assert data["images"].mean() / 255 == pytest.approx(0.2860, abs=0.002)


def test_fashion_mnist_labels_belong_to_their_pictures():
    data = datasets.load("fashion_mnist", folder=DATA)
    x = data["images"].reshape(len(data["images"]), -1).astype(np.float32)
    centres = np.stack([x[data["labels"] == c].mean(0) for c in range(10)])
    test = data["test_images"].reshape(len(data["test_images"]), -1).astype(np.float32)
    nearest = ((centres**2).sum(1) - 2 * test @ centres.T).argmin(1)
    assert (nearest == data["test_labels"]).mean() > 0.6  # chance is 0.1
    trousers, bag = list(data["classes"]).index("Trouser"), list(data["classes"]).index("Bag")
    assert centres[bag].mean() > centres[trousers].mean()  # a bag covers more of the picture


EMBEDDED = [
    (name, key)
    for name in ("glosses", "emoji")
    for key, array in CARDS[name]["arrays"].items()
    if len(array["shape"]) == 2
]


@pytest.fixture(scope="module")
def loaded():
    return {name: datasets.load(name, folder=DATA) for name in ("glosses", "emoji")}


def test_the_same_text_encoders_read_glosses_and_emoji(loaded):
    assert set(loaded["glosses"].embeddings) < set(loaded["emoji"].embeddings)
    assert len(loaded["glosses"].embeddings) == 7
    nets = set(loaded["emoji"].embeddings) - set(loaded["glosses"].embeddings)
    assert nets == {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}


@pytest.mark.parametrize(("name", "key"), EMBEDDED)
def test_an_embedding_is_finite_and_tells_its_rows_apart(loaded, name, key):
    x = loaded[name][key]
    assert x.dtype == np.float32 and len(x) == len(loaded[name]["ids"])
    assert np.isfinite(x).all()
    assert np.linalg.norm(x, axis=1).min() > 0.1  # no row of zeros
    assert (x.std(0) > 0).mean() > 0.99  # a unit of a network may be dead
    if not key.startswith("efficientnet"):
        assert np.linalg.norm(x, axis=1) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["glosses", "emoji"])
def test_labels_index_the_classes_and_ids_are_unique(loaded, name):
    data = loaded[name]
    pairs = [("labels", "classes")] + [("sublabels", "subclasses")] * (name == "emoji")
    for labels, classes in pairs:
        assert set(np.unique(data[labels])) <= set(range(len(data[classes])))
        assert len(set(data[classes])) == len(data[classes])
    assert len(set(data["ids"])) == len(data["ids"])


def test_wordnet_ids_agree_with_their_topics(loaded):
    glosses = loaded["glosses"]
    topics = glosses["classes"][glosses["labels"]]
    part = {"n": "noun", "v": "verb"}
    assert all(part[i[0]] == topic.split(".")[0] for i, topic in zip(glosses["ids"], topics, strict=True))


def test_emoji_ids_are_code_points_of_the_category_they_carry(loaded):
    emoji = loaded["emoji"]
    category = dict(zip(emoji["ids"], emoji["classes"][emoji["labels"]], strict=True))
    assert category["1F600"] == "Smileys & Emotion"  # grinning face
    assert category["1F415"] == "Animals & Nature"  # dog
    assert category["1F34E"] == "Food & Drink"  # red apple
    assert not {"Flags", "Component"} & set(emoji["classes"])


@pytest.mark.parametrize(("name", "key"), EMBEDDED)
def test_rows_of_one_class_lie_closer_than_rows_of_two(loaded, name, key):
    """Labels and every encoder share their row order: a permuted column of rows would make the gap vanish."""
    data, rng = loaded[name], np.random.default_rng(0)
    x = data[key] - data[key].mean(0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    a, b = rng.integers(len(x), size=(2, PAIRS))
    a, b = a[a != b], b[a != b]
    cosine, same = (x[a] * x[b]).sum(1), data["labels"][a] == data["labels"][b]
    gap = cosine[same].mean() - cosine[~same].mean()
    error = np.sqrt(cosine[same].var() / same.sum() + cosine[~same].var() / (~same).sum())
    assert gap > 8 * error


@pytest.mark.parametrize(("name", "key"), EMBEDDED)
def test_every_encoder_lists_its_rows_in_the_order_of_the_others(loaded, name, key):
    """Neighbours under one encoder are neighbours under another far more often than chance allows."""
    data, rows = loaded[name], 1_000
    other = "minilm_l6" if key != "minilm_l6" else "use_m3"

    def neighbours(x):
        x = x[:rows] - x[:rows].mean(0)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        similarity = x @ x.T
        np.fill_diagonal(similarity, -np.inf)
        return np.argsort(-similarity, axis=1, kind="stable")[:, :10]

    pairs = zip(neighbours(data[key]), neighbours(data[other]), strict=True)
    shared = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in pairs])
    assert shared > 5 * 10 / (rows - 1)


@pytest.mark.parametrize(("name", "key"), EMBEDDED)
def test_the_recorded_cost_of_eight_bits_is_harmless(name, key):
    cost = CARDS[name]["storage"][key]
    assert cost["stored"] in ("uint8", "float16")
    assert cost["neighbours_kept"] >= 0.97
    assert cost["cka_change"] < 1e-3
    assert cost["rms_error"] < 0.05


@pytest.fixture(scope="module")
def more():
    return datasets.load("glosses_more", folder=DATA)


def test_more_glosses_go_on_where_glosses_end(loaded, more):
    glosses = loaded["glosses"]
    assert len(glosses["ids"]) + len(more["ids"]) >= 20_000
    ids = [*glosses["ids"], *more["ids"]]
    assert len(set(ids)) == len(ids) and ids == builder("cards").shuffled(ids)
    assert more["classes"].tolist() == glosses["classes"].tolist()
    part = {"n": "noun", "v": "verb"}
    topics = more["classes"][more["labels"]]
    assert all(part[i[0]] == topic.split(".")[0] for i, topic in zip(more["ids"], topics, strict=True))
    shares = [np.bincount(d["labels"], minlength=41) / len(d["labels"]) for d in (glosses, more)]
    assert abs(shares[0] - shares[1]).max() < 0.02  # two samples of one population


@pytest.mark.parametrize("key", ["minilm_l6", "use_m3", "potion8m", "wordllama"])
def test_more_glosses_are_the_same_encoders_on_texts_of_the_same_kind(loaded, more, key):
    data, other = more, loaded["glosses"]
    x, y = data[key], other[key]
    assert x.shape == (len(data["ids"]), y.shape[1]) and x.dtype == np.float32 and x.flags.c_contiguous
    assert np.isfinite(x).all() and np.linalg.norm(x, axis=1) == pytest.approx(1, abs=0.03)
    error = np.sqrt((x.var(0) / len(x) + y.var(0) / len(y)).sum())
    assert np.linalg.norm(x.mean(0) - y.mean(0)) < 3 * error  # one mean, up to sampling
    own, centres = x - y.mean(0), np.stack([y[other["labels"] == c].mean(0) - y.mean(0) for c in range(41)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    right = ((own / np.linalg.norm(own, axis=1, keepdims=True)) @ centres.T).argmax(1) == data["labels"]
    assert right.mean() > 0.3  # the commonest topic is 0.15 of all


def test_the_recorded_cost_of_wide_steps_is_harmless():
    storage = CARDS["glosses_more"]["storage"]
    assert set(storage) == {"minilm_l6", "use_m3", "potion8m", "wordllama"}
    for cost in storage.values():
        assert cost["neighbours_kept"] >= 0.97
        assert cost["cka_change"] < 1e-3
        assert cost["rms_error"] < 0.05
        assert cost["pairs_found_change"] < 0.005


# --- how 8 bits are written and read


def test_even_steps_are_no_wider_than_asked_and_come_back():
    storage = builder("storage")
    x = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32) * np.linspace(0.5, 2, 40, dtype="f")
    codes, scale, zero = storage.encode_evenly(x, 5)
    assert codes.dtype == np.uint8 and len(set(scale.tolist())) == 1
    assert scale[0] == pytest.approx(np.sqrt(x.var(0).mean()) / 5, rel=1e-5)
    assert np.abs(storage.decode(codes, scale, zero) - x).max() <= 0.501 * scale[0]
    with pytest.raises(AssertionError, match="more than 256 steps"):
        storage.encode_evenly(x, 200)


def test_pairs_are_found_after_a_rotation_and_not_after_a_shuffle():
    storage, random = builder("storage"), np.random.default_rng(0)
    x = random.normal(size=(600, 20))
    turned = x @ np.linalg.qr(random.normal(size=(20, 20)))[0] + 3
    assert storage.top_1(x, turned, fitted=400, judged=200) == 1
    assert storage.top_1(x, random.permutation(turned), fitted=400, judged=200) < 0.05


def test_the_loader_reads_what_the_builder_writes():
    storage = builder("storage")
    x = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32) * np.logspace(-3, 3, 40, dtype="f")
    x[:, 3] = 7.25
    codes, scale, zero = storage.encode(x)
    read = datasets._decoded("x", {"x": codes, "x__scale": scale, "x__zero": zero})
    assert read.dtype == np.float32
    assert np.array_equal(read, storage.decode(codes, scale, zero))
    assert np.array_equal(read[:, 3], x[:, 3])
    step = (x.max(0) - x.min(0)) / 255
    assert (np.abs(read - x).max(0) <= 0.51 * step + 1e-6 * np.abs(x).max(0)).all()


def test_an_array_whose_neighbours_eight_bits_would_lose_is_stored_in_sixteen():
    storage = builder("storage")
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(400, 8)).astype(np.float32)
    spiked = smooth.copy()
    spiked[0] *= 2_000  # one far row stretches every column's range
    arrays, cost = storage.pack({"smooth": smooth, "spiked": spiked})
    assert arrays["smooth"].dtype == np.uint8 and arrays["spiked"].dtype == np.float16
    assert cost["spiked"]["neighbours_kept"] >= 0.97
    assert "spiked__scale" not in arrays


def test_the_builders_debiased_cka_has_its_known_values():
    storage = builder("storage")
    x, y = np.random.default_rng(0).normal(size=(2, 200, 300))
    assert storage.debiased_cka(storage.gram(x), storage.gram(3 * x + 5)) == pytest.approx(1, abs=1e-9)
    assert abs(storage.debiased_cka(storage.gram(x), storage.gram(y))) < 0.1  # the biased one is near 0.6


def test_a_builder_writes_the_same_bytes_twice_and_keeps_the_cards_of_others(folder):
    cards = builder("cards")
    first = datasets.load("small", folder=folder).card
    arrays = dict(np.load(folder / "small.npz"))
    fields = {"what": "w", "source": "s", "version": "v", "licence": "l", "notices": [], "builder": "b"}
    cards.record(arrays, name="again", file="runs/again.npz", folder=folder, **fields)
    second = datasets.load("again", folder=folder).card
    assert first.sha256 == second.sha256
    assert second.file == "runs/again.npz"
    assert datasets.names(folder=folder) == ("again", "small")


def test_each_array_is_written_in_the_smallest_of_four_ways(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "noise": rng.integers(0, 256, 5_000).astype(np.uint8),
        "repeats": np.tile(rng.integers(0, 256, 50_000).astype(np.uint8), 3),  # deflate forgets after 32 kB
        "columns": (128 + rng.normal(size=(4_000, 41)) * np.geomspace(0.3, 30, 41)).astype(np.uint8),
        "rows": (128 + rng.normal(size=(4_000, 41)) * np.geomspace(0.3, 30, 41)).astype(np.uint8).T.copy(),
    }
    with open(tmp_path / "a.npz", "wb") as out:
        builder("cards").write_arrays(out, arrays)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        methods = {member.filename: member.compress_type for member in archive.infolist()}
    assert methods["noise.npy"] == zipfile.ZIP_DEFLATED and methods["repeats.npy"] == zipfile.ZIP_LZMA
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive.files == list(arrays)
        assert all(np.array_equal(archive[key], array) for key, array in arrays.items())
        assert archive["columns"].flags.f_contiguous and archive["rows"].flags.c_contiguous


def test_no_builder_can_write_a_pickle(tmp_path):
    with open(tmp_path / "a.npz", "wb") as out, pytest.raises(ValueError, match="Object arrays cannot be saved"):
        builder("cards").write_arrays(out, {"x": np.array([{}], dtype=object)})


def test_files_that_get_smaller_are_packed_again_with_the_same_arrays(folder):
    cards = builder("cards")
    fields = {"what": "w", "source": "s", "version": "v", "licence": "l", "notices": [], "builder": "b"}
    arrays = {"x": np.arange(3_000, dtype=np.float64).reshape(1000, 3), "y": np.array(["a", "bc"])}
    cards.record(arrays, name="loose", folder=folder, seeds=[1, 2], **fields)
    np.savez(folder / "loose.npz", **arrays)  # not compressed at all
    before = (folder / "small.npz").read_bytes()
    for name in ("loose", "small"):
        cards.repack(name, folder)
    again = datasets.load("loose", folder=folder)
    assert all(np.array_equal(again[key], array) for key, array in arrays.items())
    assert again.card.bytes == (folder / "loose.npz").stat().st_size < 20_000
    assert again.card.details == {"seeds": [1, 2]}
    assert (folder / "small.npz").read_bytes() == before  # nothing to save there


def test_rows_are_drawn_in_an_order_that_only_their_names_fix():
    shuffled = builder("cards").shuffled
    names = [f"n{i:03d}" for i in range(300)]
    order = shuffled(names)
    assert order == shuffled(reversed(names)) and sorted(order) == names
    assert [name for name in order if name < "n200"] == shuffled(names[:200])
    places = [names.index(name) for name in order]
    assert abs(np.corrcoef(places, range(300))[0, 1]) < 0.2


def test_weights_are_read_without_running_what_a_pickle_asks_for(tmp_path):
    import os
    import pickle

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    efficientnet = builder("efficientnet")
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(pickle.UnpicklingError, match="mkdir has no place in a file of weights"):
        efficientnet.read_weights(path)
    assert not (tmp_path / "sprung").exists()


# --- the loader


def test_arrays_that_lie_column_by_column_come_back_row_by_row(folder):
    arrays = dict(np.load(folder / "small.npz"))
    expected = datasets.load("small", folder=folder)["x"]
    np.savez(folder / "small.npz", **{key: np.asfortranarray(array) for key, array in arrays.items()})
    rewrite_card(folder, sha256=hashlib.sha256((folder / "small.npz").read_bytes()).hexdigest())
    with np.load(folder / "small.npz") as archive:
        assert not archive["x"].flags.c_contiguous
    x = datasets.load("small", folder=folder)["x"]
    assert np.array_equal(x, expected) and x.flags.c_contiguous


def test_eight_bits_come_back_as_floats_by_column(folder):
    data = datasets.load("small", folder=folder)
    expected = np.array([[-1, 520], [126.5, 10], [63, 24]], np.float32)
    assert np.array_equal(data["x"], expected) and data["x"].dtype == np.float32
    assert list(data.arrays) == ["x", "labels"]
    assert list(data.embeddings) == ["x"]
    assert data["labels"].dtype == np.uint8
    assert data.card.details == {"storage": {"x": {"stored": "uint8"}}}


def test_the_folder_may_come_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("REPGEO_DATA", str(folder))
    assert datasets.names() == ("small",)
    assert datasets.load("small")["labels"].tolist() == [0, 1, 1]


def test_a_dataset_shows_what_it_holds(folder):
    shown = repr(datasets.load("small", folder=folder))
    assert "three rows" in shown and "3x2" in shown and "MIT" in shown


def test_an_unknown_array_lists_the_known_ones(folder):
    with pytest.raises(KeyError, match="small has no array 'y'; it has x, labels"):
        datasets.load("small", folder=folder)["y"]


def test_an_unknown_name_lists_the_nearest_first():
    with pytest.raises(ValueError, match="name: expected one of emoji, .*fashion_mnist.*; got 'emojis'"):
        datasets.load("emojis", folder=DATA)
    with pytest.raises(ValueError, match="expected one of .*; got 3"):
        datasets.load(3, folder=DATA)


def test_a_missing_file_names_the_folder_and_the_mend(folder):
    (folder / "small.npz").unlink()
    with pytest.raises(FileNotFoundError, match="small.npz is missing from .*git checkout -- data/small.npz"):
        datasets.load("small", folder=folder)


@pytest.mark.parametrize("harm", ["empty", "truncated", "one bit", "another file"])
def test_a_file_that_is_not_its_cards_names_both_hashes_and_the_mend(folder, harm):
    path = folder / "small.npz"
    content = path.read_bytes()
    flipped = content[:-30] + bytes([content[-30] ^ 1]) + content[-29:]
    changed = {"empty": b"", "truncated": content[:100], "one bit": flipped, "another file": b"text"}[harm]
    path.write_bytes(changed)
    got, expected = hashlib.sha256(changed).hexdigest()[:12], hashlib.sha256(content).hexdigest()[:12]
    with pytest.raises(ValueError, match=f"small.npz is not .*{got}.*{len(changed)} bytes.*{expected}") as e:
        datasets.load("small", folder=folder)
    assert "git checkout -- data/small.npz" in str(e.value) and "data/build/small.py" in str(e.value)


@pytest.mark.parametrize("content", [b"not an archive", b""])
def test_a_file_that_is_no_archive_is_refused_even_with_its_hash(folder, content):
    (folder / "small.npz").write_bytes(content)
    rewrite_card(folder, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ValueError, match="small.npz is not an archive of plain arrays"):
        datasets.load("small", folder=folder)


def test_a_pickle_inside_an_archive_is_never_opened(folder):
    np.savez(folder / "small.npz", x=np.array([{"a": 1}], dtype=object))
    rewrite_card(folder, sha256=hashlib.sha256((folder / "small.npz").read_bytes()).hexdigest())
    with pytest.raises(ValueError, match="small.npz is not an archive of plain arrays.*pickle"):
        datasets.load("small", folder=folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"small": 3}', '{"small": {"file": "small.npz"}}', "\xff"])
def test_a_list_of_cards_that_cannot_be_read_names_itself_and_the_mend(folder, text):
    (folder / "cards.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="cards.json is not a list of cards .*git checkout -- data/cards"):
        datasets.load("small", folder=folder)


def test_a_folder_without_cards_says_how_to_name_one(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no cards.json in .*REPGEO_DATA"):
            datasets.names(folder=folder)


def test_a_copy_of_the_folder_loads_like_the_original(tmp_path):
    shutil.copy(DATA / "cards.json", tmp_path)
    shutil.copy(DATA / "fashion_mnist.npz", tmp_path)
    original, copy = datasets.load("fashion_mnist", folder=DATA), datasets.load("fashion_mnist", folder=tmp_path)
    assert all(np.array_equal(original[key], copy[key]) for key in original.arrays)


@pytest.mark.parametrize(("name", "m", "first"), [("simlex999", 999, 1.58), ("wordsim353", 353, 6.77)])
def test_ratings_are_read_without_importing_the_package_that_has_them(name, m, first):
    pairs, scores = datasets.ratings(name)
    assert pairs.shape == (m, 2) and scores.shape == (m,) and scores[0] == first
    assert 0 <= scores.min() and scores.max() <= 10 and (np.char.lower(pairs) == pairs).all()
    assert "gensim" not in sys.modules


def test_ratings_that_are_not_there_are_asked_for(monkeypatch):
    with pytest.raises(ValueError, match="name: expected one of simlex999, wordsim353; got 'men'"):
        datasets.ratings("men")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="simlex999.txt is read from the package gensim.*pip install gensim"):
        datasets.ratings("simlex999")
