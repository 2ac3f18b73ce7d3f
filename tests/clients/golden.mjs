// Reads documents through Google's JavaScript client. Arguments: the names of batches to get.
import {GoogleGenAI} from '@google/genai';
import {report} from './scenarios.mjs';

const ai = new GoogleGenAI({});
const scenarios = {};
for (const name of process.argv.slice(2)) {
  scenarios[name] = async () => ai.batches.get({name});
}
scenarios.list = async () => {
  const found = [];
  for await (const job of await ai.batches.list({config: {pageSize: 2}})) found.push(job);
  return found;
};
await report(scenarios);
