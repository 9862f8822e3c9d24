import { print } from "../telemetry/stdout.ts";
import { type Command, UsageError } from "./arguments.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

/** Makes the command that prints what a shell needs to complete all of `commands`. */
export const completionOf = (commands: () => readonly Command[]): Command => ({
  name: "completion",
  usage: "completion bash|zsh|fish",
  summary:
    "Prints completions for a shell. bash: source <(sluice completion bash). zsh: sluice completion zsh > ~/.zfunc/_sluice. fish: sluice completion fish > ~/.config/fish/completions/sluice.fish.",
  flags: [],
  actions: SHELLS,
  positionals: 1,
  run: async ({ positionals }) => {
    const shell = SHELLS.find((each) => each === positionals[0]);
    if (shell === undefined) throw new UsageError(`name a shell: ${SHELLS.join(", ")}`);
    print(WRITERS[shell](commands()));
    return 0;
  },
});

const flagsOf = ({ flags }: Command): string[] => [
  ...flags.flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]),
  "--help",
];
const wordsOf = (command: Command): string => [...(command.actions ?? []), ...flagsOf(command)].join(" ");
const namesOf = (commands: readonly Command[]): string => commands.map(({ name }) => name).join(" ");
/** Gives the first sentence, for lists. */
const shortOf = ({ summary }: Command): string => summary.split(/[.:;](?:\s|$)/, 1)[0] ?? "";

/** Gives a text within single quotes of a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const WRITERS: Readonly<Record<Shell, (commands: readonly Command[]) => string>> = {
  bash: (commands) =>
    [
      "_sluice() {",
      '  local current="${COMP_WORDS[COMP_CWORD]}" words',
      '  if [ "$COMP_CWORD" -eq 1 ]; then',
      `    words=${quoted(`${namesOf(commands)} --help --version`)}`,
      "  else",
      '    case "${COMP_WORDS[1]}" in',
      ...commands.map((command) => `      ${command.name}) words=${quoted(wordsOf(command))} ;;`),
      "    esac",
      "  fi",
      '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
      "}",
      // What is no word of ours may be a file.
      "complete -o bashdefault -o default -F _sluice sluice",
      "",
    ].join("\n"),
  zsh: (commands) =>
    [
      "#compdef sluice",
      "_sluice() {",
      "  local -a known",
      "  if (( CURRENT == 2 )); then",
      `    known=(${commands.map((command) => quoted(`${command.name}:${shortOf(command).replaceAll(":", "\\:")}`)).join(" ")})`,
      "    _describe command known",
      "    return",
      "  fi",
      '  case "$words[2]" in',
      ...commands.map((command) => `    ${command.name}) compadd -- ${wordsOf(command)} ;;`),
      "  esac",
      "  _files",
      "}",
      // Sourced it has to be told whose it is; as a file in fpath the first line says so.
      'if [ "$funcstack[1]" = "_sluice" ]; then _sluice "$@"; else compdef _sluice sluice; fi',
      "",
    ].join("\n"),
  fish: (commands) =>
    [
      ...commands.map((command) => `complete -c sluice -n __fish_use_subcommand -a ${command.name} -d ${quoted(shortOf(command))}`),
      ...commands.flatMap((command) => {
        const within = `complete -c sluice -n ${quoted(`__fish_seen_subcommand_from ${command.name}`)}`;
        return [
          ...(command.actions === undefined ? [] : [`${within} -f -a ${quoted(command.actions.join(" "))}`]),
          ...command.flags.map(
            ({ name, short, value, help }) =>
              `${within} -l ${name}${short === undefined ? "" : ` -s ${short}`}${value === undefined ? "" : " -r"} -d ${quoted(help)}`,
          ),
        ];
      }),
      "",
    ].join("\n"),
};
