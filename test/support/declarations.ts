import * as ts from "typescript/unstable/ast";
import { API, type Project } from "typescript/unstable/async";

/** The names that a block or a function declares, and where in the text. */
type Names = Map<string, number>;

/** Gives a project as TypeScript itself reads it. Its API is not stable yet; the version in package.json is exact. */
export async function withSources<T>(root: string, work: (project: Project) => Promise<T>): Promise<T> {
  const api = new API({ cwd: root });
  try {
    const snapshot = await api.updateSnapshot({ openProject: `${root}/tsconfig.json` });
    const project = snapshot.getProjects()[0];
    if (project === undefined) throw new Error("TypeScript opens no project");
    return await work(project);
  } finally {
    await api.close();
  }
}

/** Finds the locals of functions that are named above their declaration, also in a closure that is called later. A module's own names may be: a function uses them when all of it has run. */
export function namedTooEarly(source: ts.SourceFile): string[] {
  const found: string[] = [];
  const declare = (name: ts.Node | undefined, names: Names, at = name?.pos ?? 0): void => {
    if (name === undefined) return;
    if (ts.isIdentifier(name)) names.set(name.text, at);
    else name.forEachChild((element) => (ts.isBindingElement(element) ? declare(element.name, names, at) : undefined));
  };
  const namesOf = (node: ts.Node): Names => {
    const names: Names = new Map();
    node.forEachChild((child) => {
      if (ts.isParameterDeclaration(child)) declare(child.name, names, 0);
      else if (ts.isFunctionDeclaration(child)) declare(child.name, names, 0);
      else if (ts.isClassDeclaration(child)) declare(child.name, names);
      else if (ts.isVariableDeclaration(child)) declare(child.name, names);
      else if (ts.isVariableDeclarationList(child)) for (const { name } of child.declarations) declare(name, names);
      else if (ts.isVariableStatement(child)) for (const { name } of child.declarationList.declarations) declare(name, names);
    });
    return names;
  };
  const visit = (node: ts.Node, scopes: readonly Names[]): void => {
    if (ts.isTypeNode(node)) return;
    if (ts.isIdentifier(node)) {
      const declared = scopes.find((names) => names.has(node.text))?.get(node.text) ?? 0;
      if (declared > node.pos) found.push(node.text);
      return;
    }
    const inner = ts.isSourceFile(node) ? scopes : [namesOf(node), ...scopes];
    // The name of a member, a property or a declaration refers to nothing; that of a shorthand does.
    const { name, propertyName } = node as { name?: ts.Node; propertyName?: ts.Node };
    node.forEachChild((child) => {
      const isMerelyName = (child === name && ts.isIdentifier(child) && !ts.isShorthandPropertyAssignment(node)) || child === propertyName;
      if (!isMerelyName) visit(child, inner);
      return undefined;
    });
  };
  visit(source, []);
  return found;
}
