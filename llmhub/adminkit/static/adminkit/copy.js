"use strict";

/** Copies what the element that a button names holds, and says so next to the button. */
async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const said = button.parentElement.querySelector("[role=status]");
  said.textContent = "";
  const isCopied = (await toClipboard(source.value ?? source.textContent)) || select(source);
  said.textContent = isCopied ? "Copied" : "Selected: press Ctrl+C or ⌘C";
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // browsers offer no clipboard to pages that come without TLS
  }
}

function select(source) {
  if (source.select) source.select();
  else window.getSelection().selectAllChildren(source);
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
