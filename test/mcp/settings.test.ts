import { describe, expect, test } from "bun:test";
import { loadConfig, placed } from "../../src/config/load.ts";
import { configWarnings } from "../../src/config/warnings.ts";
import { formatFault } from "../../src/schema/faults.ts";

const RESOURCE = "https://api.example.com/mcp";
const issuer = (audience: readonly string[]) => ({ main: { issuer: "https://id.example.com", audience } });
const config = (mcp: object, route: object = {}, more: object = {}) => ({
  server: { host: "127.0.0.1" },
  routes: [{ path: "/mcp", upstream: "http://h", mcp, ...route }],
  ...more,
});

function faultsOf(given: object): string[] {
  const loaded = loadConfig(JSON.stringify(given), {});
  return "faults" in loaded ? loaded.faults.map((fault) => formatFault("c", fault).replace(/^c:\d+:\d+ /, "")) : [];
}

function warningsOf(given: object): string[] {
  const text = JSON.stringify(given);
  const loaded = loadConfig(text, {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const found = configWarnings(loaded.config, loaded.given, "127.0.0.1", Date.now());
  return placed(text, found)
    .map((warning) => formatFault("c", warning).replace(/^c:\d+:\d+ /, ""))
    .filter((text) => text.includes("mcp"));
}

describe("a route's mcp", () => {
  test("takes tools by name and pattern, with their scopes and costs", () => {
    const whole = {
      tools: { include: ["get_*"], exclude: ["*_delete"] },
      scopes: { "write_*": ["mcp:write"] },
      cost: { search: 5 },
      resource: RESOURCE,
    };
    expect(faultsOf(config(whole))).toEqual([]);
    expect(faultsOf(config({}))).toEqual([]);
  });

  test.each([
    [{ cost: { search: -1 } }, {}, "routes[0].mcp.cost.search"],
    [{ cost: { search: 0.5 } }, {}, "routes[0].mcp.cost.search"],
    [{ tools: { include: ["a b"] } }, {}, "routes[0].mcp.tools.include[0]"],
    [{ scopes: { write: [] } }, {}, "routes[0].mcp.scopes.write"],
    [{ tool: {} }, {}, "routes[0].mcp"],
    [{ resource: "api.example.com/mcp" }, {}, "routes[0].mcp.resource: must be a URL"],
    [{ resource: "http://api.example.com/mcp" }, {}, "routes[0].mcp.resource: must begin with https://"],
    [{ resource: "https://api.example.com/mcp#a" }, {}, "routes[0].mcp.resource: must hold no user, no query and no fragment"],
    [{}, { methods: ["GET"] }, "routes[0].methods: must have POST"],
    [{}, { cache: {} }, "routes[0].cache: means nothing beside mcp"],
    [{}, { models: ["gpt-5*"] }, "routes[0].models: means nothing beside mcp"],
    [
      {},
      { usage: "auto", limits: [{ algorithm: "fixed-window", limit: "1", window: "1d", cost: "usd" }] },
      "routes[0].limits[0].cost: never holds here: only calls of models cost money, and mcp says",
    ],
    [{ scopes: { a: ["b"] } }, { auth: "none" }, "routes[0].mcp.scopes: need a key or a token"],
    [{}, { upstream: null, respond: { status: 404 } }, "routes[0].mcp: means nothing beside respond"],
  ])("refuses what can't be meant: %j with %j", (mcp, route, fault) => {
    expect(faultsOf(config(mcp, route)).join("\n")).toContain(fault);
  });

  test.each([
    [
      "a tool that is included and excluded",
      config({ tools: { include: ["get_a", "b"], exclude: ["get_*"] } }),
      "mcp.tools.include[0]: is excluded",
    ],
    [
      "scopes of a tool that nobody may call",
      config({ tools: { include: ["get_*"] }, scopes: { write: ["w"] } }),
      "mcp.scopes.write: is of a tool",
    ],
    [
      "a cost of a tool that is excluded",
      config({ tools: { exclude: ["drop_*"] }, cost: { drop_all: 5 } }),
      "mcp.cost.drop_all: is of a tool",
    ],
    [
      "a choice of tools where a proxy asks, which sends no body along",
      config({ tools: { exclude: ["drop_*"] } }, {}, { authz: {} }),
      "mcp: is judged by the headers Mcp-Method and Mcp-Name where a proxy asks at /authz",
    ],
    ["scopes of tools where a proxy asks", config({ scopes: { a: ["b"] } }, {}, { authz: {} }), "mcp: is judged by the headers"],
    ["issuers that clients can't find", config({}, {}, { issuers: issuer([RESOURCE]) }), "mcp.resource: is missing"],
    ["a resource without an issuer", config({ resource: RESOURCE }), "mcp.resource: is not published"],
    [
      "an issuer whose tokens for it are refused",
      config({ resource: RESOURCE }, {}, { issuers: issuer(["api"]) }),
      'mcp.resource: is not in the audience of the issuer "main"',
    ],
    [
      "a resource at another path",
      config({ resource: "https://api.example.com/other" }, {}, { issuers: issuer(["https://api.example.com/other"]) }),
      "mcp.resource: does not end in /mcp",
    ],
    [
      "a resource at another host",
      config({ resource: RESOURCE }, { hosts: ["b.example.com"] }, { issuers: issuer([RESOURCE]) }),
      "mcp.resource: is at another host",
    ],
  ])("warns of %s", (_, given, warning) => {
    expect(warningsOf(given)).toEqual([expect.stringContaining(`routes[0].${warning}`)]);
  });

  test("warns of nothing where all is as it should be", () => {
    const mcp = { tools: { include: ["get_*", "write_*"] }, scopes: { "write_*": ["w"] }, cost: { "*": 1, get_a: 2 }, resource: RESOURCE };
    expect(warningsOf(config(mcp, { hosts: ["*.example.com"] }, { issuers: issuer([RESOURCE]) }))).toEqual([]);
  });
});
