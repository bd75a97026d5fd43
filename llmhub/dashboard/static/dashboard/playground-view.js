// What stands on the page of a conversation. Whatever a model says is text and nothing else.

const FIRST_LINES = 5;

export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function button(text, onClick) {
  const made = element("button", "playground-button playground-small", text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/** One turn: what was said, with room for its answers. */
export function turnElement(message, answers) {
  const turn = element("li", "playground-turn");
  const said = element("div", "playground-said", message);
  said.dir = "auto";
  const room = element("div", "playground-answers");
  room.classList.toggle("is-pair", answers.length > 1);
  room.append(...answers.map((answer) => answer.root));
  turn.append(element("h3", "playground-who", "You"), said, room);
  return turn;
}

/** One answer: who gives it, the text as it comes, and afterwards how it went. */
export class AnswerView {
  constructor(asked, { onAgain, onSnippet }) {
    this.root = element("article", "playground-answer");
    this.who = element("h3", "playground-who", asked);
    this.body = element("div", "playground-text");
    this.body.dir = "auto";
    this.body.setAttribute("aria-live", "polite");
    this.after = element("div", "playground-after");
    this.onAgain = onAgain;
    this.onSnippet = onSnippet;
    this.root.append(this.who, this.body, this.after);
  }

  begin() {
    this.root.dataset.state = "asking";
    this.root.classList.remove("has-failed");
    this.body.setAttribute("aria-busy", "true");
    this.body.replaceChildren();
    this.after.replaceChildren();
    this.text = this.body.appendChild(document.createTextNode(""));
  }

  append(piece) {
    this.text.appendData(piece);
  }

  end({ who, notice, figures, attempts, chatUrl, failed }) {
    this.root.dataset.state = failed ? "failed" : "answered";
    this.root.classList.toggle("has-failed", failed);
    if (who) this.who.textContent = who;
    this.body.removeAttribute("aria-busy");
    const shown = [notice && noticeElement(notice), figuresElement(figures), attemptsElement(attempts)];
    this.after.replaceChildren(...shown.filter(Boolean), this.#actions(chatUrl));
  }

  #actions(chatUrl) {
    const row = element("div", "playground-buttons");
    const said = element("span", "playground-hint");
    said.setAttribute("role", "status");
    const room = element("div");
    const copy = (kind, name) => button(`Copy as ${name}`, () => this.#copy(kind, name, { said, room }));
    row.append(copy("curl", "curl"), copy("python", "Python"), button("Retry", this.onAgain));
    if (chatUrl) row.append(recordLink(chatUrl));
    row.append(said);
    const both = element("div", "playground-actions");
    both.append(row, room);
    return both;
  }

  async #copy(kind, name, { said, room }) {
    try {
      const text = (await this.onSnippet())[kind];
      const field = snippetElement(text, name);
      room.replaceChildren(field);
      said.textContent = await toClipboard(text, field);
    } catch (problem) {
      said.textContent = `Not copied: ${problem.message}`;
    }
  }
}

async function toClipboard(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied.";
  } catch {
    field.focus();
    field.select();
    return "The browser blocks copying. The text is selected: copy it from here.";
  }
}

function snippetElement(text, name) {
  const field = element("textarea", "playground-snippet");
  field.readOnly = true;
  field.rows = Math.min(text.split("\n").length + 1, 16);
  field.setAttribute("aria-label", `This chat as ${name}`);
  field.value = text;
  return field;
}

function recordLink(url) {
  const link = element("a", "", "Recorded chat");
  link.href = url;
  link.target = "_blank";
  link.rel = "noopener";
  return link;
}

function noticeElement({ title, message, link }) {
  const notice = element("div", "playground-notice");
  notice.setAttribute("role", "alert");
  notice.append(element("strong", "", title));
  if (message) {
    const words = element("p", "", message);
    words.dir = "auto";
    notice.append(words);
  }
  if (link) {
    const made = element("a", "", link.text);
    made.href = link.url;
    made.target = "_blank";
    made.rel = "noopener";
    notice.append(made);
  }
  return notice;
}

function figuresElement(figures) {
  if (!figures.length) return null;
  const list = element("dl", "playground-figures");
  for (const [name, value] of figures) {
    const pair = element("div");
    pair.append(element("dt", "", name), element("dd", "", value));
    list.append(pair);
  }
  return list;
}

function attemptsElement(attempts) {
  if (!attempts.length) return null;
  const list = element("ol", "playground-attempts");
  list.setAttribute("aria-label", "Attempts");
  list.append(...attempts.map((attempt) => element("li", "", attemptWords(attempt))));
  return list;
}

function attemptWords({ provider, model, ok, error, upstream_status: status, latency_ms: ms }) {
  const whom = `${provider}/${model}`;
  if (ok) return `${whom} succeeded in ${ms.toLocaleString("en")} ms`;
  return `${whom} failed after ${ms.toLocaleString("en")} ms${status ? ` with status ${status}` : ""}: ${error}`;
}

/** Show the routing of a chat. */
export function showPlan(room, { candidates, left_out: leftOut, problem }) {
  const shown = [];
  if (problem) shown.push(element("p", "", problem));
  if (candidates.length) {
    shown.push(element("p", "", "Routing:"));
    shown.push(...listsOf("ol", candidates.map(({ provider, model, health }) => `${provider}/${model} · ${health}`)));
  }
  if (leftOut.length) shown.push(element("p", "", "Skipped:"), ...listsOf("ul", leftOut));
  room.replaceChildren(...shown);
}

/** A list, and what is beyond its first lines folded away. */
function listsOf(name, lines) {
  const first = listOf(name, lines.slice(0, FIRST_LINES));
  if (lines.length <= FIRST_LINES) return [first];
  const rest = listOf(name, lines.slice(FIRST_LINES));
  if (name === "ol") rest.start = FIRST_LINES + 1;
  const more = element("details", "playground-more");
  more.append(element("summary", "", `${lines.length - FIRST_LINES} more`), rest);
  return [first, more];
}

function listOf(name, lines) {
  const list = element(name);
  list.append(...lines.map((line) => element("li", "", line)));
  return list;
}
