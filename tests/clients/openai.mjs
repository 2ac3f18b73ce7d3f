// OpenAI's JavaScript client, told only where the server is. The working directory is a fresh one.
import * as fs from 'node:fs';
import OpenAI, {toFile} from 'openai';
import {report} from './scenarios.mjs';

const ai = new OpenAI({maxRetries: 0});
const model = 'gemini-3.5-flash';
const messages = (content) => [{role: 'user', content}];
const line = (custom_id, content, more = {}) => JSON.stringify({
  custom_id, method: 'POST', url: '/v1/chat/completions',
  body: {model, messages: messages(content), ...more},
}) + '\n';

async function finished(batch) {
  while (batch.status === 'in_progress' || batch.status === 'cancelling') {
    await new Promise((resolve) => setTimeout(resolve, 20));
    batch = await ai.batches.retrieve(batch.id);
  }
  return batch;
}

async function submitted(text, options = {}) {
  fs.writeFileSync('in.jsonl', text);
  const file = await ai.files.create({file: fs.createReadStream('in.jsonl'), purpose: 'batch'});
  return ai.batches.create({
    input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h', ...options,
  });
}

async function all(pages) {
  const found = [];
  for await (const one of pages) found.push(one.id);
  return found;
}

await report({
  async chat() {
    return ai.chat.completions.create({model, messages: messages('hello there'), max_tokens: 2});
  },

  async stream() {
    const stream = await ai.chat.completions.create({
      model, messages: messages('hello there'), stream: true,
      stream_options: {include_usage: true},
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
  },

  async models() {
    return {list: await all(ai.models.list()), one: await ai.models.retrieve(`models/${model}`)};
  },

  async vectors() {
    const asked = {model: 'gemini-embedding-001', input: ['one', 'two'], dimensions: 4};
    return {
      packed: await ai.embeddings.create(asked),
      plain: await ai.embeddings.create({...asked, encoding_format: 'float'}),
    };
  },

  async files() {
    const bytes = Buffer.alloc(3 * 1024 * 1024 + 1, 'x');
    const file = await ai.files.create({
      file: await toFile(bytes, 'big.jsonl'), purpose: 'batch',
      expires_after: {anchor: 'created_at', seconds: 3600},
    });
    const found = await ai.files.retrieve(file.id);
    const content = Buffer.from(await (await ai.files.content(file.id)).arrayBuffer());
    const listed = await all(ai.files.list({limit: 1}));
    return {
      file, found, same: content.equals(bytes), listed, deleted: await ai.files.delete(file.id),
    };
  },

  async batch() {
    const created = await submitted(
      line('a', 'one') + line('b', 'two', {n: 9}) + line('c', 'three'), {metadata: {for: 'tests'}},
    );
    const batch = await finished(created);
    return {
      created, batch,
      output: await (await ai.files.content(batch.output_file_id)).text(),
      errors: await (await ai.files.content(batch.error_file_id)).text(),
    };
  },

  async refused() {
    return finished(await submitted(line('a', 'x') + 'junk\n'));
  },

  async pages() {
    const ids = [];
    for (let count = 0; count < 3; count += 1) ids.push((await submitted(line('a', 'x'))).id);
    return {ids, listed: await all(ai.batches.list({limit: 2}))};
  },

  async cancel() {
    return finished(await ai.batches.cancel((await submitted(line('a', '[[delay 600]]'))).id));
  },

  async wrong() {
    return ai.chat.completions.create({model, messages: messages('x'), temperature: 9});
  },
});
