// Gets a token for the machine itself and looks at it: needs nothing but Node.js 20. Save it as machine.mjs.
const ISSUER = {{ issuer|tojson }};
const CLIENT_ID = {{ client_id|tojson }};
const SCOPE = {{ scope|tojson }};
const CLIENT_SECRET = process.env.CLIENT_SECRET; // shown once, when it is made

async function post(path, form) {
{% if in_body %}
  const response = await fetch(ISSUER + path, {
    method: "POST",
    body: new URLSearchParams({ ...form, client_id: CLIENT_ID, client_secret: CLIENT_SECRET }),
  });
{% else %}
  const pair = `${encodeURIComponent(CLIENT_ID)}:${encodeURIComponent(CLIENT_SECRET)}`;
  const response = await fetch(ISSUER + path, {
    method: "POST",
    headers: { Authorization: `Basic ${btoa(pair)}` },
    body: new URLSearchParams(form),
  });
{% endif %}
  const answer = await response.json();
  if (!response.ok) throw new Error(`Refused: ${answer.error}`);
  return answer;
}

const tokens = await post("/oauth/token", { grant_type: "client_credentials", scope: SCOPE });
// Send it to your API as: Authorization: Bearer ACCESS_TOKEN. What it says, the server tells too:
console.log(JSON.stringify(await post("/oauth/introspect", { token: tokens.access_token })));
