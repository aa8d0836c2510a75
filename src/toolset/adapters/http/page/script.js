"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const box = byId("filter");
  const said = byId("said");

  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of document.querySelectorAll("tr[data-text]")) {
      row.hidden = !words.every((word) => row.dataset.text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    byId("shown").textContent = words.length ? `${shown} shown` : "";
  };

  const copies = () => {
    for (const button of document.querySelectorAll("button[data-copy]")) {
      button.hidden = false;
      button.onclick = async () => {
        await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
        said.textContent = "Copied";
      };
    }
  };

  const replace = (text) => {
    const next = new DOMParser().parseFromString(text, "text/html");
    const live = next.getElementById("live");
    if (!live) return;
    const open = new Set([...document.querySelectorAll("details[id][open]")].map((each) => each.id));
    const closed = new Set([...document.querySelectorAll("details[id]:not([open])")].map((each) => each.id));
    const focused = document.activeElement ? document.activeElement.id : "";
    for (const each of live.querySelectorAll("details[id]")) {
      if (open.has(each.id)) each.open = true;
      if (closed.has(each.id)) each.open = false;
    }
    byId("live").replaceWith(document.adoptNode(live));
    document.title = next.title;
    if (focused && byId(focused)) byId(focused).focus({ preventScroll: true });
    filter();
    copies();
  };

  let busy = false;
  let again = false;
  const refresh = async () => {
    again = busy;
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.ok) replace(await answer.text());
      else again = true;
    } catch {
      again = true;
    }
    if (again) await new Promise((resolve) => setTimeout(resolve, 1000));
    busy = false;
    if (again) refresh();
  };

  const events = new EventSource("/api/v1/events");
  events.addEventListener("status", (event) => {
    const revision = String(JSON.parse(event.data).revision);
    if (byId("live").dataset.revision !== revision) refresh();
  });
  events.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    said.textContent = `${change.namespace}/${change.name}: ${change.sentence}`;
  });
  events.addEventListener("open", () => { byId("connection").textContent = "live"; });
  events.addEventListener("error", () => { byId("connection").textContent = "not live: connection lost, trying again"; });

  box.form.addEventListener("submit", (event) => event.preventDefault());
  box.addEventListener("input", filter);
  byId("apply").hidden = true;
  filter();
  copies();
})();
