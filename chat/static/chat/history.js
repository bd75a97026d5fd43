// Copies what a field holds, and keeps empty fields out of the list's address.

function copy(button) {
  const field = document.getElementById(button.dataset.copy);
  const told = button.parentElement.querySelector("[data-copied]");
  field.select();
  const tell = () => { told.textContent = "Copied"; };
  if (navigator.clipboard) {
    navigator.clipboard.writeText(field.value).then(tell, () => { told.textContent = "Select and copy by hand"; });
  } else if (document.execCommand("copy")) {
    tell();
  }
}

function leaveOutEmpty(form) {
  for (const field of form.elements) {
    if (field.name && field.value === "") {
      field.disabled = true;
    }
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    copy(button);
  }
});

document.addEventListener("submit", (event) => {
  if (event.target.id === "filter-form") {
    leaveOutEmpty(event.target);
  }
});

// A page brought back from the browser's cache has its fields back, too.
window.addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("#filter-form :disabled")) {
    field.disabled = false;
  }
});
