// The texts of a language in two modules, `texts:en/first` and `texts:en/rest`: the first page loads only what it may show.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FIRST = new Set([
  "auth", "camera", "cause", "error", "event", "find", "keys", "live", "nav", "reason", "run", "shell", "state", "theme", "unit",
]);
const NAME = /^texts:(en|ru)\/(first|rest)$/;

export function texts() {
  return {
    name: "texts",
    resolveId: (id) => (NAME.test(id) ? `\0${id}` : null),
    load(id) {
      const [, lang, part] = NAME.exec(id.slice(1)) ?? [];
      if (!lang || id[0] !== "\0") return null;
      const file = fileURLToPath(new URL(`src/i18n/${lang}.json`, import.meta.url));
      this.addWatchFile(file);
      const all = Object.entries(JSON.parse(readFileSync(file, "utf8")));
      const chosen = all.filter(([key]) => FIRST.has(key.split(".")[0]) === (part === "first"));
      return `export default ${JSON.stringify(Object.fromEntries(chosen))};`;
    },
  };
}
