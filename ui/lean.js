// NiiVue as far as the page of a study needs it: without its reader of zarr stores, and without the addresses that
// stand in the comments of its shaders, which no file of the interface may name.
const READER = "zarrita";
const ADDRESS = /https?:\/\/(?!www\.w3\.org\/)[a-z0-9][^\s"'`)<>]*/gi;
const NAMES = ["FetchStore", "get", "open", "root", "slice"];

export function lean() {
  return {
    name: "lean",
    enforce: "pre",
    resolveId: (id) => (id === READER ? `\0${READER}` : null),
    load: (id) => (id === `\0${READER}` ? NAMES.map((name) => `export const ${name} = undefined;`).join("\n") : null),
    transform(code, id) {
      if (!id.includes("/@niivue/niivue/")) return null;
      return { code: code.replace(ADDRESS, ""), map: null };
    },
  };
}
