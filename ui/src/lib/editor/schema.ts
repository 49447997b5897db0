/** The fields of a plug-in, read from its JSON Schema: which control each is given, its help and its default. */
import { isRecord, type Value } from "./manifest";

export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: Value;
  enum?: Value[];
  const?: Value;
  anyOf?: Schema[];
  oneOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema | boolean;
  prefixItems?: Schema[];
  additionalProperties?: Schema | boolean;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minItems?: number;
  maxItems?: number;
  /** What a text names: a `model`, or an earlier `predictor`. */
  "x-ref"?: string;
}
/** `places` are drawn on the picture; `yaml` is whatever has no control of its own. */
export type Control = "text" | "number" | "choice" | "toggle" | "list" | "pair" | "places" | "yaml";
export interface Field {
  name: string;
  control: Control;
  help: string;
  required: boolean;
  /** It may be null, which means something of its own. */
  nullable: boolean;
  whole: boolean;
  min?: number;
  max?: number;
  choices: string[];
  /** Undefined where there is none. */
  preset: Value;
  known: boolean;
  /** What it names: `model` or `predictor`; empty for plain words. */
  names: string;
}

const PLACES = new Set(["zones", "lines"]);

/** Return the fields of a plug-in: those of its schema, then what is written and has no place there. */
export function fieldsOf(schema: Schema | null, written: Record<string, Value> = {}): Field[] {
  const properties = schema?.properties ?? {};
  const known = Object.entries(properties)
    .filter(([name]) => name !== "use")
    .map(([name, property]) => fieldOf(name, property, schema!.required?.includes(name) ?? false, schema?.$defs ?? {}));
  const others = Object.keys(written)
    .filter((name) => !(name in properties))
    .map((name): Field => ({ ...blank(name), control: controlOf(written[name]), known: schema === null }));
  return [...known, ...others];
}

function blank(name: string): Field {
  return { name, control: "yaml", help: "", required: false, nullable: false, whole: false, choices: [], preset: undefined, known: true, names: "" };
}

function controlOf(value: Value): Control {
  if (typeof value === "boolean") return "toggle";
  if (typeof value === "number") return "number";
  return typeof value === "string" ? "text" : "yaml";
}

function fieldOf(name: string, given: Schema, required: boolean, defs: Record<string, Schema>): Field {
  const solid = resolved(given, defs);
  const options = (solid.anyOf ?? solid.oneOf ?? [solid]).map((option) => resolved(option, defs));
  const full = options.filter((option) => option.type !== "null");
  const [shape] = full;
  const field: Field = {
    ...blank(name), required,
    help: solid.description ?? shape?.description ?? "",
    nullable: full.length < options.length,
    preset: solid.default,
    names: solid["x-ref"] ?? shape?.["x-ref"] ?? "",
  };
  if (!shape || full.length > 1) return shape && full.every(isPlain) ? { ...field, control: "text" } : field;
  return { ...field, ...controlFor(name, shape) };
}

const isPlain = ({ type }: Schema) => type === "string" || type === "number" || type === "integer";

function controlFor(name: string, shape: Schema): Partial<Field> {
  const type = Array.isArray(shape.type) ? shape.type[0] : shape.type;
  const choices = shape.enum ?? (shape.const === undefined ? undefined : [shape.const]);
  if (choices) return { control: "choice", choices: choices.map(String) };
  if (type === "boolean") return { control: "toggle" };
  if (type === "number" || type === "integer") {
    return {
      control: "number", whole: type === "integer",
      min: shape.minimum ?? shape.exclusiveMinimum, max: shape.maximum ?? shape.exclusiveMaximum,
    };
  }
  if (type === "string") return { control: "text" };
  if (type === "array") {
    const items = shape.prefixItems ?? (isRecord(shape.items) ? [shape.items as Schema] : []);
    if (shape.prefixItems?.length === 2 && items.every(isPlain)) return { control: "pair", whole: items[0]?.type === "integer" };
    if (shape.minItems === 2 && shape.maxItems === 2 && items[0] && items[0].type !== "string" && isPlain(items[0])) {
      return { control: "pair", whole: items[0].type === "integer" };
    }
    return items.length === 1 && items[0]?.type === "string" ? { control: "list" } : { control: "yaml" };
  }
  return { control: type === "object" && PLACES.has(name) ? "places" : "yaml" };
}

function resolved(schema: Schema, defs: Record<string, Schema>): Schema {
  if (!schema.$ref) return schema;
  const found = defs[schema.$ref.split("/").at(-1) ?? ""];
  return found ? { ...found, ...schema, $ref: undefined } : schema;
}

/** A value as a control shows it. */
export function shownValue(value: Value): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value).replaceAll(",", ", ").replaceAll('"', "") : String(value);
}

/** True for `${NAME}`, which stands where any value may. */
export const isVariable = (value: Value): value is string => typeof value === "string" && value.includes("${");
