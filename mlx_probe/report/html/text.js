// Texts of the page: the reader's language, and strings of files made visible and harmless.

const payload = JSON.parse(document.getElementById("data").textContent);
const words = new Map(Object.entries(payload.words));

// A text in the reader's language, with its values put in; a test collects the literals.
function tr(text, values = {}) {
  return (words.get(text) ?? text)
    .replace(/\{(\w+)\}/g, (field, name) => (Object.hasOwn(values, name) ? values[name] : field));
}

// The page holds every string that a file can hold; these two make it visible and harmless.
const visible = (text) =>
  String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
// Plotly reads a few tags and entities in its texts.
const plotText = (text) =>
  visible(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "%&#8203;{");

// A text that is cut where there is no room for it.
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function short(value) {
  if (Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return String(Number(value.toPrecision(4))).replace("e+", "e");
}

// An element with properties, text and children; text is never read as HTML.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.map((child) => (child instanceof Node ? child : visible(child))));
  return made;
}

function option(value, text = value) { return element("option", { value }, text); }
