import type { Body } from "../http/body.ts";
import { collect, WholeBody } from "../http/body.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { decodeMessage } from "./message.ts";
import { framedMessage, oneMessage } from "./messages.ts";
import { bytesField, message, readNumber } from "./protobuf.ts";
import { nameOf, readStatus, statusOfHttp } from "./status.ts";

// The protocol by which servers of gRPC are asked whether they are well (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).

export const HEALTH_CHECK_PATH = "/grpc.health.v1.Health/Check";

const SERVING = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/** The bytes of an answer that are read: more is no answer. */
const MAX_ANSWER = 65_536;

/** Makes the question whether a service is well; "": the whole server. */
export const healthQuestion = (service: string): WholeBody =>
  new WholeBody(framedMessage(service === "" ? message() : message(bytesField(1, service))));

/** Gives what an answer says is wrong; `null`: nothing. Rejects when it breaks off. */
export async function healthFault({ status, fields, body }: UpstreamResponse): Promise<string | null> {
  if (status !== 200) {
    if (body !== null && !(body instanceof Uint8Array)) body.cancel();
    return `answers ${status}`;
  }
  let trailers = fields;
  const whole =
    body === null
      ? new Uint8Array()
      : body instanceof Uint8Array
        ? body
        : await collect(
            told(body, (given) => (trailers = given)),
            MAX_ANSWER,
          );
  const code = readStatus(trailers.get("grpc-status") ?? fields.get("grpc-status")) ?? statusOfHttp(status);
  if (code !== 0) {
    const said = decodeMessage(trailers.get("grpc-message") ?? "");
    return `answers the health check with ${nameOf(code)}${said === "" ? "" : `: ${said.slice(0, 200)}`}`;
  }
  const answer = oneMessage(whole);
  const serving = answer === null ? null : readNumber(answer, 1);
  if (serving === null) return "answers the health check with something else";
  return serving === 1 ? null : `says that it is ${SERVING[serving] ?? "UNKNOWN"}`;
}

/** Tells the trailers of a body on its way. */
const told = (body: Body, tell: (trailers: UpstreamResponse["fields"]) => void): Body => ({
  length: body.length,
  start: (sink) =>
    body.start({
      write: (bytes) => sink.write(bytes),
      end: (trailers = null) => {
        if (trailers !== null) tell(trailers);
        sink.end();
      },
      fail: (reason) => sink.fail(reason),
    }),
  resume: () => body.resume(),
  cancel: () => body.cancel(),
});
