/** Where the user is: `#/cases/yard?tab=yaml` is the page `cases`, its args `["yard"]`, and a query. */

export interface Route {
  page: string;
  args: string[];
  query: URLSearchParams;
}

function parsed(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page, ...args] = path.split("/").filter(Boolean).map(plain);
  return { page: page ?? "live", args, query: new URLSearchParams(search) };
}

function plain(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

let current: Route = $state.raw(parsed(location.hash));
addEventListener("hashchange", () => (current = parsed(location.hash)));

export function route(): Route {
  return current;
}

/** Return the address of a page: `link("cases", "yard")`. */
export function link(page: string, ...args: string[]): string {
  return "#/" + [page, ...args].map(encodeURIComponent).join("/");
}

export function go(page: string, ...args: string[]): void {
  location.hash = link(page, ...args);
}

/** Put filters into the address without a new entry in the history; empty ones go. */
export function setQuery(change: Record<string, string | null | undefined>): void {
  const query = new URLSearchParams(current.query);
  for (const [name, value] of Object.entries(change)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const hash = link(current.page, ...current.args) + (query.size ? `?${query}` : "");
  history.replaceState(null, "", hash);
  current = parsed(hash);
}
