// An Express app that signs people in with Auth.js and keeps its access token fresh, as its guide on rotation has it.
//
// Reads one JSON object from standard input: port, secret, issuer, scope, and providers (id, client_id, client_secret,
// id_token: false to read the person from userinfo). Serves Auth.js' own pages under /auth until it is ended.

import { ExpressAuth } from '@auth/express';
import express from 'express';

const settings = JSON.parse(await new Response(process.stdin).text());
const credentials = Object.fromEntries(settings.providers.map((provider) => [provider.id, provider]));
const metadata = await (await fetch(`${settings.issuer}/.well-known/openid-configuration`)).json();

function oidcProvider({ id, client_id, client_secret, id_token }) {
  return {
    id,
    name: 'Gatepost',
    type: 'oidc',
    issuer: settings.issuer,
    clientId: client_id,
    clientSecret: client_secret,
    authorization: { params: { scope: settings.scope } },
    checks: ['pkce', 'state', 'nonce'],
    idToken: id_token,
  };
}

async function refreshed(token) {
  const { client_id, client_secret } = credentials[token.provider];
  const answer = await fetch(metadata.token_endpoint, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token.refresh_token }),
  });
  const fresh = await answer.json();
  if (!answer.ok) return { ...token, error: fresh.error };
  const { access_token, refresh_token, expires_in } = fresh;
  return { ...token, access_token, refresh_token, expires_at: Math.floor(Date.now() / 1000) + expires_in };
}

const callbacks = {
  async jwt({ token, account, trigger }) {
    if (account) {
      const { provider, access_token, refresh_token, expires_at } = account;
      return { ...token, provider, sub: account.providerAccountId, access_token, refresh_token, expires_at };
    }
    const fresh = Date.now() < token.expires_at * 1000 && trigger !== 'update';
    return fresh ? token : refreshed(token);
  },
  async session({ session, token }) {
    const { sub, access_token, refresh_token, error } = token;
    return { ...session, sub, access_token, refresh_token, error };
  },
};

const app = express();
const providers = settings.providers.map(oidcProvider);
app.get('/', (_request, response) => response.type('text').send('ready'));
app.use('/auth', ExpressAuth({ providers, callbacks, secret: settings.secret, trustHost: true }));
app.listen(settings.port, '127.0.0.1');
