// Charts are drawn on a canvas, where no style sheet reaches: this default lets their text follow the theme.
"use strict";

function colourChartText() {
  const isDark = document.documentElement.classList.contains("dark");
  Chart.defaults.color = isDark ? "#d1d5db" : "#4b5563";
}

colourChartText();
new MutationObserver(colourChartText).observe(document.documentElement, {
  attributes: true,
  attributeFilter: ["class"],
});
