import { readFileSync } from "node:fs";
import { loadConfig } from "../config/load.ts";
import { algorithmsOf, type IssuerConfig } from "../issuers/settings.ts";
import { formatFault } from "../schema/faults.ts";
import { print } from "../telemetry/stdout.ts";
import { isObject } from "../values/json.ts";
import { DURATION_PATTERN, parseDuration } from "../values/units.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { meantFile } from "./config-file.ts";
import { text } from "./remote.ts";

export const signToken: Command = {
  name: "sign-token",
  usage: "sign-token SUBJECT [--issuer NAME] [--claims JSON] [--for DURATION] [--config FILE]",
  summary:
    "Prints a token (JWT) for SUBJECT, signed with the secret of an issuer in the configuration file: for trying out, and for scripts of your own. Tokens of issuers with public keys come from these issuers alone.",
  flags: [
    { name: "issuer", value: "NAME", help: "the issuer, where several have a secret" },
    { name: "claims", value: "JSON", help: 'further claims, as in \'{"plan":"gold","scope":"orders:read"}\'; null takes one away' },
    { name: "for", value: "DURATION", help: "how long it is good (1h)" },
    { name: "config", value: "FILE", help: "the configuration file (config.json, or SLUICE_CONFIG)" },
  ],
  positionals: 1,
  run: async (input) => {
    const [subject] = input.positionals;
    if (subject === undefined) throw new UsageError("name the subject, whom the token is for: sluice sign-token alice");
    const lasts = text(input, "for") ?? "1h";
    if (!new RegExp(DURATION_PATTERN).test(lasts)) throw new UsageError(`--for takes a duration such as 10m, not ${JSON.stringify(lasts)}`);
    const claims = claimsIn(input);
    const issuer = issuerOf(input);
    if (issuer === null) return 1;
    const now = Math.floor(Date.now() / 1000);
    const usual = {
      iss: issuer.issuer,
      // Also where dots would lead inwards: a claim whose name holds them comes first.
      [issuer.consumer]: subject,
      ...audienceOf(issuer),
      iat: now,
      exp: now + Math.ceil(parseDuration(lasts) / 1000),
    };
    const body = Object.fromEntries(Object.entries({ ...usual, ...claims }).filter(([, value]) => value !== null));
    // Loaded when it is wanted: every other command starts without it.
    const { SignJWT } = await import("jose");
    const [alg = "HS256"] = algorithmsOf(issuer);
    const header = { alg, ...(issuer.type === null ? {} : { typ: issuer.type }) };
    print(`${await new SignJWT(body).setProtectedHeader(header).sign(new TextEncoder().encode(issuer.secret ?? ""))}\n`);
    return 0;
  },
};

const audienceOf = ({ audience: [first] }: IssuerConfig) => (first === undefined ? {} : { aud: first });

/** Reads --claims. Throws `UsageError` for what is no object. */
function claimsIn(input: Input): Record<string, unknown> {
  const given = text(input, "claims");
  if (given === undefined) return {};
  try {
    const claims: unknown = JSON.parse(given);
    if (isObject(claims)) return claims;
  } catch {
    // It is told of below.
  }
  throw new UsageError(`--claims takes a JSON object such as '{"plan":"gold"}', not ${given}`);
}

/** Gives the issuer that is meant; `null`, with its reason on stderr, where there is none. */
function issuerOf(input: Input): IssuerConfig | null {
  const file = meantFile(text(input, "config"));
  const say = (message: string): null => {
    process.stderr.write(`sluice: ${message}\n`);
    return null;
  };
  let content: string;
  try {
    content = readFileSync(file, "utf8");
  } catch {
    return say(`${file} can't be read: name the configuration file, as in \`sluice sign-token alice --config FILE\``);
  }
  const loaded = loadConfig(content, process.env, file);
  if ("faults" in loaded) return say(loaded.faults.map((fault) => formatFault(file, fault)).join("\nsluice: "));
  const able = Object.entries(loaded.config.issuers).filter(([, { secret }]) => secret !== null);
  const wanted = text(input, "issuer");
  if (wanted !== undefined) {
    const found = loaded.config.issuers[wanted];
    if (found === undefined) return say(`${file} has no issuer ${JSON.stringify(wanted)}`);
    return found.secret === null ? say(`the tokens of ${wanted} are signed with its private key: get one from ${found.issuer}`) : found;
  }
  if (able.length > 1) return say(`several issuers have a secret: name one by --issuer ${able.map(([name]) => name).join("|")}`);
  return able[0]?.[1] ?? say(`no issuer in ${file} has a secret to sign with: tokens come from the issuers themselves`);
}
