// The state of the page in its address, behind #: whoever opens the address sees the same view.

// Each part of the page gives its choices that are not the usual ones, and takes them back.
const parts = new Map();
// Longer addresses are no view of this page.
const LONGEST_ADDRESS = 30000;
// Two changes of one text within this time are one step back.
const ONE_STEP = 1500;
let section = "";
let writtenAt = -Infinity;

// The choices of one part in an address; what is left over, or is not among the choices, is noted.
class Given {
  constructor(name) { Object.assign(this, { name, entries: new Map(), ignored: [] }); }

  take(key) {
    const text = this.entries.get(key);
    this.entries.delete(key);
    return text;
  }

  one(key, choices, otherwise) {
    const text = this.take(key);
    if (text === undefined || choices.includes(text)) return text ?? otherwise;
    this.ignore(key, text);
    return otherwise;
  }

  ignore(key, text) { this.ignored.push(`${joined(this.name, key)}=${text}`); }

  get left() { return [...this.ignored, ...[...this.entries].map(([key, text]) => `${joined(this.name, key)}=${text}`)]; }
}

const joined = (name, key) => (key ? `${name}.${key}` : name);

// What an address says: the section that it leads to, and the choices of each part by its name.
function parsed(text) {
  const found = { section: "", byPart: new Map(), unknown: [] };
  const sections = [...document.querySelectorAll("main > section[id]")].map((one) => one.id);
  if (sections.includes(text)) found.section = text;
  else if (text.length > LONGEST_ADDRESS) found.unknown.push(text);
  else {
    for (const [key, value] of new URLSearchParams(text)) {
      const [, name, rest] = /^([^.]*)\.?(.*)$/s.exec(key);
      if (key === "at" && sections.includes(value)) found.section = value;
      else {
        if (!found.byPart.has(name)) found.byPart.set(name, new Given(name));
        found.byPart.get(name).entries.set(rest, value);
      }
    }
  }
  return found;
}

let asked = parsed(location.hash.slice(1));
const givenTo = (name) => asked.byPart.get(name) ?? new Given(name);

// Makes a part of the page follow the address, from now on. `read` gives an object of texts by key
// ("" for the part's one choice), empty for the usual ones; `apply` takes a Given, where a missing
// key means the usual choice, and shows the part.
function inAddress(name, read, apply) {
  parts.set(name, { read, apply });
  apply(givenTo(name));
}

function currentAddress() {
  const search = new URLSearchParams();
  if (section) search.append("at", section);
  for (const [name, { read }] of parts) {
    for (const [key, text] of Object.entries(read())) if (text) search.append(joined(name, key), text);
  }
  const text = search.toString();
  return text && `#${text}`;
}

// Writes the state into the address: as a new step for the back button, unless it is one more
// letter of the same text.
function remember(isTyping = false) {
  const text = currentAddress();
  if (text === location.hash) return;
  const isSameStep = isTyping && performance.now() - writtenAt < ONE_STEP;
  writtenAt = isTyping ? performance.now() : -Infinity;
  write(text, isSameStep);
}

function write(text, isSameStep) {
  try {
    history[isSameStep ? "replaceState" : "pushState"]({ isView: true }, "", text || location.href.split("#")[0]);
  } catch {
    // Some browsers allow few steps in a short time; the next one is written again.
  }
}

// Says what the address asks for in vain.
function noteUnknown() {
  const left = [...asked.unknown, ...[...asked.byPart.values()].flatMap((given) => given.left)];
  const what = cut(left.slice(0, 5).map((one) => cut(one, 80)).join(", "), 300);
  document.getElementById("address-note").textContent = left.length
    ? visible(tr("The address asks for something that this page does not have, which is ignored: {what}", { what }))
    : "";
}

function restore() {
  asked = parsed(location.hash.slice(1));
  section = asked.section;
  for (const [name, { apply }] of parts) apply(givenTo(name));
  noteUnknown();
}

function goTo(id) {
  section = id;
  document.getElementById(id).scrollIntoView();
}

function startAddress() {
  for (const link of document.querySelectorAll("nav a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      goTo(link.hash.slice(1));
      remember();
    });
  }
  // A link of the page itself changes what it names, and keeps all other choices.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("main a[href^='#']") : null;
    if (link === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const search = new URLSearchParams(currentAddress().slice(1));
    for (const [key, value] of new URLSearchParams(link.hash.slice(1))) search.set(key, value);
    write(`#${search}`, false);
    restore();
    if (section) goTo(section);
  });
  let shown = location.hash;
  const follow = (isStep) => {
    if (!isStep && location.hash === shown) return;
    shown = location.hash;
    restore();
    arrive();
  };
  // A step back comes to where the page was; an address that was typed, to what it names.
  const arrive = () => { if (!history.state?.isView && section) goTo(section); };
  addEventListener("popstate", () => follow(true));
  addEventListener("hashchange", () => follow(false));
  section = asked.section;
  noteUnknown();
  arrive();
}
