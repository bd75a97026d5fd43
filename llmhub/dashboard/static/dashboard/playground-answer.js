// One answer: sends the chat, shows the stream, and reports how it ended.

import { Problem, chatEvents, post, problemOf, readJSON } from "./playground-api.js";
import { AnswerView } from "./playground-view.js";

const ENDINGS = {
  length: { title: "Truncated", message: "The answer reached the token limit." },
  content_filter: { title: "Truncated", message: "The provider's content filter ended the answer." },
};

export class Answer {
  /** `request` is `{body, headers}`; `runs` starts answers again, one after the other. */
  constructor(config, { request, asked, onAgain }) {
    this.config = config;
    this.request = request;
    this.view = new AnswerView(asked, {
      onAgain: () => onAgain(this),
      onSnippet: () => this.#snippets(),
    });
    this.root = this.view.root;
    this.text = "";
  }

  async run(signal) {
    Object.assign(this, { text: "", chatId: null, done: null, firstMs: null, startedAt: performance.now() });
    this.view.begin();
    let notice = null;
    try {
      await this.#read(signal);
      notice = this.#ending();
    } catch (error) {
      notice = this.#noticeOf(error);
    }
    this.failed = !this.done;
    this.view.end({
      who: this.done && `${this.done.provider}/${this.done.model}`,
      notice,
      figures: this.#figures(),
      attempts: this.done?.attempts ?? [],
      chatUrl: this.#chatUrl(),
      failed: this.failed,
    });
  }

  async #read(signal) {
    const { body, headers } = this.request;
    const response = await post(this.config.ask_url, body, { csrfCookie: this.config.csrf_cookie, headers, signal });
    this.chatId = response.status === 401 ? null : response.headers.get("x-request-id");
    for await (const { event, data } of chatEvents(response)) {
      if (event === "chunk") this.#append(data.content);
      else if (event === "done") this.done = data;
      else if (event === "error") throw problemOf(data.error);
    }
    if (!this.done) throw new Problem("The answer is incomplete", "The connection ended before the answer was complete.");
    if (!this.text && this.done.content) this.#append(this.done.content);
    this.wholeMs = this.#elapsedMs();
  }

  #append(piece) {
    this.firstMs ??= this.#elapsedMs();
    this.text += piece;
    this.view.append(piece);
  }

  #elapsedMs() {
    return Math.round(performance.now() - this.startedAt);
  }

  #ending() {
    if (this.text) return ENDINGS[this.done.finish_reason] ?? null;
    return { title: "The answer is empty", message: `It ended with “${this.done.finish_reason ?? "no reason"}”.` };
  }

  #noticeOf(error) {
    if (error.name === "AbortError") return { title: "Stopped", message: "The partial answer is shown here." };
    if (!(error instanceof Problem)) return { title: "The page failed", message: String(error) };
    const title = this.text ? `The answer is incomplete: ${lowerFirst(error.title)}` : error.title;
    if (!error.needsSignIn) return { title, message: error.message };
    const link = { text: "Sign in in another window, then retry", url: this.config.login_url };
    return { title, message: error.message, link };
  }

  #figures() {
    const figures = [];
    if (this.firstMs !== null) figures.push(["First token", milliseconds(this.firstMs)]);
    if (!this.done) return figures;
    const { usage, cost_usd: cost } = this.done;
    figures.push(["Latency", milliseconds(this.wholeMs)], ["Tokens", tokens(usage)]);
    figures.push(["Cost", cost === null ? "–" : `$${cost.toFixed(6)}`]);
    return figures;
  }

  #chatUrl() {
    const { chat_url: url } = this.config;
    return url && this.chatId ? `${url}${encodeURIComponent(this.chatId)}/change/` : null;
  }

  async #snippets() {
    const { snippets_url: url, csrf_cookie: csrfCookie } = this.config;
    return readJSON(await post(url, this.request.body, { csrfCookie }));
  }
}

function tokens(usage) {
  if (!usage) return "–";
  const { prompt_tokens: prompt, completion_tokens: completion, source } = usage;
  return `${prompt} in, ${completion} out${source === "estimated" ? " (estimated)" : ""}`;
}

const milliseconds = (ms) => `${ms.toLocaleString("en")} ms`;
const lowerFirst = (text) => text[0].toLowerCase() + text.slice(1);
