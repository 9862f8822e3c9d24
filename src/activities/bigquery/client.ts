import { isObject } from "../../values/json.ts";
import { SinkAway } from "../sinks/sink.ts";
import type { Field } from "./columns.ts";
import { codeOf, type GoogleToken } from "./token.ts";

const GOOGLE = "https://bigquery.googleapis.com";
/** The pauses before a request is tried again, in milliseconds. After them the sink is away, and its follower waits longer. */
const RETRIES = [500, 2000, 5000];
const TIMEOUT = 60_000;
const UPLOAD_TIMEOUT = 600_000;
const OUT_OF_QUOTA = /^(rateLimitExceeded|quotaExceeded|userRateLimitExceeded|jobRateLimitExceeded)$/;

/** Describes what BigQuery says is wrong with a row or a job. */
export interface ErrorProto {
  readonly reason?: string;
  readonly location?: string;
  readonly message?: string;
}

export interface TableResource {
  readonly etag?: string;
  readonly type?: string;
  readonly schema?: { readonly fields?: readonly Field[] };
  readonly view?: { readonly query?: string };
}

export interface Job {
  readonly status?: { readonly state?: string; readonly errorResult?: ErrorProto; readonly errors?: readonly ErrorProto[] };
}

/** Says that BigQuery refuses a request for what is in it: another one may go through. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
  ) {
    super(message);
  }
}

export interface ClientDeps {
  readonly project: string;
  readonly dataset: string;
  /** Where the API is; `null`: Google's. */
  readonly endpoint: string | null;
  readonly token: GoogleToken;
  /** True when jobs are wanted, which need one role more. */
  readonly usesJobs: boolean;
  /** Waits for milliseconds; throws `SinkAway` when the sink is closed meanwhile. */
  readonly pause: (milliseconds: number) => Promise<void>;
}

interface Ask {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly timeout?: number;
}

/**
 * Speaks with BigQuery v2 over REST (https://docs.cloud.google.com/bigquery/docs/reference/rest). Tries again for some seconds what may go
 * through by itself. Throws `Refused` for requests that never will, `SinkAway` when nothing does.
 */
export class BigQueryClient {
  private readonly root: string;
  private readonly running = new Set<AbortController>();

  constructor(private readonly deps: ClientDeps) {
    this.root = (deps.endpoint ?? GOOGLE).replace(/\/+$/, "");
  }

  /** Gives where the dataset is, such as "EU". */
  async location(): Promise<string> {
    const { project, dataset } = this.deps;
    try {
      const found = await this.ask<{ location?: string }>(this.path(""));
      return found.location ?? "US";
    } catch (error) {
      if (error instanceof Refused && error.status === 404)
        throw new SinkAway(`there is no dataset ${dataset} in the project ${project}: make it, where you want the data to be`);
      throw error;
    }
  }

  async table(name: string): Promise<TableResource | null> {
    return await this.ask<TableResource>(this.path(`/tables/${name}`)).catch(nullFor404);
  }

  async insertTable(name: string, table: object): Promise<TableResource> {
    const { project: projectId, dataset: datasetId } = this.deps;
    return await this.ask(this.path("/tables"), {
      method: "POST",
      body: JSON.stringify({ tableReference: { projectId, datasetId, tableId: name }, ...table }),
    });
  }

  /** Changes a table that has not changed since `etag`; otherwise it is refused with the status 412. */
  async patchTable(name: string, change: object, etag: string | undefined): Promise<TableResource> {
    return await this.ask(this.path(`/tables/${name}`), {
      method: "PATCH",
      body: JSON.stringify(change),
      headers: etag === undefined ? {} : { "if-match": etag },
    });
  }

  /** Streams rows. Gives what is wrong with them by their places; nothing when all are stored. */
  async insertAll(table: string, body: string): Promise<ReadonlyMap<number, readonly ErrorProto[]>> {
    const answer = await this.ask<{ insertErrors?: readonly { index?: number; errors?: readonly ErrorProto[] }[] }>(
      this.path(`/tables/${table}/insertAll`),
      { method: "POST", body },
    );
    return new Map((answer.insertErrors ?? []).map(({ index = 0, errors = [] }) => [index, errors]));
  }

