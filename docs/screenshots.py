"""
Take the pictures of the status page: a real service, its demo's traffic, a real Chromium.

`make screenshots` runs it; look at what it made before you commit it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.browser import launched, visiting  # noqa: E402 — likewise
from tests.support.service import running_service  # noqa: E402 — needs the path

IMAGES: Final = ROOT / "docs" / "images"
#: Long enough for lines with a shape.
WATCHED_SECONDS: Final = float(os.environ.get("WATCHED_SECONDS", "100"))
LOOKS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("light", {"viewport": {"width": 1180, "height": 1330}, "color_scheme": "light"}),
    ("dark", {"viewport": {"width": 1180, "height": 840}, "color_scheme": "dark"}),
    ("phone", {"viewport": {"width": 360, "height": 840}, "color_scheme": "light"}),
)


def main() -> None:
    """Write `status-LOOK.png` for each look."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        env = {"ATOM_STATUS_PAGE": "on", "WEB_CONCURRENCY": "4"}
        with running_service(Path(directory), env=env) as service, launched() as browser:
            load = subprocess.Popen(  # noqa: S603 — our own command, at our own port
                [
                    *(sys.executable, "-m", "atom_platform", "demo-load"),
                    *("--port", str(service.port), "--seconds", str(WATCHED_SECONDS + 30)),
                ],
                stdout=subprocess.DEVNULL,
            )
            try:
                with visiting(browser) as visit:
                    visit.page.goto(f"http://127.0.0.1:{service.port}/health/")
                    visit.page.wait_for_timeout(WATCHED_SECONDS * 1000)
                    for look, options in LOOKS:
                        visit.page.emulate_media(color_scheme=options["color_scheme"])
                        visit.page.set_viewport_size(options["viewport"])
                        visit.page.wait_for_timeout(2500)  # until it has drawn itself again
                        path = IMAGES / f"status-{look}.png"
                        visit.page.screenshot(path=path)
                        print(path.relative_to(ROOT), path.stat().st_size, "bytes")
                    print("complaints of the browser:", visit.complaints or "none")
            finally:
                load.kill()
                load.wait()


if __name__ == "__main__":
    main()
