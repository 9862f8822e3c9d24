import { useState } from "preact/hooks";
import { send } from "../../api.ts";
import { CheckField, Form, SelectField, TextField } from "../../parts/form.tsx";
import { Panel } from "../../parts/screen.tsx";

export interface RouteStepProps {
  readonly upstream: string;
  /** Is told the route's name, its path, and who may call. */
  readonly onDone: (made: { readonly route: string; readonly path: string; readonly auth: string }) => void;
}

/** Asks which paths lead to the backend. */
export function RouteStep({ upstream, onDone }: RouteStepProps) {
  const [path, setPath] = useState("/api");
  const [name, setName] = useState("api");
  const [auth, setAuth] = useState("required");
  const [keepsPath, setKeepsPath] = useState(true);
  const create = async (): Promise<void> => {
    await send("POST", "routes", { body: { name, path, upstream, auth, stripPrefix: !keepsPath } });
    onDone({ route: name, path, auth });
  };
  return (
    <Panel title="2. Which paths lead to it?">
      <p class="fine">
        Requests whose path begins so go to <b>{upstream}</b>.
      </p>
      <Form submit="Go on" needs="admin" onSubmit={create}>
        <TextField name="path" label="Path" value={path} onValue={setPath} required />
        <TextField name="name" label="Name" value={name} onValue={setName} required />
        <SelectField
          name="auth"
          label="Who may call"
          value={auth}
          onValue={setAuth}
          options={[
            ["required", "who has a key"],
            ["optional", "everybody; who has a key is known by it"],
            ["none", "everybody"],
          ]}
          required
        />
        <CheckField
          name="stripPrefix"
          label="The backend knows this path"
          value={keepsPath}
          onValue={setKeepsPath}
          hint={keepsPath ? `${path}/items arrives there as ${path}/items.` : `${path}/items arrives there as /items.`}
        />
      </Form>
    </Panel>
  );
}
