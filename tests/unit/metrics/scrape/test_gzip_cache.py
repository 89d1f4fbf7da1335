"""What is put together from kept chunks is one gzip member that any reader takes."""

from __future__ import annotations

import gzip
import subprocess
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_platform.metrics.scrape import gzip_cache
from atom_platform.metrics.scrape.gzip_cache import GzipCache
from tests.support.examples import examples

BIG = [bytes([number]) * 40_000 for number in range(97, 101)]
chunks = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from(BIG), st.sampled_from([b"line 1\n", b""])),
    max_size=12,
)


@given(texts=st.lists(chunks, min_size=1, max_size=5))
@settings(max_examples=examples(200), deadline=None)
def test_every_text_comes_out_as_it_went_in(texts: list[list[bytes]]) -> None:
    packer = GzipCache()

    for text in texts:
        packed = packer.compress(text)

        reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
        assert reader.decompress(packed) == b"".join(text)
        assert reader.eof, "its length and checksum are right"
        assert reader.unused_data == b"", "some readers stop after the first member"


def test_the_program_itself_takes_it() -> None:
    packed = GzipCache().compress([b"# HELP a\n", *BIG, b"a 1\n"])

    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)

    assert done.stdout == b"".join([b"# HELP a\n", *BIG, b"a 1\n"])
    assert gzip.decompress(packed) == done.stdout


def test_only_what_changed_is_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[bytes] = []
    compress = gzip_cache._compressed

    def noting(block: bytes) -> bytes:
        compressed.append(block)
        return compress(block)

    monkeypatch.setattr(gzip_cache, "_compressed", noting)
    packer = GzipCache()
    packer.compress([BIG[0], BIG[1], b"small 1\n"])
    compressed.clear()

    again = packer.compress([BIG[0], BIG[2], b"small ", b"2\n"])

    assert compressed == [BIG[2], b"small 2\n"]
    assert gzip.decompress(again) == BIG[0] + BIG[2] + b"small 2\n"


def test_checksums_are_made_from_the_first_change_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a megabyte, it would take longer than all else in a scrape where nothing has changed."""
    packer = GzipCache()
    packer.compress(BIG)
    read: list[bytes] = []
    checksum = zlib.crc32

    def noting(block: bytes, before: int) -> int:
        read.append(block)
        return checksum(block, before)

    monkeypatch.setattr(zlib, "crc32", noting)
    packer.compress(BIG)
    again = packer.compress([BIG[0], b"small 1\n", *BIG[1:]])

    assert read == [b"small 1\n", *BIG[1:]]
    monkeypatch.undo()
    assert gzip.decompress(again) == BIG[0] + b"small 1\n" + b"".join(BIG[1:])


def test_two_formats_in_turn_keep_what_each_had(monkeypatch: pytest.MonkeyPatch) -> None:
    packer = GzipCache()
    for text in (BIG[:2], BIG[2:]):
        packer.compress(text)
    monkeypatch.setattr(gzip_cache, "_compressed", None)

    assert gzip.decompress(packer.compress(BIG[:2])) == b"".join(BIG[:2])


def test_what_is_no_longer_told_is_forgotten() -> None:
    packer = GzipCache()
    for text in (BIG[:1], BIG[1:2], BIG[2:3]):
        packer.compress(text)

    assert {*packer._last, *packer._before} == {BIG[1], BIG[2]}
