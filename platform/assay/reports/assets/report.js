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
