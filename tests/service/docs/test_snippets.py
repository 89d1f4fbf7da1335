"""Every command and snippet of README and docs does what a reader would expect of it: it runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.service.docs.not_run import REASONS, reason_for
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.postgres import PostgreSQL
from tests.support.programs import needs
from tests.support.service import ROOT, Service, running_service
from tests.support.snippets import PAGES, Command, Snippet, commands_of, parses, snippets_of
from tests.support.stalls import scaled

SNIPPETS = [snippet for page in PAGES for snippet in snippets_of(page)]

SHELL = ("sh", "console")
PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
}
#: Languages of which nothing is checked here, and why.
UNCHECKED = {
    "text": "is what a program prints, or a drawing",
}


def of(*languages: str) -> list[Snippet]:
    return [snippet for snippet in SNIPPETS if snippet.language in languages]


def by_page(*languages: str) -> list[Any]:
    """Return a parameter for each page with blocks of *languages*."""
    pages = dict.fromkeys(snippet.page for snippet in of(*languages))
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages]


def blocks(page: Path, *languages: str) -> list[Snippet]:
    return [snippet for snippet in of(*languages) if snippet.page == page]


def test_every_language_is_known() -> None:
    known = {*SHELL, *PARSERS, *UNCHECKED, "python", "promql", "sql"}

    assert {snippet.where: snippet.language for snippet in SNIPPETS} | {} == {
        snippet.where: snippet.language for snippet in SNIPPETS if snippet.language in known
    }


@pytest.mark.parametrize("snippet", of(*PARSERS), ids=lambda snippet: snippet.where)
def test_data_parses(snippet: Snippet) -> None:
    assert PARSERS[snippet.language](snippet.text)


def test_queries_parse(tmp_path: Path) -> None:
    promtool = needs("promtool", package="prometheus")
    queries = of("promql")
    rules = [
        {"record": f"snippet:n{number}", "expr": snippet.text}
        for number, snippet in enumerate(queries)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "docs", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", "--lint=none", str(file)],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


def test_statements_run(postgresql: PostgreSQL) -> None:
    for snippet in of("sql"):
        postgresql.execute(snippet.text)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A folder like a checkout, in whose top a page may write what it likes."""
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
        elif path.name not in (".git", "var", "site"):
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks that a page says are files."""
    for snippet in SNIPPETS:
        if snippet.page == page and snippet.mark.startswith("file "):
            file = folder / snippet.mark.removeprefix("file ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(snippet.text)


def environment(**more: str) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        **more,
    }


@pytest.mark.parametrize("page", by_page("python"))
def test_python_runs(page: Path, folder: Path) -> None:
    """The blocks of a page, one after the other in one interpreter, as in a notebook."""
    write_files(page, folder)
    script = folder / "blocks.py"
    script.write_text("\n".join(snippet.text for snippet in blocks(page, "python")))

    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=scaled(120),
        check=False,
    )

    assert done.returncode == 0, done.stderr


#: Commands that change nothing and that many pages have; the first page's run counts for all.
SAME_EVERYWHERE = ("python -m atom_platform doctor",)


@pytest.fixture(scope="module")
def done_already() -> set[str]:
    return set()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the commands of all pages, with something to show."""
    for program, package in (("curl", "curl"), ("jq", "jq"), ("ss", "iproute2")):
        needs(program, package=package)
    with running_service(
        tmp_path_factory.mktemp("docs"), env={"ATOM_STATUS_PAGE": "on"}
    ) as running:
        steps = [{"skill": "fail", "with": {"message": "no"}}]
        running.post("/api/v1/agents", {"agent_id": "greeter", "name": "Greeter", "steps": steps})
        running.post("/api/v1/agents/greeter/executions", {"input": {}})
        yield running


@pytest.mark.parametrize("page", by_page(*SHELL))
def test_commands_run(page: Path, folder: Path, service: Service, done_already: set[str]) -> None:
    """Commands that filter a log are given the service's."""
    write_files(page, folder)
    log = folder / "log"
    log.write_bytes(b"".join(list(service.output)))
    server, port = None, service.port
    try:
        for snippet in blocks(page, *SHELL):
            commands = commands_of(snippet)
            for command in commands:
                assert parses(command.text), f"{snippet.where}: {command.text}"
            commands = [command for command in commands if not reason_for(command.text)]
            if snippet.mark == "server":
                (command,) = commands
                server, port = start(command, folder)
                continue
            commands = [command for command in commands if command.text not in done_already]
            if any(command.output for command in commands):
                for command in commands:
                    try_out([command], folder, log, port, snippet)
            elif commands:
                try_out(commands, folder, log, port, snippet)
            done_already |= {each.text for each in commands if each.text in SAME_EVERYWHERE}
    finally:
        if server is not None:
            end(server)


