// The one script of these pages: only the browser itself can make and use a passkey.
// Everything else works without it. Its forms stay hidden until it can help.

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

// What navigator.credentials is asked, from the JSON of a form and what was typed in it.
function optionsOf(form) {
  const options = JSON.parse(form.dataset.options);
  options.challenge = bytes(options.challenge);
  for (const credential of options.allowCredentials ?? options.excludeCredentials ?? []) {
    credential.id = bytes(credential.id);
  }
  if (options.user) {
    options.user.id = bytes(options.user.id);
    const typed = (name) => form.elements.namedItem(name)?.value.trim();
    options.user.name = typed("username") || options.user.name;
    options.user.displayName = typed("name") || options.user.displayName || options.user.name;
  }
  return options;
}

// The browser's answer as JSON (WebAuthn §5.1, toJSON), without extensions.
function answerOf(credential) {
  const response = {};
  for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[part]?.byteLength) response[part] = text(credential.response[part]);
  }
  if (credential.response.getTransports) response.transports = credential.response.getTransports();
  return JSON.stringify({
    id: credential.id, rawId: text(credential.rawId), type: credential.type, clientExtensionResults: {}, response,
  });
}

// A question that waits in the autofill of the browser, until a button is pressed.
let waiting;

async function use(form, more = {}) {
  const request = { publicKey: optionsOf(form), ...more };
  const asked = form.dataset.passkey === "create" ? navigator.credentials.create(request) : navigator.credentials.get(request);
  const credential = await asked;
  form.elements.namedItem("passkey").value = answerOf(credential);
  form.submit();
}

function say(form, problem) {
  for (const sentence of form.querySelectorAll("[data-problem]")) sentence.hidden = sentence.dataset.problem !== problem;
}

async function pressed(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector("button");
  waiting?.abort();
  say(form, "");
  button.disabled = true;
  try {
    await use(form);
  } catch (error) {
    say(form, error.name === "InvalidStateError" ? "exists" : "failed");
    button.disabled = false;
    button.focus();
  }
}

async function autofill(form) {
  if (!(await window.PublicKeyCredential.isConditionalMediationAvailable?.())) return;
  waiting = new AbortController();
  // Nobody is told: whoever wants to know presses the button.
  await use(form, { mediation: "conditional", signal: waiting.signal }).catch(() => {});
}

if (window.PublicKeyCredential) {
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", pressed);
    form.hidden = false;
    if ("autofill" in form.dataset) autofill(form);
  }
  for (const part of document.querySelectorAll("[data-with-passkeys]")) part.hidden = false;
} else {
  for (const part of document.querySelectorAll("[data-without-passkeys]")) part.hidden = false;
}
