/** Which events somebody has looked at. Kept in this browser alone, and the page says so. */
import { SvelteSet } from "svelte/reactivity";

const NAME = "sightline.reviewed";
const MOST = 5000;

function kept(): string[] {
  try {
    const ids: unknown = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

const ids = new SvelteSet(kept());

export const reviewed = {
  has: (id: string): boolean => ids.has(id),

  set(id: string, is: boolean): void {
    if (is) ids.add(id);
    else ids.delete(id);
    try {
      localStorage.setItem(NAME, JSON.stringify([...ids].slice(-MOST)));
    } catch {
      // A browser that keeps nothing: it holds until the page is left.
    }
  },
};
