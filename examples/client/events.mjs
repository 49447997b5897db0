// Follow what the cases of a server see. Browsers have EventSource; Node 20: node --experimental-eventsource events.mjs
const server = globalThis.process?.env.SIGHTLINE_URL ?? "http://127.0.0.1:8000";

// EventSource comes back by itself after a break, and says which event it had last. It cannot set a header: where a
// key is needed, add &access_token=KEY with a key that may only read.
const events = new EventSource(`${server}/stream?case=street_people&type=prediction,line.crossed`);

events.addEventListener("prediction", ({ data }) => {
  const sample = JSON.parse(data);
  console.log(sample.id, sample.predictions.people.items.length, "people");
});
events.addEventListener("line.crossed", ({ data }) => {
  const event = JSON.parse(data); // a CloudEvent
  console.log(event.subject, "crossed the line", event.data.direction);
  events.close(); // enough for an example
});
events.addEventListener("gap", ({ data }) => console.log("lost:", JSON.parse(data).num_lost ?? "some"));
