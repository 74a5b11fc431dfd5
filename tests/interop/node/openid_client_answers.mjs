// openid-client against a live Gatepost, without PAR: clients that register themselves and take their answers from the
// authorization endpoint as ID tokens, in hybrid flows, as signed tokens and as posted forms.
//
// Reads one JSON object from standard input: issuer, username, password.
// Prints one JSON object: what happened in every flow. The test judges; this script only reports.

import * as client from 'openid-client';
import { Person } from './person.mjs';

const settings = JSON.parse(await new Response(process.stdin).text());
const REDIRECT_URI = 'https://app.example/callback';
const execute = [client.allowInsecureRequests, client.enableNonRepudiationChecks];

const pairs = {
  signing: await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']),
  opening: await crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits']),
};

async function publicJwk(pair, rest) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey);
  return { kty, crv, x, y, ...rest };
}

const jwks = {
  keys: [
    await publicJwk(pairs.signing, { kid: 'signs', use: 'sig', alg: 'ES256' }),
    await publicJwk(pairs.opening, { kid: 'opens', use: 'enc', alg: 'ECDH-ES' }),
  ],
};

async function register(metadata, authentication, ...more) {
  return client.dynamicClientRegistration(
    new URL(settings.issuer),
    { client_name: 'Front channel', redirect_uris: [REDIRECT_URI], response_types: ['code'], ...metadata },
    authentication,
    { execute: [...execute, ...more] },
  );
}

async function refusal(work) {
  try {
    await work();
  } catch (error) {
    return { refused: true, code: error.code ?? null, error: error.error ?? null, message: `${error.message} ${error.cause?.message ?? ''}` };
  }
  return { refused: false };
}

async function ask(config, extra = {}, build = client.buildAuthorizationUrl) {
  const checks = { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState(), expectedNonce: client.randomNonce() };
  const url = await build(config, {
    redirect_uri: REDIRECT_URI,
    scope: 'openid profile email',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    ...extra,
  });
  const answer = await new Person(settings).walk(url, REDIRECT_URI);
  return { url, answer, checks };
}

// What stands in the fragment, the query or the posted form.
async function parametersOf(answer) {
  if (answer instanceof Request) return Object.fromEntries(new URLSearchParams(await answer.clone().text()));
  return Object.fromEntries(new URLSearchParams(answer.hash.slice(1) || answer.search));
}

async function withCode(config, asked) {
  const answer = await parametersOf(asked.answer);
  const tokens = await client.authorizationCodeGrant(config, asked.answer, { ...asked.checks, idTokenExpected: true });
  const claims = tokens.claims();
  return { answer, claims, userinfo: await client.fetchUserInfo(config, tokens.access_token, claims.sub) };
}

const report = {};

// Implicit: an ID token and nothing else.
const implicit = await register(
  { response_types: ['id_token'], grant_types: ['implicit'], token_endpoint_auth_method: 'none' },
  client.None(),
  client.useIdTokenResponseType,
);
report.metadata = implicit.serverMetadata();
report.registered = implicit.clientMetadata();
for (const mode of ['fragment', 'form_post']) {
  const asked = await ask(implicit, { response_mode: mode });
  const parameters = await parametersOf(asked.answer);
  const current = asked.answer instanceof Request ? asked.answer.clone() : asked.answer;
  const { expectedNonce, expectedState } = asked.checks;
  report[`implicit ${mode}`] = {
    answer: parameters,
    posted: asked.answer instanceof Request,
    claims: await client.implicitAuthentication(implicit, current, expectedNonce, { expectedState }),
    'another nonce': await refusal(() => client.implicitAuthentication(implicit, asked.answer, client.randomNonce(), { expectedState })),
  };
}
report.none = await refusal(async () => {
  const asked = await ask(implicit, { prompt: 'none' });
  await client.implicitAuthentication(implicit, asked.answer, asked.checks.expectedNonce, { expectedState: asked.checks.expectedState });
});

// Hybrid: an ID token that vouches for the code beside it.
const hybrid = await register(
  { response_types: ['code id_token'], grant_types: ['authorization_code', 'implicit'], token_endpoint_auth_method: 'client_secret_basic' },
  undefined,
  client.useCodeIdTokenResponseType,
);
const hybridBasic = new client.Configuration(
  hybrid.serverMetadata(),
  hybrid.clientMetadata().client_id,
  hybrid.clientMetadata(),
  client.ClientSecretBasic(hybrid.clientMetadata().client_secret),
);
[client.allowInsecureRequests, client.enableNonRepudiationChecks, client.useCodeIdTokenResponseType].forEach((apply) => apply(hybridBasic));
report.hybrid = await withCode(hybridBasic, await ask(hybridBasic));
report['hybrid form_post'] = await withCode(hybridBasic, await ask(hybridBasic, { response_mode: 'form_post' }));

const [mine, stolen] = [await ask(hybridBasic), await ask(hybridBasic)];
const swapped = new URL(mine.answer);
const parameters = new URLSearchParams(swapped.hash.slice(1));
parameters.set('code', (await parametersOf(stolen.answer)).code);
swapped.hash = parameters;
report['swapped code'] = await refusal(() => client.authorizationCodeGrant(hybridBasic, swapped, mine.checks));

// The answer as a token.
const jarm = await register({ token_endpoint_auth_method: 'client_secret_post' }, undefined, client.useJwtResponseMode);
report.jarm = await withCode(jarm, await ask(jarm));
const changed = await ask(jarm);
const response = changed.answer.searchParams.get('response');
changed.answer.searchParams.set('response', response.slice(0, -8) + 'AAAAAAAA');
report['changed answer'] = await refusal(() => client.authorizationCodeGrant(jarm, changed.answer, changed.checks));

// The request as a token, and the client known by its key alone.
const key = { key: pairs.signing.privateKey, kid: 'signs' };
const jar = await register(
  {
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    request_object_signing_alg: 'ES256',
    id_token_signed_response_alg: 'PS256',
    userinfo_signed_response_alg: 'ES256',
    jwks,
  },
  client.PrivateKeyJwt(key),
);
const byObject = await ask(jar, {}, (config, wanted) => client.buildAuthorizationUrlWithJAR(config, wanted, key));
report.jar = { sent: [...byObject.url.searchParams.keys()], ...(await withCode(jar, byObject)) };

// The client known by a signature with its secret; its ID token is encrypted.
const sealed = await register(
  {
    token_endpoint_auth_method: 'client_secret_jwt',
    id_token_encrypted_response_alg: 'ECDH-ES',
    id_token_encrypted_response_enc: 'A256GCM',
    jwks,
  },
  undefined,
);
const opening = new client.Configuration(
  sealed.serverMetadata(),
  sealed.clientMetadata().client_id,
  sealed.clientMetadata(),
  client.ClientSecretJwt(sealed.clientMetadata().client_secret),
);
[client.allowInsecureRequests, client.enableNonRepudiationChecks].forEach((apply) => apply(opening));
client.enableDecryptingResponses(opening, ['A256GCM'], { key: pairs.opening.privateKey, kid: 'opens', alg: 'ECDH-ES' });
report.sealed = await withCode(opening, await ask(opening));

console.log(JSON.stringify(report));
