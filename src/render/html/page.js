(() => {
"use strict";
const POLL = 2000, TIMEOUT = 8000;
const $ = (id, page = document) => page.getElementById(id);
const root = document.documentElement, button = $("pause");
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
// By the server's clock; without details the page has no time.
const timeOf = (page) => $("live", page).textContent.replace("As of ", "") || `${new Date().toISOString().slice(11, 19)} UTC`;
let shown = timeOf(document), lost = false, paused = false, busy = false, timer = 0;

const rowsOf = (node) => new Map([...node.querySelectorAll("[data-name]")].map((row) => [row.dataset.name, row]));
const changes = (page) => {
  const texts = lost ? ["Connected again."] : [], before = rowsOf(document), after = rowsOf(page);
  const status = page.documentElement.dataset.status;
  if (status !== root.dataset.status) texts.push(`Health is ${status}.`);
  for (const [name, row] of after) {
    const {status} = row.dataset;
    if (before.get(name)?.dataset.status !== status)
      texts.push(`${name} is ${status}.`, row.querySelector(".why b")?.textContent ?? "");
  }
  for (const name of before.keys()) if (!after.has(name)) texts.push(`${name} is no longer checked.`);
  return texts.join(" ").trim();
};

// The node of the new `main` in the place of `node`: rows match by name, others by id.
const counterpart = (main, node) => {
  const row = node.closest("[data-name]");
  if (!row) return node.id ? main.querySelector(`#${node.id}`) : null;
  const other = rowsOf(main).get(row.dataset.name);
  return node === row ? other : other?.querySelector(node.localName);
};
const replace = (page) => {
  const old = $("main"), main = document.adoptNode($("main", page));
  const focused = document.activeElement, place = [scrollX, scrollY];
  for (const open of old.querySelectorAll("details[open]")) counterpart(main, open)?.setAttribute("open", "");
  const next = old.contains(focused) ? counterpart(main, focused) : null;
  old.replaceWith(main);
  next?.focus({preventScroll: true});
  scrollTo(...place);
  root.dataset.status = page.documentElement.dataset.status;
  document.querySelector("link[rel=icon]").href = page.querySelector("link[rel=icon]").href;
};
const title = () => { document.title = `${$("overall").textContent} · ${location.host}${location.pathname}`; };
const showState = () => write($("live"), `${paused ? "Paused" : lost ? "No answer" : "Live"} · ${shown}`);

const poll = async () => {
  clearTimeout(timer);
  if (paused || busy || document.hidden) return;
  busy = true;
  try {
    // The code does not matter: a 503 with a page is a response.
    const answer = await fetch(location.pathname + location.search,
      {headers: {accept: "text/html"}, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(TIMEOUT)});
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.documentElement.dataset.status || !$("main", page)) throw new TypeError("no status page");
    const announcement = changes(page);
    shown = timeOf(page);
    replace(page);
    title();
    if (announcement) write($("announcement"), announcement);
    lost = false;
  } catch {
    lost = true;
    write($("lost"), `Connection lost since ${shown}. The page is from then.`);
  }
  $("lost").hidden = !lost;
  busy = false;
  showState();
  timer = setTimeout(poll, POLL);
};

write($("where"), location.host + location.pathname);
title();
button.hidden = false;
button.addEventListener("click", () => {
  paused = !paused;
  write(button, paused ? "Resume" : "Pause");
  showState();
  poll();
});
document.addEventListener("visibilitychange", poll);
poll();
})();
