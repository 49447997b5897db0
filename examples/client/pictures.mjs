// Live pictures with their predictions. Browsers have WebSocket; Node 20: node --experimental-websocket pictures.mjs
const server = globalThis.process?.env.SIGHTLINE_URL ?? "http://127.0.0.1:8000";

// Where a key is needed: /ws?access_token=KEY, with a key that may only read.
const socket = new WebSocket(`${server.replace(/^http/, "ws")}/ws`);
socket.binaryType = "arraybuffer";

socket.onopen = () =>
  socket.send(JSON.stringify({ op: "subscribe", case: "street_people", types: ["line.crossed"], pictures: true, max_fps: 5 }));

socket.onmessage = ({ data }) => {
  if (typeof data === "string") {
    console.log("event", JSON.parse(data).type);
    socket.close(); // enough for an example
    return;
  }
  // 4 bytes with the length of the JSON, the JSON, the JPEG.
  const size = new DataView(data).getUint32(0);
  const sample = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
  const jpeg = new Blob([new Uint8Array(data, 4 + size)], { type: sample.mime }); // createImageBitmap(jpeg) draws it
  console.log("picture", sample.id, `${jpeg.size} bytes,`, sample.predictions.people.items.length, "people");
};
