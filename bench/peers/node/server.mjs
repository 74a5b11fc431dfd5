// oidc-provider with one client and one person, doing what the bench asks of Gatepost: at+jwt access tokens and ID tokens
// in RS256, rotating refresh tokens, PKCE. PORT, WORKERS, DATABASE_URL (empty: in memory) and CODE_CHALLENGE come from the
// environment.
//
// GET /seed/KIND?count=N makes codes, refresh_tokens, plain_refresh_tokens or access_tokens through the provider's own models, as its
// interactions would have; the bench calls it before it measures.
import cluster from 'node:cluster';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { PORT, WORKERS, DATABASE_URL, CODE_CHALLENGE } = process.env;
const SCOPE = 'openid profile email offline_access';
const RESOURCE = 'https://rs256.example';
const REDIRECT_URI = 'https://bench.example/callback';

function newKeys() {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  return [{ ...rsa, alg: 'RS256', use: 'sig', kid: 'rsa' }, { ...ec, alg: 'ES256', use: 'sig', kid: 'ec' }];
}

function configuration(keys, Adapter) {
  return {
    ...(Adapter ? { adapter: Adapter } : {}),
    clients: [{
      client_id: 'bench',
      client_secret: 'a-client-secret-that-is-long-enough-for-anything',
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      response_types: ['code'],
    }, {
      client_id: 'resource-server',
      client_secret: 'a-client-secret-that-is-long-enough-for-anything',
      redirect_uris: [],
      grant_types: [],
      response_types: [],
    }],
    jwks: { keys },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    scopes: ['openid', 'profile', 'email', 'offline_access', 'notes:read'],
    claims: { profile: ['name'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, ClientCredentials: 3600, IdToken: 3600, AuthorizationCode: 60, RefreshToken: 86400, Grant: 86400 },
    findAccount: (_ctx, accountId) => ({
      accountId,
      claims: () => ({ sub: accountId, name: 'Bench', email: 'person0@bench.example', email_verified: true }),
    }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'notes:read',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 3600,
          jwt: { sign: { alg: resource.includes('es256') ? 'ES256' : 'RS256' } },
        }),
      },
    },
  };
}

async function newGrant(provider) {
  const grant = new provider.Grant({ clientId: 'bench', accountId: 'person0' });
  grant.addOIDCScope(SCOPE);
  grant.addResourceScope(RESOURCE, 'notes:read');
  return grant.save();
}

// With `openid` an ID token comes along.
function scopeOf(kind) {
  if (kind === 'plain_refresh_tokens') return 'notes:read offline_access';
  return kind === 'access_tokens' ? SCOPE : `${SCOPE} notes:read`;
}

async function make(provider, kind) {
  const client = await provider.Client.find('bench');
  const common = {
    accountId: 'person0',
    client,
    grantId: await newGrant(provider),
    authTime: Math.floor(Date.now() / 1000),
    gty: 'authorization_code',
    scope: scopeOf(kind),
  };
  if (kind === 'access_tokens') {
    return new provider.AccessToken({ ...common, expiresIn: 3600 }).save();
  }
  if (kind.endsWith('refresh_tokens')) {
    return new provider.RefreshToken({ ...common, resource: RESOURCE, rotations: 0 }).save();
  }
  return new provider.AuthorizationCode({
    ...common,
    resource: RESOURCE,
    redirectUri: REDIRECT_URI,
    codeChallenge: CODE_CHALLENGE,
    codeChallengeMethod: 'S256',
  }).save();
}

async function seed(provider, url, response) {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const made = [];
  for (let left = Number(searchParams.get('count')); left > 0; left -= 1) {
    made.push(await make(provider, pathname.split('/').pop()));
  }
  const body = Buffer.from(JSON.stringify({ made }));
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
}

async function serve(keys) {
  const Adapter = DATABASE_URL ? (await import('./postgres_adapter.mjs')).default : undefined;
  const provider = new Provider(`http://localhost:${PORT}`, configuration(keys, Adapter));
  const callback = provider.callback();
  createServer((request, response) => {
    if (!request.url.startsWith('/seed/')) return callback(request, response);
    return seed(provider, request.url, response).catch((error) => response.writeHead(500).end(String(error.stack)));
  }).listen(Number(PORT), '127.0.0.1');
}

if (cluster.isPrimary) {
  const keys = newKeys();
  if (DATABASE_URL) await (await import('./postgres_adapter.mjs')).createTable();
  if (Number(WORKERS) === 1) {
    await serve(keys);
  } else {
    // The workers sign with the same keys.
    for (let left = Number(WORKERS); left > 0; left -= 1) cluster.fork({ BENCH_KEYS: JSON.stringify(keys) });
    process.on('SIGTERM', () => process.exit(0));
  }
} else {
  await serve(JSON.parse(process.env.BENCH_KEYS));
}
