import { beforeAll, describe, expect, test } from "bun:test";
import { CompactSign, exportSPKI, importJWK, SignJWT } from "jose";
import { isFault, type TokenFault } from "../../src/issuers/faults.ts";
import type { IssuerConfig } from "../../src/issuers/settings.ts";
import { isJwt, readToken, type Token } from "../../src/issuers/token.ts";
import { VerificationKeys } from "../../src/issuers/verification-keys.ts";
import { claimsFault, compileRules, demandOf, signatureFault } from "../../src/issuers/verify.ts";
import { START } from "../support/clock.ts";
import { issuerConfig, type SigningKey, signed, signingKey, type TokenGiven } from "../support/token-issuer.ts";

const ISSUER = "https://id.example.com";
const SECONDS = START / 1000;
const SECRET = "a-secret-of-at-least-thirty-two-characters";

const keys = {} as { es: SigningKey; rs: SigningKey; ed: SigningKey; stranger: SigningKey };
beforeAll(async () => {
  keys.es = await signingKey("es");
  keys.rs = await signingKey("rs", "RS256");
  keys.ed = await signingKey("ed", "EdDSA");
  keys.stranger = await signingKey("es");
});

const config = (more: object = {}): IssuerConfig => issuerConfig({ issuer: ISSUER, audience: ["api", "other"], ...more });

function setOf(...all: object[]): VerificationKeys {
  const set = VerificationKeys.read({ keys: all });
  if (typeof set === "string") throw new Error(set);
  return set;
}

const published = () => setOf(keys.es.published, keys.rs.published, keys.ed.published);

function read(text: string): Token {
  const token = readToken(text);
  if (token === null) throw new Error("the token is malformed");
  return token;
}

/** Judges a token as an issuer does that has its keys. Gives its fault, or null. */
async function judge(
  text: string,
  given: IssuerConfig = config(),
  set: VerificationKeys = published(),
  now = START,
): Promise<TokenFault | null> {
  const token = read(text);
  const rules = compileRules(given);
  const demand = demandOf(token, rules);
  if (isFault(demand)) return demand;
  const by = given.secret === null ? set.find(demand.kid, demand.algorithm) : Buffer.from(given.secret);
  if (by === null) throw new Error("no such key");
  return (await signatureFault(token, demand.algorithm, by)) ?? claimsFault(token.claims, rules, now);
}

const token = (given: TokenGiven = {}) => signed(given.key ?? keys.es, ISSUER, START, given);
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("a JWT", () => {
  test("is told from keys and opaque tokens by its three parts and its header", async () => {
    expect(isJwt(await token())).toBe(true);
    expect(isJwt(`${part({ alg: "none" })}.${part({})}.`)).toBe(true);
    // White space within a header is allowed.
    expect(isJwt(`${Buffer.from('{ "alg":"ES256"}').toString("base64url")}.x.y`)).toBe(true);
    for (const text of [
      "",
      "slc_0123",
      "a.b.c",
      "e",
      "e..",
      "eyJ",
      "eyJhbGciOiJub25lIn0",
      "eyJhbGciOiJub25lIn0.a",
      "eyJhbGciOiJub25lIn0.a.b.c.d",
      "eyJhbGci!!.a.b",
    ])
      expect(isJwt(text)).toBe(false);
  });

  test.each([
    ["a cut-off one", async () => (await token()).split(".").slice(0, 2).join(".")],
    ["claims that are no JSON", async () => `${part({ alg: "ES256" })}.${Buffer.from("{no").toString("base64url")}.AA`],
    ["claims that are a list", async () => `${part({ alg: "ES256" })}.${part([1])}.AA`],
    ["a header that is text", async () => `${Buffer.from('"alg"').toString("base64url")}.${part({})}.AA`],
    ["characters of the other base64", async () => `${part({ alg: "ES256" })}.${part({})}.A+/=`],
    ["a space", async () => `${part({ alg: "ES256" })}.${part({})}. AA`],
    [
      "claims nested 1,000 deep",
      async () => `${part({ alg: "ES256" })}.${Buffer.from(`{"a":${"[".repeat(1000)}${"]".repeat(1000)}}`).toString("base64url")}.AA`,
    ],
    ["100,000 characters", async () => `${part({ alg: "ES256" })}.${part({ a: "a".repeat(100_000) })}.AA`],
  ])("that is %s is malformed, before anything is computed", async (_what, text) => {
    expect(readToken(await text())).toBeNull();
  });
});

