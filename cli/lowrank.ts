#!/usr/bin/env node
// The command `lowrank`.

import process from "node:process";
import { main } from "./main.js";
import { processTerminal } from "./terminal.js";

process.exitCode = await main(process.argv.slice(2), processTerminal());
