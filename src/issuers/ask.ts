/** The most characters of what operators are told: an issuer's answer may stand in it. */
const MAX_TOLD = 500;

/** Says that an issuer gave no answer that can be used, and why; for operators. */
export class IssuerTrouble extends Error {
  /** `refusal`: the status of an answer to a form that was no 200; `null` for all else. */
  constructor(
    why: string,
    readonly refusal: number | null = null,
  ) {
    super(why.length > MAX_TOLD ? `${why.slice(0, MAX_TOLD - 1)}…` : why);
  }
}

/** The most bytes of an answer, and the most times that one leads elsewhere. */
const MAX_ANSWER = 1024 * 1024;
const MAX_REDIRECTS = 3;

/** Says why a URL may not be asked; `null`: it may. */
export type Refuses = (url: string) => string | null;

export interface Question {
  readonly url: string;
  /** Judges the URL, and each to which it redirects. */
  readonly refuses: Refuses;
  readonly signal: AbortSignal;
  /** A form that is posted, and the Authorization field that goes with it, if any; left out: the question is a GET. */
  readonly form?: { readonly fields: URLSearchParams; readonly authorization: string | null };
}

/**
 * Asks an issuer and gives the JSON of its answer, which must be 200 and of 1 MB at most. Throws `IssuerTrouble`, and what `signal` was
 * aborted with. A GET follows redirects, but never to an address that others on the way can read.
 */
export async function askIssuer({ url, refuses, signal, form }: Question): Promise<unknown> {
  let at = new URL(url);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const refusal = refuses(at.href);
    if (refusal !== null) throw new IssuerTrouble(`${at} ${refusal}`);
    const response = await sent(at, signal, form);
    const location = response.headers.get("location");
    if (form === undefined && response.status >= 300 && response.status < 400 && location !== null) {
      await response.body?.cancel();
      if (!URL.canParse(location, at.href)) throw new IssuerTrouble(`${at} redirects to what is no URL`);
      const next = new URL(location, at);
      if (next.protocol !== "https:" && next.protocol !== at.protocol) throw new IssuerTrouble(`${at} redirects to ${next.protocol}`);
      at = next;
      continue;
    }
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new IssuerTrouble(`${at} answered ${response.status}`, form === undefined ? null : response.status);
    }
    return parsed(await textOf(response, at), at);
  }
  throw new IssuerTrouble(`${url} redirects more than ${MAX_REDIRECTS} times`);
}

async function sent(url: URL, signal: AbortSignal, form: Question["form"]): Promise<Response> {
  try {
    return await fetch(url.href, {
      signal,
      redirect: "manual",
      // Questions are rare: a connection that was kept would often be found closed.
      keepalive: false,
      headers: {
        accept: "application/json",
        ...(form === undefined || form.authorization === null ? {} : { authorization: form.authorization }),
      },
      ...(form === undefined ? {} : { method: "POST", body: form.fields }),
    });
  } catch (error) {
    if (signal.aborted) throw new IssuerTrouble(`${url} does not answer in time`);
    throw new IssuerTrouble(`${url} can't be reached: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function textOf(response: Response, url: URL): Promise<string> {
  const decoder = new TextDecoder();
  let [text, size] = ["", 0];
  try {
    for await (const bytes of response.body ?? []) {
      size += bytes.length;
      if (size > MAX_ANSWER) throw new IssuerTrouble(`${url} answered more than ${MAX_ANSWER} bytes`);
      text += decoder.decode(bytes, { stream: true });
    }
  } catch (error) {
    if (error instanceof IssuerTrouble) throw error;
    throw new IssuerTrouble(`${url} did not finish its answer`);
  }
  return text + decoder.decode();
}

function parsed(text: string, url: URL): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new IssuerTrouble(`${url} did not answer with JSON`);
  }
}
