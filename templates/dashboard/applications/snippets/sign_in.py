"""Signs somebody in from a terminal: needs nothing but Python 3."""
import base64
import hashlib
import json
{% if has_secret %}
import os
{% endif %}
import secrets
from urllib.parse import parse_qs, {% if has_secret and not in_body %}quote, {% endif %}urlencode, urlsplit
from urllib.request import Request, urlopen

ISSUER = {{ issuer|tojson }}
CLIENT_ID = {{ client_id|tojson }}
REDIRECT_URI = {{ redirect_uri|tojson }}
SCOPE = {{ scope|tojson }}
{% if has_secret %}
CLIENT_SECRET = os.environ["CLIENT_SECRET"]  # shown once, when it is made
{% endif %}

state, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
query = {
    "response_type": "code",
    "client_id": CLIENT_ID,
    "redirect_uri": REDIRECT_URI,
    "scope": SCOPE,
    "state": state,
    "code_challenge": challenge,
    "code_challenge_method": "S256",
}
print("Open this address and sign in:")
print(f"{ISSUER}/oauth/authorize?{urlencode(query)}", flush=True)
answer = parse_qs(urlsplit(input("Then paste the address that the browser was sent to:\n")).query)
if answer.get("state") != [state] or answer.get("iss") != [ISSUER]:
    raise SystemExit("This answer belongs to another request.")
if "code" not in answer:
    raise SystemExit(f"Refused: {answer.get('error')}")

form = {
    "grant_type": "authorization_code",
    "code": answer["code"][0],
    "redirect_uri": REDIRECT_URI,
    "code_verifier": verifier,
{% if in_body or not has_secret %}
    "client_id": CLIENT_ID,
{% endif %}
{% if in_body %}
    "client_secret": CLIENT_SECRET,
{% endif %}
}
request = Request(f"{ISSUER}/oauth/token", data=urlencode(form).encode())
{% if has_secret and not in_body %}
pair = f"{quote(CLIENT_ID, safe='')}:{quote(CLIENT_SECRET, safe='')}"
request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
{% endif %}
with urlopen(request) as response:
    tokens = json.load(response)

{% if has_userinfo %}
request = Request(f"{ISSUER}/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
with urlopen(request) as response:
    print(json.dumps(json.load(response)))
{% else %}
print("Send this to your API as: Authorization: Bearer ACCESS_TOKEN")
print(tokens["access_token"])
{% endif %}
