// Shows table panels as Grafana would: standard input has a list of {panel, answers: [{refId, data}]}, where data is what
// Prometheus answered to an instant query; standard output has, for each, its columns with values, texts, colours, links.
//
// Frames are made as Grafana's data source for Prometheus makes them of the format "table"; transformations, overrides
// and texts are the work of Grafana's own library.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

globalThis.navigator ??= { language: 'en-US', languages: ['en-US'] };
const require = createRequire(import.meta.url);
const grafana = require('@grafana/data');
const { lastValueFrom } = require('rxjs');
globalThis.window = globalThis; // transformations ask it whether they run within a scene

grafana.standardTransformersRegistry.setInit(() =>
  // By id: some are there under an older name as well.
  [...new Map(Object.values(grafana.standardTransformers).map((each) => [each.id, each])).values()].map((each) => ({
    id: each.id,
    name: each.name,
    transformation: async () => each,
  })),
);

const APPLIED = ['unit', 'decimals', 'noValue', 'min', 'max', 'mappings', 'thresholds', 'color', 'links'];
const properties = new grafana.FieldConfigOptionsRegistry(() =>
  APPLIED.map((path) => ({ id: path, path, name: path, process: (value) => value, shouldApply: () => true })),
);
const theme = grafana.createTheme({ colors: { mode: 'dark' } });

// A frame of several queries of which each has a column per label, or one of a single query.
function framesOf(answers) {
  return answers.map(({ refId, data }) => {
    if (data.resultType !== 'vector') throw new Error(`${refId}: a ${data.resultType}`);
    const names = [...new Set(data.result.flatMap((series) => Object.keys(series.metric)))].sort();
    const field = (name, type, values) => ({ name, type, config: {}, values });
    return {
      refId,
      length: data.result.length,
      fields: [
        field('Time', grafana.FieldType.time, data.result.map((series) => series.value[0] * 1000)),
        ...names.map((name) => field(name, grafana.FieldType.string, data.result.map((s) => s.metric[name] ?? ''))),
        field(
          answers.length > 1 ? `Value #${refId}` : 'Value',
          grafana.FieldType.number,
          data.result.map((series) => Number(series.value[1].replace('Inf', 'Infinity'))),
        ),
      ],
    };
  });
}

// What a dashboard puts in place of variables: the constant page, and the fields of the row that is clicked.
function replaced(text, scoped) {
  return text.replace(/\$\{([\w.]+)(?::(\w+))?\}/g, (whole, name, format) => {
    if (name === 'page') return 'http://127.0.0.1:6066';
    if (!name.startsWith('__data.fields.')) return whole;
    const { frame, rowIndex } = scoped.__dataContext.value;
    const value = grafana.getFieldDisplayValuesProxy({ frame, rowIndex })[name.split('.')[2]];
    return format === 'percentencode' ? encodeURIComponent(`${value}`) : `${value}`;
  });
}

async function shown({ panel, answers }) {
  // As on loading a dashboard: what a panel's kind does not know goes, null as the lowest edge becomes minus infinity.
  const { fieldConfig } = grafana.getPanelOptionsWithDefaults({
    plugin: { defaults: {}, fieldConfigDefaults: { defaults: {}, overrides: [] }, fieldConfigRegistry: properties },
    currentOptions: panel.options,
    currentFieldConfig: panel.fieldConfig,
    isAfterPluginChange: false,
  });
  const transformed = await lastValueFrom(grafana.transformDataFrame(panel.transformations ?? [], framesOf(answers)));
  const frames = grafana.applyFieldOverrides({
    data: transformed,
    fieldConfig,
    fieldConfigRegistry: properties,
    replaceVariables: replaced,
    theme,
    timeZone: 'utc',
  });
  if (frames.length !== 1) throw new Error(`${panel.title}: ${frames.length} frames instead of one table`);
  return frames[0].fields.map((field) => ({
    name: grafana.getFieldDisplayName(field, frames[0], frames),
    values: field.values,
    texts: field.values.map((value) => grafana.formattedValueToString(field.display(value))),
    colours: field.values.map((value) => field.display(value).color ?? null),
    links: field.values.map((_, row) => (field.config.links ? field.getLinks({ valueRowIndex: row })[0].href : null)),
  }));
}

const asked = JSON.parse(readFileSync(0, 'utf-8'));
const units = new Set(grafana.getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));
const unknown = asked.units.filter((unit) => !units.has(unit) && !/^(suffix|prefix):/.test(unit));
const tables = [];
for (const each of asked.tables) tables.push(await shown(each));
process.stdout.write(JSON.stringify({ unknownUnits: unknown, tables }));
