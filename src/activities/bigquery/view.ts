import { type Field, OWN_FIELDS } from "./columns.ts";

/** The longest query of a view, in characters (https://docs.cloud.google.com/bigquery/quotas#view_limits). */
export const MAX_QUERY = 256 * 1024;

/**
 * Gives the query of a table's last state. Each activity counts once, in the place in which it came first. A delete takes away the inserts
 * before it whose columns are what it names, where NULL is NULL.
 *
 * Deletes name different columns. For each set of columns that deletes have named, the values of a row's columns in the set are joined into
 * one text, in which columns that are not in the set are empty: so what a delete finds is found by an equality, without which BigQuery has no
 * join for it.
 */
export function viewQuery(table: string, fields: readonly Field[]): string {
  const own = new Set(OWN_FIELDS.map(({ name }) => name));
  const names = fields.map(({ name }) => name).filter((name) => !own.has(name.toLowerCase()));
  const parts = names.map(
    (name) => `CASE WHEN INSTR(\`_sluice_set\`, ',${name.toLowerCase()},') > 0 THEN TO_JSON_STRING(\`${name}\`) ELSE '' END`,
  );
  const key = parts.length === 1 ? parts[0] : `CONCAT(${parts.join(", ',', ")})`;
  const columns = [...names, "_id", "_seq", "_at"];
  return `-- The last state of ${table}. Sluice keeps this view: changes to it are lost.
WITH \`_sluice_copies\` AS (
  SELECT *, CONCAT(',', \`_cols\`, ',') AS \`_sluice_set\`, ROW_NUMBER() OVER (PARTITION BY \`_id\` ORDER BY \`_seq\`) AS \`_sluice_copy\` FROM \`${table}\`
),
\`_sluice_deletes\` AS (
  SELECT \`_sluice_set\`, ${key} AS \`_sluice_key\`, MAX(\`_seq\`) AS \`_sluice_until\`
  FROM \`_sluice_copies\` WHERE \`_sluice_copy\` = 1 AND \`_op\` = 'delete' GROUP BY 1, 2
),
\`_sluice_sets\` AS (SELECT DISTINCT \`_sluice_set\` FROM \`_sluice_deletes\`),
\`_sluice_inserts\` AS (
  SELECT ${columns.map((name) => `\`${name}\``).join(", ")} FROM \`_sluice_copies\` WHERE \`_sluice_copy\` = 1 AND \`_op\` = 'insert'
),
\`_sluice_keys\` AS (
  SELECT \`_id\` AS \`_sluice_id\`, \`_seq\` AS \`_sluice_seq\`, \`_sluice_set\`, ${key} AS \`_sluice_key\` FROM \`_sluice_inserts\` CROSS JOIN \`_sluice_sets\`
),
\`_sluice_gone\` AS (
  SELECT DISTINCT k.\`_sluice_id\` FROM \`_sluice_keys\` AS k JOIN \`_sluice_deletes\` AS d
  ON d.\`_sluice_key\` = k.\`_sluice_key\` WHERE d.\`_sluice_until\` > k.\`_sluice_seq\`
)
SELECT ${columns.map((name) => `\`${name}\``).join(", ")} FROM \`_sluice_inserts\` LEFT JOIN \`_sluice_gone\` ON \`_sluice_id\` = \`_id\` WHERE \`_sluice_id\` IS NULL`;
}
