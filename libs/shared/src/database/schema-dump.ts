/**
 * The schema as text, from the catalogue, so that a change of it shows in a diff and no migration drifts from it.
 * Columns, not `pg_dump`: its output changes with every version of Postgres, and its binary may be missing.
 */

/** Runs one query; any client will do. */
export type RunQuery = (sql: string) => Promise<{ line: string }[]>;

/** Since Postgres 18 NOT NULL is a constraint too; the columns say it already. */
const CONSTRAINTS = `
  SELECT format('%s  %s %s', c.relname, k.conname, pg_get_constraintdef(k.oid)) AS line
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
   WHERE c.relnamespace = 'studio'::regnamespace AND c.relname <> 'migrations' AND k.contype <> 'n'`;

const COLUMNS = `
  SELECT format('%s  %s %s%s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY' ELSE '' END,
                coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')) AS line
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
   WHERE c.relnamespace = 'studio'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'`;

const INDEXES = `
  SELECT indexdef AS line FROM pg_indexes WHERE schemaname = 'studio' AND tablename <> 'migrations'`;

const TRIGGERS = `
  SELECT pg_get_triggerdef(t.oid) AS line FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
   WHERE c.relnamespace = 'studio'::regnamespace AND NOT t.tgisinternal`;

/** Bodies as they were written: Postgres keeps them to the letter. */
const FUNCTIONS = `
  SELECT format('%s(%s) RETURNS %s%s', p.proname, pg_get_function_identity_arguments(p.oid),
                pg_get_function_result(p.oid), p.prosrc) AS line
    FROM pg_proc p WHERE p.pronamespace = 'studio'::regnamespace`;

/** Not pg_get_viewdef: Postgres prints it differently from version to version. */
const VIEW_COLUMNS = `
  SELECT format('%s  %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)) AS line
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
   WHERE c.relnamespace = 'studio'::regnamespace AND c.relkind = 'v'`;

const SECTIONS: readonly (readonly [title: string, sql: string])[] = [
  ['columns', COLUMNS],
  ['constraints', CONSTRAINTS],
  ['indexes', INDEXES],
  ['triggers', TRIGGERS],
  ['functions', FUNCTIONS],
  ['views', VIEW_COLUMNS],
];

export async function dumpSchema(run: RunQuery): Promise<string> {
  const parts: string[] = [];
  for (const [title, sql] of SECTIONS) {
    const lines = (await run(sql)).map(({ line }) => line);
    // Sorted here: databases differ in collation.
    parts.push(`== ${title}`, ...lines.sort(), '');
  }
  return parts.join('\n');
}
