declare module "*.lua" {
  const text: string;
  export default text;
}
/** Files that are embedded in the binary: the import gives their path. */
declare module "*.css" {
  const path: string;
  export default path;
}
declare module "*.br" {
  const path: string;
  export default path;
}
