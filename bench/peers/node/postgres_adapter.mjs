// oidc-provider's adapter on PostgreSQL: one jsonb table, prepared statements, a small pool, no transactions around single
// statements. Expired rows are left to the reader, as the provider checks `exp` itself.
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 });
const run = async (name, text, values) => (await pool.query({ name, text, values })).rows;
const payloadOf = (rows) => {
  if (!rows.length) return undefined;
  const { payload, consumed } = rows[0];
  return consumed === null ? payload : { ...payload, consumed: Number(consumed) };
};

export async function createTable() {
  await pool.query(`
    CREATE TABLE IF NOT EXISTS oidc_payloads (
      model text, id text, payload jsonb NOT NULL, grant_id text, uid text, user_code text, consumed bigint,
      expires_at timestamptz, PRIMARY KEY (model, id)
    );
    CREATE INDEX IF NOT EXISTS oidc_grant ON oidc_payloads (grant_id);
    CREATE INDEX IF NOT EXISTS oidc_uid ON oidc_payloads (uid) WHERE uid IS NOT NULL;
    CREATE INDEX IF NOT EXISTS oidc_user_code ON oidc_payloads (user_code) WHERE user_code IS NOT NULL`);
}

export default class PostgresAdapter {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, expiresIn) {
    const expiresAt = expiresIn ? new Date(Date.now() + expiresIn * 1000) : null;
    await run(
      'upsert',
      `INSERT INTO oidc_payloads (model, id, payload, grant_id, uid, user_code, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
       ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, grant_id = excluded.grant_id, uid = excluded.uid,
         user_code = excluded.user_code, expires_at = excluded.expires_at`,
      [this.model, id, payload, payload.grantId ?? null, payload.uid ?? null, payload.userCode ?? null, expiresAt],
    );
  }

  async find(id) {
    const text = 'SELECT payload, consumed FROM oidc_payloads WHERE model = $1 AND id = $2';
    return payloadOf(await run('find', text, [this.model, id]));
  }

  async findByUid(uid) {
    const text = 'SELECT payload, consumed FROM oidc_payloads WHERE model = $1 AND uid = $2';
    return payloadOf(await run('find_by_uid', text, [this.model, uid]));
  }

  async findByUserCode(code) {
    const text = 'SELECT payload, consumed FROM oidc_payloads WHERE model = $1 AND user_code = $2';
    return payloadOf(await run('find_by_user_code', text, [this.model, code]));
  }

  async consume(id) {
    const text = 'UPDATE oidc_payloads SET consumed = $3 WHERE model = $1 AND id = $2';
    await run('consume', text, [this.model, id, Math.floor(Date.now() / 1000)]);
  }

  async destroy(id) {
    await run('destroy', 'DELETE FROM oidc_payloads WHERE model = $1 AND id = $2', [this.model, id]);
  }

  async revokeByGrantId(grantId) {
    await run('revoke_by_grant', 'DELETE FROM oidc_payloads WHERE grant_id = $1', [grantId]);
  }
}
