// jose as the client's JOSE library: signs, encrypts, verifies and decrypts what it is told to.
//
// Reads one JSON object a line from standard input, {operation, …}, and answers each with one line: {value} or {error}.

import * as jose from 'jose';
import { createInterface } from 'node:readline';

const text = new TextEncoder();
const read = new TextDecoder();

const operations = {
  async sign({ claims, header, key }) {
    return new jose.CompactSign(text.encode(JSON.stringify(claims))).setProtectedHeader(header).sign(await jose.importJWK(key, header.alg));
  },
  async sign_with_secret({ claims, header, secret }) {
    return new jose.CompactSign(text.encode(JSON.stringify(claims))).setProtectedHeader(header).sign(text.encode(secret));
  },
  async encrypt({ payload, header, key }) {
    return new jose.CompactEncrypt(text.encode(payload)).setProtectedHeader(header).encrypt(await jose.importJWK(key, header.alg));
  },
  async verify({ token, jwks, algorithm, issuer, audience }) {
    const found = await jose.jwtVerify(token, jose.createLocalJWKSet(jwks), { algorithms: [algorithm], issuer, audience, currentDate: new Date(jose.decodeJwt(token).iat * 1000 || 0) });
    return { header: found.protectedHeader, claims: found.payload };
  },
  async decrypt({ token, key, alg, enc }) {
    const found = await jose.compactDecrypt(token, await jose.importJWK(key, alg), { keyManagementAlgorithms: [alg], contentEncryptionAlgorithms: [enc] });
    return { header: found.protectedHeader, payload: read.decode(found.plaintext) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...settings } = JSON.parse(line);
  let answer;
  try {
    answer = { value: await operations[operation](settings) };
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
