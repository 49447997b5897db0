// Changes of manifests as the editor makes them, for tests: JSON lines on stdin, the new texts on stdout.
import { createInterface } from "node:readline";
import { Manifest, type Path } from "../src/lib/editor/manifest";

interface Edit {
  text: string;
  act: "set" | "remove" | "rename";
  path: Path;
  value?: unknown;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { text, act, path, value } = JSON.parse(line) as Edit;
  const manifest = new Manifest(text);
  const changed = act === "set" ? manifest.set(path, value) : act === "remove" ? manifest.remove(path) : manifest.rename(path, String(value));
  console.log(JSON.stringify(changed));
}
