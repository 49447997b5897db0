/** Addresses for `<img>` and `<video>`, which cannot send a key: with one, the bytes are fetched and lent to them. */
import { ask, wasLeft } from "./api";
import { auth } from "./auth.svelte";

export interface Lent {
  url: string;
  error: unknown;
}

/** Return the address of what lies at a path of the API; call it in a component's script. */
export function useMedia(path: () => string): Lent {
  const lent: Lent = $state({ url: "", error: null });
  const from = $derived(path()); // what is lent again for every change of the list would begin to play anew
  $effect(() => {
    lent.url = "";
    lent.error = null;
    if (!from) return;
    if (!auth.token) {
      lent.url = from;
      return;
    }
    const leaving = new AbortController();
    let url = "";
    ask("get", from, { signal: leaving.signal, timeoutS: 120 })
      .then((answer) => answer.blob())
      .then((blob) => {
        if (!leaving.signal.aborted) lent.url = url = URL.createObjectURL(blob);
      })
      .catch((error: unknown) => wasLeft(error) || (lent.error = error));
    return () => {
      leaving.abort();
      if (url) URL.revokeObjectURL(url);
    };
  });
  return lent;
}

export const thumbnailPath = (id: string) => `/api/v1/events/${encodeURIComponent(id)}/thumbnail`;
export const clipPath = (id: string) => `/api/v1/events/${encodeURIComponent(id)}/clip`;
