// The package by its own name. bench/rivals/ has a package.json of its own, from where that name is not found.

export * from "lowrank";
export * from "lowrank/lora";
export * from "lowrank/safetensors";
