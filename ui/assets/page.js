// What a page does by itself: it follows what changes while somebody looks at it, and copies what is meant to be copied.
// Everything works without it; a page is then as new as its last loading.
"use strict";

function follow() {
  let stream = null;

  function stop() {
    if (stream) stream.close();
    stream = null;
  }

  function start() {
    // One connection for each page that is seen: a browser has few.
    if (stream || document.hidden) return;
    stream = new EventSource(document.body.dataset.follow || location.href);
    stream.addEventListener("page", (event) => replace(JSON.parse(event.data)));
    // Signed out, or no longer there: the server says what to show instead.
    stream.addEventListener("gone", () => { stop(); location.reload(); });
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  addEventListener("pageshow", start);
  start();
}

// Puts each part that is marked live in the place of its old self, unless somebody is writing in it.
function replace(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const old = document.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
    if (!old || old.outerHTML === part.outerHTML) continue;
    // A form that somebody has opened stays until it is sent or closed.
    if (old.querySelector("details[open]")) continue;
    const active = old.contains(document.activeElement) ? document.activeElement : null;
    if (active && active.matches("input, select, textarea")) continue;
    const path = active && active.getAttribute("href");
    old.replaceWith(document.adoptNode(part));
    if (path) part.querySelector(`[href="${CSS.escape(path)}"]`)?.focus({ preventScroll: true });
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  if (!source) return;
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // No right to the clipboard: the text is selected, and the keyboard copies it.
    getSelection().selectAllChildren(source);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = label; }, 1600);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  for (const open of document.querySelectorAll(".choices[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll(".choices[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

// On a phone the navigation is wider than the window: where one is, is seen.
document.querySelector(".places [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

if (document.body.hasAttribute("data-follow")) follow();
