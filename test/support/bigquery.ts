import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { exportPKCS8, generateKeyPair, jwtVerify } from "jose";
import type { Clock } from "../../src/values/clock.ts";

const SCOPES = ["https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/cloud-platform"];
const MAX_REQUEST = 10_485_760;
const MAX_ROWS = 50_000;
/** Time for which an insertId is remembered; Google says "at least one minute", as best effort. */
const DEDUPE = 60_000;

export interface Field {
  readonly name: string;
  readonly type: string;
  readonly mode?: string;
  readonly precision?: string;
  readonly scale?: string;
  readonly description?: string;
}
export type StoredRow = Record<string, unknown>;
export type Method =
  | "token"
  | "datasets.get"
  | "tables.get"
  | "tables.insert"
  | "tables.patch"
  | "tabledata.insertAll"
  | "jobs.insert"
  | "jobs.get";

/** What the server does instead of its work. */
export type Fault =
  | { readonly status: number; readonly reason: string; readonly message?: string }
  /** Breaks the connection off, before or after the work is done. */
  | { readonly drop: "before" | "after" }
  /** Of insertAll: the first row has this error, the others are stopped. Of jobs.insert: the job ends with it. */
  | { readonly error: { readonly reason: string; readonly message: string } };

interface Stored {
  etag: number;
  readonly resource: Record<string, unknown>;
  fields: Field[];
  readonly type: "TABLE" | "VIEW";
  readonly rows: StoredRow[];
  /** When streaming learns of the table, and of each column. */
  readonly settledAt: number;
  readonly columnsAt: Map<string, number>;
  /** When each insertId came last. */
  readonly seen: Map<string, number>;
}

interface StoredJob {
  readonly table: string;
  readonly lines: string;
  polls: number;
  status: Record<string, unknown>;
  readonly fault: { readonly reason: string; readonly message: string } | null;
}

/** Says what a request is answered with instead. */
class Answer extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
  ) {
    super(message);
  }
}

const WORDS: Readonly<Record<number, string>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  409: "ALREADY_EXISTS",
  412: "FAILED_PRECONDITION",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  503: "UNAVAILABLE",
};

/** The account's key is made once: that takes longer than most tests. */
let keys: ReturnType<typeof generateKeyPair> | undefined;

export interface BigQueryOptions {
  readonly clock: Clock;
  readonly project?: string;
  readonly dataset?: string;
  readonly location?: string;
}

/**
 * Is BigQuery v2 as far as Sluice uses it, after Google's discovery document (revision 20261107) and pages on streaming, errors and load
 * jobs. It keeps rows in memory; it runs no SQL. Time is the test's.
 */
export class BigQueryServer {
  readonly project: string;
  readonly dataset: string;
  readonly email = "sluice@my-project.iam.gserviceaccount.com";
  /** The requests that came, by their method. */
  readonly requests: { readonly method: Method; readonly at: string; readonly rows: number; readonly match: string | undefined }[] = [];
  /** The time until streaming learns of a table that was made, and of a column that was added. */
  settleTables = 0;
  settleColumns = 0;
  /** The polls until a job is done. */
  jobPolls = 2;
  tokenLifetime = 3600;
  private readonly location: string;
  private readonly tables = new Map<string, Stored>();
  private readonly jobs = new Map<string, StoredJob>();
  private readonly faults: { readonly method: Method; readonly fault: Fault; times: number }[] = [];
  private readonly tokens = new Map<string, number>();
  private readonly server = createServer((request, response) => void this.serve(request, response));
  private isDatasetThere = true;

  private constructor(
    private readonly options: BigQueryOptions,
    private readonly keys: { readonly publicKey: CryptoKey; readonly privateKey: CryptoKey },
  ) {
    this.project = options.project ?? "my-project";
    this.dataset = options.dataset ?? "activities";
    this.location = options.location ?? "europe-west1";
  }

