// Classes of the platform in public signatures: `never` where the environment's types lack them (no DOM library, no Node
// types), so that the declarations compile everywhere.

type Instance<Name extends string> = typeof globalThis extends { [Key in Name]: { prototype: infer T } } ? T : never;

export type PlatformBlob = Instance<"Blob">;
export type PlatformUrl = Instance<"URL">;
export type PlatformResponse = Instance<"Response">;
export type PlatformStream = Instance<"ReadableStream">;
export type PlatformWorker = Instance<"Worker">;

/** A Uint8Array on an ArrayBuffer: generic since TypeScript 5.7, and not before. */
export type Bytes = ReturnType<typeof Uint8Array.of>;