describe("a token", () => {
  test("is good that one of the issuer's keys has signed, by each kind of key", async () => {
    for (const key of [keys.es, keys.rs, keys.ed]) expect(await judge(await token({ key }))).toBeNull();
  });

  test("that names no key is checked by all that fit", async () => {
    const text = await token({ header: { kid: undefined } });
    expect(await judge(text)).toBeNull();
    const other = await signingKey("other");
    expect(await judge(text, config(), setOf(other.published, keys.rs.published, keys.es.published))).toBeNull();
    expect(await judge(text, config(), setOf(other.published))).toMatchObject({ code: "tokenInvalid", isGuess: true });
  });

  test("with a wrong signature is refused, and may be a guess", async () => {
    expect(await judge(await token({ key: keys.stranger }))).toMatchObject({ code: "tokenInvalid", isGuess: true });
    const [header = "", , signature = ""] = (await token()).split(".");
    expect(await judge(`${header}.${part({ iss: ISSUER, aud: "api", sub: "root", exp: SECONDS + 99 })}.${signature}`)).toMatchObject({
      code: "tokenInvalid",
      isGuess: true,
    });
    const [first, second] = (await token()).split(".");
    for (const cut of ["", signature.slice(0, -4), "AA"])
      expect(await judge(`${first}.${second}.${cut}`)).toMatchObject({ code: "tokenInvalid", isGuess: true });
  });

  test("is told that its signature is wrong before anything of its claims", async () => {
    const text = await token({ key: keys.stranger, claims: { exp: SECONDS - 9999, aud: "others" } });
    expect(await judge(text)).toMatchObject({ code: "tokenInvalid", says: "The signature of the token is wrong" });
  });

  test.each(["none", "None", "NONE", "nOnE", "", undefined, null, 7, [["ES256"]], "es256", "ES256 "])(
    "by the algorithm %j is refused",
    async (alg) => {
      const text = `${part({ alg, kid: "es" })}.${part({ iss: ISSUER, aud: "api", sub: "root", exp: SECONDS + 99 })}.`;
      for (const each of [text, `${text}AA`]) expect(await judge(each)).toMatchObject({ code: "tokenInvalid", isGuess: false });
    },
  );

  test("by HMAC with the public key as the secret is refused: the algorithm is not the issuer's", async () => {
    const spki = await exportSPKI((await importJWK(keys.rs.published, "RS256")) as CryptoKey);
    for (const secret of [spki, spki.trim(), JSON.stringify(keys.rs.published)])
      expect(await judge(await hmac(Buffer.from(secret), "rs"))).toMatchObject({ code: "tokenInvalid", isGuess: false });
  });

  test("is never checked by a secret that stands in a key set", async () => {
    const k = Buffer.from(SECRET).toString("base64url");
    const set = setOf({ kty: "oct", k, kid: "oct", alg: "HS256" }, { kty: "oct", k, kid: "es" });
    for (const kid of ["oct", "es"]) expect(set.find(kid, "HS256")).toEqual([]);
    expect(await judge(await token(), config(), set)).toMatchObject({ code: "tokenInvalid" });
  });

  test("is checked only by a key that is for its algorithm", async () => {
    const { alg: _, ...plain } = keys.rs.published;
    const find = (jwk: object, algorithm: string) => setOf({ ...jwk, kid: "a" }).find("a", algorithm)?.length;
    expect([find(plain, "RS256"), find(plain, "PS256"), find(plain, "RS512")]).toEqual([1, 1, 1]);
    expect([find(keys.rs.published, "RS256"), find(keys.rs.published, "PS256")]).toEqual([1, 0]);
    expect([
      find(plain, "ES256"),
      find(plain, "HS256"),
      find(plain, "none"),
      find(keys.es.published, "RS256"),
      find(keys.es.published, "ES384"),
    ]).toEqual([0, 0, 0, 0, 0]);
    expect([
      find({ ...plain, use: "enc" }, "RS256"),
      find({ ...plain, key_ops: ["encrypt"] }, "RS256"),
      find({ ...plain, key_ops: ["verify"] }, "RS256"),
    ]).toEqual([0, 0, 1]);
    expect([find(keys.ed.published, "EdDSA"), find(keys.ed.published, "Ed25519")]).toEqual([1, 1]);
    // A token whose header claims another algorithm than its key is for.
    expect(await judge(await token({ key: { ...keys.es, kid: "rs" } }))).toMatchObject({ code: "tokenInvalid", isGuess: false });
  });

  test("by an algorithm that the issuer does not use is refused, though its key would fit", async () => {
    expect(await judge(await token({ key: keys.es }), config({ algorithms: ["RS256"] }))).toMatchObject({
      code: "tokenInvalid",
      isGuess: false,
    });
  });

  test("with a critical header is refused", async () => {
    for (const header of [{ crit: ["b64"], b64: false }, { crit: ["exp"] }, { crit: [] }]) {
      const text = `${part({ alg: "ES256", kid: "es", ...header })}.${part({ iss: ISSUER })}.AA`;
      expect(await judge(text)).toMatchObject({ code: "tokenInvalid", why: "its header has crit" });
    }
  });

  test("brings no key of its own", async () => {
    const { stranger } = keys;
    const text = await token({
      key: stranger,
      header: { jwk: stranger.published, jku: "http://127.0.0.1:1/jwks", x5u: "http://127.0.0.1:1/" },
    });
    expect(await judge(text)).toMatchObject({ code: "tokenInvalid", isGuess: true });
  });

  test("is checked by the public half of a key that was published whole", async () => {
    const { privateKey } = keys.es;
    const whole = { ...((await crypto.subtle.exportKey("jwk", privateKey)) as object), kid: "es", key_ops: undefined };
    expect(whole).toHaveProperty("d");
    expect(await judge(await token(), config(), setOf(whole))).toBeNull();
  });

  test("of a key that is too short to prove anything is refused, and no guess", async () => {
    const pair = await crypto.subtle.generateKey(
      { name: "RSASSA-PKCS1-v1_5", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
      true,
      ["sign", "verify"],
    );
    const signing = `${part({ alg: "RS256", kid: "short" })}.${part({ iss: ISSUER, sub: "a" })}`;
    const signature = await crypto.subtle.sign("RSASSA-PKCS1-v1_5", pair.privateKey, Buffer.from(signing));
    const set = setOf({ ...((await crypto.subtle.exportKey("jwk", pair.publicKey)) as object), kid: "short" });
    expect(await judge(`${signing}.${Buffer.from(signature).toString("base64url")}`, config(), set)).toMatchObject({
      code: "tokenInvalid",
      isGuess: false,
    });
  });

  test.each([
    ["api", true],
    [["api"], true],
    [["x", "other"], true],
    ["x", false],
    [[], false],
    ["api other", false],
    [undefined, false],
    [7, false],
    [[["api"]], false],
  ])("for the audience %j is taken: %j", async (aud, isTaken) => {
    const fault = await judge(await token({ claims: { aud } }));
    if (isTaken) expect(fault).toBeNull();
    else expect(fault).toMatchObject({ code: "tokenInvalid", says: "The token is for another audience", isGuess: false });
  });

  test("is for anybody where no audience is wanted", async () => {
    for (const aud of ["x", undefined]) expect(await judge(await token({ claims: { aud } }), config({ audience: [] }))).toBeNull();
  });

  test.each([
    [null, "JWT", true],
    [null, undefined, true],
    ["at+jwt", "at+jwt", true],
    ["at+jwt", "application/at+jwt", true],
    ["application/at+jwt", "AT+JWT", true],
    ["at+jwt", "JWT", false],
    ["at+jwt", undefined, false],
    ["at+jwt", 7, false],
  ])("where the type %j is wanted, one of the type %j is taken: %j", async (type, typ, isTaken) => {
    const fault = await judge(await token({ header: { typ } }), config({ type }));
    if (isTaken) expect(fault).toBeNull();
    else expect(fault).toMatchObject({ code: "tokenInvalid", says: "The token is of another type than is taken here" });
  });

  test("is good until its exp, and the tolerance longer", async () => {
    const text = await token({ claims: { exp: SECONDS } });
    const given = config({ clockTolerance: "30s" });
    expect(await judge(text, given, published(), START + 29_999)).toBeNull();
    expect(await judge(text, given, published(), START + 30_000)).toMatchObject({ code: "tokenExpired", isGuess: false });
    expect(await judge(text, config({ clockTolerance: "0s" }), published(), START)).toMatchObject({ code: "tokenExpired" });
  });

  test("is good from its nbf and iat on, and the tolerance before", async () => {
    for (const name of ["nbf", "iat"]) {
      const text = await token({ claims: { [name]: SECONDS } });
      expect(await judge(text, config(), published(), START - 30_000)).toBeNull();
      expect(await judge(text, config(), published(), START - 30_001)).toMatchObject({ code: "tokenInvalid", isGuess: false });
    }
  });

  test("is too old when maxAge has passed since its iat, and needs one then", async () => {
    const given = config({ maxAge: "10m" });
    expect(await judge(await token(), given, published(), START + 629_999)).toBeNull();
    expect(await judge(await token(), given, published(), START + 630_000)).toMatchObject({ code: "tokenExpired" });
    expect(await judge(await token({ claims: { iat: undefined } }), given)).toMatchObject({
      code: "tokenInvalid",
      says: "The token lacks the claim iat",
    });
  });

  test.each(["soon", null, {}, true, "1e9"])("with a time that is %j is refused", async (time) => {
    for (const name of ["exp", "nbf", "iat"]) {
      const text = await compact({ iss: ISSUER, aud: "api", exp: SECONDS + 99, [name]: time });
      expect(await judge(text)).toMatchObject({ code: "tokenInvalid" });
    }
  });

  test("must have the claims that are required, exp if nothing else is said", async () => {
    expect(await judge(await token({ claims: { exp: undefined } }))).toMatchObject({
      code: "tokenInvalid",
      says: "The token lacks the claim exp",
    });
    expect(await judge(await token({ claims: { exp: undefined } }), config({ requiredClaims: [] }))).toBeNull();
    const given = config({ requiredClaims: ["exp", "realm.id"] });
    expect(await judge(await token(), given)).toMatchObject({ says: "The token lacks the claim realm.id" });
    expect(await judge(await token({ claims: { realm: { id: null } } }), given)).toMatchObject({ code: "tokenInvalid" });
    expect(await judge(await token({ claims: { realm: { id: 0 } } }), given)).toBeNull();
  });

  test("by a secret is good by that one alone", async () => {
    const given = config({ secret: SECRET });
    expect(await judge(await hmac(Buffer.from(SECRET)), given)).toBeNull();
    expect(await judge(await hmac(Buffer.from(`${SECRET}.`)), given)).toMatchObject({ code: "tokenInvalid", isGuess: true });
    expect(await judge(await token(), given)).toMatchObject({ code: "tokenInvalid", isGuess: false });
  });
});

describe("a key set", () => {
  test.each([[null], [[]], ["text"], [{}], [{ keys: {} }], [{ keys: [] }], [{ keys: [7, "a", null] }]])("that is %j is none", (set) => {
    expect(typeof VerificationKeys.read(set)).toBe("string");
  });

  test("with a malformed key has its others", async () => {
    const set = setOf({ kty: "EC", crv: "P-256", x: "AA", y: "AA", kid: "broken" }, {}, { kty: "RSA", kid: "es" }, keys.es.published);
    expect(await judge(await token(), config(), set)).toBeNull();
    expect(await judge(await token({ header: { kid: "broken" } }), config(), set)).toMatchObject({ code: "tokenInvalid", isGuess: false });
  });
});

/** A token by HMAC. */
const hmac = (secret: Uint8Array, kid?: string): Promise<string> =>
  new SignJWT({ iss: ISSUER, aud: "api", sub: "alice", exp: SECONDS + 99 })
    .setProtectedHeader({ alg: "HS256", ...(kid === undefined ? {} : { kid }) })
    .sign(secret);

/** A token with claims that `SignJWT` would refuse to write. */
const compact = (claims: object): Promise<string> =>
  new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader({ alg: "ES256", kid: "es" }).sign(keys.es.privateKey);
