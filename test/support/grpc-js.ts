import type { EventEmitter } from "node:events";
import * as grpc from "@grpc/grpc-js";

// A service and its callers by grpc-js. Messages are bytes: what they say is not the gateway's business.

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/sluice.test.v1.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

export const ECHO = {
  one: method("One", false, false),
  down: method("Down", false, true),
  up: method("Up", true, false),
  both: method("Both", true, true),
} as const satisfies grpc.ServiceDefinition;

/** What all kinds of calls have that are under way. */
type Call = Pick<EventEmitter, "on"> & { readonly metadata: grpc.Metadata };

export interface EchoServer {
  readonly port: number;
  /** The metadata of the last call. */
  last: grpc.Metadata;
  /** Calls under way. */
  open: number;
  stop(): void;
}

const failure = (code: grpc.status, details: string): grpc.ServiceError =>
  Object.assign(new Error(details), { code, details, metadata: new grpc.Metadata() });

/**
 * Serves it. One: echoes; "fail:N" fails with that status, "hang" never answers. Down: "N:SIZE" brings so many messages of that size. Up: tells the
 * bytes that have come. Both: echoes each.
 */
export async function echoServer(): Promise<EchoServer> {
  const server = new grpc.Server({ "grpc.max_receive_message_length": -1 });
  const self: EchoServer = { port: 0, last: new grpc.Metadata(), open: 0, stop: () => server.forceShutdown() };
  const began = (call: Call): void => {
    self.last = call.metadata;
    self.open++;
    call.on("close", () => {
      self.open--;
    });
    call.on("error", () => {});
  };
  server.addService(ECHO, {
    one: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
      self.last = call.metadata;
      const text = call.request.toString("latin1", 0, 64);
      if (text === "hang") {
        self.open++;
        call.on("cancelled", () => {
          self.open--;
        });
      } else if (text.startsWith("fail:")) done(failure(Number(text.slice(5)), "no — sorry %"));
      else {
        const trailer = new grpc.Metadata();
        trailer.set("x-after", "1");
        trailer.set("x-some-bin", Buffer.from([0, 1, 255]));
        const head = new grpc.Metadata();
        head.set("x-before", "2");
        call.sendMetadata(head);
        done(null, call.request, trailer);
      }
    },
    down: async (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
      began(call);
      const [count = 0, size = 0] = call.request.toString().split(":").map(Number);
      const piece = Buffer.alloc(size, 1);
      let resume = () => {};
      for (const event of ["drain", "close", "cancelled"]) call.on(event, () => resume());
      const resumed = () =>
        new Promise<void>((resolve) => {
          resume = resolve;
        });
      for (let i = 0; i < count && !call.cancelled; i++) if (!call.write(piece)) await resumed();
      call.end();
    },
    up: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
      began(call);
      let bytes = 0;
      call.on("data", (part: Buffer) => {
        bytes += part.length;
      });
      call.on("end", () => done(null, Buffer.from(String(bytes))));
    },
    both: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      began(call);
      call.on("data", (part: Buffer) => call.write(part));
      call.on("end", () => call.end());
    },
  });
  await new Promise<void>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error !== null) reject(error);
      else {
        Object.assign(self, { port });
        resolve();
      }
    }),
  );
  return self;
}

/** Calls it. */
export class EchoClient extends grpc.Client {
  constructor(port: number, options: grpc.ClientOptions = {}) {
    super(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { "grpc.max_receive_message_length": -1, ...options });
  }

  /** Calls One; gives the answer with what came before and after it, or the status that it failed with. */
  one(
    text: string | Buffer,
    { metadata = new grpc.Metadata(), ...options }: grpc.CallOptions & { metadata?: grpc.Metadata } = {},
  ): Promise<{ text: string; status: grpc.StatusObject; head: grpc.Metadata }> {
    const { path, requestSerialize, responseDeserialize } = ECHO.one;
    return new Promise((resolve) => {
      let head = new grpc.Metadata();
      let answer: Buffer = Buffer.alloc(0);
      const call = this.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        Buffer.from(text as string),
        metadata,
        options,
        (_error, value) => {
          if (value !== undefined) answer = value;
        },
      );
      call.on("metadata", (given) => {
        head = given;
      });
      call.on("status", (status) => setImmediate(() => resolve({ text: answer.toString(), status, head })));
    });
  }

  down(text: string, metadata = new grpc.Metadata()): grpc.ClientReadableStream<Buffer> {
    return this.makeServerStreamRequest(ECHO.down.path, same, same, Buffer.from(text), metadata);
  }

  up(done: (error: grpc.ServiceError | null, value?: Buffer) => void): grpc.ClientWritableStream<Buffer> {
    return this.makeClientStreamRequest(ECHO.up.path, same, same, new grpc.Metadata(), done);
  }

  both(metadata = new grpc.Metadata()): grpc.ClientDuplexStream<Buffer, Buffer> {
    return this.makeBidiStreamRequest(ECHO.both.path, same, same, metadata);
  }
}

export { grpc };
