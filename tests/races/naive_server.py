"""Gatepost with its two consume functions made check-then-act, to show that the race test would notice.

Run it as `python -m tests.races.naive_server serve …`, with the arguments of `gatepost`. The check and the act stand in
transactions of their own, as in the documented example of Authlib's grants.
"""

import sys

from sqlalchemy import update

from server.domain import authorization_codes, refresh_rotation
from server.domain.authorization_codes import AuthorizationCode
from server.domain.refresh_tokens import RefreshToken
from server.domain.unit_of_work import UnitOfWork


def consume_authorization_code(work: UnitOfWork, code: AuthorizationCode) -> bool:
    """Looks whether the code was spent, and only then spends it."""
    work.db.refresh(code)
    if code.consumed_at is not None:
        return False
    work.db.commit()
    work.db.execute(
        update(AuthorizationCode).where(AuthorizationCode.code_digest == code.code_digest).values(consumed_at=work.now)
    )
    return True


def consume_refresh_token(work: UnitOfWork, row: RefreshToken) -> bool:
    """Looks whether the refresh token was spent, and only then spends it."""
    work.db.refresh(row)
    if row.consumed_at is not None:
        return False
    work.db.commit()
    work.db.execute(
        update(RefreshToken).where(RefreshToken.id == row.id).values(consumed_at=work.now, last_used_at=work.now)
    )
    return True


# Before anything else imports the names; worker processes import this module too, because it is their main module.
authorization_codes.consume_authorization_code = consume_authorization_code
refresh_rotation.consume_refresh_token = consume_refresh_token

if __name__ == "__main__":
    from server.cli.main import main

    sys.exit(main())
