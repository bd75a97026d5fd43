// Keeps empty fields out of the list's address.

function leaveOutEmpty(form) {
  for (const field of form.elements) {
    if (field.name && field.value === "") {
      field.disabled = true;
    }
  }
}

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
