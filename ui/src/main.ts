import { mount } from "svelte";
import App from "./App.svelte";
import { loadTexts } from "./lib/i18n.svelte";
import "./styles/tokens.css";
import "./styles/components.css";
import "./styles/app.css";

await loadTexts();
mount(App, { target: document.body });
