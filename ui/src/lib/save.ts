/** Save a file of the API where the browser keeps what is saved. */
import { address, ask } from "./api";
import { auth } from "./auth.svelte";

/** A link cannot send a key: with one, the bytes are fetched first. */
export async function save(path: string, name: string): Promise<void> {
  let url = address(path);
  if (auth.token) {
    const answer = await ask("get", path, { timeoutS: 3600 });
    url = URL.createObjectURL(await answer.blob());
  }
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  if (url.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
