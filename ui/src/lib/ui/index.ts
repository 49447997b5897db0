/** The small parts that pages are made of. */
export { default as Banner } from "./Banner.svelte";
export { default as Button } from "./Button.svelte";
export { default as Empty } from "./Empty.svelte";
export { default as Field } from "./Field.svelte";
export { default as Icon } from "./Icon.svelte";
export { default as Problem } from "./Problem.svelte";
export { default as Range } from "./Range.svelte";
export { default as Segmented } from "./Segmented.svelte";
export { default as Sheet } from "./Sheet.svelte";
export { default as Skeleton } from "./Skeleton.svelte";
export { default as State } from "./State.svelte";
export { default as Switch } from "./Switch.svelte";
export { default as Table } from "./Table.svelte";
export { default as Tabs } from "./Tabs.svelte";
export { default as UndoBar } from "./UndoBar.svelte";
