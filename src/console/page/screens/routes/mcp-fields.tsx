import { CheckField, NumberField, TextField } from "../../parts/form.tsx";
import { WordsField } from "../../records/fields.tsx";
import type { FieldsProps } from "../../records/record-page.tsx";
import { Row, Rows } from "../../records/rows.tsx";
import type { McpSettings, RouteSettings } from "../../records/types.ts";

const ALL_TOOLS: McpSettings = { tools: { include: [], exclude: [] }, scopes: {}, cost: {} };

/** Says that a route leads to an MCP server, and what callers may do with its tools. */
export function McpFields({ draft: { mcp }, change }: Pick<FieldsProps<RouteSettings>, "draft" | "change">) {
  const put = (changed: Partial<McpSettings>): void => change({ mcp: { ...(mcp ?? ALL_TOOLS), ...changed } });
  return (
    <>
      <CheckField
        name="mcp"
        label="The upstream is an MCP server"
        hint="Sluice then knows the tools that are called: it hides, limits and counts them."
        value={mcp !== null}
        onValue={(isOn) => change({ mcp: isOn ? ALL_TOOLS : null })}
      />
      {mcp !== null && (
        <>
          <div class="cells">
            <WordsField
              name="mcp.tools.include"
              label="Only these tools"
              value={mcp.tools.include}
              placeholder="all, or get_*, list_*"
              onValue={(include) => put({ tools: { ...mcp.tools, include } })}
            />
            <WordsField
              name="mcp.tools.exclude"
              label="Not these tools"
              value={mcp.tools.exclude}
              placeholder="none, or *_delete"
              onValue={(exclude) => put({ tools: { ...mcp.tools, exclude } })}
            />
            <TextField
              name="mcp.resource"
              label="Its address for clients"
              value={mcp.resource ?? ""}
              placeholder="https://api.example.com/files/mcp"
              hint="The resource for which an issuer makes tokens (RFC 9728)."
              onValue={(resource) => put({ resource: resource === "" ? null : resource })}
            />
          </div>
          <ByTool
            title="Scopes that tools need"
            none="None: whoever may use the route may call each tool that is shown."
            add="Add scopes for a tool"
            what="scopes"
            of={mcp.scopes}
            fresh={[]}
            onChange={(scopes) => put({ scopes })}
            Value={ScopesOf}
          />
          <ByTool
            title="What calls cost"
            none="None: a call costs what the route says."
            add="Add a cost for a tool"
            what="cost"
            of={mcp.cost}
            fresh={1}
            onChange={(cost) => put({ cost })}
            Value={CostOf}
          />
        </>
      )}
    </>
  );
}

interface ValueProps<T> {
  readonly name: string;
  readonly value: T;
  readonly onValue: (value: T) => void;
}

const ScopesOf = ({ name, value, onValue }: ValueProps<readonly string[]>) => (
  <WordsField name={name} label="Scopes" required value={value} placeholder="mcp:write" onValue={onValue} />
);

const CostOf = ({ name, value, onValue }: ValueProps<number>) => (
  <NumberField name={name} label="Costs" required min={0} value={value} onValue={(cost) => onValue(cost ?? 0)} />
);

interface ByToolProps<T> {
  readonly title: string;
  readonly none: string;
  readonly add: string;
  /** The field of `mcp` that they are in, for faults: "scopes". */
  readonly what: "scopes" | "cost";
  readonly of: Readonly<Record<string, T>>;
  /** What a new row has. */
  readonly fresh: T;
  readonly onChange: (of: Readonly<Record<string, T>>) => void;
  readonly Value: (props: ValueProps<T>) => preact.JSX.Element;
}

/** Edits values of tools, a row for each name or pattern. */
function ByTool<T>({ title, none, add, what, of, fresh, onChange, Value }: ByToolProps<T>) {
  const entries = Object.entries(of);
  const put = (list: readonly (readonly [string, T])[]): void => onChange(Object.fromEntries(list));
  return (
    <Rows
      title={title}
      none={none}
      isEmpty={entries.length === 0}
      add={add}
      onAdd={() => put([...entries, [`tool_${entries.length + 1}`, fresh]])}
    >
      {entries.map(([tool, value], i) => (
        <Row key={`${what} ${i}`} what={`${what} ${i + 1}`} onRemove={() => put(entries.toSpliced(i, 1))}>
          <TextField
            name={`mcp.${what}.${tool}`}
            label="Tools"
            required
            value={tool}
            placeholder="write_*"
            onValue={(next) => put(entries.with(i, [next, value]))}
          />
          <Value name={`mcp.${what}.${tool}`} value={value} onValue={(next) => put(entries.with(i, [tool, next]))} />
        </Row>
      ))}
    </Rows>
  );
}
