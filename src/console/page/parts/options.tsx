/** A value that can be chosen, or a pair of it and its words. */
export type Option = string | readonly [value: string, words: string];

/** Lists what a select offers. */
export const Options = ({ of }: { readonly of: readonly Option[] }) => (
  <>
    {of.map((option) => {
      const [value, words] = typeof option === "string" ? [option, option] : option;
      return (
        <option key={value} value={value}>
          {words}
        </option>
      );
    })}
  </>
);
