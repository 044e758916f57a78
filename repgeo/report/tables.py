"""Tables: comma-separated text, Parquet and Arrow files, and the folders in which the datasets library saves."""

import json
from pathlib import Path

import numpy as np

from repgeo.report.rows import BLOCK_BYTES, BadFile, Opened, in_order

IDS = ("id", "ids", "__index_level_0__")


def csv(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """Text with one row a line, separated by commas (tabs for `.tsv`); a first line that is not numbers names them."""
    import pyarrow as pa
    from pyarrow import csv as reader

    if path.stat().st_size == 0:
        raise BadFile(path, "is empty (0 bytes)")
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open("rb") as file:
        first = file.readline(2**24)
    try:
        cells = first.decode("utf-8-sig").strip().split(delimiter)
    except UnicodeDecodeError as error:
        raise BadFile(path, f"is no UTF-8 text ({error.reason} at byte {error.start} of the first line)") from None
    nameless = all(_is_number(cell) for cell in cells)
    options = {
        "read_options": reader.ReadOptions(autogenerate_column_names=nameless, block_size=BLOCK_BYTES),
        "parse_options": reader.ParseOptions(delimiter=delimiter),
    }
    with reader.open_csv(path, **options) as stream:
        schema = stream.schema

    def batches(columns, matrix=False):
        kinds = {name: pa.float64() for name in columns} if matrix else schema  # a later block may hold decimals
        convert = reader.ConvertOptions(include_columns=columns, column_types=kinds)
        with reader.open_csv(path, convert_options=convert, **options) as stream:
            yield from stream

    count = sum(len(batch) for batch in batches(schema.names[:1]))
    return _table(path, schema, count, batches, key, without, mapped=False)


def parquet(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """A Parquet file, of which only the columns asked for are read, in batches."""
    from pyarrow import parquet as reader

    if path.stat().st_size == 0:
        raise BadFile(path, "is empty (0 bytes)")
    with reader.ParquetFile(path, memory_map=True) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows

    def batches(columns, matrix=False):
        with reader.ParquetFile(path, memory_map=True) as file:
            yield from file.iter_batches(batch_size=4096, columns=columns)

    return _table(path, schema, count, batches, key, without, mapped=False)


def arrow(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """An Arrow (Feather) file, memory-mapped."""
    return _arrow_files(path, [path], key, without)


def folder(path: Path, key: str | None, without: tuple[str, ...] = ()) -> Opened:
    """A folder that the datasets library saved: Arrow files in the order of its state, or Parquet files by name."""
    splits = path / "dataset_dict.json"
    if splits.is_file():
        names = json.loads(splits.read_text(encoding="utf-8"))["splits"]
        raise BadFile(path, f"holds several splits; name one: {', '.join(str(path / name) for name in names)}")
    state = path / "state.json"
    if state.is_file():
        said = json.loads(state.read_text(encoding="utf-8"))
        if said.get("_indices_data_files") or list(path.glob("indices*.arrow")):
            raise BadFile(path, "its rows are reordered by an index; save it after flatten_indices()")
        files = [path / part["filename"] for part in said["_data_files"]]
        if outside := [file for file in files if file.parent != path]:
            raise BadFile(path, f"its state names a file outside of it: {outside[0].name}")
    else:
        files = sorted(path.glob("*.arrow")) or sorted(path.glob("*.parquet"))
    if not files:
        raise BadFile(path, "is a folder without state.json, Arrow or Parquet files; name a file")
    for file in files:
        if not file.is_file():
            raise BadFile(path, f"lacks its file {file.name}")
    if files[0].suffix == ".parquet":
        return _joined(path, [parquet(file, key, without) for file in files])
    return _arrow_files(path, files, key, without)


def _arrow_files(path, files, key, without):
    import pyarrow as pa

    for file in files:
        if file.stat().st_size == 0:
            raise BadFile(file, "is empty (0 bytes)")
    tables = [_arrow_table(pa, file) for file in files]
    whole = pa.concat_tables(tables)

    def batches(columns, matrix=False):
        return whole.select(columns).to_batches()

    return _table(path, whole.schema, len(whole), batches, key, without, mapped=True)


def _arrow_table(pa, file):
    source = pa.memory_map(str(file))
    try:
        return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:  # the datasets library writes streams
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()


def _joined(path, parts):
    widths = {part.p for part in parts}
    if len(widths) > 1:
        raise BadFile(path, f"its files differ in width: {sorted(widths)}")
    ends = np.cumsum([part.n for part in parts])

    def take(rows):
        pieces = []
        for part, end in zip(parts, ends, strict=True):
            own = rows[(rows >= end - part.n) & (rows < end)] - (end - part.n)
            if len(own):
                pieces.append(part.take(own))
        return np.concatenate(pieces)

    def column(name):
        return np.concatenate([part.column(name) for part in parts])

    one = parts[0]
    return Opened(path, str(path), int(ends[-1]), one.p, one.dtype, take, column, one.names, False, one.natural)


def _table(path, schema, count, batches, key, without, *, mapped):
    """The matrix in a table: one column of lists, or all columns of numbers besides ids."""
    import pyarrow as pa

    names = schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadFile(path, f"has two columns called {twice!r}")
    types = dict(zip(names, schema.types, strict=True))
    lists = [n for n, t in types.items() if _is_list(pa, t)]
    numbers = [n for n, t in types.items() if _is_real(pa, t) and n.lower() not in IDS and n not in without]
    if count == 0:
        raise BadFile(path, "has no rows")
    if key is not None:
        if key not in types:
            raise BadFile(path, f"has no column {key!r}; it has {', '.join(names[:8])}")
        if not _is_list(pa, types[key]):
            raise BadFile(path, f"{key}: expected a column of lists of numbers; got {types[key]}")
        chosen = [key]
    elif len(lists) == 1:
        chosen = lists
    elif len(lists) > 1:
        raise BadFile(path, f"has {len(lists)} columns of lists ({', '.join(lists)}); choose: {path.name}::{lists[0]}")
    else:
        chosen = numbers
    if not chosen:
        kinds = ", ".join(f"{n} ({t})" for n, t in list(types.items())[:5])
        raise BadFile(path, f"has no column of numbers or lists of numbers; it has {kinds}")
    listed = chosen == lists or key is not None

    def blocks():
        start = 0
        for batch in batches(chosen, matrix=not listed):
            yield (_lists if listed else _columns)(path, batch, chosen, start)
            start += len(batch)

    p = next(iter(blocks())).shape[1] if listed else len(chosen)
    dtype = types[chosen[0]].value_type if listed else types[chosen[0]]

    def checked():
        for block in blocks():
            if block.shape[1] != p:
                raise BadFile(path, f"{chosen[0]}: expected lists of one length; got {p} and {block.shape[1]}")
            yield block

    def column(name):
        if name not in types:
            raise BadFile(path, f"has no column {name!r}; it has {', '.join(names[:8])}")
        return np.concatenate([b.column(0).to_numpy(zero_copy_only=False) for b in batches([name])])

    others = tuple(n for n in names if n not in chosen)
    natural = next((n for n in names if n.lower() in IDS), None)
    shown = f"{path}::{chosen[0]}" if listed else str(path)
    return Opened(
        path, shown, count, p, str(dtype), lambda rows: in_order(rows, checked()), column, others, mapped, natural
    )


def _columns(path, batch, chosen, start):
    parts = []
    for name in chosen:
        values = batch.column(name)
        if values.null_count:
            row = int(np.argmax(~np.asarray(values.is_valid().to_numpy(zero_copy_only=False))))
            raise BadFile(path, f"{name}: no number in row {start + row}")
        parts.append(values.to_numpy(zero_copy_only=False))
    return np.stack(parts, 1)


def _lists(path, batch, chosen, start):
    from pyarrow import compute as pc

    values = batch.column(chosen[0])
    if values.null_count:
        raise BadFile(path, f"{chosen[0]}: {values.null_count} rows without a list, from row {start} on")
    lengths = set(np.unique(pc.list_value_length(values).to_numpy(zero_copy_only=False)).tolist())
    if len(lengths) != 1:
        raise BadFile(path, f"{chosen[0]}: expected lists of one length; got {min(lengths)} to {max(lengths)}")
    flat = values.flatten()
    if flat.null_count:
        raise BadFile(path, f"{chosen[0]}: a list without a number, from row {start} on")
    return flat.to_numpy(zero_copy_only=False).reshape(len(values), -1)


def _is_list(pa, kind):
    t = pa.types
    return (t.is_list(kind) or t.is_fixed_size_list(kind) or t.is_large_list(kind)) and _is_real(pa, kind.value_type)


def _is_real(pa, kind):
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"') or "nan")
    except ValueError:
        return False
    return True


TEXT_AND_COLUMNS = (".csv", ".tsv", ".parquet", ".arrow", ".feather")


def one_column(path: Path, key: str | None) -> np.ndarray:
    """A column of a table by its name, or its only one."""
    from pyarrow import csv as reader
    from pyarrow import feather
    from pyarrow import parquet as columns

    if path.stat().st_size == 0:
        raise BadFile(path, "is empty (0 bytes)")
    if path.suffix in (".csv", ".tsv"):
        options = reader.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
        table = reader.read_csv(path, parse_options=options)
    else:
        table = columns.read_table(path) if path.suffix == ".parquet" else feather.read_table(path)
    if key is None and len(table.column_names) != 1:
        raise BadFile(path, f"has {len(table.column_names)} columns; choose with {path.name}::NAME")
    key = key or table.column_names[0]
    if key not in table.column_names:
        raise BadFile(path, f"has no column {key!r}; it has {', '.join(table.column_names[:8])}")
    return table.column(key).to_numpy()
