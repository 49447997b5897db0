import { has, t } from "../../lib/i18n.svelte";

/** `dropped/superseded` as people say it. */
export function reasonWord(reason: string): string {
  const [group = "", name = ""] = [reason.slice(0, reason.indexOf("/")), reason.slice(reason.indexOf("/") + 1)];
  const key = `runs.${group}.${name}`;
  if (has(key)) return t(key);
  return group === "dropped" ? name : `${t(`system.reason.${group}`)}: ${name}`;
}
