// Shows /openapi.json as a page. Text only goes in by textContent: nothing here is markup.
const make = (tag, text, parent, className) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (className) node.className = className;
  parent.append(node);
  return node;
};

let schemas = {};
const resolve = (schema) =>
  schema && schema.$ref ? schemas[schema.$ref.split("/").pop()] || {} : schema || {};

const kindOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kindOf).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${kindOf(schema.items)}`;
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "any";
  return schema.format ? `${type} (${schema.format})` : type;
};

const table = (rows, parent) => {
  const body = make("tbody", "", make("table", "", parent));
  for (const [name, kind, note] of rows) {
    const row = make("tr", "", body);
    make("code", name, make("td", "", row));
    make("td", kind, row);
    make("td", note, row);
  }
};

const showFields = (title, reference, parent) => {
  const schema = resolve(reference.type === "array" ? reference.items : reference);
  make("h4", `${title}: ${kindOf(reference)}`, parent);
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([name, field]) => [
    name,
    kindOf(field),
    [required.has(name) ? "required" : "", field.description || ""].filter(Boolean).join("; "),
  ]);
  if (rows.length) table(rows, parent);
};

const showOperation = (path, method, operation, parent) => {
  const id = operation.operationId;
  const heading = make("h3", "", parent);
  heading.id = id;
  make("code", method.toUpperCase(), heading, "method");
  make("code", path, heading);
  make("p", operation.summary, parent);
  if (operation.description) make("p", operation.description.replaceAll("<br/>", " "), parent);
  const parameters = (operation.parameters || []).map((one) => [
    one.name,
    `${one.in}, ${kindOf(one.schema)}`,
    [one.required ? "required" : "", one.description || ""].filter(Boolean).join("; "),
  ]);
  if (parameters.length) table(parameters, parent);
  const json = (content) => content && content["application/json"];
  const body = json(operation.requestBody && operation.requestBody.content);
  if (body) showFields("Body", body.schema, parent);
  for (const [status, answer] of Object.entries(operation.responses || {})) {
    const content = json(answer.content);
    if (content) showFields(`Answer ${status}`, content.schema, parent);
    else if (status !== "default") make("p", `Answer ${status}: no content`, parent);
  }
  return [id, `${method.toUpperCase()} ${path}`];
};

const show = (spec) => {
  schemas = (spec.components || {}).schemas || {};
  document.getElementById("about").textContent = spec.info.description || "";
  const main = document.getElementById("operations");
  main.replaceChildren();
  const list = make("ul", "", document.getElementById("contents"));
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const [id, name] = showOperation(path, method, operation, make("section", "", main));
      make("a", name, make("li", "", list)).href = `#${id}`;
    }
  }
};

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(show)
  .catch((error) => {
    document.getElementById("operations").textContent = `The description cannot be loaded: ${error}`;
  });
