"""Real data, read offline: every file is checked against its card before anyone computes with it.

`data/cards.json` holds one card a file: what it is, where it came from, under which licence, how it was
built, and the SHA-256 of its bytes. Nothing here unpickles.
"""

import dataclasses
import difflib
import hashlib
import importlib.util
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SCALE, ZERO = "__scale", "__zero"
HOLDS = 2**32  # bytes that a file may unfold to
_RATINGS = {"simlex999": "simlex999.txt", "wordsim353": "wordsim353.tsv"}


@dataclass(frozen=True)
class Card:
    """What is known of one data file; `arrays` maps each stored key to its shape and dtype.

    `notices` names the licence texts in data/LICENCES that travel with the file, `details` holds whatever
    else its builder recorded: what a lossy storage cost, seeds, versions.
    """

    name: str
    file: str
    what: str
    source: str
    version: str
    licence: str
    sha256: str
    bytes: int
    arrays: dict[str, dict]
    builder: str
    notices: tuple[str, ...] = ()
    details: dict = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Dataset:
    """The arrays of one file, by key, and its card: `load("emoji")["minilm_l6"]`."""

    name: str
    arrays: dict[str, np.ndarray]
    card: Card

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            raise KeyError(f"{self.name} has no array {key!r}; it has {', '.join(self.arrays)}")
        return self.arrays[key]

    @property
    def embeddings(self) -> dict[str, np.ndarray]:
        """The float matrices (n samples, p features), by key: what a measure of representations takes."""
        return {k: a for k, a in self.arrays.items() if a.ndim == 2 and np.issubdtype(a.dtype, np.floating)}

    def __repr__(self) -> str:
        rows = [f"  {key:<20}{'x'.join(map(str, a.shape)):<14}{a.dtype}" for key, a in self.arrays.items()]
        about = f"{self.name}: {self.card.what}\n  from {self.card.source}; licence: {self.card.licence}"
        return "\n".join([about, *rows])


def names(*, folder: str | os.PathLike | None = None) -> tuple[str, ...]:
    """The names that `load` knows, in alphabetical order; errors as in `load` when there is no list of cards.

    >>> "fashion_mnist" in names()
    True
    """
    return tuple(sorted(_cards(_folder(folder))))


def load(name: str, *, folder: str | os.PathLike | None = None) -> Dataset:
    """The arrays of the data file `name` as NumPy arrays, with the card that says where they came from.

    Read from `folder`, else from $REPGEO_DATA, else from the `data` folder beside the package. The file is
    hashed on every load, and the bytes that were hashed are the bytes that are read. A matrix (n, p) stored
    in 8 bits comes back decoded, as float32: code * scale + zero, one scale and one zero a column; all other
    arrays keep their dtype. Raises ValueError for an unknown name (the nearest known one comes first), for a
    file whose hash is not its card's, and for a list of cards that cannot be read; FileNotFoundError for a
    missing file. Each error says what mends it. What unfolds to more than 4 GiB is refused before it is unfolded.

    >>> fashion = load("fashion_mnist")
    >>> fashion["images"].shape, fashion["classes"][fashion["labels"][0]].item()
    ((10000, 28, 28), 'Ankle boot')
    """
    folder = _folder(folder)
    cards = _cards(folder)
    if name not in cards:
        known = difflib.get_close_matches(str(name), cards, n=len(cards), cutoff=0.0)
        raise ValueError(f"name: expected one of {', '.join(known)}; got {name!r}")
    card = cards[name]
    arrays = _read(folder, card)
    return Dataset(name, {k: _decoded(k, arrays) for k in arrays if not k.endswith((SCALE, ZERO))}, card)


