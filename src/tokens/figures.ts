/**
 * Counts what a model's answer reports, each token once and under the kind whose price it has: `input` are the tokens of the request that
 * are of no other kind, and so on. All are whole and not negative, but for `seconds`.
 */
export interface Figures {
  readonly input: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly cacheWriteHour: number;
  readonly inputAudio: number;
  readonly inputImage: number;
  readonly output: number;
  readonly reasoning: number;
  readonly outputAudio: number;
  readonly outputImage: number;
  /** Seconds of sound, where the provider counts those. */
  readonly seconds: number;
}

export const NO_FIGURES: Figures = {
  input: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWriteHour: 0,
  inputAudio: 0,
  inputImage: 0,
  output: 0,
  reasoning: 0,
  outputAudio: 0,
  outputImage: 0,
  seconds: 0,
};

/** Gives the tokens of the request in all: those by which providers tell long ones. */
export const contextOf = ({ input, cacheRead, cacheWrite, cacheWriteHour, inputAudio, inputImage }: Figures): number =>
  input + cacheRead + cacheWrite + cacheWriteHour + inputAudio + inputImage;
