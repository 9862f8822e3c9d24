// Runs in a browser: calls a service by Connect's gRPC-Web, and by hand in base64, which Connect does not speak.
import { create, createFileRegistry, type DescService } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const method = (name: string, serverStreaming = false) => ({
  name,
  inputType: ".test.v1.Text",
  outputType: ".test.v1.Text",
  serverStreaming,
});

const file = create(FileDescriptorProtoSchema, {
  name: "texts.proto",
  package: "test.v1",
  syntax: "proto3",
  messageType: [
    {
      name: "Text",
      field: [
        { name: "text", number: 1, type: FieldDescriptorProto_Type.STRING, label: FieldDescriptorProto_Label.OPTIONAL, jsonName: "text" },
      ],
    },
  ],
  service: [{ name: "Texts", method: [method("One"), method("Count", true), method("Closed")] }],
});
const service = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getService("test.v1.Texts") as DescService;

interface Text {
  readonly text: string;
}
interface Client {
  one(text: Text, options?: object): Promise<Text>;
  count(text: Text): AsyncIterable<Text>;
  closed(text: Text): Promise<Text>;
}

async function byConnect(baseUrl: string): Promise<object> {
  const client = createClient(service, createGrpcWebTransport({ baseUrl })) as unknown as Client;
  let after: string | null = null;
  const onTrailer = (trailers: Headers) => {
    after = trailers.get("x-after");
  };
  const one = (await client.one({ text: "a" }, { onTrailer })).text;
  const count: string[] = [];
  for await (const { text } of client.count({ text: "b" })) count.push(text);
  const failed = await client.one({ text: "fail" }).catch((error: unknown) => ConnectError.from(error));
  const closed = await client.closed({ text: "c" }).catch((error: unknown) => ConnectError.from(error));
  return {
    one,
    after,
    count,
    failed: failed instanceof ConnectError ? [failed.code as Code, failed.rawMessage] : failed,
    closed: closed instanceof ConnectError ? closed.code : closed,
  };
}

/** Calls in base64; gives the texts, the trailers and the status. */
async function inBase64(url: string, text: string): Promise<{ texts: string[]; trailers: Map<string, string>; response: Response }> {
  const message = String.fromCharCode(0, 0, 0, 0, text.length + 2, 10, text.length) + text;
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/grpc-web-text", accept: "application/grpc-web-text", "x-grpc-web": "1" },
    body: btoa(message),
  });
  const bytes = ((await response.text()).match(/[A-Za-z0-9+/]+={0,2}/g) ?? []).map(atob).join("");
  const texts: string[] = [];
  const trailers = new Map<string, string>();
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.charCodeAt(at + 3) * 256 + bytes.charCodeAt(at + 4);
    const part = bytes.slice(at + 5, at + 5 + length);
    if (bytes.charCodeAt(at) < 128) texts.push(part.slice(2));
    else
      for (const line of part.trim().split("\r\n")) {
        const [name = "", value = ""] = line.split(": ");
        trailers.set(name, value);
      }
    at += 5 + length;
  }
  return { texts, trailers, response };
}

async function byHand(baseUrl: string): Promise<object> {
  const at = (name: string) => `${baseUrl}/test.v1.Texts/${name}`;
  const one = await inBase64(at("One"), "a");
  const count = await inBase64(at("Count"), "b");
  const failed = await inBase64(at("One"), "fail");
  const closed = await inBase64(at("Closed"), "c");
  const status = ({ response }: { response: Response }) => Number(response.headers.get("grpc-status"));
  return {
    one: one.texts[0],
    after: one.trailers.get("x-after"),
    count: count.texts,
    failed: [status(failed), decodeURIComponent(failed.response.headers.get("grpc-message") ?? "")],
    closed: status(closed),
  };
}

Object.assign(globalThis, { calls: (baseUrl: string, isBinary: boolean) => (isBinary ? byConnect(baseUrl) : byHand(baseUrl)) });
