/** What a page puts into the top bar beside its title, and its crumbs. */
import type { Snippet } from "svelte";

interface Top {
  status: Snippet | null;
  crumbs: readonly string[];
}

export const top: Top = $state({ status: null, crumbs: [] });

/** Fill the top bar while a page lives; `crumbs` is read again when it changes. */
export function useTop(status: Snippet | null, crumbs: () => readonly string[] = () => []): void {
  $effect(() => {
    top.status = status;
    top.crumbs = crumbs();
    return () => {
      top.status = null;
      top.crumbs = [];
    };
  });
}
