/** What can be offered for a problem as one change of the text: the server's cure, where it names the right word. */
import type { Found } from "./cases";
import { inline, type Manifest, type Path } from "./manifest";

export interface Mend {
  /** What will stand there. */
  to: string;
  text: string;
}

const NEAR = /Did you mean '([^']+)'\?/;
const UPTO_ONE = /\bbetween 0 and 1\b|\bfrom 0 to 1\b|\b0 (?:to|and|\.\.) 1\b/;

/** Return the change that mends a problem; null where only a person knows. */
export function mendOf(manifest: Manifest, problem: Found): Mend | null {
  const path = pathOf(manifest, problem.loc);
  if (!path?.length) return null;
  const near = NEAR.exec(problem.cure)?.[1];
  const value = manifest.at(path);
  if (near) {
    const last = String(path.at(-1));
    // A wrong key is named by itself; a wrong value stands behind its key.
    const isKey = problem.message.includes(`'${last}'`) && !problem.message.includes(`'${String(value)}'`);
    const text = isKey ? manifest.rename(path, near) : manifest.set(typeof value === "object" ? [...path, "use"] : path, near);
    return text === manifest.text ? null : { to: near, text };
  }
  if (typeof value === "string" && problem.message.includes("valid tuple")) {
    return { to: inline([value]), text: manifest.set(path, [value]) };
  }
  if (typeof value === "number" && value > 1 && value <= 100 && UPTO_ONE.test(`${problem.message} ${problem.cure}`)) {
    const share = Math.round(value * 100) / 10_000;
    return { to: inline(share), text: manifest.set(path, share) };
  }
  return null;
}

/** The path of keys joined by dots, where keys may have dots themselves. */
function pathOf(manifest: Manifest, loc: string): Path | null {
  if (!loc) return null;
  const parts = loc.split(".");
  const walk = (path: Path, rest: readonly string[]): Path | null => {
    if (!rest.length) return path;
    for (let length = 1; length <= rest.length; length++) {
      const word = rest.slice(0, length).join(".");
      const key = Array.isArray(manifest.at(path)) ? Number(word) : word;
      if (manifest.at([...path, key]) === undefined) continue;
      const found = walk([...path, key], rest.slice(length));
      if (found) return found;
    }
    return null;
  };
  return walk([], parts);
}
