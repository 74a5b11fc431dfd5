"""What every parameter, claim and header member means, in one plain sentence each."""

from __future__ import annotations

from typing import Final

_PARAMETERS: Final = {
    "response_type": "What should come back: code, a short-lived code to be exchanged for tokens.",
    "client_id": "Which app is asking. Not a secret.",
    "redirect_uri": "Where to send the person afterwards. It must be registered, character by character.",
    "scope": "What the app asks for. Each word becomes a line on the consent page; openid asks who the person is.",
    "state": "A random value that comes back unchanged: the app knows that the answer belongs to its own question.",
    "nonce": "A random value that comes back inside the ID token, so that no other ID token can be slipped in.",
    "code_challenge": "The hash of a secret that the app keeps to itself (PKCE). A stolen code is useless without it.",
    "code_challenge_method": "How the challenge was made: S256 is SHA-256.",
    "prompt": "Which pages to show even if they could be skipped.",
    "code": "The authorization code: good once, for a minute, for this client and this redirect URI.",
    "iss": "Who answered. The app compares it with the server it asked, against mix-ups (RFC 9207).",
    "error": "The answer is a refusal; this word is for the program.",
    "error_description": "The refusal in words, for the developer.",
    "grant_type": "What the client has in hand and wants to exchange for tokens.",
    "code_verifier": "The secret whose hash was sent as code_challenge. Only the app that started can know it.",
    "refresh_token": "The token of the last answer. It is replaced by a new one.",
    "token": "The token that is asked about.",
    "token_type_hint": "Which kind of token it is, so that the server need not search.",
}

_MEMBERS: Final = {
    "alg": "The signature's algorithm.",
    "kid": "Which of the server's published keys signed it.",
    "typ": "What kind of token it is; at+jwt is an access token (RFC 9068).",
    "iss": "Who issued it.",
    "sub": "Who the person is: an identifier that never changes and is never given to anyone else.",
    "aud": "Whom it is meant for. Anyone else must refuse it.",
    "exp": "When it stops being valid.",
    "iat": "When it was issued.",
    "nbf": "Not valid before this moment.",
    "jti": "The token's own identifier, by which it can be revoked.",
    "auth_time": "When the person last proved who they are.",
    "nonce": "The random value of step 1.",
    "at_hash": "Half a hash of the access token: the two belong together.",
    "sid": "The person's session, so that the app can be told when it ends.",
    "acr": "How strong the sign-in was.",
    "amr": "How the person signed in; pwd is a password.",
    "azp": "The client it was issued to.",
    "client_id": "The client it was issued to.",
    "scope": "What the holder may do.",
    "name": "The full name.",
    "email": "The email address.",
    "email_verified": "Whether the address has been confirmed.",
    "updated_at": "When the profile last changed.",
}


def parameter(name: str) -> str:
    """What a request or response parameter means; empty for one without a story."""
    return _PARAMETERS.get(name, "")


def member(name: str) -> str:
    """What a claim or a header member of a token means; empty for one that explains itself."""
    return _MEMBERS.get(name, "")
