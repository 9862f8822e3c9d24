import { type Static, Type } from "@sinclair/typebox";
import type { Fault, Path } from "../schema/faults.ts";
import { Shape } from "../schema/fields.ts";

const File = (description: string) =>
  Type.Union([Type.String({ minLength: 1, maxLength: 4096 }), Type.Null()], {
    default: null,
    description,
    expects: "a file's path, or null",
  });

/** The settings of `upstreams.*.tls`. */
export const OwnTlsConfig = Shape(
  {
    ca: File(
      "File with the authorities that the targets' certificates are checked by, PEM, in the place of the system's; null: the system's.",
    ),
    cert: File("File with the certificate chain that targets are shown, PEM, with key; null: none."),
    key: File("File with its private key, PEM, without a password."),
    serverName: Type.Union(
      [
        Type.String({ pattern: "^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$", expects: 'a name such as "backend.internal"' }),
        Type.Null(),
      ],
      {
        default: null,
        description:
          "The name that is asked for (SNI) and that the targets' certificates must be for; null: the one in the URL. Host stays the target's.",
        expects: 'a name such as "backend.internal", or null',
      },
    ),
  },
  "TLS with https targets.",
);
export type OwnTlsConfig = Static<typeof OwnTlsConfig>;

/** Gives the faults of TLS settings that the schema can't express. Paths begin with `at`. */
export function ownTlsFaults({ cert, key }: OwnTlsConfig, at: Path): Fault[] {
  if ((cert === null) === (key === null)) return [];
  const missing = cert === null ? "cert" : "key";
  return [
    {
      path: [...at, missing],
      message: `is required beside ${missing === "cert" ? "key" : "cert"}: targets are shown a certificate with its key`,
    },
  ];
}
