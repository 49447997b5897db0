import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";
import { lean } from "./lean.js";
import { licences } from "./licences.js";
import { texts } from "./texts.js";
import { tidy } from "./tidy.js";

// `npm run dev` passes data on to a server that runs: SIGHTLINE_URL=http://127.0.0.1:8000 npm run dev
const server = process.env.SIGHTLINE_URL ?? "http://127.0.0.1:8000";
const passed = ["/api", "/health", "/livez", "/readyz", "/metrics", "/predict", "/v2", "/stream", "/openapi.json"];

export default defineConfig({
  base: "/ui/",
  plugins: [lean(), svelte(), texts(), licences(), tidy()],
  build: {
    outDir: "../src/sightline/web/app",
    emptyOutDir: false, // tidy() takes away what is old,
    manifest: "manifest.json",
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // data: addresses would need holes in the policy
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      ...Object.fromEntries(passed.map((path) => [path, { target: server, changeOrigin: true }])),
      "/ws": { target: server, ws: true, changeOrigin: true },
    },
  },
});