def start(command: Command, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server of a page, and wait until it answers."""
    port = free_port()
    database = f"sqlite:///{folder}/page.db"
    server = subprocess.Popen(
        ["bash", "-c", "exec " + filled(command.text, port)],
        cwd=folder,
        env=environment(PORT=str(port), DATABASE_URL=database),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )

    def answers() -> bool:
        assert server.poll() is None, f"it ended: {command.text}"
        done = subprocess.run(
            ["curl", "-fs", f"http://127.0.0.1:{port}/health/live"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    try:
        wait_until(answers, seconds=60, every=0.1)
    except BaseException:
        end(server)
        raise
    return server, port


def end(server: subprocess.Popen[bytes]) -> None:
    """End a server and its workers."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(scaled(30))
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        server.kill()
        server.wait(scaled(10))


def run(
    commands: list[Command], folder: Path, log: Path, port: int
) -> subprocess.CompletedProcess[str]:
    """Run *commands* in one shell, which ends at the first that fails."""
    script = "\n".join(filled(command.text, port) for command in commands)
    with log.open("rb") as lines:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environment(PORT=str(port), DATABASE_URL=f"sqlite:///{folder}/page.db"),
            stdin=lines,
            capture_output=True,
            text=True,
            timeout=scaled(120),
            check=False,
        )


def exits(commands: list[Command]) -> tuple[int, ...]:
    """Return the exit statuses that are no failure: the doctor's 1 says it has found something."""
    return (0, 1) if any("atom_platform doctor" in each.text for each in commands) else (0,)


#: What stands for something of the reader's.
PLACEHOLDERS = {
    r"https?://(SERVICE|INSTANCE)": "http://127.0.0.1:PORT_OF_IT",
    r"\blocalhost:8000\b": "127.0.0.1:PORT_OF_IT",
    r"\b8000\b": "PORT_OF_IT",
    r"\bAGENT\b": "greeter",
    r"(?<!\S)make (?!-n)": "make -n ",  # what it would do; the targets themselves take minutes
}


def filled(command: str, port: int) -> str:
    for pattern, value in PLACEHOLDERS.items():
        command = re.sub(pattern, value, command)
    return command.replace("PORT_OF_IT", str(port))


def try_out(commands: list[Command], folder: Path, log: Path, port: int, snippet: Snippet) -> None:
    """
    Run *commands*, and compare what they print with what the page shows.

    A reader tries again what only asks: a request is counted when its last byte is out, and a
    worker that has just started may not be ready.
    """
    complaint = ""

    def works() -> bool:
        nonlocal complaint
        done = run(commands, folder, log, port)
        complaint = f"{snippet.where}: {done.args[-1]}\n{done.stdout}\n{done.stderr}"
        return done.returncode in exits(commands) and all(
            shows(done.stdout, command.output) for command in commands
        )

    if any(" -d " in command.text for command in commands):  # it changes something
        assert works(), complaint
        return
    try:
        wait_until(works, seconds=20, every=0.5)
    except AssertionError:
        pytest.fail(complaint)


def shows(printed: str, shown: tuple[str, ...]) -> bool:
    """Return whether the lines that a page shows come in what was printed, in their order."""
    lines = iter(printed.splitlines())
    return all(any(fits(line, each) for each in lines) for line in shown)


def fits(shown: str, printed: str) -> bool:
    """Return whether *printed* is what a page shows, but for values; `…` stands for anything."""
    if "…" in shown:
        parts = (re.escape(without_figures(part)) for part in shown.split("…"))
        return re.fullmatch(".*".join(parts), without_figures(printed)) is not None
    return bool(shape(shown) == shape(printed))


def shape(line: str) -> Any:
    """Return *line* without what differs from run to run: for JSON its keys, else no figures."""
    try:
        return shape_of(json.loads(line))
    except ValueError:
        return without_figures(line)


def without_figures(line: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "0", re.sub(r"\s+", " ", line.strip()))


def shape_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape_of(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape_of(each) for each in value[:1]]
    return "number" if isinstance(value, float | int) else type(value).__name__


def test_each_reason_not_to_run_is_needed_and_the_rest_is_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is checked, in figures; `pytest -s` shows them."""
    commands = [command.text for snippet in of(*SHELL) for command in commands_of(snippet)]
    reasons = Counter(filter(None, map(reason_for, commands)))
    counts = {
        "python blocks run": len(of("python")),
        "commands run": len(commands) - reasons.total(),
        "commands only parsed": reasons.total(),
        "queries parsed": len(of("promql")),
        "statements run": len(of("sql")),
        "data blocks parsed": len(of(*PARSERS)),
        "blocks not checked": len(of(*UNCHECKED)),
    }

    with capsys.disabled():
        print("\nsnippets: " + ", ".join(f"{number} {what}" for what, number in counts.items()))
        for reason, number in reasons.most_common():
            print(f"  {number} × {reason}")
    unused = {
        pattern
        for pattern in REASONS
        if not any(re.match(pattern, command, re.S) for command in commands)
    }
    assert unused == set()
    assert counts["commands run"] > counts["commands only parsed"]
    assert counts["python blocks run"] >= 10
    assert counts["queries parsed"] >= 30
