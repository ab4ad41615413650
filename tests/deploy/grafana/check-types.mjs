// Holds dashboards (files named as arguments) against Grafana's own types with the TypeScript compiler: names, enumerations,
// and for each panel the options and field options of its kind. Prints what is wrong; exit code 1 then.
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ts = createRequire(import.meta.url)('typescript');
const here = fileURLToPath(new URL('.', import.meta.url));
const KINDS = { heatmap: 'Heatmap', stat: 'Stat', table: 'Table', timeseries: 'TimeSeries' };

const HEAD = `import type { Dashboard, Panel, RowPanel } from '@grafana/schema';
${Object.entries(KINDS)
  .map(([kind, name]) => `import type * as ${kind} from '@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen';`)
  .join('\n')}

// JSON has the texts of enumerations, not their names; what is not typed further stays open.
type Json<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer Each> ? Array<Json<Each>>
  : T extends object ? (string extends keyof T ? T : { [Key in keyof T]: Json<T[Key]> }) : T;
// The type of thresholds has no null, which is what Grafana saves for minus infinity.
type Saved<T> = { [Key in keyof T]: Key extends 'thresholds' ? unknown : T[Key] };
// Overrides name properties by path.
type Property<Field> =
  | { id: 'unit' | 'decimals' | 'thresholds' | 'color' | 'links'; value?: unknown }
  | { [Key in Extract<keyof Field, string>]: { id: \`custom.\${Key}\`; value?: Json<Field[Key]> } }[Extract<keyof Field, string>];
type Kind<Name extends string, Options, Field> = Omit<Json<Panel>, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
  type: Name;
  options: Json<Options>;
  targets: Array<Record<string, unknown>>;
  fieldConfig: {
    defaults: Omit<Saved<Json<NonNullable<Panel['fieldConfig']>['defaults']>>, 'custom'> & { custom?: Json<Field> };
    overrides: Array<{ matcher: { id: string; options?: unknown }; properties: Array<Property<Required<Field>>> }>;
  };
};
type AnyPanel =
${Object.keys(KINDS)
  .map((kind) => `  | Kind<'${kind}', ${kind}.Options, ${kind === 'stat' ? 'Record<string, never>' : `${kind}.FieldConfig`}>`)
  .join('\n')}
  | (Omit<Json<RowPanel>, 'panels'> & { panels: [] });
type Saveable = Omit<Json<Dashboard>, 'panels' | 'annotations'> & { panels: AnyPanel[]; annotations: object };
`;

const files = process.argv.slice(2).map((path) => {
  const file = join(here, `${basename(path, '.json')}.check.ts`);
  writeFileSync(file, `${HEAD}\nexport const dashboard: Saveable = ${readFileSync(path, 'utf-8')};\n`);
  return file;
});
const program = ts.createProgram(files, {
  strict: true, noEmit: true, skipLibCheck: true, types: [],
  target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
});
const found = ts.getPreEmitDiagnostics(program);
process.stdout.write(ts.formatDiagnostics(found, { getCanonicalFileName: (n) => n, getCurrentDirectory: () => here, getNewLine: () => '\n' }));
process.exitCode = found.length ? 1 : 0;
