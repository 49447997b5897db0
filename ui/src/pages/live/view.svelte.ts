/** How the tiles are looked at: shared by the grid and the view of one camera. */
import type { Key } from "../../lib/keys.svelte";
import { prefer, prefs } from "../../lib/prefs.svelte";

/** When the pictures were paused, by `Date.now()`; 0: they go on. */
let pausedAt = $state(0);

export const view = {
  get pausedAt(): number {
    return pausedAt;
  },
  pause(): void {
    pausedAt = pausedAt ? 0 : Date.now();
  },
  go(): void {
    pausedAt = 0;
  },
};

export type Layer = "boxes" | "tracks" | "zones" | "labels";
export const LAYERS = [
  { id: "boxes", key: "b", icon: "full" },
  { id: "tracks", key: "t", icon: "train" },
  { id: "zones", key: "z", icon: "poly" },
  { id: "labels", key: "n", icon: "tag" },
] as const;

export const flip = (layer: Layer) => prefer({ [layer]: !prefs[layer] });

/** The keys that act wherever pictures are. */
export const VIEW_KEYS: readonly Key[] = [
  ...LAYERS.map(({ id, key }) => ({ keys: key, says: `live.${id}`, group: "nav.live", run: () => flip(id) })),
  { keys: "space", says: "live.pause", group: "nav.live", run: () => view.pause() },
];

/** Show an element over the whole screen, or go back. */
export async function fullScreen(element: Element | null): Promise<void> {
  try {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await element?.requestFullscreen();
  } catch {
    // The browser may refuse; the page stays as it is.
  }
}
