// Tables that sort by a column: a button in each heading, the state in aria-sort.
function valueOf(cell) {
  const text = (cell.dataset.value ?? cell.textContent).trim();
  const number = Number(text.replace(/,/g, "").replace(/[/].*$/, "").replace("−", "-").replace(/%$/, ""));
  return text === "–" || text === "" ? null : Number.isNaN(number) ? text.toLocaleLowerCase() : number;
}

function compare(a, b, way) {
  if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last, either way
  if (typeof a === typeof b) return way * (typeof a === "number" ? a - b : a.localeCompare(b));
  return typeof a === "number" ? -1 : 1;
}

export function sortBy(table, column, way) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
  rows.sort((one, other) => compare(one[0], other[0], way));
  body.append(...rows.map(([, row]) => row));
  [...table.tHead.rows[0].cells].forEach((head, number) => {
    if (number === column) head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  });
  table.dataset.sorted = `${column} ${way}`;
}

export function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if ("nosort" in head.dataset || head.querySelector("button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") === "ascending";
      const first = head.classList.contains("num") ? -1 : 1;
      const way = head.hasAttribute("aria-sort") ? (ascending ? -1 : 1) : first;
      sortBy(table, column, way);
    });
  });
}
