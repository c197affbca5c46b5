/** The build that this project tests. */
export const BUILD = (process.env.LOWRANK_BUILD ?? "simd") as "simd" | "relaxed" | "debug";
