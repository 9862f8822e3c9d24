// Imports many keys into a running gateway: bun scripts/import-keys.ts FILE
// FILE has one JSON object a line, as POST /admin/keys takes it: { "consumer": "acme", "hash": "…" } or { "consumer": "acme", "key": "…" }.
// SLUICE_URL (default http://127.0.0.1:8080) and SLUICE_ADMIN_TOKEN say where and as whom. Each batch is imported whole or not at all.
const BATCH = 10_000;

const [file] = Bun.argv.slice(2);
const token = process.env.SLUICE_ADMIN_TOKEN;
if (file === undefined || token === undefined) {
  console.error("usage: SLUICE_ADMIN_TOKEN=… bun scripts/import-keys.ts FILE");
  process.exit(2);
}
const url = new URL("/admin/keys/import", process.env.SLUICE_URL ?? "http://127.0.0.1:8080");
const lines = (await Bun.file(file).text()).split("\n").filter((line) => line.trim() !== "");

for (let from = 0; from < lines.length; from += BATCH) {
  const keys: unknown[] = [];
  for (const line of lines.slice(from, from + BATCH)) {
    try {
      keys.push(JSON.parse(line));
    } catch {
      console.error(`${file}:${from + keys.length + 1}: not a JSON object; the ${from} keys before this batch were imported`);
      process.exit(1);
    }
  }
  const answer = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ keys }),
  });
  if (!answer.ok) {
    const { detail, errors = [] } = (await answer.json()) as { detail: string; errors?: { path: string; message: string }[] };
    console.error(`lines ${from + 1} to ${from + keys.length} were not imported: ${detail}`);
    // `keys[7].consumer` is the batch's eighth line.
    for (const { path, message } of errors)
      console.error(
        `${file}:${from + 1 + Number(/^keys\[(\d+)\]/.exec(path)?.[1] ?? 0)}: ${path.replace(/^keys\[\d+\]\.?/, "")} ${message}`,
      );
    process.exit(1);
  }
  console.log(`${from + keys.length} of ${lines.length} imported`);
}
