// openid-client against a live Gatepost: the whole life of a set of tokens.
//
// Reads one JSON object from standard input: issuer, client_id, client_secret, redirect_uri, scope, username, password,
// algorithm (of the ID token's signature).
// Prints one JSON object: what happened at every step. The test judges; this script only reports.

import * as client from 'openid-client';
import { Person } from './person.mjs';

const settings = JSON.parse(await new Response(process.stdin).text());
const person = new Person(settings);

async function discover(algorithm) {
  return client.discovery(
    new URL(settings.issuer),
    settings.client_id,
    { redirect_uris: [settings.redirect_uri], id_token_signed_response_alg: settings.algorithm },
    settings.client_secret ? client.ClientSecretBasic(settings.client_secret) : client.None(),
    { algorithm, execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] },
  );
}

async function refusal(work) {
  try {
    await work();
  } catch (error) {
    return { refused: true, error: error.error ?? error.code ?? error.name, status: error.status ?? null, message: error.message };
  }
  return { refused: false };
}

async function authorize(config, extra = {}, manner = {}) {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const nonce = client.randomNonce();
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: settings.redirect_uri,
    scope: settings.scope,
    state,
    nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...extra,
  });
  const callback = await person.walk(url, settings.redirect_uri, manner);
  return { callback, checks: { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true } };
}

async function signIn(config, extra) {
  const { callback, checks } = await authorize(config, extra);
  return { callback, checks, tokens: await client.authorizationCodeGrant(config, callback, checks) };
}

const report = {};

const config = await discover('oidc');
const oauth = await discover('oauth2');
report.discovery = { oidc: config.serverMetadata(), oauth2: oauth.serverMetadata() };

const first = await signIn(config, {});
report.callback = Object.fromEntries(first.callback.searchParams);
report.tokens = { ...first.tokens };
report.id_token_claims = first.tokens.claims();
report.userinfo = await client.fetchUserInfo(config, first.tokens.access_token, first.tokens.claims().sub);

report.introspection = await client.tokenIntrospection(config, first.tokens.access_token);

const second = await client.refreshTokenGrant(config, first.tokens.refresh_token);
report.refreshed = { ...second };
// The response got lost: the same token again, at once, brings the very same successor.
report.retried = { ...(await client.refreshTokenGrant(config, first.tokens.refresh_token)) };
report.userinfo_after_refresh = await client.fetchUserInfo(config, second.access_token, first.tokens.claims().sub);

await client.tokenRevocation(config, second.access_token, { token_type_hint: 'access_token' });
report.introspection_after_revocation = await client.tokenIntrospection(config, second.access_token);
report.userinfo_after_revocation = await refusal(() =>
  client.fetchUserInfo(config, second.access_token, first.tokens.claims().sub));
await client.tokenRevocation(config, second.refresh_token, { token_type_hint: 'refresh_token' });
report.refresh_after_revocation = await refusal(() => client.refreshTokenGrant(config, second.refresh_token));

// Reuse: an older generation shows up, the whole family dies.
const stolen = await signIn(config, {});
const generation2 = await client.refreshTokenGrant(config, stolen.tokens.refresh_token);
const generation3 = await client.refreshTokenGrant(config, generation2.refresh_token);
report.reuse = await refusal(() => client.refreshTokenGrant(config, stolen.tokens.refresh_token));
report.family_after_reuse = await refusal(() => client.refreshTokenGrant(config, generation3.refresh_token));

// A replayed code is refused and takes its tokens with it.
const replayed = await signIn(config, {});
report.code_replay = await refusal(() => client.authorizationCodeGrant(config, replayed.callback, replayed.checks));
report.introspection_after_code_replay = await client.tokenIntrospection(config, replayed.tokens.access_token);

// The person says no; openid-client checks `iss` on the error response too.
const denied = await authorize(config, { prompt: 'consent' }, { deny: true });
report.denied = await refusal(() => client.authorizationCodeGrant(config, denied.callback, denied.checks));
report.denied_callback = Object.fromEntries(denied.callback.searchParams);

// Tokens that nothing above has ended, for whoever verifies them next.
report.live = { ...(await signIn(config, {})).tokens };

report.steps = person.steps;
console.log(JSON.stringify(report));
