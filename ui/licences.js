// `licences.txt`: the terms of every package whose code is in the files that were built, as those terms ask for.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//;
const ADDRESS = /https?:\/\/\S+/g; // no file of the interface names another host

export function licences() {
  return {
    name: "licences",
    apply: "build",
    generateBundle(_, bundle) {
      const chunks = Object.values(bundle).filter(({ type }) => type === "chunk");
      const ids = chunks.flatMap(({ modules }) => Object.keys(modules)).map((id) => id.replaceAll("\\", "/"));
      const folders = new Set(ids.map((id) => FOLDER.exec(id)?.[1]).filter(Boolean));
      const parts = [...folders].map(termsOf).sort();
      this.emitFile({ type: "asset", fileName: "licences.txt", source: parts.join(`\n${"-".repeat(80)}\n`) });
    },
  };
}

function termsOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const own = readdirSync(folder).filter((each) => /^licen[cs]e(\.(md|txt))?$/i.test(each)).sort()[0];
  // A package that carries no terms with it: those of its repository are kept here.
  const file = own ? join(folder, own) : fileURLToPath(new URL(`terms/${name.replace("/", "_")}.txt`, import.meta.url));
  const text = readFileSync(file, "utf8").replaceAll("\r\n", "\n").trim();
  return `${name} ${version} (${license})\n\n${text.replace(ADDRESS, "").replace(/[ \t]+$/gm, "")}\n`;
}
