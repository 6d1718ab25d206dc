/**
 * Who may write what: exactly one writer per table, enforced by Postgres. Everyone may read everything but secrets.
 * Applied after every migration; grants.db.spec.ts tries every forbidden write.
 */
export const ROLES = ['studio_querier', 'studio_auditor', 'studio_registry'] as const;
export type Role = (typeof ROLES)[number];

export interface TableRule {
  writer: Role;
  /** `append`: rows are never changed; `edit`: rows may be updated; `prune`: old rows may also be deleted. */
  mode: 'append' | 'edit' | 'prune';
  /** Columns that only the writer may read; `all` hides the table. */
  secret?: readonly string[] | 'all';
}

export const TABLE_RULES: Record<string, TableRule> = {
  client_keys: { writer: 'studio_querier', mode: 'edit', secret: ['hash'] },
  client_key_events: { writer: 'studio_querier', mode: 'append' },
  jobs: { writer: 'studio_querier', mode: 'prune' },
  attempts: { writer: 'studio_querier', mode: 'prune', secret: ['callback_hash'] },
  upload_slots: { writer: 'studio_querier', mode: 'prune' },
  upload_parts: { writer: 'studio_querier', mode: 'edit' },
  webhooks: { writer: 'studio_querier', mode: 'prune', secret: ['url'] },
  artifacts: { writer: 'studio_querier', mode: 'prune' },
  job_archives: { writer: 'studio_querier', mode: 'append' },
  archived_jobs: { writer: 'studio_querier', mode: 'append' },
  miner_measurements: { writer: 'studio_querier', mode: 'edit' },
  miner_slots: { writer: 'studio_querier', mode: 'edit' },
  draw_secrets: { writer: 'studio_auditor', mode: 'append', secret: 'all' },
  draw_commitments: { writer: 'studio_auditor', mode: 'append' },
  draws: { writer: 'studio_auditor', mode: 'append' },
  audits: { writer: 'studio_auditor', mode: 'edit' },
  audit_replays: { writer: 'studio_auditor', mode: 'edit' },
  verdicts: { writer: 'studio_auditor', mode: 'append' },
  miner_trust: { writer: 'studio_auditor', mode: 'edit' },
  quarantines: { writer: 'studio_auditor', mode: 'append' },
  adapters: { writer: 'studio_auditor', mode: 'edit' },
  picture_walk: { writer: 'studio_auditor', mode: 'edit' },
  canaries: { writer: 'studio_auditor', mode: 'edit', secret: 'all' },
  canary_plan: { writer: 'studio_auditor', mode: 'edit', secret: 'all' },
  amnesties: { writer: 'studio_auditor', mode: 'append' },
  corrections: { writer: 'studio_auditor', mode: 'append' },
  quarantine_lifts: { writer: 'studio_auditor', mode: 'append' },
  ledger_outbox: { writer: 'studio_auditor', mode: 'edit' },
  settlements: { writer: 'studio_auditor', mode: 'append' },
  policies: { writer: 'studio_registry', mode: 'append' },
  epochs: { writer: 'studio_registry', mode: 'edit' },
  miners: { writer: 'studio_registry', mode: 'edit' },
  appeals: { writer: 'studio_registry', mode: 'append' },
  neurons: { writer: 'studio_registry', mode: 'edit' },
  metagraph: { writer: 'studio_registry', mode: 'edit' },
  registry_nonces: { writer: 'studio_registry', mode: 'prune' },
  score_counter: { writer: 'studio_registry', mode: 'edit' },
  ledger: { writer: 'studio_registry', mode: 'append' },
  snapshots: { writer: 'studio_registry', mode: 'append' },
  score_relay: { writer: 'studio_registry', mode: 'edit' },
  exports: { writer: 'studio_registry', mode: 'append' },
};

/** Longest a statement or an idle transaction of a service may last; the auditor's overlap relies on it (draw intake). */
export const TRANSACTION_BOUND_MS = 15_000;

const WRITES = { append: 'INSERT', edit: 'INSERT, UPDATE', prune: 'INSERT, UPDATE, DELETE' } as const;

/** SQL that brings every privilege to exactly what TABLE_RULES says. `columns`: table → its columns, from the catalogue. */
export function grantStatements(columns: ReadonlyMap<string, readonly string[]>): string[] {
  const everyone = ROLES.join(', ');
  const statements = [
    `GRANT USAGE ON SCHEMA studio TO ${everyone}`,
    `REVOKE ALL ON ALL TABLES IN SCHEMA studio FROM ${everyone}`,
    // The history as well: a service waits until the schema is as new as its code.
    `GRANT SELECT ON studio.job_facts, studio.open_cases TO ${everyone}`,
    `GRANT SELECT ON studio.score_events, studio.standing_quarantines, studio.migrations TO ${everyone}`,
    `REVOKE EXECUTE ON FUNCTION studio.append_ledger(jsonb) FROM PUBLIC`,
    `GRANT EXECUTE ON FUNCTION studio.append_ledger(jsonb) TO studio_registry`,
  ];
  for (const [table, names] of columns) {
    const rule = TABLE_RULES[table];
    if (!rule) throw new Error(`table studio.${table} has no writer: add it to TABLE_RULES in database/grants.ts`);
    statements.push(`GRANT SELECT, ${WRITES[rule.mode]} ON studio.${table} TO ${rule.writer}`);
    for (const role of ROLES) {
      if (role !== rule.writer) statements.push(...readGrant(table, names, rule, role));
    }
  }
  return statements;
}

function readGrant(table: string, names: readonly string[], rule: TableRule, role: Role): string[] {
  if (rule.secret === 'all') return [];
  const hidden = new Set<string>(rule.secret ?? []);
  if (hidden.size === 0) return [`GRANT SELECT ON studio.${table} TO ${role}`];
  const readable = names.filter((name) => !hidden.has(name)).map((name) => `"${name}"`);
  return [`GRANT SELECT (${readable.join(', ')}) ON studio.${table} TO ${role}`];
}
