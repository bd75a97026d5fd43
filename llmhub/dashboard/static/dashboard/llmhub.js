// The theme's clickable texts are buttons for the keyboard and for screen readers too, and its fields have names.
"use strict";

const ICON_NAMES = {
  dock_to_right: "Navigation",
  close: "Close",
  visibility: "Show the password",
  visibility_off: "Hide the password",
  more_vert: "More",
};

const CLICKABLE = ":is(span, div, h2, h3, a:not([href]))[x-on\\:click]:not([role])";
const IGNORED = "#changelist-filter-close, [x-data*='searchCommand'], [x-on\\:click*='opencommand']";

function nameIcons(root) {
  for (const icon of root.querySelectorAll(".material-symbols-outlined:not([aria-hidden], [aria-label])")) {
    const owner = icon.closest("a, button, [role=button]");
    if (owner && !hasOtherName(owner, icon)) nameByIcon(owner, icon);
    if (owner !== icon) icon.setAttribute("aria-hidden", "true");
  }
}

function hasOtherName(owner, icon) {
  const others = owner.textContent.replace(icon.textContent, "").trim();
  return Boolean(others || owner.title || owner.getAttribute("aria-label") || owner.getAttribute("aria-labelledby"));
}

function nameByIcon(element, icon) {
  if (element.hasAttribute("aria-label") || element.title) return;
  const word = icon.textContent.trim();
  const name = ICON_NAMES[word] || word.replaceAll("_", " ");
  if (name) element.setAttribute("aria-label", name);
}

function makeButtons(root) {
  for (const element of root.querySelectorAll(CLICKABLE)) {
    if (element.matches(IGNORED)) continue;
    element.setAttribute("role", "button");
    element.tabIndex = 0;
  }
}

function nameFields(root) {
  for (const field of root.querySelectorAll("select.admin-autocomplete")) {
    const shown = field.nextElementSibling?.querySelectorAll("[role=combobox], [role=textbox], [role=searchbox]") || [];
    for (const part of shown) part.setAttribute("aria-label", labelOf(field));
  }
  for (const field of root.querySelectorAll(".vDateField, .vTimeField")) {
    if (field.labels.length || field.hasAttribute("aria-label")) continue;
    field.setAttribute("aria-label", `${labelOf(field)}, ${field.matches(".vDateField") ? "date" : "time"}`);
  }
  for (const hint of root.querySelectorAll(".help-tooltip[aria-label]:not([role])")) hint.setAttribute("role", "img");
}

function labelOf(field) {
  const label = field.labels?.[0] || field.closest(".field-row, .form-row, [class*=field-]")?.querySelector("label");
  return (label?.textContent || field.name).replace("*", "").trim();
}

function nameCells(root) {
  for (const cell of root.querySelectorAll("#result_list [data-label]")) {
    const label = cell.dataset.label;
    if (label && label[0] !== label[0].toUpperCase()) cell.dataset.label = label[0].toUpperCase() + label.slice(1);
  }
}

function correct() {
  makeButtons(document);
  nameIcons(document);
  nameFields(document);
  nameCells(document);
}

// Screen readers tell what comes into a live region, not what stood there from the first.
function announceMessages() {
  const list = document.getElementById("messages");
  if (list) setTimeout(() => list.replaceChildren(...list.children), 250);
}

document.addEventListener("keydown", (event) => {
  const isPress = event.key === "Enter" || event.key === " ";
  if (isPress && event.target.matches?.("[role=button]:not(button, a[href])")) {
    event.preventDefault();
    event.target.click();
  }
});

// On a phone the navigation covers the page: the focus goes into it, and comes back.
document.addEventListener("click", (event) => {
  if (!event.target.closest("[x-on\\:click*='sidebarMobileOpen']")) return;
  setTimeout(() => {
    const [opener] = document.querySelectorAll("#header-inner [x-on\\:click*='sidebarMobileOpen']");
    const [closer] = document.querySelectorAll("#nav-sidebar [x-on\\:click*='sidebarMobileOpen']");
    const isOpen = closer.getClientRects().length > 0;
    opener.setAttribute("aria-expanded", String(isOpen));
    (isOpen ? closer : opener).focus();
  });
});

// Paper is white: light text on it could not be read.
let isDarkOnScreen = false;
addEventListener("beforeprint", () => {
  isDarkOnScreen = document.documentElement.classList.contains("dark");
  document.documentElement.classList.remove("dark");
});
addEventListener("afterprint", () => document.documentElement.classList.toggle("dark", isDarkOnScreen));

// Much of a page is made after it came: by Alpine, htmx, select2 and Django's own scripts.
let isDue = false;
const changes = new MutationObserver(() => {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    correct();
  }, 20);
});

document.addEventListener("DOMContentLoaded", () => {
  correct();
  announceMessages();
  document.querySelector("#nav-sidebar-apps a.active")?.setAttribute("aria-current", "page");
  changes.observe(document.body, { childList: true, subtree: true });
});
