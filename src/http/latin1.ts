/** Describes what every Buffer has besides what is declared of it: heads are read and written so without a look-up of the encoding's name. */
interface Written {
  latin1Slice(from: number, to: number): string;
  latin1Write(text: string, at: number): number;
  utf8Write(text: string, at: number): number;
}

/** Gives the text that bytes are, each one a character: heads are read so (RFC 9112 §2.2). */
export const latin1Of = (bytes: Buffer, from: number, to: number): string => (bytes as unknown as Written).latin1Slice(from, to);

/** Writes a text's characters into `bytes`, each one a byte. */
export const writeLatin1 = (bytes: Buffer, text: string, at: number): void => void (bytes as unknown as Written).latin1Write(text, at);

/** Writes a text into `bytes` as UTF-8, and gives how many bytes it took. */
export const writeUtf8 = (bytes: Buffer, text: string, at: number): number => (bytes as unknown as Written).utf8Write(text, at);

/** Gives the same text as one piece of memory: what is put together stays the parts it was made of until somebody reads it. */
export const inOnePiece = (text: string): string => Buffer.from(text, "latin1").toString("latin1");
