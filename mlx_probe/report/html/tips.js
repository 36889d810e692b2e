// What a column means: beside its name for the mouse, the keyboard and the finger.

const tips = new WeakMap();
const tip = element("div", { id: "tip", role: "tooltip", hidden: true });
let tipOf = null;
let tipTimer = 0;

// Gives an element a tooltip; `content` makes its nodes when it is first needed.
function explained(target, content) {
  tips.set(target, content);
  target.classList.add("explained");
  return target;
}

// A text whose names of columns, in backticks, look like names.
function withCode(text) {
  return text.split(/`([^`]+)`/).map((piece, at) => (at % 2 ? element("code", {}, piece) : visible(piece)));
}

// Everything that is known of a column, as nodes.
function columnNodes(column) {
  const lines = [[tr("Usual"), column.typical], [tr("Caution"), column.caveat], [tr("Source"), column.source]];
  const known = lines.filter(([, text]) => text);
  const heading = element("p", {}, element("strong", {}, column.title), " ");
  if (column.title !== column.name) heading.append(element("code", {}, column.name));
  if (column.unit) heading.append(" ", tr("Unit: {unit}.", { unit: visible(column.unit) }));
  const nodes = [heading, element("p", {}, ...withCode(column.plain || column.about))];
  if (known.length) {
    nodes.push(element("dl", {}, ...known.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, ...withCode(text))])));
  }
  return nodes;
}

// The name of a column, with its tooltip, where there is no control that could have it.
function term(column, text = column.title) {
  return explained(element("button", { type: "button", className: "term" }, text), () => columnNodes(column));
}

function placeTip() {
  if (tipOf === null) return;
  const at = tipOf.getBoundingClientRect();
  if (!tipOf.isConnected || at.bottom < 0 || at.top > innerHeight) { hideTip(); return; }
  const room = document.documentElement.clientWidth;
  tip.style.left = `${Math.max(8, Math.min(at.left, room - tip.offsetWidth - 8))}px`;
  const below = at.bottom + 6;
  tip.style.top = `${below + tip.offsetHeight < innerHeight ? below : Math.max(8, at.top - tip.offsetHeight - 6)}px`;
}

function showTip(target) {
  clearTimeout(tipTimer);
  if (tipOf === target) return;
  hideTip();
  tipOf = target;
  tip.replaceChildren(...tips.get(target)());
  tip.hidden = false;
  target.setAttribute("aria-describedby", "tip");
  placeTip();
}

function hideTip() {
  clearTimeout(tipTimer);
  tipOf?.removeAttribute("aria-describedby");
  tipOf = null;
  tip.hidden = true;
}

function startTips() {
  document.body.append(tip);
  const near = (event) => (event.target instanceof Element ? event.target.closest(".explained") : null);
  let isTouch = false;
  const later = (work) => { clearTimeout(tipTimer); tipTimer = setTimeout(work, 200); };
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    const target = near(event);
    // The mouse may go onto the tooltip, to read on or to mark its text.
    if (target !== null) later(() => showTip(target));
    else if (tip.contains(event.target)) clearTimeout(tipTimer);
    else if (tipOf !== null && !tipOf.contains(document.activeElement)) later(hideTip);
  });
  document.addEventListener("pointerdown", (event) => { isTouch = event.pointerType === "touch"; }, true);
  document.addEventListener("focusin", (event) => {
    // A click is no question; a finger's comes below.
    if (near(event) !== null && event.target.matches(":focus-visible")) showTip(near(event));
    else if (tipOf !== null && !isTouch) hideTip();
  });
  document.addEventListener("focusout", () => later(hideTip));
  document.addEventListener("click", (event) => {
    const target = near(event);
    if (target !== null && (isTouch || target.matches(".term"))) showTip(target);
    else if (!tip.contains(event.target)) hideTip();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  addEventListener("scroll", placeTip, true);
  addEventListener("resize", placeTip);
}
