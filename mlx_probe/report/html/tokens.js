// A text as its tokens: one stop of the Tab key, arrows lead on.

// A token as it is shown: what cannot be seen has a sign.
const shownToken = (text) => (text.trim() ? text : text.replaceAll(" ", "␣")).replace(/\n/g, "↵").replace(/\t/g, "⇥") || "∅";

// `nodes` makes what a token's tooltip says, `onChoose` is called with the place of the token
// that was clicked or that the keys came to.
class TokenStrip {
  constructor(texts, { nodes = null, onClick = () => {}, onMove = () => {} }) {
    this.at = 0;
    this.buttons = texts.map((token, at) => {
      const button = element("button", { type: "button", className: "token", tabIndex: at ? -1 : 0 }, shownToken(token));
      button.dataset.token = at;
      return nodes === null ? button : explained(button, () => nodes(at));
    });
    this.element = element("div", { className: "tokens", role: "group", ariaLabel: tr("Tokens") },
      ...this.buttons.flatMap((button, at) => [button, ...(texts[at].includes("\n") ? [element("br")] : [])]));
    this.element.setAttribute("aria-label", tr("Tokens"));
    this.element.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -texts.length, End: texts.length }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      this.move(this.at + by);
      this.buttons[this.at].focus();
      onMove(this.at);
    });
    this.element.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest(".token") : null;
      if (button === null) return;
      this.move(Number(button.dataset.token));
      onClick(this.at);
    });
  }

  // The token that the Tab key comes to.
  move(at) {
    this.buttons[this.at].tabIndex = -1;
    this.at = Math.max(0, Math.min(this.buttons.length - 1, at));
    this.buttons[this.at].tabIndex = 0;
  }
}
