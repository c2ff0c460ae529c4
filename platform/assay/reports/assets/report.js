// Tables sort by the column whose head is pressed: numbers by the first number in a cell, all else as text.
(function () {
  const numeric = /^[−–-]?[\d,]*\.?\d+/;
  const valueOf = (row, place) => {
    const text = (row.cells[place] ? row.cells[place].textContent : "").trim().replace(/^[[<+]\s*/, "");
    const found = text.match(numeric);
    return found ? Number(found[0].replace(/,/g, "").replace(/^[−–]/, "-")) : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b);
  };
  for (const table of document.querySelectorAll(".scroll > table:not([data-fixed])")) {
    const [head, ...rows] = table.rows;
    if (rows.length < 2) continue;
    [...head.cells].forEach((cell, place) => {
      cell.setAttribute("role", "button");
      cell.tabIndex = 0;
      const sort = () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        for (const other of head.cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const keyed = rows.map((row, index) => [valueOf(row, place), index, row]);
        keyed.sort((a, b) => {
          if (a[0] === "" || b[0] === "") return (a[0] === "") - (b[0] === "") || a[1] - b[1]; // empty ones last
          return (down ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1];
        });
        for (const [, , row] of keyed) head.parentNode.append(row);
      };
      cell.addEventListener("click", sort);
      cell.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
      });
    });
  }
})();

// The row browser. All text goes in as text nodes: a model's answer can hold markup and never becomes any.
(function () {
  const data = JSON.parse(document.getElementById("browser-data").textContent);
  const root = document.getElementById("browser");
  const names = Object.keys(data.sets);
  if (!root || names.length === 0) return;
  const make = (tag, text, cls) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (cls) node.className = cls;
    return node;
  };
  const select = (label, options, onchange) => {
    const wrap = make("label", label + " ");
    const box = make("select");
    for (const option of options) box.append(new Option(option, option));
    box.addEventListener("change", onchange);
    wrap.append(box);
    return [wrap, box];
  };
  const controls = make("div", undefined, "controls");
  const [setLabel, setBox] = select("evaluation set", names, list);
  const [orderLabel, orderBox] = select("order", ["scorers disagree most", "as in the data"], list);
  controls.append(setLabel, orderLabel);
  const columns = make("div", undefined, "browser");
  const left = make("div", undefined, "list");
  const right = make("div");
  columns.append(left, right);
  root.append(controls, columns);

  function list() {
    const rows = data.sets[setBox.value].slice();
    if (orderBox.selectedIndex === 0) rows.sort((a, b) => b.disagreement - a.disagreement);
    left.replaceChildren();
    rows.forEach((row, index) => {
      const button = make("button", (row.input || row.instruction).slice(0, 90));
      button.addEventListener("click", () => show(row, button));
      left.append(button);
      if (index === 0) show(row, button);
    });
  }

  function show(row, button) {
    for (const other of left.children) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    right.replaceChildren();
    right.append(make("div", "row " + row.id, "key"));
    right.append(make("h3", "Prompt"), make("pre", row.prompt));
    right.append(make("h3", "Reference"), make("pre", row.reference));
    right.append(make("h3", "Answers"));
    for (const answer of row.answers) {
      const box = make("div", undefined, "answer");
      box.append(make("b", answer.arm), make("span", "  " + answer.run, "small"));
      box.append(make("pre", answer.error ? "no prediction: " + answer.error : answer.prediction));
      for (const [scorer, value] of Object.entries(answer.scores)) {
        const missing = typeof value === "string";
        box.append(make("span", scorer + " " + (missing ? value : value.toFixed(2)), missing ? "chip none" : "chip"));
      }
      if (answer.judge) {
        const raw = make("details");
        raw.append(make("summary", "raw judge reply"), make("pre", answer.judge));
        box.append(raw);
      }
      right.append(box);
    }
  }
  list();
})();
