"use strict";

/** Shows the exact date only when that is how the key ends. */
document.addEventListener("DOMContentLoaded", () => {
  const lifetime = document.getElementById("id_lifetime");
  const row = document.querySelector(".field-expires_at");
  if (!lifetime || !row) return;
  const follow = () => row.toggleAttribute("hidden", lifetime.value !== "date");
  lifetime.addEventListener("change", follow);
  follow();
});
