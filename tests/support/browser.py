"""A real Chromium, whose every complaint is kept and which reaches nothing but this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.support.programs import needs

__all__ = ["Visit", "launched", "visiting"]

#: Everything takes seconds at most; on a machine that is busy with four test processes, a while.
PATIENCE_MS = 40_000


@dataclass
class Visit:
    """
    A page, and what the browser held against it.

    Attributes:
        complaints: Errors and warnings of the console, a refusal by the policy among them, and
            exceptions that no script caught.
        elsewhere: Requests to other hosts.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """Return the rules of axe that the page breaks, with where."""
        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Start the system's Chromium, in which no name but loopback's resolves."""
    chromium = needs("chromium", package="chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
            timeout=PATIENCE_MS,
        )
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def visiting(browser: Browser, **options: Any) -> Iterator[Visit]:
    """Open an empty page; *options* are those of a browser's context."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(context.new_page())

    def note_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            visit.elsewhere.append(request.url)

    visit.page.on("request", note_request)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console",
        lambda message: (
            visit.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    try:
        yield visit
    finally:
        context.close()
