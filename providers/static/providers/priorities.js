// Saves a priority as soon as it is typed: a button of another row would else leave the page without it.
"use strict";

const saving = new Set();

function tell(input, words) {
  let told = input.parentElement.querySelector(".pv-saved");
  if (!told) {
    told = document.createElement("span");
    told.className = "pv-saved";
    told.setAttribute("role", "status");
    input.after(told);
  }
  told.textContent = words;
}

async function save(input) {
  const sent = new FormData(input.form);
  sent.set("_save", "Save");
  sent.delete("action");
  tell(input, "saving…");
  try {
    const answer = await fetch(location.href, { method: "POST", body: sent, keepalive: true });
    if (!answer.ok || !answer.redirected) throw new Error("refused");
    input.form.elements[`initial-${input.name}`].value = sent.get(input.name);
    tell(input, "saved");
    return true;
  } catch {
    tell(input, "not saved: correct it, or reload the page");
    return false;
  }
}

document.addEventListener("change", (event) => {
  if (!event.target.matches("input.pv-priority")) return;
  const pending = save(event.target).finally(() => saving.delete(pending));
  saving.add(pending);
});

document.addEventListener("submit", async (event) => {
  if (!saving.size) return;
  event.preventDefault();
  const { target, submitter } = event;
  const saved = await Promise.all(saving);
  if (saved.every(Boolean)) target.requestSubmit(submitter);
});
