// Adds to the pages what needs a script: charts, sorting, refreshing. Without it every page says all it says.
import { drawCharts } from "./charts.js";
import { makeSortable } from "./sorting.js";
import { keepFresh } from "./fresh.js";

function dress(root) {
  for (const table of root.querySelectorAll("table[data-sort]")) makeSortable(table);
  drawCharts(root);
}

dress(document);
keepFresh(dress);
