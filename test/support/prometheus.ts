import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./process.ts";

/** One sample of an instant query's answer. */
export interface Sample {
  readonly metric: Record<string, string>;
  readonly value: number;
}

/** A real Prometheus of the test's own. */
export interface Prometheus {
  query(expression: string): Promise<Sample[]>;
  /** The answer of its API. */
  get(path: string): Promise<unknown>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Scrapes the URLs once a second, as the job sluice. `relabel`: what is done to each sample (metric_relabel_configs). Fails where there is no prometheus: .ci/run installs it. */
export async function prometheus(urls: readonly string[], rules: string, relabel: readonly object[] = []): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-prometheus-"));
  const port = freePort();
  writeFileSync(
    join(folder, "prometheus.yml"),
    JSON.stringify({
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: [rules],
      scrape_configs: [
        {
          job_name: "sluice",
          metric_relabel_configs: relabel,
          tls_config: { insecure_skip_verify: true },
          static_configs: urls.map((url) => {
            const { host, protocol } = new URL(url);
            return { targets: [host], labels: { __scheme__: protocol.slice(0, -1) } };
          }),
        },
      ],
    }),
  );
  const child = Bun.spawn(
    [
      "prometheus",
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--enable-feature=exemplar-storage",
    ],
    { stdout: "ignore", stderr: "ignore" },
  );
  const get = async (path: string) => ((await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as { data: unknown }).data;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`prometheus ended with ${child.exitCode}`);
    if (
      await fetch(`http://127.0.0.1:${port}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      break;
    await Bun.sleep(20);
  }
  return {
    get,
    query: async (expression) => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`);
      const found = (await answer.json()) as {
        status: string;
        error?: string;
        data: { resultType: string; result: { metric: Record<string, string>; value: [number, string] }[] };
      };
      if (found.status !== "success") throw new Error(`${expression}: ${found.error}`);
      return found.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
