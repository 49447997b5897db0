/** The key of the API: kept for this tab alone, asked for when the server wants one. */

const NAME = "sightline.token"; // the page /viewer uses the same

let token = $state(sessionStorage.getItem(NAME) ?? "");
let asking = $state(false);
let refused = $state("");
let waiting: ((given: boolean) => void)[] = [];

export const auth = {
  get token(): string {
    return token;
  },
  /** The dialog is to be shown. */
  get asking(): boolean {
    return asking;
  },
  /** Why the last key was not taken, as the server says it. */
  get refused(): string {
    return refused;
  },

  /** Wait until the user has given another key than `tried`; false when he did not want to. */
  ask(tried: string, reason: string): Promise<boolean> {
    if (token !== tried) return Promise.resolve(true); // somebody else asked meanwhile
    refused = tried ? reason : "";
    asking = true;
    return new Promise((resolve) => waiting.push(resolve));
  },

  give(key: string): void {
    token = key.trim();
    sessionStorage.setItem(NAME, token);
    if (waiting.length) finish(true);
    else location.reload(); // what is on the page was read with another key
  },

  cancel(): void {
    finish(false);
  },

  /** Ask by hand, for instance for a key with more scopes. */
  change(): void {
    refused = "";
    asking = true;
  },
};

function finish(given: boolean): void {
  asking = false;
  const all = waiting;
  waiting = [];
  for (const resolve of all) resolve(given);
}
