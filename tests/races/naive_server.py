"""Gatepost with its two ways of spending made check-then-act, to show that the race would notice.

Run it as `python -m tests.races.naive_server serve …`, with the arguments of `gatepost`. The check and the act are
apart, as in the documented example of Authlib's grants.
"""

import sys
from datetime import timedelta

from sqlalchemy import update

from server.domain.authorization_codes import AuthorizationCode, KnownCode
from server.domain.clients import Client
from server.domain.refresh_rotation import Refreshed
from server.domain.refresh_tokens import PREFIX, RefreshToken, find_refresh_token
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.protocol.grants import authorization_code as code_grant
from server.protocol.grants import refresh_token as refresh_grant


def redeem_authorization_code(work: UnitOfWork, code: KnownCode, refresh_token: str | None) -> bool:
    """Looks whether the code was spent, and only then spends it."""
    if code.row.consumed_at is not None:
        return False
    this_one = AuthorizationCode.code_digest == code.row.code_digest
    work.db.execute(update(AuthorizationCode).where(this_one).values(consumed_at=work.now))
    if refresh_token is not None:
        _store(work, refresh_token, code.grant.id, code.row.client_id, None)
    work.db.commit()
    return True


def refresh(work: UnitOfWork, client: Client, token: str, asked: str | None) -> Refreshed | None:
    """Looks whether the refresh token was spent, and only then spends it."""
    known = find_refresh_token(work, token)
    if known is None or known.row.consumed_at is not None:
        return None
    successor = secrets.new_secret(PREFIX)
    this_one = RefreshToken.id == known.row.id
    work.db.execute(update(RefreshToken).where(this_one).values(consumed_at=work.now, replay_scope=asked))
    _store(work, successor, known.grant.id, client.id, known.row.id)
    work.db.commit()
    return Refreshed(known.grant, known.user, successor, work.now, None)


def _store(work: UnitOfWork, token: str, grant_id: str, client_id: str, predecessor_id: str | None) -> None:
    work.db.add(
        RefreshToken(
            id=secrets.new_id(),
            token_digest=secrets.digest(token),
            grant_id=grant_id,
            client_id=client_id,
            predecessor_id=predecessor_id,
            created_at=work.now,
            last_used_at=work.now,
            expires_at=work.now + timedelta(days=1),
        )
    )


# Worker processes import this module too, because it is their main module.
code_grant.redeem_authorization_code = redeem_authorization_code
refresh_grant.refresh = refresh

if __name__ == "__main__":
    from server.cli import main_process
    from server.cli.main import main

    # `serve` replaces the program of its process: what takes its place is to be as naive.
    program = main_process._PROGRAM.replace("from server.", f"import {__spec__.name}; from server.", 1)
    main_process._PROGRAM = program
    sys.exit(main())
