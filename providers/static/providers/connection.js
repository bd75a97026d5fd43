// Tells of a trial that brought no result: the session ended, or the hub did not answer.
"use strict";

function say(words) {
  const message = document.createElement("p");
  message.className = "pv-verdict pv-failed";
  message.textContent = words;
  document.getElementById("trial").replaceChildren(message);
  show();
}

function show() {
  document.getElementById("trial").scrollIntoView({ block: "nearest" });
}

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target.id === "trial") show();
});

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.target.id === "trial") {
    event.detail.target.replaceChildren();
  }
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "trial") {
    return;
  }
  if (event.detail.xhr.status !== 200) {
    say(`The hub did not try it: it answered ${event.detail.xhr.status}. Reload the page, you may have been signed out.`);
  } else if (!event.detail.serverResponse.includes('id="trial-result"')) {
    event.detail.shouldSwap = false;
    say("You have been signed out: reload the page and sign in again.");
  }
});

document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.target.id === "trial") {
    say("The hub cannot be reached.");
  }
});
