#!/bin/sh
# Gets a token for the machine itself and looks at it: needs curl.
set -eu

ISSUER={{ shell(issuer) }}
CLIENT_ID={{ shell(client_id) }}
SCOPE={{ shell(scope) }}
: "${CLIENT_SECRET:?export CLIENT_SECRET first: it is shown once, when it is made}"

TOKENS=$(curl --fail-with-body -sS "$ISSUER/oauth/token" \
{% if in_body %}
  --data-urlencode "client_id=$CLIENT_ID" \
  --data-urlencode "client_secret=$CLIENT_SECRET" \
{% else %}
  -u "$CLIENT_ID:$CLIENT_SECRET" \
{% endif %}
  -d grant_type=client_credentials \
  --data-urlencode "scope=$SCOPE")
ACCESS_TOKEN=$(printf %s "$TOKENS" | sed 's/.*"access_token" *: *"\([^"]*\)".*/\1/')

# Send it to your API as: Authorization: Bearer ACCESS_TOKEN. What it says, the server tells too:
curl --fail-with-body -sS "$ISSUER/oauth/introspect" \
{% if in_body %}
  --data-urlencode "client_id=$CLIENT_ID" \
  --data-urlencode "client_secret=$CLIENT_SECRET" \
{% else %}
  -u "$CLIENT_ID:$CLIENT_SECRET" \
{% endif %}
  -d "token=$ACCESS_TOKEN"
echo
