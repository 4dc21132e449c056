/** What is happening now. */

import { h } from "../dom.js";

/** @type {import("../router.js").View} */
export default {
  path: "/",
  title: "Overview",
  nav: { label: "Overview", icon: "overview" },
  show: () => ({ node: h("section", null, h("h1", null, "Overview")) }),
};
