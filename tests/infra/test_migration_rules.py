"""Two versions run side by side while a deployment rolls: no revision breaks the version before it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from server.infra.resources import MIGRATIONS
from tests.infra.migration_rules import broken_rules

pytestmark = pytest.mark.spec("R-28")

#: Revisions before the first release, which nothing ran beside.
BEFORE_THE_FIRST_RELEASE = 5

ALLOWED = [
    "op.create_table('notes', sa.Column('id', sa.String(), nullable=False))\nop.create_index('ix', 'notes', ['id'])",
    "op.add_column('users', sa.Column('locale', sa.String(), nullable=True))",
    "op.add_column('users', sa.Column('kind', sa.String(), nullable=False, server_default='person'))",
    "op.create_index('ix', 'users', ['locale'], postgresql_concurrently=True)",
    "op.create_check_constraint('ck', 'users', 'x IS NOT NULL', postgresql_not_valid=True)",
    "op.execute('UPDATE users SET locale = NULL')",
]
REFUSED = [
    ("op.drop_column('users', 'name')", "drop_column"),
    ("with op.batch_alter_table('users') as batch:\n    batch.drop_column('name')", "drop_column"),
    ("op.drop_table('users')", "drop_table"),
    ("op.rename_table('users', 'people')", "rename_table"),
    ("op.alter_column('users', 'name', new_column_name='full_name')", "renamed"),
    ("op.alter_column('users', 'name', type_=sa.Text())", "another type"),
    ("op.alter_column('users', 'name', nullable=False)", "NOT NULL scans"),
    ("op.add_column('users', sa.Column('kind', sa.String(), nullable=False))", "without a server default"),
    ("op.create_index('ix', 'users', ['name'])", "stops every writer"),
    ("op.create_foreign_key('fk', 'users', 'x', ['a'], ['b'])", "scans the table"),
    ("op.execute('ALTER TABLE users ALTER name TYPE text')", "can be read"),
]


def revision(body: str, head: str = "") -> str:
    return f"{head}\ndef upgrade():\n{textwrap.indent(body, '    ')}\n\ndef downgrade():\n    op.drop_table('x')\n"


def scripts() -> list[Path]:
    return sorted((MIGRATIONS / "versions").glob("[0-9]*.py"))


def test_every_revision_since_the_first_release_keeps_the_rules() -> None:
    ruled = [path for path in scripts() if int(path.name[:4]) > BEFORE_THE_FIRST_RELEASE]
    assert {path.name: broken_rules(path.read_text()) for path in ruled} == {path.name: [] for path in ruled}


@pytest.mark.parametrize("body", ALLOWED)
def test_revision_is_allowed_when_the_version_before_does_not_notice(body: str) -> None:
    assert broken_rules(revision(body)) == []


@pytest.mark.parametrize(("body", "word"), REFUSED)
def test_revision_is_refused_when_it_breaks_the_version_before_or_stops_its_writers(body: str, word: str) -> None:
    (sentence,) = broken_rules(revision(body))
    assert word in sentence


def test_column_may_go_when_a_release_has_not_used_it() -> None:
    assert broken_rules(revision("op.drop_column('users', 'name')", "UNUSED_SINCE = '0.4.0'")) == []
