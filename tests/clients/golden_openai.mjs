// Reads documents through OpenAI's JavaScript client. Arguments: the names of batches to get.
import OpenAI from 'openai';
import {report} from './scenarios.mjs';

const ai = new OpenAI({maxRetries: 0});
const scenarios = {};
for (const name of process.argv.slice(2)) {
  scenarios[name] = async () => ai.batches.retrieve(name);
}
scenarios.list = async () => {
  const found = [];
  for await (const batch of ai.batches.list({limit: 2})) found.push(batch);
  return found;
};
await report(scenarios);
