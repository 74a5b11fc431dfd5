"""Gets a token for the machine itself and looks at it: needs nothing but Python 3."""
{% if not in_body %}
import base64
{% endif %}
import json
import os
from urllib.parse import {% if not in_body %}quote, {% endif %}urlencode
from urllib.request import Request, urlopen

ISSUER = {{ issuer|tojson }}
CLIENT_ID = {{ client_id|tojson }}
SCOPE = {{ scope|tojson }}
CLIENT_SECRET = os.environ["CLIENT_SECRET"]  # shown once, when it is made


def post(path, **form):
{% if in_body %}
    form |= {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    with urlopen(Request(ISSUER + path, data=urlencode(form).encode())) as response:
{% else %}
    pair = f"{quote(CLIENT_ID, safe='')}:{quote(CLIENT_SECRET, safe='')}"
    headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    with urlopen(Request(ISSUER + path, data=urlencode(form).encode(), headers=headers)) as response:
{% endif %}
        return json.load(response)


tokens = post("/oauth/token", grant_type="client_credentials", scope=SCOPE)
# Send it to your API as: Authorization: Bearer ACCESS_TOKEN. What it says, the server tells too:
print(json.dumps(post("/oauth/introspect", token=tokens["access_token"])))
