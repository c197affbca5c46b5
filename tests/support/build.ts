/** The build that this project tests. */
export const BUILD = (process.env.LOWRANK_BUILD ?? "simd") as "simd" | "relaxed" | "debug";
/** How many threads compute in this project. */
export const THREADS = Number(process.env.LOWRANK_THREADS ?? 1);