  /** Begins a job that appends lines of JSON to a table. Refused with the status 409 when there is one of this id. */
  async load(id: string, location: string, table: string, lines: string): Promise<Job> {
    const { project: projectId, dataset: datasetId } = this.deps;
    const boundary = `sluice-${Bun.randomUUIDv7()}`;
    const job = JSON.stringify({
      jobReference: { projectId, jobId: id, location },
      configuration: {
        load: {
          destinationTable: { projectId, datasetId, tableId: table },
          sourceFormat: "NEWLINE_DELIMITED_JSON",
          createDisposition: "CREATE_NEVER",
          writeDisposition: "WRITE_APPEND",
        },
      },
    });
    return await this.ask(`${this.root}/upload/bigquery/v2/projects/${projectId}/jobs?uploadType=multipart`, {
      method: "POST",
      body: `--${boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n${job}\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\n\r\n${lines}\r\n--${boundary}--\r\n`,
      headers: { "content-type": `multipart/related; boundary=${boundary}` },
      timeout: UPLOAD_TIMEOUT,
    });
  }

  async job(id: string, location: string): Promise<Job | null> {
    return await this.ask<Job>(
      `${this.root}/bigquery/v2/projects/${this.deps.project}/jobs/${id}?location=${encodeURIComponent(location)}`,
    ).catch(nullFor404);
  }

  /** Breaks off what is under way. */
  close(): void {
    for (const each of this.running) each.abort();
  }

  private path(rest: string): string {
    return `${this.root}/bigquery/v2/projects/${this.deps.project}/datasets/${this.deps.dataset}${rest}`;
  }

  private async ask<T>(url: string, ask: Ask = {}): Promise<T> {
    let isRenewed = false;
    for (let tries = 0; ; ) {
      const token = await this.deps.token.get();
      const answer = await this.send(url, ask, token);
      if (answer.kind === "good") return answer.body as T;
      if (answer.status === 401 && !isRenewed) {
        isRenewed = true;
        this.deps.token.refused(token);
        continue;
      }
      const pause = answer.mayPass ? RETRIES[tries++] : undefined;
      if (pause === undefined) throw this.thrown(answer);
      await this.deps.pause(pause);
    }
  }

  private async send(url: string, { method = "GET", body, headers, timeout = TIMEOUT }: Ask, token: string): Promise<Reply> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), timeout);
    this.running.add(abort);
    try {
      const response = await fetch(url, {
        method,
        body,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
        redirect: "error",
        signal: abort.signal,
      });
      const text = await response.text();
      return response.ok ? { kind: "good", body: JSON.parse(text) } : faultOf(response.status, text);
    } catch (error) {
      const why = `BigQuery can't be reached at ${new URL(url).host}: ${codeOf(error)}`;
      return { kind: "bad", status: 0, reason: "", message: why, mayPass: true };
    } finally {
      clearTimeout(timer);
      this.running.delete(abort);
    }
  }

  private thrown({ status, reason, message }: Bad): Error {
    const { token, project, dataset, usesJobs } = this.deps;
    if (status === 0) return new SinkAway(message);
    if (status === 401)
      return new SinkAway(`BigQuery does not take the token of ${token.who}: ${message}. Check that the account is there and not disabled`);
    if (status === 429 || OUT_OF_QUOTA.test(reason)) return new SinkAway(`BigQuery's quota is used up for now: ${message}`);
    if (status >= 500) return new SinkAway(`BigQuery has a fault of its own (status ${status}): ${message}`);
    if (status !== 403) return new Refused(status, reason, message);
    if (/free tier/i.test(message))
      return new SinkAway(`${message} Turn billing on for the project, or set every, so that rows are loaded`);
    if (reason !== "accessDenied") return new SinkAway(`BigQuery refuses the request (${reason}): ${message}`);
    const jobs = usesJobs ? `, and roles/bigquery.jobUser on the project ${project}` : "";
    return new SinkAway(
      `BigQuery refuses ${token.who}: ${message}. Give it the role roles/bigquery.dataEditor on the dataset ${dataset}${jobs}`,
    );
  }
}

interface Bad {
  readonly kind: "bad";
  /** 0: there was no answer. */
  readonly status: number;
  readonly reason: string;
  readonly message: string;
  /** True when the same request may go through later. */
  readonly mayPass: boolean;
}
type Reply = { readonly kind: "good"; readonly body: unknown } | Bad;

function faultOf(status: number, text: string): Bad {
  let error: unknown;
  try {
    error = JSON.parse(text).error;
  } catch {
    // A proxy's page.
  }
  const { message, errors } = isObject(error) ? error : { message: null, errors: null };
  const first: unknown = Array.isArray(errors) ? errors[0] : null;
  const reason = isObject(first) && typeof first.reason === "string" ? first.reason : "";
  return {
    kind: "bad",
    status,
    reason,
    message: (typeof message === "string" && message !== "" ? message : `status ${status}`).slice(0, 1000),
    mayPass: status >= 500 || status === 429 || status === 408 || OUT_OF_QUOTA.test(reason),
  };
}

function nullFor404(error: unknown): null {
  if (error instanceof Refused && error.status === 404) return null;
  throw error;
}
