// Checks an AsyncAPI document with the official parser: prints what it finds, and fails at an error.
const { Parser, fromFile } = require("@asyncapi/parser");

const ERROR = 0;

async function main(path) {
  const { document, diagnostics } = await fromFile(new Parser(), path).parse();
  for (const { severity, code, message, path: place } of diagnostics) {
    console.log(`${severity === ERROR ? "error" : "note"} ${code} ${place.join(".")}: ${message}`);
  }
  if (document === undefined || diagnostics.some(({ severity }) => severity === ERROR)) {
    process.exit(1);
  }
  console.log(`${path}: valid`);
}

main(process.argv[2]);
