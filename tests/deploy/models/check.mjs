// Checks operators' objects (JSON list on standard input) against the models of their CRDs, made from the operators' own
// API: values by the compiled schemas, and by TypeScript that there is no field which the operator would drop in silence.
// Prints a JSON list of what is wrong. Runs in a folder that holds node_modules.
import { readFileSync, writeFileSync } from "node:fs";
import ts from "typescript";

const MODELS = {
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "kafka.strimzi.io/v1": "@kubernetes-models/strimzi-kafka-operator/kafka.strimzi.io/v1",
  "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
};
const wrong = [];
const typed = [];
const objects = JSON.parse(readFileSync(0, "utf8"));
for (const [number, object] of objects.entries()) {
  const source = MODELS[object.apiVersion];
  const model = source && (await import(source))[object.kind];
  const name = `${object.kind} ${object.metadata.name}`;
  if (!model) {
    wrong.push(`${name}: no model of ${object.apiVersion}`);
    continue;
  }
  try {
    new model(object).validate();
  } catch (error) {
    wrong.push(`${name}: ${error.message}`);
  }
  typed.push(
    `import type { I${object.kind} as I${number} } from "${source}";\n` +
      `export const o${number}: I${number} = ${JSON.stringify(object)};\n`,
  );
}
writeFileSync("objects.ts", typed.join(""));
const program = ts.createProgram(["objects.ts"], {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
  types: [],
});
for (const found of ts.getPreEmitDiagnostics(program)) {
  const line = found.file ? found.file.text.slice(0, found.start).split("\n").length - 1 : -1;
  const object = objects[Math.floor(line / 2)];
  const name = object ? `${object.kind} ${object.metadata.name}` : "";
  wrong.push(`${name}: ${ts.flattenDiagnosticMessageText(found.messageText, "\n")}`);
}
process.stdout.write(JSON.stringify(wrong));
