// The playground's page: what to ask is in the form, the conversation in `turns`, and nowhere else.

import { readJSON } from "./playground-api.js";
import { Answer } from "./playground-answer.js";
import { element, showPlan, turnElement } from "./playground-view.js";

const config = JSON.parse(document.getElementById("playground-config").textContent);
const form = document.getElementById("playground");
const fields = form.elements;
const byId = (id) => document.getElementById(`playground-${id}`);

let turns = [];
let stopper = null;

const sides = [
  { provider: fields.provider, model: fields.model, datalist: byId("models") },
  { provider: fields.second_provider, model: fields.second_model, datalist: byId("second-models") },
].map((side, at) => ({ ...side, at, room: form.querySelector(`[data-side="${at}"]`) }));

const usedSides = () => (fields.compare.checked ? sides : sides.slice(0, 1));
const asKey = () => fields.as_key?.value ?? "";

// What is asked

function parameters() {
  const number = (name) => (fields[name].value === "" ? {} : { [name]: fields[name].valueAsNumber });
  const stop = fields.stop.value.split("\n").filter(Boolean);
  return { ...number("temperature"), ...number("top_p"), ...number("max_tokens"), ...(stop.length ? { stop } : {}) };
}

/** What was said so far, as a side knows it: what was not answered is left out. */
function history(side) {
  return turns.flatMap(({ message, answers }) => {
    const { text } = answers[side.at] ?? answers[0];
    return text ? [{ role: "user", content: message }, { role: "assistant", content: text }] : [];
  });
}

function requestOf(side, message) {
  const system = fields.system.value.trim() ? [{ role: "system", content: fields.system.value }] : [];
  const provider = side.provider.value;
  const model = side.model.value.trim();
  const body = {
    ...(provider ? { provider } : {}),
    ...(model ? { model } : {}),
    messages: [...system, ...history(side), { role: "user", content: message }],
    ...parameters(),
    stream: true,
  };
  return { body, headers: asKey() ? { [config.as_key_header]: asKey() } : {} };
}

const askedWords = ({ body }) => [body.provider, body.model].filter(Boolean).join("/") || "Any provider";

// Asking

async function send() {
  const message = fields.message.value;
  if (stopper || !message.trim()) return;
  const answers = usedSides().map((side) => {
    const request = requestOf(side, message);
    return new Answer(config, { request, asked: askedWords(request), onAgain: (answer) => run([answer]) });
  });
  const turn = { message, answers };
  turns.push(turn);
  fields.message.value = "";
  byId("empty").hidden = true;
  byId("turns").append(turnElement(message, answers));
  await run(answers);
  if (answers.every((answer) => !answer.text) && !fields.message.value) fields.message.value = message;
}

async function run(answers) {
  if (stopper) return;
  stopper = new AbortController();
  setBusy(true, "Sending…");
  try {
    await Promise.all(answers.map((answer) => answer.run(stopper.signal)));
  } finally {
    const stopped = stopper.signal.aborted;
    stopper = null;
    const failed = answers.filter((answer) => answer.failed).length;
    const wasAtStop = [document.body, byId("stop-all")].includes(document.activeElement);
    setBusy(false, stopped ? "Stopped." : failed ? `${failed} of ${answers.length} failed.` : "Done.");
    if (wasAtStop) fields.message.focus();
  }
}

function setBusy(busy, words) {
  byId("send").disabled = busy;
  byId("new").disabled = busy;
  byId("stop-all").disabled = !busy;
  byId("status").textContent = words;
}

function startAnew() {
  turns = [];
  byId("turns").replaceChildren();
  byId("empty").hidden = false;
  byId("status").textContent = "";
  fields.message.focus();
}

// Whom to ask

function offerModels(side) {
  const provider = side.provider.value;
  const names = provider ? config.models[provider] ?? [] : [...new Set(Object.values(config.models).flat())].sort();
  side.datalist.replaceChildren(...names.map((name) => Object.assign(element("option"), { value: name })));
  const byDefault = config.default_models[provider];
  side.model.placeholder = byDefault ? `${byDefault} (default)` : "";
}

async function plan(side) {
  side.asking?.abort();
  side.asking = new AbortController();
  const query = new URLSearchParams({ provider: side.provider.value, model: side.model.value.trim(), as_key: asKey() });
  try {
    const response = await fetch(`${config.plan_url}?${query}`, { signal: side.asking.signal });
    showPlan(side.room.querySelector(".playground-plan"), await readJSON(response));
  } catch (error) {
    if (error.name === "AbortError") return;
    showPlan(side.room.querySelector(".playground-plan"), { candidates: [], left_out: [], problem: error.message });
  }
}

function planLater(side) {
  clearTimeout(side.later);
  side.later = setTimeout(() => plan(side), 250);
}

function refresh() {
  sides[1].room.hidden = !fields.compare.checked;
  form.classList.toggle("is-comparing", fields.compare.checked);
  for (const side of usedSides()) {
    offerModels(side);
    plan(side);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
form.addEventListener("invalid", () => (form.querySelector("details").open = true), { capture: true });
byId("stop-all").addEventListener("click", () => stopper?.abort());
byId("new").addEventListener("click", startAnew);
fields.compare.addEventListener("change", refresh);
fields.as_key?.addEventListener("change", refresh);
for (const side of sides) {
  side.provider.addEventListener("change", refresh);
  side.model.addEventListener("input", () => planLater(side));
}
window.addEventListener("beforeunload", (event) => {
  if (turns.length || fields.message.value) event.preventDefault();
});
refresh();
