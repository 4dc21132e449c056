/**
 * Elements made by hand: text is only ever text, so nothing that a server says becomes markup.
 *
 *     h("button", {class: "primary", onClick: pay, "aria-busy": "true"}, "Pay ", money)
 */

/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */

const SVG = "http://www.w3.org/2000/svg";

// Set as properties: the attribute is only what they begin with.
const PROPERTIES = new Set(["value", "checked", "selected", "indeterminate"]);

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Record<string, any> | null} [props] `on*` are listeners, `dataset` and `style` objects,
 *   true is an attribute without value, null, undefined and false are left out.
 * @param {...Child} children
 * @returns {any} an HTMLElement; `any` spares each caller a cast
 */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    setProp(node, name, value);
  }
  append(node, children);
  return node;
}

/**
 * Make an SVG element.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, String(value));
    }
  }
  append(node, children);
  return node;
}

/**
 * Put `children` in place of what is in `node`.
 *
 * @template {Element} T
 * @param {T} node
 * @param {...Child} children
 * @returns {T}
 */
export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

let made = 0;

/** Return an id that no other element has. */
export function newId(prefix = "id") {
  made += 1;
  return `${prefix}-${made}`;
}

/**
 * @param {any} node
 * @param {string} name
 * @param {any} value
 */
function setProp(node, name, value) {
  if (value === null || value === undefined || value === false) {
    return;
  }
  if (name.startsWith("on") && typeof value === "function") {
    node.addEventListener(name.slice(2).toLowerCase(), value);
  } else if (name === "dataset" || name === "style") {
    setEach(node, name, value);
  } else if (name === "class") {
    node.className = Array.isArray(value) ? value.filter(Boolean).join(" ") : value;
  } else if (PROPERTIES.has(name)) {
    node[name] = value;
  } else {
    node.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @param {any} node
 * @param {"dataset" | "style"} name
 * @param {Record<string, any>} values
 */
function setEach(node, name, values) {
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("--")) {
      node.style.setProperty(key, value);
    } else if (value !== null && value !== undefined) {
      node[name][key] = value;
    }
  }
}

/**
 * @param {Element} node
 * @param {Child[]} children
 */
function append(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) {
      append(node, child);
    } else if (child instanceof Node) {
      node.append(child);
    } else if (child !== null && child !== undefined && child !== false) {
      node.append(String(child));
    }
  }
}
