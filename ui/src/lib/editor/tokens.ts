/** The parts of a line of YAML that are told apart by colour. Only for the eye: nothing depends on it. */

export type Tone = "key" | "text" | "number" | "quiet" | "";
export interface Token {
  text: string;
  tone: Tone;
}

const PART =
  /(?<quiet>(?<=^|\s)#.*$)|(?<key>(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s#:{}[\],'"&*!|>%@-][^#:{}[\],]*?)(?=\s*:(?:\s|$)))|(?<text>"(?:[^"\\]|\\.)*"?|'[^']*'?|\$\{[^}]*\}?)|(?<number>(?<=^|[\s,[:])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[\s,\]}]|$)|(?<=[\s,[])(?:true|false|null)(?=[\s,\]}]|$))|(?<mark>[:{}[\],-])/g;

export function tokensOf(line: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  for (const match of line.matchAll(PART)) {
    if (match.index > at) tokens.push({ text: line.slice(at, match.index), tone: "" });
    const groups = match.groups ?? {};
    const tone = groups["quiet"] || groups["mark"] ? "quiet" : groups["key"] ? "key" : groups["text"] ? "text" : "number";
    tokens.push({ text: match[0], tone });
    at = match.index + match[0].length;
  }
  if (at < line.length) tokens.push({ text: line.slice(at), tone: "" });
  return tokens;
}
