import type { ComponentChildren } from "preact";

/** Shows names with their values. What is `null` is left out. */
export const KeyValue = ({ of }: { readonly of: readonly (readonly [name: string, value: ComponentChildren])[] }) => (
  <dl class="pairs">
    {of.map(([name, value]) =>
      value === null ? null : (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ),
    )}
  </dl>
);
