// What Vite makes of imports and names that TypeScript does not know.

declare module "*?raw" {
  const text: string;
  export default text;
}

declare module "*.css";

/** Sizes in bytes of the files in data/. */
declare const DATA: Readonly<Record<string, number>>;
