#!/bin/sh
# Signs somebody in from a terminal: needs curl and openssl.
set -eu

ISSUER={{ shell(issuer) }}
CLIENT_ID={{ shell(client_id) }}
REDIRECT_URI={{ shell(redirect_uri) }}
SCOPE={{ shell(scope) }}
{% if has_secret %}
: "${CLIENT_SECRET:?export CLIENT_SECRET first: it is shown once, when it is made}"
{% endif %}

urlencode() { printf %s "$1" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g'; }

VERIFIER=$(openssl rand -hex 32)
STATE=$(openssl rand -hex 16)
CHALLENGE=$(printf %s "$VERIFIER" | openssl dgst -sha256 -binary | openssl base64 -A | tr '+/' '-_' | tr -d '=')

echo "Open this address and sign in:"
echo "$ISSUER/oauth/authorize?response_type=code&client_id=$(urlencode "$CLIENT_ID")&redirect_uri=$(urlencode "$REDIRECT_URI")&scope=$(urlencode "$SCOPE")&state=$STATE&code_challenge=$CHALLENGE&code_challenge_method=S256"
echo "Then paste the address that the browser was sent to:"
read -r ANSWER

case "$ANSWER" in
  *"state=$STATE"*) ;;
  *) echo "The state is not ours: this answer belongs to another request." >&2; exit 1 ;;
esac
CODE=$(printf %s "$ANSWER" | sed -n 's/.*[?&]code=\([^&]*\).*/\1/p')

TOKENS=$(curl --fail-with-body -sS "$ISSUER/oauth/token" \
{% if has_secret and not in_body %}
  -u "$CLIENT_ID:$CLIENT_SECRET" \
{% else %}
  --data-urlencode "client_id=$CLIENT_ID" \
{% endif %}
{% if in_body %}
  --data-urlencode "client_secret=$CLIENT_SECRET" \
{% endif %}
  -d grant_type=authorization_code \
  -d "code=$CODE" \
  --data-urlencode "redirect_uri=$REDIRECT_URI" \
  -d "code_verifier=$VERIFIER")
ACCESS_TOKEN=$(printf %s "$TOKENS" | sed 's/.*"access_token" *: *"\([^"]*\)".*/\1/')

{% if has_userinfo %}
curl --fail-with-body -sS "$ISSUER/oauth/userinfo" -H "Authorization: Bearer $ACCESS_TOKEN"
echo
{% else %}
echo "Send this to your API as: Authorization: Bearer ACCESS_TOKEN"
echo "$ACCESS_TOKEN"
{% endif %}
