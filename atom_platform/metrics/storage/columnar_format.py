"""
The columnar file format: all numbers of one kind in one block, apart from their names.

    a file is a list of segments:  "columns1" | size | used | 0 | text …  free  … doubles

The text grows from the front, the doubles from the back: the first number is the last eight bytes
of the segment, the second number lies before it. So the numbers of a segment are one block of
memory, which a reader compares at once. The text has one line for each label set:

    newline | ["family", "label", "value", …] | tab | "help" | tab | id | tab | id …

A sample id is `=` and the upper bound of a bucket, or `.` and the name of a sample. Each id has one
number, in the order of the ids. All parts are JSON, which contains neither tabs nor newlines.
Lines are only appended, and only the last line grows. `used` is written last, so a reader does not
see what a killed writer left unfinished.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Final

from prometheus_client.mmap_dict import mmap_key

from atom_platform.metrics.samples import Labels, SeriesKey
from atom_platform.metrics.storage.client_format import CorruptFileError, parse_key

__all__ = [
    "HEAD",
    "MAGIC",
    "SUMMED_KINDS",
    "TEXT_AT",
    "SeriesLine",
    "find_segments",
    "format_line",
    "full_key",
    "json_text",
    "parse_line_tail",
    "parse_lines",
    "parse_sample_id",
    "parse_series_key",
    "parse_series_keys",
    "split_key",
]

#: The kinds of metrics whose values are summed over all processes.
SUMMED_KINDS: Final = frozenset(["counter", "histogram", "summary"])
MAGIC: Final = b"columns1"
#: Magic, size of the segment, length of its text; in native byte order, as the numbers.
HEAD: Final = struct.Struct("=8sQQ")
#: Where the text of a segment begins.
TEXT_AT: Final = 32


#: A line, which describes one label set: encoded series key, help text, encoded sample ids.
SeriesLine = tuple[bytes, str, list[bytes]]


def find_segments(data: bytes | mmap.mmap, start: int = 0) -> list[tuple[int, int]]:
    """
    Return start and end offset of each segment from offset *start* on.

    Raises:
        CorruptFileError: The data violate the format.
    """
    found = []
    while start + TEXT_AT <= len(data):
        magic, size, _ = HEAD.unpack_from(data, start)
        if start and magic == bytes(8):
            break  # allocated by a writer that has not written the head yet
        if magic != MAGIC or size <= TEXT_AT or size % 8 or start + size > len(data):
            raise CorruptFileError(f"no segment at {start}")
        found.append((start, start + size))
        start += size
    return found


def parse_lines(data: bytes | mmap.mmap, segment: tuple[int, int]) -> list[SeriesLine]:
    """
    Return the lines of *segment* after validating all of them.

    Raises:
        CorruptFileError: A line is invalid, or text and numbers exceed the segment.
    """
    start, end = segment
    used = HEAD.unpack_from(data, start)[2]
    if used > end - start - TEXT_AT:
        raise CorruptFileError(f"{used} bytes in {end - start}")
    empty, *texts = data[start + TEXT_AT : start + TEXT_AT + used].split(b"\n")
    lines = _lines(texts)
    cells = sum(len(sample_ids) for _, _, sample_ids in lines)
    if empty or TEXT_AT + used + 8 * cells > end - start:
        raise CorruptFileError(f"{cells} numbers in {end - start} bytes")
    parse_series_keys([series_key for series_key, _, _ in lines])
    for sample_id in {sample_id for _, _, sample_ids in lines for sample_id in sample_ids}:
        parse_sample_id(sample_id)
    return lines


@lru_cache(maxsize=64)
def split_key(kind: str, key: bytes) -> tuple[bytes, bytes, bytes]:
    """
    Return series key, help text and sample id, all encoded, of a prometheus_client *key*.

    Raises:
        CorruptFileError: It is not a valid key.
    """
    parsed = parse_key(key)
    labels, sample_id = parsed.labels, f".{parsed.sample}"
    if kind == "histogram":
        for item in labels:
            if item[0] == "le" and _is_number(item[1]):
                labels, sample_id = tuple(each for each in labels if each != item), f"={item[1]}"
    return _series_key(parsed.family, labels), json_text(parsed.help), json_text(sample_id)[1:-1]


# Cached, because the cells of one label set are requested one after the other.
@lru_cache(maxsize=16)
def _series_key(family: str, labels: Labels) -> bytes:
    return json.dumps([family, *(text for item in labels for text in item)]).encode()


@lru_cache(maxsize=256)
def json_text(text: str) -> bytes:
    """Return *text* as JSON writes it."""
    return json.dumps(text).encode()


def full_key(line: SeriesLine, sample_id: bytes) -> bytes:
    """Return the prometheus_client key of *sample_id* in *line*: the inverse of `split_key`."""
    family, labels = parse_series_key(line[0])
    names, values = [name for name, _ in labels], [value for _, value in labels]
    bound, sample = parse_sample_id(sample_id)
    if bound is not None:
        names, values, sample = [*names, "le"], [*values, sample], f"{family}_bucket"
    return mmap_key(family, sample, names, values, line[1]).encode()


def format_line(
    family: str, labels: Labels, help_text: str, samples: Iterable[str], bounds: Iterable[str] = ()
) -> bytes:
    """Return the line of a sorted label set with the given samples and the given buckets."""
    sample_ids = [f".{sample}" for sample in samples] + [f"={bound}" for bound in bounds]
    texts = [json_text(help_text), *(json_text(sample_id)[1:-1] for sample_id in sample_ids)]
    return b"\t".join([_series_key(family, labels), *texts])


def _lines(texts: list[bytes]) -> list[SeriesLine]:
    """Return the parsed lines; their series keys and sample ids are not validated yet."""
    parts = [text.partition(b"\t") for text in texts]
    # The text behind the series key is usually the same in all lines of a family.
    known = {rest: parse_line_tail(rest) for rest in {rest for _, _, rest in parts}}
    return [(series_key, *known[rest]) for series_key, _, rest in parts]


def parse_line_tail(rest: bytes) -> tuple[str, list[bytes]]:
    """
    Return the help text and the sample ids of a line; *rest* is the text behind the series key.

    Raises:
        CorruptFileError: It is invalid.
    """
    try:
        help_text, *sample_ids = rest.split(b"\t")
        text = json.loads(help_text)
    except (ValueError, RecursionError) as error:
        raise CorruptFileError("an invalid line") from error
    if not isinstance(text, str) or not sample_ids:
        raise CorruptFileError("an invalid line")
    return text, sample_ids


def parse_series_keys(series_keys: list[bytes]) -> list[SeriesKey]:
    """
    Return each of the *series_keys* parsed, but flat: family, then name and value of each label.

    Raises:
        CorruptFileError: One of them is invalid.
    """
    try:
        # All keys are parsed as one JSON text, which is faster. The next key cannot complete an
        # incomplete one: no JSON string contains a newline, and a longer list contains a number.
        found = json.loads("[" + b",\n0,\n".join(series_keys).decode() + "]")
        parsed = list(map(tuple, found[::2]))
        whole = found[1::2] == [0] * (len(series_keys) - 1) and all(
            len(each) % 2 for each in parsed
        )
        if whole and len(parsed) == len(series_keys):
            "".join(chain.from_iterable(parsed)).encode()
            return parsed
    except (ValueError, TypeError, RecursionError):
        pass  # at least one is invalid: parse them one by one
    return [(family, *chain(*labels)) for family, labels in map(parse_series_key, series_keys)]


def parse_series_key(series_key: bytes) -> tuple[str, Labels]:
    """
    Return family and labels, sorted by name.

    Raises:
        CorruptFileError: It is invalid.
    """
    try:
        # Decoded first: json.loads would detect the encoding of bytes each time.
        family, *labels = json.loads(series_key.decode())
        "".join((family, *labels)).encode()  # fails unless all are text and valid Unicode
        return family, tuple(zip(labels[::2], labels[1::2], strict=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptFileError("an invalid series key") from error


def parse_sample_id(sample_id: bytes) -> tuple[float | None, str]:
    """
    Return the upper bound of a bucket and its text, or None and the name of a sample.

    Raises:
        CorruptFileError: It is neither.
    """
    try:
        text = json.loads(b'"%b"' % sample_id)
        text.encode()
        if text[0] == "=":
            return float(text[1:]), text[1:]
    except (ValueError, IndexError) as error:
        raise CorruptFileError("an invalid sample id") from error
    if text[0] != ".":
        raise CorruptFileError("an invalid sample id")
    return None, text[1:]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