  static async start(options: BigQueryOptions): Promise<BigQueryServer> {
    keys ??= generateKeyPair("RS256", { extractable: true });
    const server = new BigQueryServer(options, await keys);
    await new Promise<void>((resolve) => server.server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Gives a service account's key, as Google's console gives it. */
  async key(change: Record<string, unknown> = {}): Promise<string> {
    return JSON.stringify({
      type: "service_account",
      project_id: this.project,
      private_key_id: "key-1",
      private_key: await exportPKCS8(this.keys.privateKey),
      client_email: this.email,
      token_uri: `${this.url}/token`,
      ...change,
    });
  }

  /** Has the next `times` requests of a method go wrong. */
  misbehave(method: Method, fault: Fault, times = 1): void {
    this.faults.push({ method, fault, times });
  }

  behave(): void {
    this.faults.length = 0;
  }

  /** Takes all tokens back. */
  revoke(): void {
    this.tokens.clear();
  }

  dropDataset(): void {
    this.isDatasetThere = false;
  }

  dropTable(name: string): void {
    this.tables.delete(name);
  }

  /** Changes a table's columns, as a person may. */
  change(name: string, change: (fields: readonly Field[]) => Field[]): void {
    const table = this.tables.get(name) as Stored;
    table.fields = change(table.fields);
    table.etag++;
  }

  /** Makes a table, as a person may. */
  make(name: string, fields: readonly Field[]): void {
    this.put(name, { schema: { fields } });
  }

  names(): string[] {
    return [...this.tables.keys()].sort();
  }

  rows(table: string): readonly StoredRow[] {
    return this.tables.get(table)?.rows ?? [];
  }

  fields(table: string): readonly Field[] {
    return this.tables.get(table)?.fields ?? [];
  }

  resource(table: string): Record<string, unknown> {
    return this.tables.get(table)?.resource ?? {};
  }

  query(view: string): string {
    return (this.resource(view).view as { query: string }).query;
  }

  count(method: Method): number {
    return this.requests.filter((each) => each.method === method).length;
  }

  /** Gives the last state of a table as the view is to tell it, found out by going through what happened. */
  current(table: string): StoredRow[] {
    const firsts = new Map<string, StoredRow>();
    for (const row of this.rows(table)) {
      const there = firsts.get(String(row._id));
      if (there === undefined || BigInt(there._seq as string) > BigInt(row._seq as string)) firsts.set(String(row._id), row);
    }
    let state: StoredRow[] = [];
    for (const row of [...firsts.values()].sort((a, b) => (BigInt(a._seq as string) < BigInt(b._seq as string) ? -1 : 1))) {
      if (row._op === "insert") state.push(row);
      else {
        const named = String(row._cols).split(",");
        const value = (of: StoredRow, name: string): unknown =>
          Object.entries(of).find(([column]) => column.toLowerCase() === name)?.[1] ?? null;
        state = state.filter((each) => named.some((name) => value(each, name) !== value(row, name)));
      }
    }
    return state;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const url = new URL(request.url ?? "/", this.url);
    const reply = (status: number, value: unknown): void => {
      response.writeHead(status, { "content-type": "application/json; charset=UTF-8" });
      response.end(JSON.stringify(value));
    };
    try {
      const method = methodOf(request.method ?? "", url.pathname);
      const entry = { method, at: url.pathname, rows: 0, match: request.headers["if-match"] };
      this.requests.push(entry);
      const fault = this.faultFor(method);
      if (fault !== null && "drop" in fault && fault.drop === "before") return void request.socket.destroy();
      if (method === "token") {
        if (fault !== null && "status" in fault)
          return reply(fault.status, { error: fault.reason, error_description: fault.message ?? fault.reason });
        return reply(...(await this.token(request, url, body)));
      }
      this.authorize(request);
      if (fault !== null && "status" in fault) throw new Answer(fault.status, fault.reason, fault.message ?? fault.reason);
      const value = this.answer(method, request, url, body, fault !== null && "error" in fault ? fault.error : null, entry);
      if (fault !== null && "drop" in fault) return void request.socket.destroy();
      reply(200, value);
    } catch (error) {
      const { status, reason, message } = error instanceof Answer ? error : new Answer(500, "internalError", String(error));
      reply(status, { error: { code: status, message, errors: [{ message, domain: "global", reason }], status: WORDS[status] } });
    }
  }

  private faultFor(method: Method): Fault | null {
    const found = this.faults.find((each) => each.method === method && each.times > 0);
    if (found === undefined) return null;
    found.times--;
    return found.fault;
  }

  /** Answers the grant of RFC 7523, and the metadata server's question. */
  private async token(request: IncomingMessage, url: URL, body: Buffer): Promise<[number, unknown]> {
    if (url.pathname !== "/token") {
      if (request.headers["metadata-flavor"] !== "Google") return [403, { error: "Missing Metadata-Flavor:Google header" }];
      return [200, this.issue()];
    }
    const form = new URLSearchParams(body.toString());
    if (form.get("grant_type") !== "urn:ietf:params:oauth:grant-type:jwt-bearer")
      return [400, { error: "unsupported_grant_type", error_description: "Invalid grant_type" }];
    try {
      const { payload, protectedHeader } = await jwtVerify(form.get("assertion") ?? "", this.keys.publicKey, {
        algorithms: ["RS256"],
        issuer: this.email,
        audience: `${this.url}/token`,
        currentDate: new Date(this.options.clock.wall()),
        requiredClaims: ["iat", "exp"],
      });
      if (protectedHeader.kid !== "key-1") return [400, { error: "invalid_grant", error_description: "Invalid JWT Signature." }];
      if ((payload.exp as number) - (payload.iat as number) > 3600)
        return [400, { error: "invalid_grant", error_description: "Invalid JWT: Token must be a short-lived token (60 minutes)." }];
      if (typeof payload.scope !== "string" || !payload.scope.split(" ").some((scope) => SCOPES.includes(scope)))
        return [400, { error: "invalid_scope", error_description: "Invalid OAuth scope or ID token audience provided." }];
      return [200, this.issue()];
    } catch {
      return [400, { error: "invalid_grant", error_description: "Invalid JWT Signature." }];
    }
  }

  private issue(): object {
    const token = `ya29.${Bun.randomUUIDv7()}`;
    this.tokens.set(token, this.options.clock.wall() + this.tokenLifetime * 1000);
    return { access_token: token, expires_in: this.tokenLifetime, token_type: "Bearer" };
  }

  private authorize(request: IncomingMessage): void {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    if ((this.tokens.get(token) ?? 0) <= this.options.clock.wall())
      throw new Answer(401, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token.");
  }

  private answer(
    method: Method,
    request: IncomingMessage,
    url: URL,
    body: Buffer,
    error: { reason: string; message: string } | null,
    entry: { rows: number },
  ): unknown {
    if (!url.pathname.includes(`/projects/${this.project}/`)) throw new Answer(404, "notFound", "Not found: Project");
    if (method === "jobs.get") return this.job(url);
    if (method === "jobs.insert") return this.begin(request, url, body, error);
    const [, dataset = "", name = ""] = /\/datasets\/([^/]+)(?:\/tables(?:\/([^/]+))?)?/.exec(url.pathname) ?? [];
    if (dataset !== this.dataset || !this.isDatasetThere)
      throw new Answer(404, "notFound", `Not found: Dataset ${this.project}:${dataset}`);
    if (method === "datasets.get") return { kind: "bigquery#dataset", location: this.location };
    const given = body.length === 0 || body.length > MAX_REQUEST ? {} : JSON.parse(body.toString());
    if (method === "tables.insert") return this.insertTable(given);
    if (method === "tabledata.insertAll") return this.insertAll(name, body.length, given, error, entry);
    const table = this.tableOf(name);
    return method === "tables.get" ? this.shown(name, table) : this.patch(name, table, given, request.headers["if-match"]);
  }

  private tableOf(name: string): Stored {
    const table = this.tables.get(name);
    if (table === undefined) throw new Answer(404, "notFound", `Not found: Table ${this.project}:${this.dataset}.${name}`);
    return table;
  }

  private shown(name: string, { etag, resource, fields, type }: Stored): object {
    const tableReference = { projectId: this.project, datasetId: this.dataset, tableId: name };
    return { kind: "bigquery#table", ...resource, tableReference, type, etag: `"${etag}"`, schema: { fields } };
  }

  private insertTable(given: Record<string, unknown>): object {
    const { tableId } = given.tableReference as { tableId: string };
    if (this.tables.has(tableId)) throw new Answer(409, "duplicate", `Already Exists: Table ${this.project}:${this.dataset}.${tableId}`);
    return this.shown(tableId, this.put(tableId, given));
  }

  private put(name: string, given: Record<string, unknown>): Stored {
    const { tableReference: _, schema, ...resource } = given;
    const fields = (schema as { fields?: Field[] } | undefined)?.fields ?? [];
    checkFields(fields);
    checkView(resource);
    const partition = (resource.timePartitioning as { field?: string } | undefined)?.field;
    if (partition !== undefined && fields.find((field) => field.name === partition)?.type !== "TIMESTAMP")
      throw new Answer(400, "invalid", `The field specified for partitioning cannot be found in the schema: ${partition}`);
    const table: Stored = {
      etag: 1,
      resource,
      fields: [...fields],
      type: resource.view === undefined ? "TABLE" : "VIEW",
      rows: [],
      settledAt: this.options.clock.now() + this.settleTables,
      columnsAt: new Map(),
      seen: new Map(),
    };
    this.tables.set(name, table);
    return table;
  }

  private patch(name: string, table: Stored, given: Record<string, unknown>, match: string | undefined): object {
    if (match !== undefined && match !== `"${table.etag}"`) throw new Answer(412, "conditionNotMet", "Precondition check failed.");
    const { schema, ...rest } = given as { schema?: { fields: Field[] } };
    checkView(rest);
    if (schema !== undefined) this.patchSchema(name, table, schema.fields);
    Object.assign(table.resource, rest);
    table.etag++;
    return this.shown(name, table);
  }

  private patchSchema(name: string, table: Stored, fields: Field[]): void {
    checkFields(fields);
    const mismatch = `Provided Schema does not match Table ${this.project}:${this.dataset}.${name}.`;
    for (const field of table.fields) {
      const now = fields.find((each) => each.name === field.name);
      if (now === undefined) throw new Answer(400, "invalid", `${mismatch} Field ${field.name} is missing in new schema`);
      if (now.type !== field.type || now.precision !== field.precision || now.scale !== field.scale)
        throw new Answer(400, "invalid", `${mismatch} Field ${field.name} has changed type from ${field.type} to ${now.type}`);
    }
    for (const field of fields) {
      if (table.fields.some((each) => each.name === field.name)) continue;
      if (field.mode === "REQUIRED") throw new Answer(400, "invalid", `${mismatch} Cannot add required fields to an existing schema.`);
      table.columnsAt.set(field.name, this.options.clock.now() + this.settleColumns);
    }
    table.fields = fields;
  }

  private insertAll(
    name: string,
    size: number,
    given: { rows?: { insertId?: string; json: StoredRow }[]; skipInvalidRows?: boolean },
    error: { reason: string; message: string } | null,
    entry: { rows: number },
  ): object {
    if (size > 2 * MAX_REQUEST) throw new Answer(413, "requestTooLarge", "Request Entity Too Large");
    if (size > MAX_REQUEST) throw new Answer(400, "badRequest", `Request payload size exceeds the limit: ${MAX_REQUEST} bytes.`);
    const table = this.tableOf(name);
    const now = this.options.clock.now();
    if (table.type === "VIEW") throw new Answer(400, "invalid", `Cannot add rows to a table of type VIEW.`);
    if (now < table.settledAt) throw new Answer(404, "notFound", `Table ${this.project}:${this.dataset}.${name} not found.`);
    const rows = given.rows ?? [];
    entry.rows = rows.length;
    if (rows.length === 0) throw new Answer(400, "invalid", "No rows present in the request.");
    if (rows.length > MAX_ROWS) throw new Answer(400, "invalid", `too many rows present in the request, limit: ${MAX_ROWS}`);
    const fields = table.fields.filter((field) => (table.columnsAt.get(field.name) ?? 0) <= now);
    const read = rows.map(({ json }) => readRow(json, fields));
    const wrong = new Map<number, object[]>();
    for (const [i, row] of read.entries()) if ("reason" in row) wrong.set(i, [{ debugInfo: "", ...row }]);
    if (error !== null) wrong.set(0, [error]);
    if (wrong.size > 0 && given.skipInvalidRows !== true)
      for (const i of rows.keys()) if (!wrong.has(i)) wrong.set(i, [{ reason: "stopped", location: "", debugInfo: "", message: "" }]);
    for (const [i, row] of read.entries()) {
      if (wrong.has(i)) continue;
      const key = rows[i]?.insertId;
      if (key !== undefined && now - (table.seen.get(key) ?? Number.NEGATIVE_INFINITY) < DEDUPE) continue;
      if (key !== undefined) table.seen.set(key, now);
      table.rows.push((row as { row: StoredRow }).row);
    }
    const insertErrors = [...wrong].sort(([a], [b]) => a - b).map(([index, errors]) => ({ index, errors }));
    return { kind: "bigquery#tableDataInsertAllResponse", ...(insertErrors.length > 0 && { insertErrors }) };
  }

  private begin(request: IncomingMessage, url: URL, body: Buffer, fault: { reason: string; message: string } | null): object {
    if (url.searchParams.get("uploadType") !== "multipart") throw new Answer(400, "badRequest", "Unsupported upload type");
    const [meta = "", lines = ""] = multipart(request.headers["content-type"] ?? "", body);
    const { jobReference, configuration } = JSON.parse(meta);
    const { load } = configuration;
    const { jobId, location } = jobReference as { jobId: string; location?: string };
    if (!/^[A-Za-z0-9_-]{1,1024}$/.test(jobId)) throw new Answer(400, "invalid", `Invalid job ID "${jobId}"`);
    if ((location ?? "US") !== this.location)
      throw new Answer(404, "notFound", `Not found: Dataset ${this.project}:${this.dataset} was not found in location ${location ?? "US"}`);
    if (this.jobs.has(jobId)) throw new Answer(409, "duplicate", `Already Exists: Job ${this.project}:${this.location}.${jobId}`);
    if (load.sourceFormat !== "NEWLINE_DELIMITED_JSON" || load.writeDisposition !== "WRITE_APPEND")
      throw new Answer(400, "invalid", "only what Sluice uses is here");
    const job = { table: load.destinationTable.tableId, lines, polls: 0, status: { state: "PENDING" }, fault };
    this.jobs.set(jobId, job);
    return { kind: "bigquery#job", jobReference, status: job.status };
  }

  private job(url: URL): object {
    const id = url.pathname.split("/").at(-1) as string;
    const job = this.jobs.get(id);
    const location = url.searchParams.get("location") ?? "US";
    if (job === undefined || location !== this.location) throw new Answer(404, "notFound", `Not found: Job ${this.project}:${id}`);
    if (job.status.state !== "DONE") {
      job.polls++;
      job.status = job.polls < this.jobPolls ? { state: "RUNNING" } : this.finish(job);
    }
    return { kind: "bigquery#job", jobReference: { projectId: this.project, jobId: id, location }, status: job.status };
  }

  /** Appends all lines, or none. */
  private finish({ table: name, lines, fault }: StoredJob): Record<string, unknown> {
    const failed = (reason: string, message: string, errors: object[] = []) => {
      const errorResult = { reason, message };
      return { state: "DONE", errorResult, errors: [errorResult, ...errors] };
    };
    if (fault !== null) return failed(fault.reason, fault.message);
    const table = this.tables.get(name);
    if (table === undefined) return failed("notFound", `Not found: Table ${this.project}:${this.dataset}.${name}`);
    const read: StoredRow[] = [];
    const errors: object[] = [];
    let position = 0;
    for (const line of lines.split("\n")) {
      const row = readRow(JSON.parse(line), table.fields);
      if ("row" in row) read.push(row.row);
      else
        errors.push({
          reason: "invalid",
          message: `Error while reading data, error message: JSON parsing error in row starting at position ${position}: ${row.message}`,
        });
      position += Buffer.byteLength(line) + 1;
    }
    if (errors.length > 0)
      return failed(
        "invalid",
        `Error while reading data, error message: JSON table encountered too many errors, giving up. Rows: ${read.length + errors.length}; errors: ${errors.length}. Please look into the errors[] collection for more details.`,
        errors,
      );
    table.rows.push(...read);
    return { state: "DONE" };
  }
}

function methodOf(verb: string, path: string): Method {
  if (path === "/token" || path.startsWith("/computeMetadata/")) return "token";
  if (path.startsWith("/upload/bigquery/v2/") && verb === "POST") return "jobs.insert";
  if (/\/jobs\/[^/]+$/.test(path) && verb === "GET") return "jobs.get";
  if (path.endsWith("/insertAll") && verb === "POST") return "tabledata.insertAll";
  if (/\/tables\/[^/]+$/.test(path)) {
    if (verb === "GET") return "tables.get";
    if (verb === "PATCH") return "tables.patch";
  }
  if (path.endsWith("/tables") && verb === "POST") return "tables.insert";
  if (/\/datasets\/[^/]+$/.test(path) && verb === "GET") return "datasets.get";
  throw new Answer(404, "notFound", "Not Found");
}

function checkFields(fields: readonly Field[]): void {
  const seen = new Set<string>();
  if (fields.length > 10_000) throw new Answer(400, "invalid", "Too many total leaf fields: limit: 10000");
  for (const { name, type, precision, scale, description = "" } of fields) {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,299}$/.test(name) || /^(_table_|_file_|_partition|_row_timestamp|__root__|_colidentifier)/i.test(name))
      throw new Answer(400, "invalid", `Invalid field name "${name}".`);
    if (seen.has(name.toLowerCase())) throw new Answer(400, "invalid", `Duplicate field name: ${name}`);
    seen.add(name.toLowerCase());
    if (description.length > 1024) throw new Answer(400, "invalid", "The description is too long");
    if (precision === undefined) continue;
    const whole = Number(precision) - Number(scale ?? 0);
    const [most, digits] = type === "NUMERIC" ? [29, 9] : type === "BIGNUMERIC" ? [38, 38] : [0, 0];
    if (whole < 1 || whole > most || Number(scale ?? 0) > digits)
      throw new Answer(400, "invalid", `Invalid precision and scale of ${name}: ${type}(${precision}, ${scale})`);
  }
}

function checkView(resource: Record<string, unknown>): void {
  const view = resource.view as { query: string; useLegacySql?: boolean } | undefined;
  if (view === undefined) return;
  // The default is legacy SQL, which has no such quotes.
  if (view.useLegacySql !== false) throw new Answer(400, "invalidQuery", "Invalid table name: `…`");
  if (view.query.length > 256 * 1024) throw new Answer(400, "invalid", "The view's query is too long");
}

/** Reads one row as the table's columns have it. */
function readRow(json: StoredRow, fields: readonly Field[]): { row: StoredRow } | { reason: "invalid"; location: string; message: string } {
  const row: StoredRow = {};
  const byName = new Map(fields.map((field) => [field.name.toLowerCase(), field]));
  for (const [name, value] of Object.entries(json)) {
    const field = byName.get(name.toLowerCase());
    if (field === undefined) return { reason: "invalid", location: name, message: `no such field: ${name}.` };
    if (value === null) continue;
    const kept = readValue(value, field);
    if (kept === undefined)
      return { reason: "invalid", location: name, message: `Cannot convert value to ${field.type.toLowerCase()} (bad value): ${value}` };
    row[field.name] = kept;
  }
  const missing = fields.find(({ name, mode }) => mode === "REQUIRED" && row[name] === undefined);
  return missing === undefined ? { row } : { reason: "invalid", location: "", message: `Missing required field: ${missing.name}.` };
}

function readValue(value: unknown, { type, precision, scale }: Field): unknown {
  const text = String(value);
  switch (type) {
    case "INTEGER":
      return /^-?\d{1,19}$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? text : undefined;
    case "FLOAT":
      return Number.isFinite(Number(text)) ? Number(text) : undefined;
    case "BOOLEAN":
      return /^(true|false)$/i.test(text) ? text.toLowerCase() === "true" : undefined;
    case "TIMESTAMP":
      return Number.isNaN(Date.parse(text)) ? undefined : new Date(text).toISOString();
    case "NUMERIC":
    case "BIGNUMERIC": {
      const parts = /^(-?)0*(\d*)(?:\.(\d*?)0*)?$/.exec(text);
      if (parts === null) return undefined;
      const [, sign, whole = "", fraction = ""] = parts;
      const places = Number(scale ?? (type === "NUMERIC" ? 9 : 38));
      const most = precision === undefined ? (type === "NUMERIC" ? 29 : 39) : Number(precision) - places;
      if (whole.length > most || fraction.length > places) return undefined;
      return `${sign}${whole === "" ? "0" : whole}${fraction === "" ? "" : `.${fraction}`}`;
    }
    case "STRING":
      return typeof value === "object" ? undefined : text;
    default:
      return value;
  }
}

/** Gives the contents of the parts of a multipart/related body (RFC 2387). */
function multipart(type: string, body: Buffer): string[] {
  const boundary = /^multipart\/related;\s*boundary="?([^";]+)"?/.exec(type)?.[1];
  if (boundary === undefined) throw new Answer(400, "badRequest", "Media type 'multipart/related' is expected, with a boundary");
  const text = `\r\n${body.toString()}`;
  const parts = text.split(`\r\n--${boundary}`);
  if (parts.at(-1)?.startsWith("--") !== true) throw new Answer(400, "badRequest", "Malformed multipart body.");
  return parts.slice(1, -1).map((part) => part.slice(part.indexOf("\r\n\r\n") + 4));
}
