// What an earlier build left goes when the new files are there, not before: a server may be serving the folder.
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

export function tidy() {
  let publicFolder = "";
  return {
    name: "tidy",
    apply: "build",
    configResolved: (config) => void (publicFolder = config.publicDir),
    writeBundle({ dir }, bundle) {
      const made = new Set([...Object.keys(bundle), ...readdirSync(publicFolder)]);
      const found = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      for (const { parentPath, name } of found) {
        const path = join(parentPath, name).slice(join(dir, "/").length).replaceAll("\\", "/");
        if (!made.has(path)) rmSync(join(dir, path));
      }
    },
  };
}
