// Ask a running server what is on a photograph: node predict.mjs photo.jpg
import { readFile } from "node:fs/promises";

const server = process.env.SIGHTLINE_URL ?? "http://127.0.0.1:8000";
const key = process.env.SIGHTLINE_API_KEY;

const response = await fetch(`${server}/predict?model=nanodet-m&threshold=0.5`, {
  method: "POST",
  headers: { "Content-Type": "image/jpeg", ...(key && { Authorization: `Bearer ${key}` }) },
  body: await readFile(process.argv[2]), // in a browser: the File of an <input type="file">
});
const answer = await response.json();
if (!response.ok) throw new Error(`${answer.code}: ${answer.detail} ${answer.cure}`);

for (const { class_name, confidence, xyxy } of answer.predictions.model.items) {
  console.log(class_name, confidence.toFixed(2), xyxy.map(Math.round));
}
