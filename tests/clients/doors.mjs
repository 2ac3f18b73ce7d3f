// Google's JavaScript client, used as its documentation shows, against the server that the
// environment names. The working directory is a fresh one.
import * as fs from 'node:fs';
import {GoogleGenAI} from '@google/genai';
import {finished, report} from './scenarios.mjs';

const ai = new GoogleGenAI({});
const model = 'gemini-3.5-flash';
const asking = (text) => ({contents: [{parts: [{text}], role: 'user'}]});
const texts = ['Tell me a one-sentence joke.', 'Why is the sky blue?'];
const keys = ['request-1', 'request-2'];

async function all(pager) {
  const found = [];
  for await (const one of pager) found.push(one.name);
  return found;
}

function writeRequests(path) {
  const lines = texts.map((text, index) => ({key: keys[index], request: asking(text)}));
  fs.writeFileSync(path, lines.map((line) => JSON.stringify(line) + '\n').join(''));
}

await report({
  async inline() {
    const config = {displayName: 'inlined-requests-job-1'};
    const created = await ai.batches.create({model, src: texts.map(asking), config});
    return {created, finished: await finished(ai, created)};
  },

  async instructed() {
    const config = {systemInstruction: {parts: [{text: 'You are a cat. Your name is Neko.'}]}};
    const client = new GoogleGenAI({apiKey: process.env.GEMINI_API_KEY});
    const src = [asking(texts[0]), {...asking(texts[1]), config}];
    const created = await client.batches.create({model: `models/${model}`, src});
    return finished(client, created);
  },

  async file() {
    writeRequests('requests.jsonl');
    const config = {displayName: 'my-requests', mimeType: 'jsonl'};
    const uploaded = await ai.files.upload({file: 'requests.jsonl', config});
    const created = await ai.batches.create({model, src: uploaded.name});
    const job = await finished(ai, created);
    await ai.files.download({file: job.dest.fileName, downloadPath: 'results.jsonl'});
    return {uploaded, job, results: fs.readFileSync('results.jsonl', 'utf8')};
  },

  async pieces() {
    const bytes = Buffer.alloc(8 * 1024 * 1024 + 1, 'x');
    const uploaded = await ai.files.upload({
      file: new Blob([bytes]), config: {mimeType: 'text/plain'},
    });
    return {uploaded, size: bytes.length};
  },

  async ownHttpOptions() {
    writeRequests('requests.jsonl');
    const config = {mimeType: 'jsonl', httpOptions: {timeout: 20000}};
    return ai.files.upload({file: 'requests.jsonl', config});
  },

  async files() {
    const made = [];
    for (let index = 0; index < 3; index++) {
      const file = new Blob([`${index}`]);
      made.push(await ai.files.upload({file, config: {mimeType: 'text/plain'}}));
    }
    const got = await ai.files.get({name: made[0].name});
    const listed = await all(await ai.files.list({config: {pageSize: 2}}));
    await ai.files.delete({name: made[0].name});
    const left = await all(await ai.files.list({config: {pageSize: 2}}));
    return {made, got, listed, left};
  },

  async missingFile() {
    return ai.files.get({name: 'files/never-made'});
  },

  async missingBatch() {
    return ai.batches.get({name: 'batches/never-made'});
  },

  async list() {
    const made = [];
    for (let index = 0; index < 5; index++) {
      made.push((await ai.batches.create({model, src: [asking(`${index}`)]})).name);
    }
    return {made, listed: await all(await ai.batches.list({config: {pageSize: 2}}))};
  },

  async cancel() {
    const created = await ai.batches.create({model, src: [asking('[[delay 60]] slowly')]});
    await ai.batches.cancel({name: created.name});
    return (await ai.batches.get({name: created.name})).state;
  },

  async delete() {
    const created = await ai.batches.create({model, src: [asking('x')]});
    await ai.batches.delete({name: created.name});
    return all(await ai.batches.list({config: {pageSize: 1000}})).then(
      (names) => names.includes(created.name));
  },

  async webhook() {
    return ai.webhooks.create({
      name: 'MyBatchWebhook',
      uri: 'https://my-api.example/webhooks',
      subscribed_events: ['batch.succeeded', 'batch.failed'],
    });
  },

  async caches() {
    const book = 'The keeper lit the lamp. '.repeat(40);
    const made = await ai.caches.create({
      model,
      config: {displayName: 'book', systemInstruction: 'Be brief.', contents: book, ttl: '300s'},
    });
    const bare = made.name.replace('cachedContents/', '');
    const got = [await ai.caches.get({name: made.name}), await ai.caches.get({name: bare})];
    const changed = await ai.caches.update({name: bare, config: {ttl: '7200s'}});
    const config = {cachedContent: made.name};
    const reply = await ai.models.generateContent({model, contents: 'Who?', config});
    const src = [{...asking('Who?'), config}, asking('Who?')];
    const job = await finished(ai, await ai.batches.create({model, src}));
    const listed = await all(await ai.caches.list({config: {pageSize: 2}}));
    await ai.caches.delete({name: bare});
    const left = await all(await ai.caches.list());
    return {made, got, changed, listed, left, live: reply.usageMetadata, job};
  },

  async missingCache() {
    return ai.models.generateContent({model, contents: 'x', config: {cachedContent: 'never-made'}});
  },

  async exact() {
    const client = new GoogleGenAI({apiKey: 'any', httpOptions: {baseUrl: `${process.env.GOOGLE_GEMINI_BASE_URL}/exact`}});
    return (await finished(client, await client.batches.create({model, src: [asking('x')]}))).state;
  },

  async failingItem() {
    const src = [asking('well'), asking('[[fail 3]] badly')];
    return finished(ai, await ai.batches.create({model, src}));
  },

  async embeddings() {
    const contents = ['Why is the sky blue?', 'Best pasta recipe'];
    const embedder = 'gemini-embedding-2';
    fs.writeFileSync('embed.jsonl', contents.map((text, index) => JSON.stringify({
      key: keys[index], request: {content: {parts: [{text}]}, output_dimensionality: 64},
    }) + '\n').join(''));
    const uploaded = await ai.files.upload({file: 'embed.jsonl', config: {mimeType: 'jsonl'}});
    const fileJob = await ai.batches.createEmbeddings({
      model: embedder, src: {fileName: uploaded.name}, config: {displayName: 'Input embeddings batch'},
    });
    const inlineJob = await ai.batches.createEmbeddings({
      model: embedder, src: {inlinedRequests: {contents}}, config: {displayName: 'Inlined embeddings batch'},
    });
    const file = await finished(ai, fileJob);
    await ai.files.download({file: file.dest.fileName, downloadPath: 'vectors.jsonl'});
    const live = await ai.models.embedContent({model: 'gemini-embedding-001', contents});
    return {
      file, inline: await finished(ai, inlineJob), live: live.embeddings,
      results: fs.readFileSync('vectors.jsonl', 'utf8'),
    };
  },

  async live() {
    const reply = await ai.models.generateContent({model, contents: texts[1]});
    return {text: reply.text, version: reply.modelVersion};
  },

  async models() {
    return {
      listed: await all(await ai.models.list()),
      got: (await ai.models.get({model})).name,
    };
  },
});
