// Replaces the drawn lines by charts that can be read off with the pointer (uPlot). The numbers stay in the tables.
const HEIGHT = 190;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(more) {
  return { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, ...more };
}

function trend(place) {
  const weeks = JSON.parse(place.dataset.trend);
  const ago = weeks.map((_, number) => number - weeks.length + 1);
  const name = (value) => (value === 0 ? "now" : `${-value} weeks ago`);
  return [
    {
      scales: { x: { time: false }, y: { range: [0, 100] } },
      axes: [axis({ values: (_, all) => all.map((value) => (value === 0 ? "now" : value)) }), axis({ size: 36 })],
      series: [
        { label: "Week", value: (_, value) => (value === null ? "–" : name(value)) },
        {
          label: "Score", stroke: colour("--bar"), width: 2, points: { size: 6, fill: colour("--bar") },
          value: (_, value) => (value === null ? "–" : value.toFixed(2)),
        },
      ],
    },
    [ago, weeks],
  ];
}

function day(place) {
  const { times, messages, online } = JSON.parse(place.dataset.day);
  const zone = place.dataset.zone;
  const format = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone });
  const clock = (seconds) => format.format(new Date(seconds * 1000));
  return [
    {
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high)] }, people: { range: (_, low, high) => [0, Math.max(1, high)] } },
      axes: [axis({ values: (_, all) => all.map(clock) }), axis({ size: 44 }), axis({ scale: "people", side: 1, size: 44, grid: { show: false } })],
      series: [
        { label: "From", value: (_, value) => (value === null ? "–" : clock(value)) },
        { label: "Messages", stroke: colour("--bar"), fill: colour("--bar-rest"), width: 1, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
        { label: "Online", scale: "people", stroke: colour("--good"), width: 1.5, dash: [4, 3], points: { show: false } },
      ],
    },
    [times, messages, online],
  ];
}

function draw(place) {
  const picture = place.querySelector("svg");
  if (!picture || typeof uPlot === "undefined") return;
  const [options, data] = "trend" in place.dataset ? trend(place) : day(place);
  const label = picture.getAttribute("aria-label");
  const holder = document.createElement("div");
  holder.setAttribute("role", "img");
  holder.setAttribute("aria-label", label);
  place.replaceChildren(holder);
  const inside = () => Math.max(200, place.clientWidth - 16);
  const chart = new uPlot({ width: inside(), height: HEIGHT, cursor: { drag: { x: false, y: false } }, ...options }, data, holder);
  new ResizeObserver(() => chart.setSize({ width: inside(), height: HEIGHT })).observe(place);
}

export function drawCharts(root) {
  for (const place of root.querySelectorAll(".chart")) draw(place);
}
