"""No page is dead, and no page is missing."""

import re

from tests.support.components import REPOSITORY
from tests.support.source import server_files

TEMPLATES = REPOSITORY / "templates"
STATIC = TEMPLATES / "static"


def templates() -> dict[str, str]:
    """Every template below `templates/` by the name that code renders it under."""
    return {path.relative_to(TEMPLATES).as_posix(): path.read_text("utf-8") for path in TEMPLATES.rglob("*.html")}


def named_in_code() -> set[str]:
    """Names of templates that occur in the package as a string."""
    return {
        name for path in server_files() for name in re.findall(r"[\"']([\w/-]+\.html)[\"']", path.read_text("utf-8"))
    }


def named_in(text: str) -> set[str]:
    """Names of templates that a template extends, includes or imports."""
    return set(re.findall(r"{%-?\s*(?:extends|include|import|from)\s+[\"']([^\"']+)[\"']", text))


def test_every_template_is_rendered() -> None:
    all_templates = templates()
    reached, waiting = set(), named_in_code() & set(all_templates)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= (named_in(all_templates[name]) & set(all_templates)) - reached
    assert sorted(set(all_templates) - reached) == []


def test_every_rendered_template_exists() -> None:
    named = named_in_code().union(*map(named_in, templates().values()))
    assert sorted(named - set(templates())) == []


def test_every_static_file_is_used_and_exists() -> None:
    texts = [*templates().values(), *(path.read_text("utf-8") for path in server_files())]
    used = {name for text in texts for name in re.findall(r"static\(\s*[\"']([^\"'#]+)", text)}
    for path in STATIC.rglob("*.css"):
        used |= {name for name in re.findall(r"url\([\"']?([^\"')#]+)", path.read_text("utf-8")) if ":" not in name}
    there = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    licences = {name for name in there if "LICENSE" in name.upper()}
    assert sorted(used - there) == []
    assert sorted(there - used - licences) == []


def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline() -> None:
    for name, text in templates().items():
        assert not re.search(
            r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|(?:src|href)=[\"'](?:https?:)?//", text
        ), name
