// Refuse import circles among the page's sources.

import { fileURLToPath } from "node:url";
import { circles, importsOf } from "./circles.mjs";

const found = circles(await importsOf(fileURLToPath(new URL("src", import.meta.url))));
for (const group of found) console.error(`These files import one another: ${group.join(", ")}`);
if (found.length) process.exitCode = 1;
