// Signs somebody in from a terminal: needs nothing but Node.js 20. Save it as sign_in.mjs.
import { createHash, randomBytes } from "node:crypto";
import { createInterface } from "node:readline/promises";

const ISSUER = {{ issuer|tojson }};
const CLIENT_ID = {{ client_id|tojson }};
const REDIRECT_URI = {{ redirect_uri|tojson }};
const SCOPE = {{ scope|tojson }};
{% if has_secret %}
const CLIENT_SECRET = process.env.CLIENT_SECRET; // shown once, when it is made
{% endif %}

const state = randomBytes(16).toString("base64url");
const verifier = randomBytes(32).toString("base64url");
const query = new URLSearchParams({
  response_type: "code",
  client_id: CLIENT_ID,
  redirect_uri: REDIRECT_URI,
  scope: SCOPE,
  state,
  code_challenge: createHash("sha256").update(verifier).digest("base64url"),
  code_challenge_method: "S256",
});
console.log(`Open this address and sign in:\n${ISSUER}/oauth/authorize?${query}`);
const terminal = createInterface({ input: process.stdin, output: process.stdout });
const answer = new URL(await terminal.question("Then paste the address that the browser was sent to:\n")).searchParams;
terminal.close();
if (answer.get("state") !== state || answer.get("iss") !== ISSUER) throw new Error("This answer belongs to another request.");
if (!answer.has("code")) throw new Error(`Refused: ${answer.get("error")}`);

const response = await fetch(`${ISSUER}/oauth/token`, {
  method: "POST",
{% if has_secret and not in_body %}
  headers: {
    Authorization: `Basic ${btoa(`${encodeURIComponent(CLIENT_ID)}:${encodeURIComponent(CLIENT_SECRET)}`)}`,
  },
{% endif %}
  body: new URLSearchParams({
    grant_type: "authorization_code",
    code: answer.get("code"),
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
{% if in_body or not has_secret %}
    client_id: CLIENT_ID,
{% endif %}
{% if in_body %}
    client_secret: CLIENT_SECRET,
{% endif %}
  }),
});
const tokens = await response.json();
if (!response.ok) throw new Error(`Refused: ${tokens.error}`);

{% if has_userinfo %}
const userinfo = await fetch(`${ISSUER}/oauth/userinfo`, {
  headers: { Authorization: `Bearer ${tokens.access_token}` },
});
console.log(JSON.stringify(await userinfo.json()));
{% else %}
console.log("Send this to your API as: Authorization: Bearer ACCESS_TOKEN");
console.log(tokens.access_token);
{% endif %}
