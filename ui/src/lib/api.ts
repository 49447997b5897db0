/** The HTTP API, with the types of the committed OpenAPI document. Errors are problem documents (RFC 9457). */
import type { components, paths } from "./api.gen";
import { auth } from "./auth.svelte";

export type Schemas = components["schemas"];
export type Problem = Partial<Schemas["Problem"]>;
export interface Page<T> {
  items: T[];
  next: string | null;
}

type Method = "get" | "post" | "put" | "patch" | "delete";
type PathsOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P][M & keyof paths[P]];
type Json<R> = R extends { content: { "application/json": infer T } } ? T : undefined;
type Answers<O> = O extends { responses: infer R } ? R : never;
type Answer<O> = Json<Answers<O>[Extract<keyof Answers<O>, 200 | 201 | 202 | 204>]>;
type Body<O> = O extends { requestBody: { content: { "application/json": infer B } } } ? B : unknown;

export interface Asked<B = unknown> {
  /** What stands in braces in the path. */
  path?: Record<string, string>;
  /** A list is given as often as it is long; what is undefined, null or empty is left out. */
  query?: Record<string, string | number | boolean | readonly string[] | null | undefined>;
  /** Sent as JSON; a Blob as it is. */
  body?: B | Blob;
  /** The ETag that the change is based on. A newer one answers 412, or 409. */
  ifMatch?: string | null;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  timeoutS?: number;
}

/** What the server, or the way to it, said no with. `message` is what is wrong, `cure` what to do. */
export class ApiError extends Error {
  constructor(
    /** Of HTTP; 0: no answer came. */
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly cure = "",
    readonly problem: Problem = {},
  ) {
    super(detail);
    this.name = "ApiError";
  }

  /** Somebody else changed it first. */
  get isConflict(): boolean {
    return this.status === 409 || this.status === 412;
  }
}

/** Ask, and give the whole answer. A 401 opens the dialog for a key, and asks again with it. */
export async function ask(method: Method, path: string, asked: Asked = {}): Promise<Response> {
  for (;;) {
    const tried = auth.token;
    const answer = await send(method, address(path, asked), asked, tried);
    if (answer.ok || answer.status === 304) return answer;
    const error = await problemOf(answer);
    if (answer.status !== 401 || !(await auth.ask(tried, error.message))) throw error;
  }
}

/** Return the address of a path with its values and its query. */
export function address(path: string, { path: values = {}, query = {} }: Asked = {}): string {
  const plain = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ""));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? (value as readonly string[]) : [value]) {
      const text = String(each ?? "");
      if (text) search.append(name, text);
    }
  }
  return search.size ? `${plain}?${search}` : plain;
}

async function send(method: Method, url: string, asked: Asked, token: string): Promise<Response> {
  const headers = new Headers(asked.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  if (asked.ifMatch) headers.set("If-Match", asked.ifMatch);
  let body: BodyInit | undefined;
  if (asked.body instanceof Blob) body = asked.body;
  else if (asked.body !== undefined) {
    body = JSON.stringify(asked.body);
    headers.set("Content-Type", "application/json");
  }
  const patience = AbortSignal.timeout((asked.timeoutS ?? 30) * 1000);
  const signal = asked.signal ? AbortSignal.any([asked.signal, patience]) : patience;
  try {
    return await fetch(url, { method: method.toUpperCase(), headers, body, signal });
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiError(0, late ? "timeout" : "unreachable", late ? "No answer in time." : "Sightline does not answer.");
  }
}

async function problemOf(answer: Response): Promise<ApiError> {
  let problem: Problem = {};
  try {
    problem = (await answer.json()) as Problem;
  } catch {
    // Something between us and the server answered; its status is all there is.
  }
  const detail = problem.detail || problem.title || `${answer.status} ${answer.statusText}`;
  return new ApiError(answer.status, problem.code ?? String(answer.status), detail, problem.cure, problem);
}

async function read<T>(answer: Response): Promise<T> {
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export const api = {
  get: async <P extends PathsOf<"get">>(path: P, asked?: Asked) =>
    read<Answer<Operation<P, "get">>>(await ask("get", path, asked)),

  /** The answer and its ETag, to send back with `ifMatch`. */
  async tagged<P extends PathsOf<"get">>(path: P, asked?: Asked) {
    const answer = await ask("get", path, asked);
    return { data: await read<Answer<Operation<P, "get">>>(answer), etag: answer.headers.get("ETag") };
  },

  post: async <P extends PathsOf<"post">>(path: P, asked?: Asked<Body<Operation<P, "post">>>) =>
    read<Answer<Operation<P, "post">>>(await ask("post", path, asked)),

  put: async <P extends PathsOf<"put">>(path: P, asked?: Asked<Body<Operation<P, "put">>>) =>
    read<Answer<Operation<P, "put">>>(await ask("put", path, asked)),

  delete: async <P extends PathsOf<"delete">>(path: P, asked?: Asked) =>
    read<Answer<Operation<P, "delete">>>(await ask("delete", path, asked)),

  /** All items of a list, page after page; at most `most`. */
  async all<P extends PathsOf<"get">>(path: P, asked: Asked = {}, most = 1000) {
    type Item = Answer<Operation<P, "get">> extends { items: (infer T)[] } ? T : never;
    const items: Item[] = [];
    let after: string | null = null;
    do {
      const query: Asked["query"] = { limit: 200, ...asked.query, after };
      const page: Page<Item> = await read(await ask("get", path, { ...asked, query }));
      items.push(...page.items);
      after = page.next;
    } while (after !== null && items.length < most);
    return items;
  },
};

/** True for an answer that was given up because the page was left. */
export function wasLeft(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
