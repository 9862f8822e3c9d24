// Where a webhook that the admin API made may lead, and that what was judged is what is connected to.
import { expect } from "bun:test";
import { PooledClient } from "../../src/http/client.ts";
import { systemClock } from "../../src/values/clock.ts";
import { addressesOf, destinationFault } from "../../src/webhooks/destination.ts";
import { Sender } from "../../src/webhooks/sender.ts";
import { certified } from "../support/certificates.ts";
import { having } from "../support/programs.ts";
import { WEBHOOK_SECRET } from "../support/receiver.ts";

const { describe, test } = having("openssl");

test("a webhook of the API leads neither to this machine nor to its network, however that is written", () => {
  expect(destinationFault("http://hooks.example.com/", null)).toContain("must begin with https://");
  const ipv4 = "127.0.0.1 10.0.0.1 192.168.1.1 169.254.169.254 0x7f.1 2130706433 0.0.0.0 100.64.0.1 192.0.2.1 224.0.0.1 255.255.255.255";
  const ipv6 = "::1 ::ffff:127.0.0.1 fe80::1 fd00::1 64:ff9b::7f00:1 2002:7f00:1:: ff02::1 :: 2001:db8::1";
  for (const host of [...ipv4.split(" "), ...ipv6.split(" ").map((each) => `[${each}]`)])
    expect([host, destinationFault(`https://${host}/`, null)]).toEqual([host, expect.stringContaining("is no address of the internet")]);
});

test("it leads to the internet, and to what admin.upstreamAllow lists, but never to where clouds keep credentials", async () => {
  for (const place of ["93.184.215.14", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]", "hooks.example.com"])
    expect(destinationFault(`https://${place}/`, null)).toBeNull();
  expect(destinationFault("https://10.1.2.3/", ["10.0.0.0/8"])).toBeNull();
  expect(destinationFault("https://169.254.169.254/", ["169.254.0.0/16"])).not.toBeNull();
  const at = (found: readonly string[], allow: readonly string[] | null) =>
    addressesOf("https://hooks.example.com/", allow, async () => found);
  expect(await at(["2606:2800::1", "10.0.0.1", "93.184.215.14"], null)).toEqual(["93.184.215.14", "2606:2800::1"]);
  expect(await at(["10.0.0.1"], ["*.example.com"])).toEqual(["10.0.0.1"]);
  expect(at(["10.0.0.1", "127.0.0.1"], null)).rejects.toThrow(
    "hooks.example.com leads to 10.0.0.1, 127.0.0.1, which is no address of the internet",
  );
  expect(at(["169.254.169.254"], ["hooks.example.com"])).rejects.toThrow("is no address of the internet");
  expect(at([], null)).rejects.toThrow("leads to nowhere");
});

describe("a delivery", () => {
  const message = { id: "msg_1", body: "{}" };

  /** A receiver with TLS, and a sender for which the name leads to these addresses, one list after the other. */
  function over(names: readonly (readonly string[])[], allow: readonly string[]) {
    const { cert, key } = certified(["hooks.example.com"]);
    const seen: { host: string | null; path: string }[] = [];
    const server = Bun.serve({
      ...{ port: 0, hostname: "127.0.0.1", tls: { cert, key } },
      fetch: (request) => {
        seen.push({ host: request.headers.get("host"), path: new URL(request.url).pathname });
        return new Response("ok");
      },
    });
    const asked: string[] = [];
    const client = new PooledClient(systemClock);
    const sender = new Sender({
      ...{ client, wall: () => Date.now(), allow: () => allow, ca: cert },
      resolve: async (host) => {
        asked.push(host);
        return names[asked.length - 1] ?? [];
      },
    });
    const url = (host = "hooks.example.com") => `https://${host}:${server.port}/sluice`;
    return {
      ...{ seen, asked },
      send: (host?: string) => sender.send({ url: url(host), secret: WEBHOOK_SECRET, isFromApi: true }, message),
      port: server.port,
      [Symbol.dispose]: () => {
        client.close();
        server.stop(true);
      },
    };
  }

  test("goes to the address that was judged, looked up once, with the certificate and the Host of the name", async () => {
    // What the name leads to the second time (rebinding) is never asked for.
    using way = over([["127.0.0.1"], ["10.0.0.1"]], ["127.0.0.1/32"]);
    expect(await way.send()).toEqual({ status: 200, answer: "ok", error: null });
    expect(way.asked).toEqual(["hooks.example.com"]);
    expect(way.seen).toEqual([{ host: `hooks.example.com:${way.port}`, path: "/sluice" }]);
    expect((await way.send()).error).toContain("leads to 10.0.0.1");
    expect(way.seen.length).toBe(1);
  });

  test("takes the next address of the name where one can't be reached", async () => {
    using way = over([["127.0.0.2", "127.0.0.1"]], ["127.0.0.0/8"]);
    expect((await way.send()).status).toBe(200);
  });

  test("fails where the certificate is for another name, and where the name can't be looked up", async () => {
    using way = over([["127.0.0.1"]], ["127.0.0.0/8"]);
    expect((await way.send("other.example.com")).error).toContain("TLS");
    expect(way.seen).toEqual([]);
    const client = new PooledClient(systemClock);
    const resolve = (): Promise<never> => Promise.reject(new Error("ENOTFOUND"));
    const sender = new Sender({ client, wall: () => 0, allow: () => null, resolve });
    const outcome = await sender.send({ url: "https://none.example.com/", secret: WEBHOOK_SECRET, isFromApi: true }, message);
    expect(outcome).toEqual({ status: null, answer: null, error: "none.example.com can't be looked up: ENOTFOUND" });
    client.close();
  });
});