def ratings(name: str) -> tuple[np.ndarray, np.ndarray]:
    """People's ratings of how alike two words are: pairs (m, 2) of lower-case words and scores (m,), 0 to 10.

    `name` is "simlex999" (similarity, not mere relatedness; Hill et al. 2015) or "wordsim353" (relatedness, mostly;
    Finkelstein et al. 2002). Neither is shipped here: they are read, as text, from the test data of an installed
    gensim, which is not imported. Raises ValueError for another name; FileNotFoundError where gensim is not installed
    or has not the file.

    >>> pairs, scores = ratings("simlex999")
    >>> pairs.shape, pairs[0].tolist(), float(scores[0])
    ((999, 2), ['old', 'new'], 1.58)
    """
    if name not in _RATINGS:
        raise ValueError(f"name: expected one of {', '.join(_RATINGS)}; got {name!r}")
    spec = importlib.util.find_spec("gensim")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    paths = [Path(place) / "test" / "test_data" / _RATINGS[name] for place in places]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{_RATINGS[name]} is read from the package gensim, which is not installed with its "
                                f"test data: pip install gensim")
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    return np.array([[u.lower(), v.lower()] for u, v, _ in rows]), np.array([float(score) for *_, score in rows])


def _folder(folder: str | os.PathLike | None) -> Path:
    """Where the data lies: the argument, the environment, or the checkout that holds this file."""
    return Path(folder or os.environ.get("REPGEO_DATA") or Path(__file__).resolve().parents[1] / "data")


def _cards(folder: Path) -> dict[str, Card]:
    path = folder / "cards.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {name: _card(name, fields) for name, fields in raw.items()}
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"no cards.json in {folder}: set REPGEO_DATA, or folder=, to the data folder of a repgeo checkout"
        ) from None
    except (ValueError, AttributeError, TypeError, RecursionError) as problem:  # no text, no JSON, no cards
        raise ValueError(
            f"{path} is not a list of cards ({problem}): restore it with `git checkout -- data/cards.json`"
        ) from None


def _card(name: str, fields: dict) -> Card:
    known = {f.name for f in dataclasses.fields(Card)} - {"name", "details"}
    missing = known - {"notices"} - fields.keys()
    if missing:
        raise ValueError(f"card {name!r} lacks {', '.join(sorted(missing))}")
    if not isinstance(fields["file"], str) or not _inside(fields["file"]):
        raise ValueError(f"card {name!r}: file: expected a path inside the folder; got {fields['file']!r}")
    details = {key: value for key, value in fields.items() if key not in known}
    given = {key: fields[key] for key in known & fields.keys()}
    return Card(name=name, details=details, **given | {"notices": tuple(fields.get("notices", ()))})


def _inside(file: str) -> bool:
    return bool(file) and ".." not in Path(file).parts and not Path(file).is_absolute()


def _read(folder: Path, card: Card) -> dict[str, np.ndarray]:
    """The arrays as they are stored, once the bytes are what the card says."""
    path = folder / card.file
    mend = f"restore it with `git checkout -- data/{card.file}`, or build it and its card with {card.builder}"
    if not path.is_file():
        raise FileNotFoundError(f"{card.file} is missing from {folder}: {mend}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise ValueError(
            f"{path} is not the file of its card: sha256 {digest[:12]} ({len(content)} bytes), expected "
            f"{card.sha256[:12]} ({card.bytes} bytes): {mend}"
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            size = sum(member.file_size for member in archive.zip.infolist())
            if size > HOLDS:
                raise ValueError(f"it unfolds to {size / 2**30:.1f} GiB; at most {HOLDS / 2**30:.0f} are read")
            # A file may hold the columns one after the other, whichever compresses better.
            return {key: np.asarray(archive[key], order="C") for key in archive.files}
    except Exception as problem:  # zip, zlib and NumPy each have their own
        raise ValueError(f"{path} is not an archive of plain arrays ({problem}): {mend}") from None


def _decoded(key: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The array under `key`, back in float32 if it was stored as codes."""
    if key + SCALE not in arrays:
        return arrays[key]
    return arrays[key].astype(np.float32) * arrays[key + SCALE] + arrays[key + ZERO]
