// Before the first paint, so that a dark page does not flash in white. No module: those come later.
"use strict";
document.documentElement.dataset.theme = localStorage.getItem("paybeat.theme") || "system";
