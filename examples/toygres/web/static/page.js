"use strict";

const EVERY_MS = 1000;

function say(text) {
  document.querySelector("#said").textContent = text;
}

async function ask(method, path, body) {
  const options = { method };
  if (method === "POST") {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body ?? {});
  }
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({ error: response.statusText }));
  say(response.ok ? `begun: ${answer.instance_id}` : answer.error);
  await refresh();
}

async function refresh() {
  const response = await fetch("/");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  document.querySelector("main").replaceWith(page.querySelector("main"));
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = [...new FormData(event.target)].filter(([, value]) => value !== "");
  const body = Object.fromEntries(given.map(([name, value]) => [name, name === "count" ? Number(value) : value]));
  ask("POST", event.target.dataset.path, body).catch((error) => say(String(error)));
});

document.addEventListener("click", (event) => {
  const { method, path } = event.target.dataset;
  if (method !== undefined) {
    ask(method, path).catch((error) => say(String(error)));
  }
});

setInterval(() => {
  refresh().catch(() => say("The control plane does not answer. The servers run on; start it again."));
}, EVERY_MS);
