"use strict";
(() => {
  const field = document.getElementById("search");
  const change = document.getElementById("change");
  const benchmark = document.getElementById("benchmark");
  const unfold = document.getElementById("unfold");
  const shown = document.getElementById("shown");
  const nothing = document.getElementById("nothing");
  const list = document.getElementById("list");
  const more = document.getElementById("more");
  if (!field) return;
  const AT_ONCE = 20;
  const rows = [...document.getElementById("pairs").content.querySelectorAll("article.pair")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  let fitting = rows;
  let words = [];

  const marked = () => {
    if (!window.Highlight || !CSS.highlights) return;
    const ranges = [];
    const walker = document.createTreeWalker(list, NodeFilter.SHOW_TEXT);
    while (words.length && walker.nextNode()) {
      const text = walker.currentNode.data.toLowerCase();
      if (text.length !== walker.currentNode.data.length) continue;
      for (const word of words) {
        for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
          const range = new Range();
          range.setStart(walker.currentNode, at);
          range.setEnd(walker.currentNode, at + word.length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  };
  const fold = (row) => {
    row.querySelector("details").open = unfold.checked || words.length > 0 || !("harmful" in row.dataset);
  };
  const add = (count) => {
    const next = fitting.slice(list.children.length, list.children.length + count);
    next.forEach(fold);
    list.append(...next);
    marked();
    return next.length;
  };
  const near = () => more.getBoundingClientRect().top < window.innerHeight + 600;
  const fill = () => {
    while (near() && add(AT_ONCE)) continue;
  };
  const filter = () => {
    words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    fitting = rows.filter(
      (row, index) =>
        (!change.value || row.dataset.change === change.value) &&
        (!benchmark.value || row.dataset.benchmark === benchmark.value) &&
        words.every((word) => texts[index].includes(word)),
    );
    list.classList.toggle("searching", words.length > 0);
    list.replaceChildren();
    add(AT_ONCE);
    shown.textContent = `${fitting.length} of ${rows.length}`;
    nothing.hidden = fitting.length > 0;
    nothing.textContent = `Nothing was found${words.length ? ` for \u201c${field.value.trim()}\u201d` : ""}.`;
  };
  const visit = () => {
    const row = location.hash.startsWith("#prompt-") && rows.find((each) => `#${each.id}` === location.hash);
    if (!row) return;
    if (!fitting.includes(row)) {
      field.value = change.value = benchmark.value = "";
      filter();
    }
    add(Math.max(0, fitting.indexOf(row) + 1 - list.children.length));
    row.querySelector("details").open = true;
    row.scrollIntoView();
  };
  for (const control of [field, change, benchmark]) control.addEventListener("input", filter);
  unfold.addEventListener("input", () => [...list.children].forEach(fold));
  window.addEventListener("hashchange", visit);
  new IntersectionObserver(fill, { rootMargin: "600px" }).observe(more);
  window.addEventListener("scroll", fill, { passive: true });
  filter();
  visit();
})();
