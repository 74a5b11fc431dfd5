// jose against a live Gatepost: real tokens verify with the published keys; forgeries are refused by jose and by the server.
//
// Reads one JSON object from standard input: issuer, client_id, client_secret, id_token, access_token, audience.
// Prints one JSON object: the verified claims and, for every forgery, who refused it.

import * as jose from 'jose';

const settings = JSON.parse(await new Response(process.stdin).text());
const metadata = await (await fetch(`${settings.issuer}/.well-known/openid-configuration`)).json();
const keys = jose.createRemoteJWKSet(new URL(metadata.jwks_uri));
const jwks = await (await fetch(metadata.jwks_uri)).json();

const idTokenRules = { issuer: settings.issuer, audience: settings.client_id, algorithms: ['RS256'], requiredClaims: ['sub', 'iat', 'exp'] };
const accessTokenRules = { issuer: settings.issuer, audience: settings.audience, algorithms: ['RS256'], typ: 'at+jwt', requiredClaims: ['jti', 'client_id', 'sub'] };

const encode = (value) => jose.base64url.encode(typeof value === 'string' ? value : JSON.stringify(value));
const [header, payload, signature] = settings.access_token.split('.');
const protectedHeader = jose.decodeProtectedHeader(settings.access_token);
const claims = jose.decodeJwt(settings.access_token);

function withBitFlipped(segment) {
  const bytes = jose.base64url.decode(segment);
  bytes[Math.floor(bytes.length / 2)] ^= 1;
  return jose.base64url.encode(bytes);
}

// The last character of a 256-byte signature carries four unused bits; a strict decoder refuses any but zero.
function withLooseTail(segment) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return segment.slice(0, -1) + alphabet[alphabet.indexOf(segment.at(-1)) | 1];
}

async function keyOfAnotherServer() {
  return (await jose.generateKeyPair('RS256')).privateKey;
}

async function signedWithPublicKey() {
  const pem = await jose.exportSPKI(await jose.importJWK(jwks.keys.find((key) => key.kid === protectedHeader.kid), 'RS256'));
  return new jose.SignJWT(claims).setProtectedHeader({ ...protectedHeader, alg: 'HS256' }).sign(new TextEncoder().encode(pem));
}

async function signedWithOwnKey(extra = {}) {
  return new jose.SignJWT(claims).setProtectedHeader({ ...protectedHeader, ...extra }).sign(await keyOfAnotherServer());
}

async function signedWithEmbeddedKey() {
  const { privateKey, publicKey } = await jose.generateKeyPair('RS256');
  const jwk = await jose.exportJWK(publicKey);
  return new jose.SignJWT(claims).setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', jwk }).sign(privateKey);
}

const forgeries = {
  'alg none': `${encode({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
  'alg None': `${encode({ ...protectedHeader, alg: 'None' })}.${payload}.`,
  'alg none with the signature kept': `${encode({ ...protectedHeader, alg: 'none' })}.${payload}.${signature}`,
  'signature removed': `${header}.${payload}.`,
  'signature bit flipped': `${header}.${payload}.${withBitFlipped(signature)}`,
  'payload altered': `${header}.${encode({ ...claims, sub: 'somebody-else' })}.${signature}`,
  'header altered': `${encode({ ...protectedHeader, typ: 'JWT' })}.${payload}.${signature}`,
  'HS256 under the public key': await signedWithPublicKey(),
  'RS256 under another key with our kid': await signedWithOwnKey(),
  'RS256 with an unknown kid': await signedWithOwnKey({ kid: 'no-such-key' }),
  'key embedded in the header': await signedWithEmbeddedKey(),
  'unknown critical header': await signedWithOwnKey({ crit: ['b64'], b64: true }),
  'ID token': settings.id_token,
};
// jose decodes base64url leniently; the server must not accept two spellings of one token.
const serverOnly = { 'signature with a loose tail': `${header}.${payload}.${withLooseTail(signature)}`, 'signature padded': `${settings.access_token}==` };

async function byLibrary(token) {
  try {
    await jose.jwtVerify(token, keys, accessTokenRules);
    return null;
  } catch (error) {
    return error.code ?? error.name;
  }
}

async function byServer(token) {
  const userinfo = await fetch(metadata.userinfo_endpoint, { headers: { authorization: `Bearer ${token}` } });
  const introspection = await fetch(metadata.introspection_endpoint, {
    method: 'POST',
    body: new URLSearchParams({ token }),
    headers: { authorization: `Basic ${Buffer.from(`${settings.client_id}:${settings.client_secret}`).toString('base64')}` },
  });
  return {
    userinfo: userinfo.status,
    challenge: userinfo.headers.get('www-authenticate'),
    introspection: introspection.status,
    active: (await introspection.json()).active,
  };
}

const report = { genuine: await byServer(settings.access_token), forgeries: {}, server_only: {} };
report.id_token = await jose.jwtVerify(settings.id_token, keys, idTokenRules);
report.access_token = await jose.jwtVerify(settings.access_token, keys, accessTokenRules);
delete report.id_token.key;
delete report.access_token.key;
for (const [name, token] of Object.entries(forgeries)) {
  report.forgeries[name] = { library: await byLibrary(token), server: await byServer(token) };
}
for (const [name, token] of Object.entries(serverOnly)) report.server_only[name] = await byServer(token);
console.log(JSON.stringify(report));
