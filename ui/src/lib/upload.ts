/** Files on their way to the server, with how far they are. */
import { ApiError, type Problem } from "./api";
import { auth } from "./auth.svelte";
import { objectPath } from "./jobs";

/** A file and its name below the folder that is sent. */
export interface Sent {
  name: string;
  file: File;
}

/** Write a file at a key; `on` is told how many of its bytes have left. A fetch cannot tell that: an XMLHttpRequest can. */
export function upload(key: string, file: File, signal: AbortSignal, on: (left: number) => void): Promise<void> {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("PUT", objectPath(key));
    if (auth.token) request.setRequestHeader("Authorization", `Bearer ${auth.token}`);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.onprogress = ({ loaded }) => on(loaded);
    request.onload = () => {
      if (request.status < 300) done();
      else fail(problemOf(request));
    };
    request.onerror = () => fail(new ApiError(0, "unreachable", "Sightline does not answer."));
    request.onabort = () => fail(new DOMException("left", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function problemOf({ status, statusText, responseText }: XMLHttpRequest): ApiError {
  let problem: Problem = {};
  try {
    problem = JSON.parse(responseText) as Problem;
  } catch {
    // Something between us and the server answered; its status is all there is.
  }
  return new ApiError(status, problem.code ?? String(status), problem.detail || problem.title || `${status} ${statusText}`, problem.cure, problem);
}

/** All files that were dropped, those of folders too. */
export async function dropped(data: DataTransfer): Promise<Sent[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (entries.every((entry) => entry === null)) return [...data.files].map((file) => ({ name: file.name, file }));
  const found: Sent[] = [];
  for (const entry of entries) if (entry) await walk(entry, found);
  return found;
}

async function walk(entry: FileSystemEntry, into: Sent[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail));
    into.push({ name: entry.fullPath.replace(/^\/+/, ""), file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail)); // a hundred at most
    if (!some.length) return;
    for (const each of some) await walk(each, into);
  }
}

/** A name that may be a key of the object store; letters of every script stay, so that two files stay two. */
const plainName = (name: string): string => name.normalize("NFC").replace(/[^\p{L}\p{M}\p{N}._/-]+/gu, "_").replace(/(^|\/)[._-]+/g, "$1") || "file";

const AT_ONCE = 3;

/** Send files below a folder of their own and return the key of what was sent: of the file, or of their folder, which ends in `/`. */
export async function sendAll(files: readonly Sent[], folder: string, signal: AbortSignal, on: (left: number) => void): Promise<string> {
  const left = new Map<Sent, number>();
  const tell = (sent: Sent, bytes: number) => {
    left.set(sent, bytes);
    on([...left.values()].reduce((all, one) => all + one, 0));
  };
  const todo = [...files];
  const failing = new AbortController(); // one that fails ends the others
  const both = AbortSignal.any([signal, failing.signal]);
  const work = async () => {
    for (let next = todo.shift(); next; next = todo.shift()) {
      const sent = next;
      await upload(`${folder}/${plainName(sent.name)}`, sent.file, both, (bytes) => tell(sent, bytes));
      tell(sent, sent.file.size);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } catch (error) {
    failing.abort();
    throw error;
  }
  return files.length === 1 ? `${folder}/${plainName(files[0]!.name)}` : `${folder}/`;
}
