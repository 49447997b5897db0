// Print what the first page weighs: everything that a browser loads before it can show Live, gzipped.
import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT = 80_000;
const out = process.argv[2] ?? "../src/sightline/web/app";
const gzipped = (name) => gzipSync(readFileSync(`${out}/${name}`), { level: 9 }).length;
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`.padStart(9);

const manifest = JSON.parse(readFileSync(`${out}/manifest.json`, "utf8"));
const first = new Set(["index.html", "theme.js", "favicon.svg"]);
const visit = (key) => {
  const entry = manifest[key];
  if (first.has(entry.file)) return;
  first.add(entry.file);
  for (const sheet of entry.css ?? []) first.add(sheet);
  for (const needed of entry.imports ?? []) visit(needed);
};
visit("index.html");
visit("src/pages/Live.svelte");
visit("texts:ru/first"); // the longer ones

let total = 0;
for (const name of [...first].sort()) {
  const size = gzipped(name);
  total += size;
  console.log(`${kB(size)}  ${name}`);
}
const rest = readdirSync(`${out}/assets`).map((name) => `assets/${name}`).filter((name) => !first.has(name));
console.log(`${kB(total)}  first page (shell, Live, one language), limit ${LIMIT / 1000} kB`);
console.log(`${kB(rest.reduce((sum, name) => sum + gzipped(name), 0))}  ${rest.length} chunks loaded later`);
if (total > LIMIT) process.exitCode = 1;
