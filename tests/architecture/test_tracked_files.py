"""What the repository holds, and what it must never hold."""

import re

import pytest

from tests.support.components import REPOSITORY
from tests.support.source import relative, tracked_files

LOCKS = ["requirements.lock", "requirements-dev.lock", ".ci/node.lock"]

# Written in pieces so that this file does not hold what it looks for.
REGISTRY_HOSTS = [
    "pypi." + "org",
    "python" + "hosted.org",
    "registry." + "npmjs.org",
    "registry." + "yarnpkg.com",
    "deb." + "debian.org",
    "proxy." + "golang.org",
    "crates" + ".io",
]
MACHINE_PATHS = [
    re.escape("/" + "work/"),
    re.escape("/" + "root/"),
    "/" + r"home/[a-z]",
    "/" + r"Users/[A-Za-z]",
    re.escape("/tmp/" + "gp"),
]
PRIVATE_KEY = r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\s|\\n|[\"'])+[A-Za-z0-9+/]{32}"
UNFINISHED = r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b"


def texts() -> list[tuple[str, str]]:
    """Every tracked file that is text, with its path."""
    found = []
    for path in tracked_files():
        try:
            found.append((relative(path), path.read_text("utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def places(pattern: str) -> list[str]:
    """Where the pattern occurs: path and line."""
    compiled = re.compile(pattern)
    return [
        f"{name}:{number}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if compiled.search(line)
    ]


def pins(lock: str) -> dict[str, str]:
    """Package to version, as a lock file pins them."""
    return dict(
        re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z,]+\])?==(\S+)", (REPOSITORY / lock).read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_file_holds_no_address(lock: str) -> None:
    text = (REPOSITORY / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--?(index-url|extra-index-url|find-links|trusted-host|i|f)\b", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.spec("L-07")
def test_lock_file_hashes_every_package(lock: str) -> None:
    text = (REPOSITORY / lock).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(lock))
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_lock_files_agree() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


def test_no_file_names_a_package_registry() -> None:
    assert places("|".join(map(re.escape, REGISTRY_HOSTS))) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert places("|".join(MACHINE_PATHS)) == []


def test_no_file_holds_a_private_key() -> None:
    assert [name for name, text in texts() if re.search(PRIVATE_KEY, text)] == []


def test_no_file_holds_a_note_to_self() -> None:
    assert places(UNFINISHED) == []


def test_keys_folder_holds_only_its_readme() -> None:
    kept = {relative(path) for path in tracked_files() if relative(path).startswith("keys/")}
    assert kept - {"keys/.gitignore"} in ({"keys/README.md"}, {"keys/README"})


def test_nothing_that_a_running_server_keeps_is_tracked() -> None:
    kept = [relative(path) for path in tracked_files()]
    assert [
        name for name in kept if name.startswith(("var/", ".venv/")) or name.endswith((".sqlite", ".pem", ".env"))
    ] == []
