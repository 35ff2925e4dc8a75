// All the JavaScript of the dashboard besides htmx. Everything here only makes quicker what works without it.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const MAX_ROWS = 2000;

  const ready = (within) => {
    all(".js-only[hidden]", within).forEach((element) => { element.hidden = false; });
    all(".no-js", within).forEach((element) => { element.hidden = true; });
  };
  ready(document);

  // Menus of filters apply at once.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // Theme: the server writes data-theme from the cookie; here the switch goes straight to the other one.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-switch]");
    if (!button) return;
    event.preventDefault();
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    const form = new FormData(button.form);
    form.set("theme", root.dataset.theme);
    fetch(button.form.action, { method: "POST", body: form, redirect: "manual" });
  });

  // What worked is told for six seconds, or as long as somebody points at it; what failed stays.
  all(".toast:not(.is-failure)").forEach((toast) => {
    const leave = () => { if (toast.matches(":hover, :focus-within")) setTimeout(leave, 1000); else toast.remove(); };
    setTimeout(leave, 6000);
  });

  // Keys: Ctrl K and / search, j and k move through a list, Enter opens. None of them in fields.
  const isTyping = (element) => element.closest("input, textarea, select, [contenteditable]");
  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      document.querySelector("[data-jump]")?.click();
    } else if (!plain || isTyping(event.target)) {
      return;
    } else if (event.key === "/") {
      const field = document.querySelector("[data-find]");
      if (field) { event.preventDefault(); field.focus(); }
    } else if (event.key === "j" || event.key === "k") {
      const rows = all("[data-cursor] > *");
      if (!rows.length) return;
      const at = rows.findIndex((row) => row.classList.contains("is-cursor"));
      const next = rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "j" ? 1 : -1)))];
      rows[at]?.classList.remove("is-cursor");
      next.classList.add("is-cursor");
      next.querySelector("a.whole")?.focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest" });
    }
  });

  // Copy: <button data-copy="id of the element">; data-full holds what is shown shortened.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    navigator.clipboard?.writeText(source.dataset.full ?? source.textContent);
  });

  // A run's events. Rows come as HTML over server-sent events; here they are held while paused, and never shown twice.
  const watch = document.querySelector("[data-watch]");
  if (watch) {
    const log = watch.querySelector("[data-log]");
    const box = log.closest(".log-box");
    const pause = watch.querySelector("[data-pause]");
    const following = watch.querySelector("[data-following]");
    const say = (word) => { following.querySelector("span").textContent = word; };
    let held = [];
    let isPaused = false;
    let last = [0, 0];
    let lostAt = 0;
    // A connection that is made anew goes on where the last one stopped.
    htmx.createEventSource = (url) => new EventSource(last[0] ? `${url}?after=${last.join("-")}` : url);
    const position = (id) => id.split("-").map(Number);
    const isNew = ([ms, n]) => ms > last[0] || (ms === last[0] && n > last[1]);
    const add = (html) => { htmx.swap(log, html, { swapStyle: "beforeend" }); };
    const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    const settle = (wasAtEnd) => {
      while (log.childElementCount > MAX_ROWS) log.firstElementChild.remove();
      if (wasAtEnd) box.scrollTop = box.scrollHeight;
    };
    log.addEventListener("htmx:sseBeforeMessage", (event) => {
      event.preventDefault();
      const message = event.detail;
      const at = position(message.lastEventId || "0-0");
      if (!isNew(at)) return;
      last = at;
      if (isPaused) {
        held.push(message.data);
        pause.querySelector("span").textContent = `Follow, ${held.length} new`;
        return;
      }
      const wasAtEnd = atEnd();
      if (lostAt) {
        const seconds = ((performance.now() - lostAt) / 1000).toFixed(1);
        lostAt = 0;
        say("Following");
        const line = document.createElement("li");
        line.className = "break";
        line.textContent = `Connection lost for ${seconds} s, picked up again.`;
        log.append(line);
      }
      add(message.data);
      settle(wasAtEnd);
    });
    watch.addEventListener("htmx:sseError", () => {
      if (!lostAt) lostAt = performance.now();
      say("Connection lost, trying again");
    });
    watch.addEventListener("htmx:sseOpen", () => { if (following.isConnected) say(isPaused ? "Paused" : "Following"); });
    watch.addEventListener("htmx:sseClose", () => {
      following.remove();
      if (!isPaused) pause.remove();
      box.classList.add("is-over");
    });
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      pause.querySelector("span").textContent = isPaused ? "Follow" : "Pause";
      if (following.isConnected) say(isPaused ? "Paused" : "Following");
      if (!isPaused) {
        held.forEach(add);
        held = [];
        settle(true);
        if (!following.isConnected) pause.remove();
      }
    });
    document.addEventListener("htmx:oobAfterSwap", (event) => ready(event.detail.target?.parentElement ?? document));
  }
})();
