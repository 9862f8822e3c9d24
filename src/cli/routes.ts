import { readFileSync } from "node:fs";
import type { WalkedAnswer } from "../explain/walk.ts";
import { print } from "../telemetry/stdout.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { act, ask, NO_SLUICE, REMOTE_FLAGS, RemoteFault, text } from "./remote.ts";
import { ROUTE_FLAGS, ROUTES, recordActions } from "./resources.ts";

export const routes: Command = {
  name: "routes",
  usage: "routes list | get NAME | create NAME --file FILE | update NAME --file FILE | delete NAME | test METHOD PATH",
  summary:
    "Lists, shows, creates, changes and deletes routes of a running gateway. test prints a request's way step by step without sending it: exit status 1 where it would be refused.",
  flags: [
    ...REMOTE_FLAGS,
    ...ROUTE_FLAGS,
    {
      name: "key",
      value: "KEY",
      help: "in a test, the API key that the request shows (SLUICE_KEY); - reads it from stdin: other users of a machine can read arguments",
    },
    { name: "ip", value: "ADDRESS", help: "in a test, the caller's address (127.0.0.1)" },
    { name: "host", value: "HOST", help: "in a test, the Host field, where routes have hosts" },
    { name: "tool", value: "TOOL", help: "in a test, the tool that the request calls, by the Model Context Protocol" },
    { name: "model", value: "NAME", help: "in a test, the model that the request names, where the route calls models" },
    { name: "header", value: "FIELD", help: 'in a test, a field of the request, as in "X-Tenant: acme"' },
  ],
  actions: ["list", "get", "create", "update", "delete", "test"],
  positionals: 3,
  run: (input) =>
    act(input, "routes list|get|create|update|delete|test", {
      test: (method) => test(input, method),
      ...recordActions(input, ROUTES),
    }),
};

async function test(input: Input, method: string | undefined): Promise<number> {
  const target = input.positionals[2];
  if (method === undefined || target === undefined)
    throw new UsageError("a method and a path are needed: sluice routes test GET /api/users/7");
  const header = text(input, "header");
  const found = await ask<WalkedAnswer>(input, "POST", "/admin/explain/request", {
    method: method.toUpperCase(),
    target,
    key: keyOf(input),
    ip: text(input, "ip"),
    host: text(input, "host"),
    tool: text(input, "tool"),
    model: text(input, "model"),
    headers: header === undefined ? [] : [header],
  });
  if (!Array.isArray(found?.steps)) throw new RemoteFault(NO_SLUICE);
  if (input.flags.json === true) print(`${JSON.stringify(found)}\n`);
  else {
    const lines = found.steps.map(({ step, passed, detail }) => `  ${passed === false ? "x" : " "} ${step.padEnd(10)}${detail}`);
    const end =
      found.refusal === null
        ? found.forwarded === null
          ? "it would be let through"
          : `it would be sent as ${found.forwarded}`
        : `it would be refused: ${found.refusal.status} ${found.refusal.code}`;
    print(`${method.toUpperCase()} ${target}\n${lines.join("\n")}\n${end}\n`);
  }
  return found.refusal === null ? 0 : 1;
}

/** Gives the key that the request shows: the one that was given, else SLUICE_KEY. */
function keyOf(input: Input): string | undefined {
  const given = text(input, "key") ?? (process.env.SLUICE_KEY || undefined);
  if (given !== "-") return given;
  let key = "";
  try {
    key = readFileSync(0, "utf8").trim();
  } catch {
    // A closed one holds none either.
  }
  if (key === "") throw new UsageError("--key - reads the key from stdin, where there is none");
  return key;
}
