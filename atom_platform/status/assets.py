"""The files of the page, read once and named by what is in them, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Asset", "Assets"]

STATIC: Final = Path(__file__).resolve().parent / "static"

TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """
    One file.

    Attributes:
        etag: Of its bytes, without quotes.
    """

    body: bytes
    content_type: str
    etag: str


class Assets:
    """
    What the browser loads beside the page itself.

    Attributes:
        version: A name for all of it together; scripts import each other relative to it.
    """

    def __init__(self, directory: Path = STATIC) -> None:
        self.files = {
            path.relative_to(directory).as_posix(): _asset(path)
            for path in sorted(directory.rglob("*"))
            if path.suffix in TYPES
        }
        together = hashlib.sha256()
        for name, asset in self.files.items():
            together.update(f"{name}\0{asset.etag}\0".encode())
        self.version = together.hexdigest()[:16]
        self.page = (directory / "index.html").read_text("utf-8")


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])
