// The hub's API: one chat as a stream of events, and messages for failures.

const TITLES = {
  rate_limit_exceeded: "Rate limit exceeded",
  no_provider: "No provider answered",
  record_unavailable: "The hub cannot record chats now",
  database_unavailable: "The hub's database does not answer",
  provider_unreachable: "The provider could not be reached",
  provider_timeout: "The provider took too long",
  provider_auth_error: "The provider refused the hub's key",
  provider_misconfigured: "The provider is not set up",
  model_not_found: "No provider has this model",
  provider_not_found: "Unknown provider",
  context_length_exceeded: "The prompt is too long for the model",
  content_filter: "The provider's content filter blocked this",
  truncated_reply: "The provider ended the answer early",
};

/** A failure as it is shown; `needsSignIn` when only signing in again helps. */
export class Problem extends Error {
  constructor(title, message, { needsSignIn = false } = {}) {
    super(message);
    this.title = title;
    this.needsSignIn = needsSignIn;
  }
}

function lost() {
  const advice = "The partial answer is shown here. The hub may have completed it: see the history.";
  return new Problem("Connection to the hub lost", advice);
}

function cookie(name) {
  const pair = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
  return pair ? decodeURIComponent(pair.slice(name.length + 1)) : "";
}

/** Post JSON as the signed-in user. */
export async function post(url, body, { csrfCookie, headers = {}, signal } = {}) {
  const sent = { "Content-Type": "application/json", "X-CSRFToken": cookie(csrfCookie), ...headers };
  const request = { method: "POST", headers: sent, body: JSON.stringify(body), credentials: "same-origin", signal };
  try {
    return await fetch(url, request);
  } catch (error) {
    throw error.name === "AbortError" ? error : lost();
  }
}

/** Return JSON, or throw a Problem. */
export async function readJSON(response) {
  if (response.redirected || response.status === 401) throw signedOut(await words(response));
  if (!response.ok) throw problemOf(await envelope(response), response);
  return response.json();
}

/** Yield the events of a chat: `{event, data}`. */
export async function* chatEvents(response) {
  if (!(response.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
    await readJSON(response);
    throw new Problem("Unexpected response", "The hub did not send a stream.");
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : lost();
    });
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    yield* frames.map(parse).filter(Boolean);
  }
}

function parse(frame) {
  const fields = Object.fromEntries(frame.split("\n").map((line) => split(line, ": ")));
  return fields.data === undefined ? null : { event: fields.event, data: JSON.parse(fields.data) };
}

function split(line, mark) {
  const at = line.indexOf(mark);
  return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + mark.length)];
}

async function envelope(response) {
  try {
    return (await response.json()).error ?? {};
  } catch {
    return {};
  }
}

const words = async (response) => (await envelope(response)).message ?? "";

function signedOut(message) {
  return new Problem("You are signed out", message, { needsSignIn: true });
}

/** Convert a hub's error object to a Problem. */
export function problemOf(error, response = null) {
  const wait = response?.headers.get("retry-after");
  const text = error.message ?? `The hub returned status ${response?.status} without a message.`;
  return new Problem(TITLES[error.code] ?? titleOf(error.type), wait ? `${text} Try again in ${wait} s.` : text);
}

function titleOf(type) {
  if (type === "permission_error") return "Not permitted";
  return type === "invalid_request_error" ? "The request was rejected" : "The request failed";
}
