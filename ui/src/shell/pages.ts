/** Every page of the interface: a file `src/pages/NAME.svelte` is found by its name and loaded when it is opened. */
import type { Component } from "svelte";
import type { IconName } from "../lib/icons";

/** What a page is given: the parts of the address behind its name, and its query. */
export interface PageProps {
  args: string[];
  query: URLSearchParams;
}
type Loader = () => Promise<{ default: Component<PageProps> }>;

interface Place {
  id: string;
  icon: IconName;
  /** After `g`. */
  key: string;
  /** Heading of its group in the rail. */
  group: "watch" | "build" | "work" | "server";
  /** File of the list, and of one thing where that is a page of its own. */
  list: string;
  one?: string;
  /** Files of what stands below one thing: `#/runs/ID/study`. */
  parts?: Readonly<Record<string, string>>;
  /** Not in the bar of a phone, which has room for five. */
  low?: boolean;
}

export const PLACES: readonly Place[] = [
  { id: "live", icon: "live", key: "l", group: "watch", list: "Live" },
  { id: "events", icon: "events", key: "e", group: "watch", list: "Events" },
  { id: "cases", icon: "cases", key: "c", group: "build", list: "Cases", one: "Case" },
  { id: "models", icon: "models", key: "m", group: "build", list: "Models", one: "Model", low: true },
  { id: "runs", icon: "runs", key: "r", group: "work", list: "Runs", parts: { study: "Study" } },
  { id: "system", icon: "system", key: "s", group: "server", list: "System" },
];
export const GROUPS = ["watch", "build", "work", "server"] as const;

const files = import.meta.glob<{ default: Component<PageProps> }>("../pages/*.svelte");

/** Return what loads the page of an address; null where there is none. */
export function loaderOf(page: string, args: readonly string[]): Loader | null {
  const place = PLACES.find(({ id }) => id === page);
  if (!place) return null;
  const file = (name?: string) => (name ? files[`../pages/${name}.svelte`] : undefined);
  const part = args[1] ? file(place.parts?.[args[1]]) : undefined;
  return part ?? (args.length ? file(place.one) : undefined) ?? file(place.list) ?? null;
}
